-- bases: base prices beside the close of the previous calendar session: of the batch's sessions, and of the sessions
-- in production that follow one which the batch brings (an older session may come later).
CREATE TEMP TABLE bases ON COMMIT DROP AS
SELECT a.stock_code, a.time, a.base_price, a.market, a.security_type, a.volume,
       s.prev_time, b.close AS prev_close, b.volume AS prev_volume
FROM sessions s
JOIN staged a ON a.time = s.time
JOIN around b ON b.time = s.prev_time AND b.stock_code = a.stock_code
UNION ALL
SELECT a.stock_code, a.time, a.base_price, a.market, a.security_type, a.volume, d.prev_time, b.close, b.volume
FROM market.trading_days d
JOIN market.{table} a ON a.time = d.time
JOIN staged b ON b.time = d.prev_time AND b.stock_code = a.stock_code
WHERE d.prev_time IN (SELECT time FROM staged_times) AND d.time NOT IN (SELECT time FROM staged_times);
CREATE INDEX ON bases (stock_code, time);
ANALYZE bases;
