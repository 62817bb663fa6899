-- Capitalisations that changed fivefold or more since the previous calendar session.
SELECT '{dataset}.cap_keeps_its_scale', 'flag', a.stock_code, s.time,
       format('market_cap=%s, on %s %s', a.market_cap, s.prev_time, b.market_cap)
FROM seams s
JOIN around a ON a.time = s.time
JOIN around b ON b.time = s.prev_time AND b.stock_code = a.stock_code
WHERE a.market_cap / 5 >= b.market_cap OR a.market_cap <= b.market_cap / 5
