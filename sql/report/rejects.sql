-- Rejected rows, newest first. $1: how many; $2: only of this run; $3: only of this rule.
SELECT r.reject_id, r.run_id, n.batch_id, r.dataset, r.line, r.rule, r.message, r.row
FROM ops.rejects r
JOIN ops.runs n USING (run_id)
WHERE ($2::bigint IS NULL OR r.run_id = $2) AND ($3::text IS NULL OR r.rule = $3)
ORDER BY r.reject_id DESC
LIMIT $1;
