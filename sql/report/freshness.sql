-- Freshness
-- # datasets: the last session here, and how many lie behind it that its source has published
-- hidden: published, final_behind, settled
WITH asked AS (
    SELECT d.name, d.place, f.may_lag
    FROM unnest($3::text[]) WITH ORDINALITY AS d(name, place)
    JOIN jsonb_to_recordset($8::jsonb -> 'datasets') AS f(name text, may_lag int) USING (name)
), held AS (
    -- Who collects single names only is measured by them; one name alone does not make a whole market fresh.
    SELECT s.dataset, s.time, s.source, s.finality, s.names <> 'list' AS is_all,
           bool_or(s.names <> 'list') OVER (PARTITION BY s.dataset) AS some_are_all
    FROM market.session_status s
    WHERE s.time <= $2
), last AS (
    SELECT DISTINCT ON (dataset) dataset, time, source, finality,
           max(time) FILTER (WHERE finality = 'final') OVER (PARTITION BY dataset) AS final_time
    FROM held WHERE is_all OR NOT some_are_all
    ORDER BY dataset, time DESC
), promised AS (
    SELECT * FROM jsonb_to_recordset($8::jsonb -> 'promises') AS p(dataset text, source text, there date, settled date)
), counted AS (
    SELECT a.place, a.name AS dataset, l.source, l.time AS last_session, l.final_time AS last_final,
           p.there AS published, p.settled,
           (SELECT count(*) FROM unnest($7::date[]) AS t(time)
            WHERE t.time > l.time AND t.time <= coalesce(p.there, $2)) AS behind,
           (SELECT count(*) FROM unnest($7::date[]) AS t(time)
            WHERE t.time > coalesce(l.final_time, '-infinity') AND t.time <= coalesce(p.settled, $2)) AS final_behind,
           coalesce($9::bigint, a.may_lag) AS may_lag
    FROM asked a
    LEFT JOIN last l ON l.dataset = a.name
    LEFT JOIN promised p ON p.dataset = l.dataset AND p.source = l.source
)
SELECT dataset,
       CASE WHEN last_session IS NULL THEN 'never'
            WHEN behind > may_lag THEN 'stale'
            WHEN final_behind > may_lag THEN 'not final'
            ELSE 'fresh' END AS state,
       source, last_session, CASE WHEN last_session IS NOT NULL THEN behind END AS behind, may_lag,
       published, last_final, CASE WHEN last_session IS NOT NULL THEN final_behind END AS final_behind, settled
FROM counted
ORDER BY place;
