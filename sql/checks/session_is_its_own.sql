-- Sessions whose minutes contradict their daily bars for more than a fifth of the names.
WITH judged AS (
    SELECT d.time, count(*) AS names,
           count(*) FILTER (WHERE d.low < o.low OR d.high > o.high OR o.open IS NULL OR d.volume > o.volume
                               OR d.volume < o.volume / 2) AS odd
    FROM {own} d
    JOIN market.ohlcv_daily o ON o.stock_code = d.stock_code AND o.time = d.time AND o.time {days}
    GROUP BY d.time
)
SELECT '{dataset}.session_is_its_own', 'gate', NULL::text, time,
       format('the minutes of %s of %s names contradict the daily bars of %s', odd, names, time)
FROM judged
WHERE names >= 10 AND odd > 0.2 * names
