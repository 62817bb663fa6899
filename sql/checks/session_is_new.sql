-- A session that repeats the one before.
SELECT '{dataset}.session_is_new', 'gate', NULL::text, time,
       format('%s of %s names have on %s the very values of %s', same, names, time, prev_time)
FROM (
    SELECT s.time, s.prev_time, count(*) AS names,
           count(*) FILTER (WHERE ({same_a}) IS NOT DISTINCT FROM ({same_b})) AS same
    FROM seams s
    JOIN around a ON a.time = s.time
    JOIN around b ON b.time = s.prev_time AND {same_key}
    WHERE {traded_a}
    GROUP BY s.time, s.prev_time
) AS compared
WHERE names >= 10 AND same > {share} * names
