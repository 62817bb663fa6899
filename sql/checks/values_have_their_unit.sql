-- The price that net value over net volume makes, against the day's close: a unit that is not KRW shows.
WITH prices AS (
    SELECT s.time, percentile_cont(0.5) WITHIN GROUP (
               ORDER BY abs(s.net_value)::float8 / abs(s.net_volume) / o.close
           ) AS ratio, count(*) AS rows
    FROM staged s
    JOIN market.ohlcv_daily o ON o.stock_code = s.stock_code AND o.time = s.time AND o.time {days}
    CROSS JOIN job
    -- Small amounts drown in the source's rounding, and in trades within the day.
    WHERE abs(s.net_volume) >= 1000 AND abs(s.net_value) >= 100 * job.value_unit
    GROUP BY s.time
)
SELECT '{dataset}.values_have_their_unit', 'gate', NULL::text, time,
       format('on %s value over volume is %s times the close, in the middle of %s rows', time,
              trim_scale(round(ratio::numeric, 6)), rows)
FROM prices
WHERE rows >= 10 AND ratio NOT BETWEEN 0.5 AND 2
