-- Codes that no master knows, for the sessions since the first master.
WITH first AS (SELECT min(time) AS time FROM market.session_status WHERE dataset = 'stocks'),
judged AS (
    SELECT s.stock_code, min(s.time) AS time FROM staged s, first WHERE s.time >= first.time GROUP BY s.stock_code
),
unknown AS (
    SELECT stock_code, time FROM judged j
    WHERE NOT EXISTS (SELECT FROM market.stocks k WHERE k.stock_code = j.stock_code)
)
SELECT '{dataset}.code_is_known', 'flag', stock_code, time, format('%s is in no stock master', stock_code)
FROM unknown
UNION ALL
SELECT '{dataset}.code_is_known', 'gate', NULL, NULL,
       format('%s of %s codes are in no stock master: extract stocks for these sessions first', u.n, j.n)
FROM (SELECT count(*) AS n FROM unknown) u, (SELECT count(*) AS n FROM judged) j
WHERE u.n > 0.01 * j.n
UNION ALL
SELECT '{dataset}.code_is_known', 'note', NULL, NULL,
       'codes were not compared with the stock master: it has no master of these sessions or before'
WHERE EXISTS (SELECT FROM staged, first WHERE staged.time < first.time OR first.time IS NULL)
