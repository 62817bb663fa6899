-- Minutes beyond the low and high of their day in production, or of a day without trades in the regular session.
SELECT '{dataset}.within_day', 'flag', d.stock_code, d.time,
       format('minutes low=%s high=%s, day low=%s high=%s', d.low, d.high, o.low, o.high)
FROM {own} d
JOIN market.ohlcv_daily o ON o.stock_code = d.stock_code AND o.time = d.time AND o.time {days}
WHERE d.low < o.low OR d.high > o.high OR o.open IS NULL
