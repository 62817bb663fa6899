-- Runs
-- # commands: runs that began on these days, by what they did; those that are open run, or were killed
SELECT command, dataset, count(*) AS runs, count(*) FILTER (WHERE state = 'ok') AS ok,
       count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'running') AS open,
       sum(rows)::bigint AS rows,
       (percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)))::float8 AS median_seconds,
       max(extract(epoch FROM finished_at - started_at))::float8 AS longest_seconds
FROM ops.runs
WHERE started_at >= $1::timestamp AT TIME ZONE 'Asia/Seoul'
  AND started_at < ($2 + 1)::timestamp AT TIME ZONE 'Asia/Seoul'
  AND (dataset = ANY ($3) OR dataset IS NULL)
GROUP BY command, dataset
ORDER BY command, array_position($3, dataset);
-- # failures: why runs failed, the newest first
-- chart: bars reason runs
SELECT coalesce(reason, 'running, or killed') AS reason, exit_code, count(*) AS runs, max(started_at) AS last,
       max(run_id) AS last_run_id
FROM ops.runs
WHERE state <> 'ok'
  AND started_at >= $1::timestamp AT TIME ZONE 'Asia/Seoul'
  AND started_at < ($2 + 1)::timestamp AT TIME ZONE 'Asia/Seoul'
  AND (dataset = ANY ($3) OR dataset IS NULL)
GROUP BY 1, 2
ORDER BY max(run_id) DESC
LIMIT $5;
-- # runs: the newest
-- hidden: source, seconds, flagged, reason, exit_code, state, inserted, updated, unchanged
-- note: `kdata runs` says why a run failed.
SELECT r.run_id, r.started_at, r.command, r.dataset,
       CASE r.state WHEN 'failed' THEN format('exit %s', r.exit_code) WHEN 'running' THEN 'open'
                    ELSE coalesce(b.state, 'ok') END AS outcome,
       r.from_time AS "from", r.to_time AS "to", r.rows, r.rejected, r.batch_id,
       r.source, extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds, r.state, r.exit_code, r.flagged,
       b.inserted, b.updated, b.unchanged, r.reason
FROM ops.runs r
LEFT JOIN ops.batches b USING (batch_id)
WHERE r.started_at >= $1::timestamp AT TIME ZONE 'Asia/Seoul'
  AND r.started_at < ($2 + 1)::timestamp AT TIME ZONE 'Asia/Seoul'
  AND (r.dataset = ANY ($3) OR r.dataset IS NULL)
ORDER BY r.run_id DESC
LIMIT $5;
