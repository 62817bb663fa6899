-- around: the minutes of each name and session together, the batch's and production's of the sessions beside them.
-- {minutes_beside}: those of production, session by session.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT stock_code, time, bars, low, high, volume FROM staged_days JOIN staged_times USING (time)
{minutes_beside};
ANALYZE around;
