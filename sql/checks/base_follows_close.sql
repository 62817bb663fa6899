-- Base prices that differ from the close of the previous calendar session; promote tells half-tick round-ups apart.
SELECT stock_code, time, base_price, prev_close, prev_time, market, security_type, volume > 0, prev_volume > 0
FROM bases
WHERE base_price <> prev_close
ORDER BY time, stock_code
