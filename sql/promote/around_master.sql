-- around: the batch's masters, and what the history says of the masters before them that the batch does not hold.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT stock_code, time, market, listed_shares FROM staged WHERE is_active
UNION ALL
SELECT h.stock_code, m.time, h.market, h.listed_shares
FROM market.session_status m
JOIN market.stock_history h ON h.valid_from <= m.time AND (h.valid_to IS NULL OR h.valid_to > m.time) AND h.is_active
WHERE m.dataset = 'stocks'
  AND m.time IN (SELECT s.prev_time FROM sessions s WHERE EXISTS (SELECT FROM staged_times t WHERE t.time = s.time)
                 EXCEPT SELECT time FROM staged_times);
ANALYZE around;

CREATE TEMP TABLE claims ON COMMIT DROP AS
SELECT t.time, job.names FROM staged_times t, job
UNION ALL
SELECT s.time, s.names FROM market.session_status s, job
WHERE s.dataset = job.dataset AND s.time NOT IN (SELECT time FROM staged_times)
  AND s.time IN (SELECT prev_time FROM sessions);
