-- Names of the previous calendar session without a row, where both sessions claim all listed names.
SELECT '{dataset}.name_is_gone', 'note', b.stock_code, s.time,
       format('%s had a row on %s', b.stock_code, s.prev_time)
FROM seams s
JOIN claims n ON n.time = s.time AND n.names = 'whole'
JOIN claims p ON p.time = s.prev_time AND p.names = 'whole'
JOIN around b ON b.time = s.prev_time
CROSS JOIN job
WHERE {in_scope} AND NOT EXISTS (SELECT FROM around a WHERE a.time = s.time AND a.stock_code = b.stock_code)
