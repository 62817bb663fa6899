-- The last runs, newest first. $1: how many; $2: only failed ones; $3: only this dataset.
SELECT r.run_id, r.command, r.dataset, r.source, r.from_time, r.to_time, r.started_at,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,
       r.state, r.exit_code, r.rows, r.rejected, r.flagged, r.batch_id, b.state AS batch_state,
       b.inserted, b.updated, b.unchanged, r.reason
FROM ops.runs r
LEFT JOIN ops.batches b USING (batch_id)
WHERE (NOT $2 OR r.state <> 'ok') AND ($3::text IS NULL OR r.dataset = $3)
ORDER BY r.run_id DESC
LIMIT $1;
