-- staged_days: the minutes of each name and session of the batch together.
CREATE TEMP TABLE staged_days ON COMMIT DROP AS
SELECT stock_code, {session} AS time, count(*) AS bars, min(low) AS low, max(high) AS high, sum(volume)::bigint AS volume
FROM {staging}
GROUP BY 1, 2;
ANALYZE staged_days;
