-- What production holds is told by its status, and guarded by the tables themselves.

-- session_status is claimed by a batch, and counted from what stands in production.
ALTER TABLE market.session_status ALTER rows SET DEFAULT 0;
COMMENT ON COLUMN market.session_status.source IS 'whose data the session is made of';
COMMENT ON COLUMN market.session_status.rows IS 'rows that production holds of the session; stocks: names listed on it';
COMMENT ON COLUMN market.session_status.names IS 'whole: all listed names came; traded: those with trades; list: some, asked for by code or market';
COMMENT ON COLUMN market.session_status.finality IS 'final: the source does not change its answer any more';
COMMENT ON COLUMN market.session_status.batch_id IS 'the batch whose claim stands; a list that came later may have filled it up';
COMMENT ON COLUMN market.session_status.promoted_at IS 'when that claim or its rows last changed';

-- What is to be said of a session: by the batch whose claim stands and by those promoted after it, which may have
-- filled it up or seen it beside their own. Where several say the same of a name, the last one counts.
CREATE VIEW ops.session_remarks AS
WITH speaking AS (
    SELECT s.dataset, s.time, b.batch_id, s.time BETWEEN b.from_time AND b.to_time AS is_own
    FROM market.session_status s
    JOIN ops.batches c ON c.batch_id = s.batch_id
    JOIN ops.batches b ON b.dataset = s.dataset AND b.state = 'promoted'
                      AND (b.promoted_at, b.batch_id) >= (c.promoted_at, c.batch_id)
), said AS (
    SELECT f.dataset, f.time, f.severity, f.rule, f.stock_code, f.message, f.batch_id, NULL AS row
    FROM speaking s
    JOIN ops.flags f ON f.dataset = s.dataset AND f.time = s.time AND f.batch_id = s.batch_id
    UNION ALL
    SELECT s.dataset, s.time, 'reject', r.rule, split_part(r.row, ',', CASE s.dataset WHEN 'sectors' THEN 2 ELSE 1 END),
           r.message, s.batch_id, r.row
    FROM speaking s
    JOIN ops.runs n ON n.batch_id = s.batch_id
    JOIN ops.rejects r ON r.run_id = n.run_id AND r.row LIKE '%' || s.time || '%'
    WHERE s.is_own
), aged AS (
    SELECT *, rank() OVER (PARTITION BY dataset, time, severity, rule, stock_code, row ORDER BY batch_id DESC) AS age
    FROM said
)
SELECT dataset, time, severity, rule, stock_code, message FROM aged WHERE age = 1;
COMMENT ON VIEW ops.session_remarks IS 'Rejects, flags and notes about the sessions that production holds, each by the last batch that says it.';
