-- around: the minutes of each name and session together, the batch's and production's of the sessions beside them.
-- {minutes_beside}: those of production, session by session.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT stock_code, {session} AS time, count(*) AS bars, min(low) AS low, max(high) AS high, sum(volume)::bigint AS volume
FROM staged
GROUP BY 1, 2
{minutes_beside};
ANALYZE around;
