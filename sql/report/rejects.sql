-- Rejects
-- # rules: rejected rows by rule, and how many of them nobody has looked at
-- chart: bars rule rejected
-- note: `kdata explain RULE` says what a rule means; `kdata rejects show ID` shows a row whole.
SELECT rule, dataset, count(*) AS rejected, count(*) FILTER (WHERE state = 'open') AS open,
       count(DISTINCT run_id) AS runs, min(from_time) AS first, max(to_time) AS last
FROM ops.kept_rejects
WHERE from_time <= $2 AND to_time >= $1 AND dataset = ANY ($3)
GROUP BY dataset, rule
ORDER BY rejected DESC, dataset, rule;
-- # rejects: the newest
-- hidden: run_id, batch_id, line, source, row
SELECT id AS reject_id, dataset, rule, state, message, run_id, batch_id, line, source, row
FROM ops.kept_rejects
WHERE from_time <= $2 AND to_time >= $1 AND dataset = ANY ($3)
ORDER BY id DESC
LIMIT $5;
