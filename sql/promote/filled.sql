-- Names whose minutes in production, within the sessions that were written, are not those of the batch: none.
WITH staged AS (
    SELECT stock_code, sum(bars)::bigint AS bars, min(low) AS low, max(high) AS high, sum(volume)::bigint AS volume
    FROM staged_days JOIN staged_times USING (time)
    GROUP BY 1
), filled AS (
    SELECT stock_code, count(*) AS bars, min(low) AS low, max(high) AS high, sum(volume)::bigint AS volume
    FROM market.{table}
    WHERE {written_within}
    GROUP BY 1
)
SELECT count(*)
FROM staged s FULL JOIN filled f USING (stock_code)
WHERE (s.bars, s.low, s.high, s.volume) IS DISTINCT FROM (f.bars, f.low, f.high, f.volume)
