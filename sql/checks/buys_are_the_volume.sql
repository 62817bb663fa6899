-- What everybody bought against the day's volume: one line a session, where more than 1 % of the names differ.
WITH bought AS (
    SELECT s.stock_code, s.time, sum(s.buy_volume) AS volume
    FROM staged s
    WHERE s.investor_type <> 'PENSION' AND s.buy_volume IS NOT NULL
    GROUP BY 1, 2 HAVING count(*) = 4
), judged AS (
    SELECT b.stock_code, b.time, b.volume, o.volume AS of_day
    FROM bought b
    JOIN market.ohlcv_daily o ON o.stock_code = b.stock_code AND o.time = b.time AND o.time {days}
), differing AS (
    SELECT time, count(*) AS names, count(*) FILTER (WHERE volume <> of_day) AS differ,
           min(format('%s: %s of %s', stock_code, volume, of_day)) FILTER (WHERE volume <> of_day) AS example
    FROM judged GROUP BY time
)
SELECT '{dataset}.buys_are_the_volume', 'flag', NULL::text, time,
       format('of %s names, %s were bought in all in other numbers than were traded on %s, e.g. %s',
              names, differ, time, example)
FROM differing
WHERE differ > 0.01 * names
