-- Reconciliation of a batch
-- ## Rows of the staged batch $6 beside those of production with the same key, and those of its sessions that it lacks.
CREATE TEMP TABLE paired ON COMMIT DROP AS
SELECT {staged_key} AS key, to_jsonb(s) AS staged, NULL::jsonb AS stands, 'staged only' AS state
FROM staging.b{batch} s
WHERE NOT EXISTS (SELECT FROM {production} m WHERE {join} AND {m_within})
UNION ALL
SELECT {staged_key}, to_jsonb(s), to_jsonb(m), CASE WHEN ({s_columns}) IS DISTINCT FROM ({m_columns}) THEN 'differs' ELSE 'same' END
FROM staging.b{batch} s JOIN {production} m ON {join} AND {m_within};
-- # batch: the batch, and how many of its rows production holds
SELECT b.batch_id, b.dataset, b.source, b.from_time AS "from", b.to_time AS "to", b.finality, count(*) AS rows,
       count(*) FILTER (WHERE p.state = 'same') AS same, count(*) FILTER (WHERE p.state = 'differs') AS differing,
       count(*) FILTER (WHERE p.state = 'staged only') AS staged_only
FROM ops.batches b CROSS JOIN paired p
WHERE b.batch_id = $6
GROUP BY b.batch_id;
-- # columns: in which columns they differ
-- chart: bars column rows
SELECT o.key AS "column", count(*) AS rows, count(*) FILTER (WHERE n.value IS NULL) AS absent_in_production
FROM paired p
CROSS JOIN ops.batches b
CROSS JOIN LATERAL jsonb_each_text(p.staged) o
JOIN LATERAL jsonb_each_text(p.stands) n ON n.key = o.key
WHERE b.batch_id = $6 AND p.state = 'differs' AND o.key <> 'batch_id' AND o.value IS DISTINCT FROM n.value
  AND ('all' = ANY (b.provides) OR o.key = ANY (b.provides))
GROUP BY o.key ORDER BY rows DESC, o.key;
-- # differences: row by row
SELECT coalesce(p.key ->> 'stock_code', p.key ->> 'etf_code') AS stock_code, k.name, left(p.key ->> 'time', 10) AS session,
       o.key AS "column", o.value AS staged, n.value AS production,
       (SELECT s.source FROM ops.batches s WHERE s.batch_id = (p.stands ->> 'batch_id')::bigint) AS production_source,
       nullif((SELECT string_agg(x.key || ' ' || x.value, ', ') FROM jsonb_each_text(p.key) x
               WHERE x.key NOT IN ('stock_code', 'etf_code') AND (x.key <> 'time' OR x.value LIKE '%T%')), '') AS of
FROM paired p
CROSS JOIN ops.batches b
LEFT JOIN market.stocks k ON k.stock_code = coalesce(p.key ->> 'stock_code', p.key ->> 'etf_code')
CROSS JOIN LATERAL jsonb_each_text(p.staged) o
JOIN LATERAL jsonb_each_text(p.stands) n ON n.key = o.key
WHERE b.batch_id = $6 AND p.state = 'differs' AND o.key <> 'batch_id' AND o.value IS DISTINCT FROM n.value
  AND ('all' = ANY (b.provides) OR o.key = ANY (b.provides))
ORDER BY p.key ->> 'time' DESC, 1, o.key
LIMIT $5;
-- # staged_only: rows that production does not hold
SELECT coalesce(p.key ->> 'stock_code', p.key ->> 'etf_code') AS stock_code, left(p.key ->> 'time', 10) AS session, p.key::text AS key
FROM paired p WHERE p.state = 'staged only' ORDER BY p.key::text LIMIT $5;
