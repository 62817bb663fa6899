-- What became of rejects and flags after somebody looked at them. Nothing is deleted.
ALTER TABLE ops.rejects
    ADD COLUMN replay text,
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_why text,
    ADD CONSTRAINT rejects_discarded CHECK ((discarded_at IS NULL) = (discarded_why IS NULL));
COMMENT ON COLUMN ops.rejects.replay IS 'extract_run of the stream in which the row was given to load once more';
COMMENT ON COLUMN ops.rejects.discarded_why IS 'what the person who looked at it wrote';
ALTER TABLE ops.flags
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_why text,
    ADD CONSTRAINT flags_discarded CHECK ((discarded_at IS NULL) = (discarded_why IS NULL));
COMMENT ON COLUMN ops.flags.discarded_why IS 'what the person who looked at it wrote';
CREATE INDEX batches_by_extract_run ON ops.batches (extract_run);

-- A replayed row counts as such while a batch of its replay stands: a rollback opens it again by itself.
CREATE VIEW ops.kept_rejects AS
SELECT r.reject_id AS id, r.run_id, n.batch_id, r.dataset, n.source, n.from_time, n.to_time, 'reject' AS severity,
       r.rule, r.line, NULL::text AS stock_code, NULL::date AS time, r.message, r.row,
       CASE WHEN p.batch_id IS NOT NULL THEN 'replayed' WHEN r.discarded_at IS NOT NULL THEN 'discarded'
            ELSE 'open' END AS state,
       p.batch_id AS replayed_as, r.discarded_at, r.discarded_why
FROM ops.rejects r
JOIN ops.runs n USING (run_id)
LEFT JOIN LATERAL (
    SELECT max(b.batch_id) AS batch_id FROM ops.batches b
    WHERE b.extract_run = r.replay AND b.state IN ('staged', 'promoted')
) p ON true;
COMMENT ON VIEW ops.kept_rejects IS 'Rejects with the batch they belong to, and what became of them: open, replayed, discarded.';

CREATE VIEW ops.kept_flags AS
SELECT f.flag_id AS id, f.run_id, coalesce(f.batch_id, n.batch_id) AS batch_id, f.dataset, n.source, n.from_time, n.to_time,
       f.severity, f.rule, NULL::bigint AS line, f.stock_code, f.time, f.message, NULL::text AS row,
       CASE WHEN f.discarded_at IS NOT NULL THEN 'discarded' ELSE 'open' END AS state,
       NULL::bigint AS replayed_as, f.discarded_at, f.discarded_why
FROM ops.flags f
JOIN ops.runs n USING (run_id);
COMMENT ON VIEW ops.kept_flags IS 'Flags, notes and gates with the batch they belong to, and whether somebody has looked at them.';

-- What a session's report tells: a row that came in all the same is no reject any more.
CREATE OR REPLACE VIEW ops.session_remarks AS
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
      AND (r.replay IS NULL
           OR NOT EXISTS (SELECT FROM ops.batches p WHERE p.extract_run = r.replay AND p.state = 'promoted'))
), aged AS (
    SELECT *, rank() OVER (PARTITION BY dataset, time, severity, rule, stock_code, row ORDER BY batch_id DESC) AS age
    FROM said
)
SELECT dataset, time, severity, rule, stock_code, message FROM aged WHERE age = 1;
