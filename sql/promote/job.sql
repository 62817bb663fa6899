-- What the checks and the merges of one promote see, in temporary relations:
--   job       the batch: dataset, range, scope, names
--   sessions  the sessions of its range, each with the one before
--   staged_times  the sessions of its rows, and of lists that are marked as truly empty
--   staged    its rows, without the sessions that better data in production hold back
-- What stands in braces is filled in by promote: a table made by load, names and expressions of the static list.
CREATE TEMP TABLE job ON COMMIT DROP AS
SELECT b.batch_id, b.dataset, b.source, b.from_time, b.to_time, b.names, b.finality, b.value_unit,
       string_to_array(split_part(b.scope, '/', 1), ',') AS markets,
       -- The classes of its scope as kinds of securities.
       ARRAY(SELECT k.kind
             FROM (VALUES ('stock', 'STOCK'), ('stock', 'PREFERRED'), ('stock', 'REIT'), ('stock', 'SPAC'),
                          ('etf', 'ETF'), ('etn', 'ETN')) AS k(class, kind)
             WHERE k.class = ANY (string_to_array(split_part(b.scope, '/', 2), ','))) AS kinds
FROM ops.batches b
WHERE b.batch_id = {batch};

CREATE TEMP TABLE sessions ON COMMIT DROP AS
SELECT d.time, d.prev_time, d.certain
FROM market.trading_days d, job
WHERE d.time BETWEEN job.from_time AND job.to_time;

CREATE TEMP TABLE staged_times ON COMMIT DROP AS
SELECT time, sum(rows)::bigint AS rows
FROM (
    {by_session}
    UNION ALL
    SELECT DISTINCT f.time, 0::bigint FROM ops.flags f
    WHERE f.batch_id = {batch} AND f.severity = 'slice' AND f.time IS NOT NULL
) AS t
GROUP BY time;
