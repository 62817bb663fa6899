-- Minutes that make more than their day's volume in production, or less than half of it.
SELECT '{dataset}.volume_is_of_day', CASE WHEN d.volume > o.volume THEN 'flag' ELSE 'note' END, d.stock_code, d.time,
       format('minutes volume=%s, day volume=%s', d.volume, o.volume)
FROM {own} d
JOIN market.ohlcv_daily o ON o.stock_code = d.stock_code AND o.time = d.time AND o.time {days}
WHERE d.volume > o.volume OR d.volume < o.volume / 2
