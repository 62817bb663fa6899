-- Where the batch's sessions meet others. A session may come after the one that follows it, so both sides count.
--   seams   sessions with the one before, where both are at hand and one at least is the batch's
--   beside  those of them that production holds and the batch does not
--   claims  which names each session claims to hold
CREATE TEMP TABLE seams ON COMMIT DROP AS
WITH at_hand AS (
    SELECT time, true AS is_own FROM staged_times
    UNION ALL
    SELECT s.time, false FROM market.session_status s, job
    WHERE s.dataset = job.dataset AND s.time NOT IN (SELECT time FROM staged_times)
)
SELECT d.time, d.prev_time, a.is_own, b.is_own AS prev_is_own
FROM market.trading_days d
JOIN at_hand a ON a.time = d.time
JOIN at_hand b ON b.time = d.prev_time
WHERE a.is_own OR b.is_own;

CREATE TEMP TABLE beside ON COMMIT DROP AS
SELECT time FROM seams WHERE NOT is_own
UNION
SELECT prev_time FROM seams WHERE NOT prev_is_own;
ANALYZE seams, beside;

CREATE TEMP TABLE claims ON COMMIT DROP AS
SELECT t.time, job.names FROM staged_times t, job
UNION ALL
SELECT s.time, s.names FROM market.session_status s JOIN job USING (dataset) JOIN beside b ON b.time = s.time;
