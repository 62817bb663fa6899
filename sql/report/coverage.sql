-- Coverage
-- ## Every session of the range that the calendar is certain of, for each dataset: what is there.
CREATE TEMP TABLE judged ON COMMIT DROP AS
WITH asked AS (
    SELECT d.name, d.place, f.may_lag
    FROM unnest($3::text[]) WITH ORDINALITY AS d(name, place)
    JOIN jsonb_to_recordset($8::jsonb -> 'datasets') AS f(name text, may_lag int) USING (name)
), sessions AS (
    SELECT time, number FROM unnest($7::date[]) WITH ORDINALITY AS t(time, number)
), held AS (
    SELECT s.dataset, s.time, s.source, s.rows, s.expected, s.missing, s.names, s.finality, t.number
    FROM market.session_status s JOIN sessions t USING (time)
    WHERE s.dataset = ANY ($3)
), begun AS (
    SELECT DISTINCT ON (dataset) dataset, min(time) OVER (PARTITION BY dataset) AS first, source
    FROM held ORDER BY dataset, time DESC
), promised AS (
    SELECT * FROM jsonb_to_recordset($8::jsonb -> 'promises') AS p(dataset text, source text, there date)
), waiting AS (
    SELECT dataset, from_time, to_time, batch_id FROM ops.batches WHERE state = 'staged'
)
SELECT a.place, a.name AS dataset, t.time, t.number, h.source, h.rows, h.expected, h.missing,
       CASE WHEN h.time IS NOT NULL THEN
                -- More than 1 % of the names are missing; a source that drops names without trades claims no more.
                CASE WHEN h.names = 'list' OR (h.names = 'whole' AND h.missing > 0.01 * h.expected) THEN 'partial'
                     ELSE h.finality END
            WHEN EXISTS (SELECT FROM waiting w WHERE w.dataset = a.name AND t.time BETWEEN w.from_time AND w.to_time)
                THEN 'held'
            WHEN b.first IS NULL OR t.time < b.first THEN 'none'
            WHEN t.time > p.there THEN 'not yet'
            WHEN t.number - (SELECT max(e.number) FROM held e WHERE e.dataset = a.name AND e.number < t.number) <= a.may_lag
                THEN 'stands'
            ELSE 'absent' END AS state
FROM asked a
CROSS JOIN (SELECT * FROM sessions WHERE time BETWEEN $1 AND $2) t
LEFT JOIN held h ON h.dataset = a.name AND h.time = t.time
LEFT JOIN begun b ON b.dataset = a.name
LEFT JOIN promised p ON p.dataset = a.name AND p.source = b.source;
-- ## Sessions in a row that are in the same state.
CREATE TEMP TABLE runs ON COMMIT DROP AS
SELECT place, dataset, state, min(time) AS "from", max(time) AS "to", count(*) AS sessions, sum(rows)::bigint AS rows,
       sum(missing)::bigint AS missing
FROM (SELECT *, number - row_number() OVER (PARTITION BY dataset, state ORDER BY number) AS island FROM judged) j
GROUP BY place, dataset, state, island;
-- # sessions: which sessions are here
-- chart: heatmap
SELECT dataset, state, "from", "to", sessions, rows, missing FROM runs ORDER BY place, "from";
-- # datasets: how many sessions are in which state
-- hidden: none, rows, missing
SELECT dataset, count(*) AS sessions, count(*) FILTER (WHERE state = 'final') AS final,
       count(*) FILTER (WHERE state = 'provisional') AS provisional, count(*) FILTER (WHERE state = 'partial') AS partial,
       count(*) FILTER (WHERE state = 'stands') AS stands, count(*) FILTER (WHERE state = 'held') AS held,
       count(*) FILTER (WHERE state = 'absent') AS absent, count(*) FILTER (WHERE state = 'none') AS none,
       sum(rows)::bigint AS rows, sum(missing)::bigint AS missing
FROM judged GROUP BY place, dataset ORDER BY place;
-- # gaps: what to look at, the newest first
-- note: `kdata backfill DATASET --from … --to …` brings what is absent; `kdata promote` says why a batch is held.
SELECT dataset, state, "from", "to", sessions, missing FROM runs
WHERE state IN ('absent', 'held', 'partial', 'provisional')
ORDER BY "to" DESC, place
LIMIT $5;
