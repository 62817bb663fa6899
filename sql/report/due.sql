-- The recent sessions of a dataset that are not promoted final and whole. Of lists, one session a week is enough: the
-- last one of each week that has none.
-- $1: the dataset; $2: the last session that may be there; $3: how many sessions to look at; $4: is one a week enough;
-- $5: also those before the first session that the database has of any dataset, or before the last where it has none.
WITH recent AS (
    SELECT time FROM market.trading_days WHERE time <= $2 AND certain ORDER BY time DESC LIMIT $3
), days AS (
    -- Of the first week all sessions count: one before the recent ones may have what is asked for.
    SELECT d.time FROM market.trading_days d, (SELECT min(time) AS time FROM recent) f
    WHERE d.certain AND d.time <= $2 AND d.time >= CASE WHEN $4 THEN date_trunc('week', f.time)::date ELSE f.time END
), began AS (
    SELECT coalesce((SELECT min(time) FROM market.session_status), (SELECT max(time) FROM days)) AS time
), judged AS (
    SELECT d.time, coalesce(s.finality = 'final' AND s.names <> 'list', false) AS is_there,
           coalesce(CASE WHEN s.names = 'list' THEN 'only some of the names' ELSE s.finality END, 'absent') AS state,
           CASE WHEN $4 THEN date_trunc('week', d.time)::date ELSE d.time END AS period
    FROM days d
    CROSS JOIN began
    LEFT JOIN market.session_status s ON s.dataset = $1 AND s.time = d.time
    WHERE $5 OR d.time >= began.time
)
SELECT max(time), (array_agg(state ORDER BY time DESC))[1]
FROM judged
GROUP BY period
HAVING NOT bool_or(is_there)
ORDER BY 1
