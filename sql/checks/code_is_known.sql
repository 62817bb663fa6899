-- Codes that no master knows, for the sessions since the first master.
-- {own}: rows with their sessions; {known}: the column that a master should know; {can_know}: whether masters list such.
WITH first AS (SELECT min(time) AS time FROM market.session_status WHERE dataset = 'stocks'),
judged AS (
    SELECT s.{known} AS code, min(s.time) AS time
    FROM {own} s, first WHERE s.time >= first.time AND {can_know} GROUP BY 1
),
unknown AS (
    SELECT code, time FROM judged j WHERE NOT EXISTS (SELECT FROM market.stocks k WHERE k.stock_code = j.code)
)
SELECT '{dataset}.code_is_known', 'flag', code, time, format('%s is in no stock master', code)
FROM unknown
UNION ALL
SELECT '{dataset}.code_is_known', 'gate', NULL, NULL,
       format('%s of %s codes are in no stock master: extract stocks for these sessions first', u.n, j.n)
FROM (SELECT count(*) AS n FROM unknown) u, (SELECT count(*) AS n FROM judged) j
WHERE u.n > 0.01 * j.n
UNION ALL
SELECT '{dataset}.code_is_known', 'note', NULL, NULL,
       'codes were not compared with the stock master: it has no master of these sessions or before'
WHERE EXISTS (SELECT FROM staged_times t, first WHERE t.time < first.time OR first.time IS NULL OR NOT {can_know})
