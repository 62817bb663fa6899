-- What session_status shall say of the batch's sessions: whose data they are, which names they claim, how final.
-- A batch that claims less than stands there, and lacks rows that stand there, unmakes nothing: it can only make the
-- session less final. {written}: the rows of production by session, and whether the batch wrote any of them.
CREATE TEMP TABLE incoming_status ON COMMIT DROP AS
WITH written AS (
    {written}
), claimed AS (
    SELECT t.time, t.rows,
           -- One market's names are a list as much. KONEX opened on 2013-07-01.
           CASE WHEN job.markets @> ARRAY['KOSPI', 'KOSDAQ'] AND ('KONEX' = ANY (job.markets) OR t.time < '2013-07-01')
                THEN job.names ELSE 'list' END AS names
    FROM staged_times t CROSS JOIN job
), ranked AS (
    SELECT c.*, m.source AS old_source, m.names AS old_names, m.finality AS old_finality, m.promoted_at,
           coalesce(w.wrote, false) AS wrote, w.rows IS NOT DISTINCT FROM c.rows AS has_all,
           array_position(ARRAY['list', 'traded', 'whole'], c.names) AS rank,
           coalesce(array_position(ARRAY['list', 'traded', 'whole'], m.names), 0) AS old_rank
    FROM claimed c
    CROSS JOIN job
    LEFT JOIN market.session_status m ON m.dataset = job.dataset AND m.time = c.time
    LEFT JOIN written w ON w.time = c.time
), judged AS (
    SELECT *, old_rank > 0 AND NOT has_all AND (names = 'list' OR rank < old_rank) AS stands FROM ranked
), told AS (
    SELECT j.time, j.old_source, j.old_names, j.old_finality, j.promoted_at, j.wrote AND NOT stands AS is_new,
           CASE WHEN stands THEN old_source ELSE job.source END AS source,
           CASE WHEN old_rank > rank THEN old_names ELSE j.names END AS names,
           CASE WHEN stands AND NOT (wrote AND job.finality = 'provisional') THEN old_finality
                ELSE job.finality END AS finality
    FROM judged j CROSS JOIN job
)
SELECT job.dataset, t.time, t.source, t.names, t.finality,
       CASE WHEN is_new OR (t.source, t.names, t.finality) IS DISTINCT FROM (old_source, old_names, old_finality)
            THEN now() ELSE t.promoted_at END AS promoted_at
FROM told t CROSS JOIN job;
