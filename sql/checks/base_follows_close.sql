-- Base prices that differ from the close of the previous calendar session; promote tells half-tick round-ups apart.
SELECT a.stock_code, a.time, a.base_price, b.close, s.prev_time, a.market, a.security_type,
       a.volume > 0, b.volume > 0
FROM sessions s
JOIN staged a ON a.time = s.time
JOIN around b ON b.time = s.prev_time AND b.stock_code = a.stock_code
WHERE a.base_price <> b.close
ORDER BY a.time, a.stock_code
