-- Names that had no row on the previous calendar session, where both sessions claim all listed names.
SELECT '{dataset}.name_is_new', 'note', a.stock_code, s.time,
       format('%s had no row on %s', a.stock_code, s.prev_time)
FROM sessions s
JOIN claims n ON n.time = s.time AND n.names = 'whole'
JOIN claims p ON p.time = s.prev_time AND p.names = 'whole'
JOIN staged a ON a.time = s.time
WHERE NOT EXISTS (SELECT FROM around b WHERE b.time = s.prev_time AND b.stock_code = a.stock_code)
