-- Storage
-- ## The parts of the tables: chunks or partitions. A part is a year, minute bars a week or a month.
CREATE TEMP TABLE parts ON COMMIT DROP AS
WITH asked AS (
    SELECT d.name, d.place, f."table"
    FROM unnest($3::text[]) WITH ORDINALITY AS d(name, place)
    JOIN jsonb_to_recordset($8::jsonb -> 'datasets') AS f(name text, "table" text) USING (name)
), tables AS (
    SELECT place, name AS dataset, "table" FROM asked
    UNION ALL
    -- Bars of some minutes are made of minute bars, what each name was comes with the stocks.
    SELECT a.place, a.name, r.table_name FROM asked a JOIN ops.rollups r ON a."table" = 'ohlcv_minute'
    UNION ALL
    SELECT a.place, a.name, 'stock_history' FROM asked a WHERE a."table" = 'stocks'
)
SELECT t.place, t.dataset, t."table", p.part, p.from_session, p.until_session, coalesce(p.is_compressed, false) AS is_compressed,
       coalesce(p.bytes, pg_total_relation_size(format('market.%I', t."table")::regclass)) AS bytes,
       CASE WHEN p.part IS NULL OR t."table" <> (SELECT a."table" FROM asked a WHERE a.name = t.dataset) THEN NULL
            ELSE (SELECT coalesce(sum(s.rows), 0)::bigint FROM market.session_status s
                  WHERE s.dataset = t.dataset AND s.time >= p.from_session AND s.time < p.until_session) END AS rows
FROM tables t
LEFT JOIN LATERAL ops.parts(t."table") p ON true;
-- # tables: rows, bytes and parts of each table
-- chart: bars table bytes
-- hidden: compressed, from
SELECT "table", sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes, (sum(bytes) / nullif(sum(rows), 0))::bigint AS row_bytes,
       count(part) AS parts, count(*) FILTER (WHERE is_compressed) AS compressed,
       (floor(coalesce(sum(rows) FILTER (WHERE is_compressed), 0) * 10000.0 / nullif(sum(rows), 0)) / 100)::float8 AS compressed_percent,
       min(from_session) AS "from"
FROM parts GROUP BY place, "table" ORDER BY place, "table";
-- # schemas: all that the database holds
SELECT n.nspname::text AS schema, count(*) AS tables, sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_(toast|temp)'
GROUP BY n.nspname
HAVING sum(pg_total_relation_size(c.oid)) > 0
ORDER BY bytes DESC;
-- # parts: the parts, the newest first
-- hidden: part
SELECT "table", from_session AS "from", until_session AS until, rows, bytes, is_compressed AS compressed, part
FROM parts WHERE part IS NOT NULL
ORDER BY from_session DESC, place, "table"
LIMIT $5;
