-- around: the batch's masters, and what the history says of the masters beside them that the batch does not hold.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT stock_code, time, market, security_type, listed_shares FROM staged WHERE is_active
UNION ALL
SELECT h.stock_code, m.time, h.market, h.security_type, h.listed_shares
FROM beside m
CROSS JOIN job
JOIN market.stock_history h ON h.valid_from <= m.time AND (h.valid_to IS NULL OR h.valid_to > m.time) AND h.is_active
 AND h.security_type = ANY (job.kinds);
ANALYZE around;
