-- What session_status shall say of the batch's sessions, from the rows that now stand there. Names listed on a
-- session are known where a master of that session or of the 45 days before it is in production; a master itself is
-- measured by none. {expects} says which of them should have rows, {tells} whether that is known.
CREATE TEMP TABLE produced ON COMMIT DROP AS
SELECT {code} AS code, {session} AS time, count(*) AS rows FROM {rows} GROUP BY 1, 2;
ANALYZE produced;

CREATE TEMP TABLE incoming_status ON COMMIT DROP AS
SELECT job.dataset, t.time, job.source, n.rows, e.expected,
       CASE WHEN e.expected IS NULL THEN NULL ELSE (
           SELECT count(*) FROM market.stock_history h
           WHERE h.valid_from <= t.time AND (h.valid_to IS NULL OR h.valid_to > t.time) AND h.is_active
             AND {expects}
             AND NOT EXISTS (SELECT FROM produced r WHERE r.time = t.time AND r.code = h.stock_code)
       ) END AS missing,
       p.names, job.finality
FROM staged_times t
CROSS JOIN job
-- One market's names are a list as much. KONEX opened on 2013-07-01.
CROSS JOIN LATERAL (
    SELECT CASE WHEN job.markets @> ARRAY['KOSPI', 'KOSDAQ'] AND ('KONEX' = ANY (job.markets) OR t.time < '2013-07-01')
                THEN job.names ELSE 'list' END AS names
) p
CROSS JOIN LATERAL (SELECT coalesce(sum(r.rows), 0)::bigint AS rows FROM produced r WHERE r.time = t.time) n
CROSS JOIN LATERAL (
    SELECT CASE WHEN {tells} AND EXISTS (
        SELECT FROM market.session_status m
        WHERE m.dataset = 'stocks' AND m.names = 'whole' AND m.time BETWEEN t.time - 45 AND t.time
    ) THEN (
        SELECT count(*) FROM market.stock_history h
        WHERE h.valid_from <= t.time AND (h.valid_to IS NULL OR h.valid_to > t.time) AND h.is_active
          AND {expects}
    ) END AS expected
) e
-- A list of codes does not make a session whole, and does not unmake it.
WHERE p.names <> 'list' OR NOT EXISTS (
    SELECT FROM market.session_status s WHERE s.dataset = job.dataset AND s.time = t.time AND s.names <> 'list'
);
