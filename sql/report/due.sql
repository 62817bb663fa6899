-- The recent sessions of a dataset that are not promoted final and whole.
-- $1: the dataset; $2: the last session that is over; $3: how many sessions to look at.
SELECT d.time, coalesce(CASE WHEN s.names = 'list' THEN 'only some of the names' ELSE s.finality END, 'absent') AS state
FROM (SELECT time FROM market.trading_days WHERE time <= $2 AND certain ORDER BY time DESC LIMIT $3) d
LEFT JOIN market.session_status s ON s.dataset = $1 AND s.time = d.time
WHERE s.time IS NULL OR s.finality <> 'final' OR s.names = 'list'
ORDER BY d.time;
