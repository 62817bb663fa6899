-- bases: base prices beside the close of the previous calendar session.
CREATE TEMP TABLE bases ON COMMIT DROP AS
SELECT a.stock_code, a.time, a.base_price, a.market, a.security_type, a.volume,
       s.prev_time, b.close AS prev_close, b.volume AS prev_volume
FROM seams s
JOIN around a ON a.time = s.time
JOIN around b ON b.time = s.prev_time AND b.stock_code = a.stock_code;
CREATE INDEX ON bases (stock_code, time);
ANALYZE bases;
