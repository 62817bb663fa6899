-- The number of lists against the previous calendar session, where both claim all of them.
WITH lists AS (
    SELECT time, slice FROM slices
    UNION
    SELECT m.time, m.slice FROM market.snapshots m, job
    WHERE m.dataset = job.dataset
      AND (m.time IN (SELECT time FROM beside) OR m.time IN (SELECT time FROM staged_times))
), counts AS (
    SELECT time, count(*) AS lists FROM lists GROUP BY time
)
SELECT '{dataset}.lists_are_there', 'gate', NULL::text, s.time,
       format('%s lists on %s, %s on %s', now.lists, s.time, before.lists, s.prev_time)
FROM seams s
JOIN claims n ON n.time = s.time AND n.names = 'whole'
JOIN claims p ON p.time = s.prev_time AND p.names = 'whole'
JOIN counts before ON before.time = s.prev_time
JOIN counts now ON now.time = s.time
WHERE abs(now.lists - before.lists) > 10 AND abs(now.lists - before.lists) > 0.02 * before.lists
