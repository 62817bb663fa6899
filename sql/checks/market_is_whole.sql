-- A market's number of names against the previous calendar session. Where either session drops names without
-- trades, only traded names are compared, if the dataset tells them; else nothing is.
WITH counts AS (
    SELECT time, {market} AS market, count(*) AS listed, count(*) FILTER (WHERE {traded}) AS traded
    FROM around GROUP BY 1, 2
), pairs AS (
    SELECT s.time, s.prev_time, (n.names = 'whole' AND p.names = 'whole') AS whole
    FROM seams s
    JOIN claims n ON n.time = s.time
    JOIN claims p ON p.time = s.prev_time
    WHERE n.names <> 'list' AND p.names <> 'list'
      AND ({knows_traded} OR (n.names = 'whole' AND p.names = 'whole'))
), compared AS (
    SELECT pairs.time, b.market, pairs.prev_time, CASE WHEN whole THEN b.listed ELSE b.traded END AS was,
           coalesce(CASE WHEN whole THEN now.listed ELSE now.traded END, 0) AS is
    FROM pairs
    JOIN counts b ON b.time = pairs.prev_time
    LEFT JOIN counts now ON now.time = pairs.time AND now.market = b.market
    CROSS JOIN job
    WHERE {in_scope}
)
SELECT '{dataset}.market_is_whole', 'gate', NULL::text, time,
       format('%s has %s names on %s, %s on %s', market, "is", time, was, prev_time)
FROM compared
WHERE abs("is" - was) > 10 AND abs("is" - was) > 0.02 * was
UNION ALL
-- A market of the scope without a single name. KONEX opened on 2013-07-01.
SELECT '{dataset}.market_is_whole', 'gate', NULL::text, t.time, format('no name of %s came for %s', m.market, t.time)
FROM staged_times t, job, unnest(job.markets) AS m(market)
WHERE {knows_market} AND job.names <> 'list' AND (m.market <> 'KONEX' OR t.time >= '2013-07-01')
  AND NOT EXISTS (SELECT FROM counts c WHERE c.time = t.time AND c.market = m.market)
