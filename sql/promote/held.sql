-- Sessions that production holds in better shape: of a higher finality, or of the same and a better source.
-- $1: the sources, best first.
SELECT s.time, s.source, s.finality
FROM market.session_status s
JOIN staged_times t ON t.time = s.time
JOIN job ON job.dataset = s.dataset
WHERE (s.finality = 'final' AND job.finality = 'provisional')
   OR (s.finality = job.finality
       AND coalesce(array_position($1::text[], s.source), 99) < coalesce(array_position($1::text[], job.source), 99))
ORDER BY s.time;
