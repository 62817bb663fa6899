-- slices: the lists that the batch holds whole: those with rows, and those that are marked as truly empty.
CREATE TEMP TABLE slices ON COMMIT DROP AS
SELECT DISTINCT s.time, s.{slice} AS slice FROM staged s
UNION
SELECT f.time, f.stock_code
FROM ops.flags f JOIN staged_times t ON t.time = f.time
WHERE f.batch_id = {batch} AND f.severity = 'slice';
CREATE INDEX ON slices (slice, time);
ANALYZE slices;
