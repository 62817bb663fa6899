-- Runs that failed, or never ended, since the last good one of the same command and dataset; of the last 30 days.
-- $1: the present.
-- Left out: what is no failure to look at (8 another run held the lock, 9 not published yet), and promotes whose batch is
-- held, which is told of the batch, or gone, which somebody has seen to.
WITH recent AS (
    SELECT r.run_id, r.command, r.dataset, r.state, r.exit_code, r.reason, r.started_at, b.state AS batch, b.problem
    FROM ops.runs r
    LEFT JOIN ops.batches b USING (batch_id)
    WHERE r.started_at > $1::timestamptz - interval '30 days'
), good AS (
    SELECT command, dataset, max(run_id) AS run_id FROM recent WHERE state = 'ok' GROUP BY 1, 2
)
SELECT r.command, r.dataset, count(*) AS runs, (array_agg(r.exit_code ORDER BY r.run_id DESC))[1] AS exit_code,
       (array_agg(coalesce(r.reason, 'never ended: killed, or still running') ORDER BY r.run_id DESC))[1] AS reason
FROM recent r
WHERE NOT EXISTS (
        -- Of what did not come so far as to tell its dataset, any later good one will do.
        SELECT FROM good g
        WHERE g.command = r.command AND (g.dataset = r.dataset OR r.dataset IS NULL) AND g.run_id > r.run_id
    )
  AND CASE r.state
          WHEN 'failed' THEN r.exit_code NOT IN (8, 9)
               AND (r.batch IS NULL OR r.command <> 'promote' OR (r.batch = 'staged' AND r.problem IS NULL))
          WHEN 'running' THEN r.started_at < $1::timestamptz - interval '12 hours'
          ELSE false
      END
GROUP BY r.command, r.dataset
ORDER BY max(r.run_id) DESC
