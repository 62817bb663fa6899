-- slices: the lists that the batch holds whole, those with rows and those that are marked as truly empty.
-- neighbours: each of them beside the snapshot before it and after it, where there is one within 45 days.
-- withheld: lists that do not come into production:
--   broken  a row of the list was rejected: it is not whole
--   better  production holds the list from a better source, or final
CREATE TEMP TABLE slices ON COMMIT DROP AS
WITH own AS (
    SELECT s.time, s.{slice} AS slice, count(*) AS rows FROM staged s GROUP BY 1, 2
)
SELECT time, slice, rows FROM own
UNION ALL
SELECT DISTINCT f.time, f.stock_code, 0::bigint
FROM ops.flags f
WHERE f.batch_id = {batch} AND f.severity = 'slice' AND f.time IS NOT NULL
  AND NOT EXISTS (SELECT FROM own o WHERE o.time = f.time AND o.slice = f.stock_code);
CREATE INDEX ON slices (slice, time);
ANALYZE slices;

CREATE TEMP TABLE neighbours ON COMMIT DROP AS
WITH beside AS (
    SELECT time, slice, rows, true AS is_own FROM slices
    UNION ALL
    SELECT m.time, m.slice, m.rows, false
    FROM market.snapshots m, job
    WHERE m.dataset = job.dataset AND m.time BETWEEN job.from_time - 45 AND job.to_time + 45
      AND NOT EXISTS (SELECT FROM slices x WHERE x.time = m.time AND x.slice = m.slice)
), sequence AS (
    SELECT slice, time, rows, is_own, lag(time) OVER w AS prev_time, lag(rows) OVER w AS prev_rows,
           lag(is_own) OVER w AS prev_is_own
    FROM beside WINDOW w AS (PARTITION BY slice ORDER BY time)
)
SELECT * FROM sequence WHERE prev_time >= time - 45 AND (is_own OR prev_is_own);
ANALYZE neighbours;

CREATE TEMP TABLE withheld ON COMMIT DROP AS
SELECT x.time, x.slice, x.rows, 'better' AS reason, m.source, m.finality
FROM slices x
CROSS JOIN job
JOIN market.snapshots m ON m.dataset = job.dataset AND m.slice = x.slice AND m.time = x.time
WHERE (m.finality = 'final' AND job.finality = 'provisional')
   OR (m.finality = job.finality
       AND coalesce(array_position({sources}::text[], m.source), 99)
         < coalesce(array_position({sources}::text[], job.source), 99))
UNION ALL
SELECT x.time, x.slice, x.rows, 'broken', NULL, NULL
FROM slices x
WHERE EXISTS (
    SELECT FROM ops.rejects r JOIN ops.runs n USING (run_id)
    WHERE n.batch_id = {batch}
      AND split_part(r.row, ',', 1) = x.slice AND split_part(r.row, ',', {time_at}) = x.time::text
      -- A row that came twice, the same, is there.
      AND NOT (r.rule = 'row.key_unique' AND EXISTS (
          SELECT FROM staged s
          WHERE s.{slice} = x.slice AND s.time = x.time AND s.{member} = split_part(r.row, ',', {member_at})
      ))
);
