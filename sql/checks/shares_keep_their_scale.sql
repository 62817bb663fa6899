-- Listed shares that changed tenfold or more since the previous calendar session.
SELECT '{dataset}.shares_keep_their_scale', 'flag', a.stock_code, s.time,
       format('listed_shares=%s, on %s %s', a.listed_shares, s.prev_time, b.listed_shares)
FROM seams s
JOIN around a ON a.time = s.time
JOIN around b ON b.time = s.prev_time AND b.stock_code = a.stock_code
WHERE a.listed_shares / 10 >= b.listed_shares OR a.listed_shares <= b.listed_shares / 10
