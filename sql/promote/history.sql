-- The history of the names that a batch of masters touches, as it must stand after it.
--
-- A history is what the masters at hand show, each standing until the next one. So masters may come in any order
-- of dates: an older one fills history, and the state that a newer one showed begins again where that one stands.
-- Points of a name:
--   present  the batch shows it on a session
--   absent   a whole master of the batch does not show a name that was known before
--   known    what the history already says: where each of its states begins, and at the first whole master after each
--            session of the batch that the batch does not hold

CREATE TEMP TABLE batch_times ON COMMIT DROP AS
SELECT t.time,
       (SELECT min(m.time) FROM market.session_status m
        WHERE m.dataset = 'stocks' AND m.names = 'whole' AND m.time > t.time
          AND NOT EXISTS (SELECT FROM staged_times u WHERE u.time = m.time)) AS next_known
FROM staged_times t;

-- Rows that were rejected, and codes that the source could not give, say nothing of whether their name is gone.
CREATE TEMP TABLE unjudged ON COMMIT DROP AS
SELECT split_part(r.row, ',', 1) AS stock_code, split_part(r.row, ',', 2) AS time
FROM ops.rejects r JOIN ops.runs n USING (run_id) CROSS JOIN job
WHERE n.batch_id = job.batch_id
UNION ALL
SELECT f.stock_code, t.time::text
FROM ops.flags f CROSS JOIN staged_times t
WHERE f.batch_id = {batch} AND f.severity = 'missing' AND coalesce(f.time, t.time) = t.time;

CREATE TEMP TABLE touched ON COMMIT DROP AS
SELECT DISTINCT stock_code FROM staged
UNION
SELECT h.stock_code FROM market.stock_history h, job
WHERE h.valid_from <= job.to_time AND h.market = ANY (job.markets) AND h.security_type = ANY (job.kinds);

CREATE TEMP TABLE points ON COMMIT DROP AS
WITH present AS (
    SELECT s.stock_code, s.time, false AS absent,
           {present}
    FROM staged s
    LEFT JOIN market.stock_history h
           ON h.stock_code = s.stock_code AND h.valid_from <= s.time AND (h.valid_to IS NULL OR h.valid_to > s.time)
    LEFT JOIN market.stocks k ON k.stock_code = s.stock_code
), known AS (
    -- A name that went without a delisting date is inactive by absence: what it was is carried from before. Where there
    -- is nothing before, a list of delisted names showed it.
    SELECT h.stock_code, h.valid_from AS time, {by_absence} AS absent,
           {history}
    FROM market.stock_history h
    JOIN touched USING (stock_code)
    CROSS JOIN job
    WHERE NOT EXISTS (SELECT FROM staged s WHERE s.stock_code = h.stock_code AND s.time = h.valid_from)
      AND NOT (job.names = 'whole' AND h.market = ANY (job.markets) AND h.security_type = ANY (job.kinds)
               AND EXISTS (SELECT FROM staged_times t WHERE t.time = h.valid_from))
    UNION
    SELECT h.stock_code, n.next_known, {by_absence},
           {history}
    FROM (SELECT DISTINCT next_known FROM batch_times WHERE next_known IS NOT NULL) n
    JOIN market.stock_history h
      ON h.valid_from <= n.next_known AND (h.valid_to IS NULL OR h.valid_to > n.next_known)
    JOIN touched USING (stock_code)
), absent AS (
    SELECT c.stock_code, t.time
    FROM touched c CROSS JOIN staged_times t CROSS JOIN job
    WHERE job.names = 'whole'
      AND NOT EXISTS (SELECT FROM staged s WHERE s.stock_code = c.stock_code AND s.time = t.time)
      AND NOT EXISTS (SELECT FROM unjudged u WHERE u.stock_code = c.stock_code AND u.time = t.time::text)
    UNION
    -- Shown by the batch, unknown to the whole master after it.
    SELECT c.stock_code, n.next_known
    FROM touched c
    CROSS JOIN (SELECT DISTINCT next_known FROM batch_times WHERE next_known IS NOT NULL) n
    JOIN market.session_status m ON m.dataset = 'stocks' AND m.time = n.next_known AND m.names = 'whole'
    JOIN ops.batches b ON b.batch_id = m.batch_id
    WHERE EXISTS (SELECT FROM staged s
                  WHERE s.stock_code = c.stock_code
                    AND CASE WHEN s.security_type IN ('ETF', 'ETN') THEN lower(s.security_type) ELSE 'stock' END
                      = ANY (string_to_array(split_part(b.scope, '/', 2), ',')))
      AND NOT EXISTS (SELECT FROM market.stock_history h
                      WHERE h.stock_code = c.stock_code AND h.valid_from <= n.next_known
                        AND (h.valid_to IS NULL OR h.valid_to > n.next_known))
)
SELECT * FROM present
UNION ALL
SELECT * FROM known
UNION ALL
SELECT a.stock_code, a.time, true, {nulls} FROM absent a
WHERE NOT EXISTS (SELECT FROM known k WHERE k.stock_code = a.stock_code AND k.time = a.time);

CREATE TEMP TABLE incoming_history ON COMMIT DROP AS
WITH grouped AS (
    SELECT *, count(*) FILTER (WHERE NOT absent) OVER (PARTITION BY stock_code ORDER BY time) AS shown FROM points
), carried AS (
    SELECT stock_code, time, {carried}
    FROM grouped
    WHERE shown > 0
    WINDOW w AS (PARTITION BY stock_code, shown ORDER BY time)
), changes AS (
    SELECT *, (({columns}) IS DISTINCT FROM ({lagged})) OR row_number() OVER w = 1 AS begins
    FROM carried
    WINDOW w AS (PARTITION BY stock_code ORDER BY time)
)
SELECT stock_code, time AS valid_from, lead(time) OVER (PARTITION BY stock_code ORDER BY time) AS valid_to, {columns}
FROM changes
WHERE begins;
CREATE INDEX ON incoming_history (stock_code, valid_from);
ANALYZE incoming_history;

CREATE TEMP TABLE incoming_stocks ON COMMIT DROP AS
SELECT stock_code, valid_from, {columns} FROM incoming_history WHERE valid_to IS NULL;
