-- The number of names with rows against the previous calendar session, where both claim all listed names.
WITH counts AS (SELECT time, count(DISTINCT {code}) AS names FROM around GROUP BY time)
SELECT '{dataset}.names_are_whole', 'gate', NULL::text, s.time,
       format('%s names on %s, %s on %s', coalesce(now.names, 0), s.time, before.names, s.prev_time)
FROM seams s
JOIN claims n ON n.time = s.time AND n.names = 'whole'
JOIN claims p ON p.time = s.prev_time AND p.names = 'whole'
JOIN counts before ON before.time = s.prev_time
LEFT JOIN counts now ON now.time = s.time
WHERE abs(coalesce(now.names, 0) - before.names) > 10
  AND abs(coalesce(now.names, 0) - before.names) > 0.05 * before.names
