-- The capitalisation against the session's close in production.
SELECT 'market-cap.is_close_times_shares', 'flag', a.stock_code, a.time,
       format('market_cap=%s, close=%s x listed_shares=%s', a.market_cap, o.close, a.listed_shares)
FROM staged a
JOIN market.ohlcv_daily o ON o.stock_code = a.stock_code AND o.time = a.time
WHERE o.{within}
  AND a.market_cap <> o.close::numeric * a.listed_shares
