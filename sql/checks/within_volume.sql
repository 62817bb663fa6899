-- Investors against the day's volume and value in production.
WITH judged AS (
    SELECT s.stock_code, s.time, s.investor_type,
           greatest(s.buy_volume, s.sell_volume, abs(s.net_volume)) AS most_volume, o.volume,
           greatest(s.buy_value, s.sell_value, abs(s.net_value)) AS most_value, o.value,
           greatest(s.buy_volume, s.sell_volume, abs(s.net_volume)) > o.volume
           OR greatest(s.buy_value, s.sell_value, abs(s.net_value)) > o.value + 2 * job.value_unit AS beyond
    FROM staged s
    JOIN market.ohlcv_daily o ON o.stock_code = s.stock_code AND o.time = s.time AND o.time {days}
    CROSS JOIN job
)
SELECT '{dataset}.within_volume', 'flag', stock_code, time,
       format('%s: volume=%s of the day''s %s, value=%s of %s', investor_type, most_volume, volume, most_value, value)
FROM judged WHERE beyond
UNION ALL
SELECT '{dataset}.within_volume', 'gate', NULL, time,
       format('%s of %s rows of %s are beyond the day''s volume or value', count(*) FILTER (WHERE beyond), count(*), time)
FROM judged
GROUP BY time
HAVING count(*) FILTER (WHERE beyond) > 10 AND count(*) FILTER (WHERE beyond) > 0.01 * count(*)
