-- How many names each session could be compared for, and how many differ.
SELECT s.time, count(*), count(*) FILTER (WHERE a.base_price <> b.close)
FROM sessions s
JOIN staged a ON a.time = s.time
JOIN around b ON b.time = s.prev_time AND b.stock_code = a.stock_code
GROUP BY s.time
ORDER BY s.time
