-- What the checks and the merges of one promote see, in temporary relations:
--   job       the batch: dataset, range, scope, names
--   sessions  the sessions of its range, each with the one before
--   staged    its rows, without the sessions that better data in production hold back
-- {staging} and {dataset} are filled in by promote: a table made by load, a name of the static list.
CREATE TEMP TABLE job ON COMMIT DROP AS
SELECT b.batch_id, b.dataset, b.source, b.from_time, b.to_time, b.names, b.finality,
       string_to_array(split_part(b.scope, '/', 1), ',') AS markets
FROM ops.batches b
WHERE b.batch_id = {batch};

CREATE TEMP TABLE sessions ON COMMIT DROP AS
SELECT d.time, d.prev_time, d.certain
FROM market.trading_days d, job
WHERE d.time BETWEEN job.from_time AND job.to_time;

CREATE TEMP TABLE staged_times ON COMMIT DROP AS
SELECT time, count(*) AS rows FROM {staging} GROUP BY time;

ANALYZE {staging};
