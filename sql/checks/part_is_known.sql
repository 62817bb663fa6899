-- Domestic stocks in portfolios that no master knows, for the sessions since the first master. Funds of funds hold ETFs,
-- which not every master lists.
WITH first AS (SELECT min(time) AS time FROM market.session_status WHERE dataset = 'stocks')
SELECT '{dataset}.part_is_known', 'flag', s.component_code, min(s.time),
       format('%s (%s) is in no stock master, and in the portfolios of %s', s.component_code, min(s.component_name),
              CASE WHEN count(DISTINCT s.etf_code) = 1 THEN min(s.etf_code) ELSE count(DISTINCT s.etf_code) || ' ETFs' END)
FROM staged s, first
WHERE s.time >= first.time AND s.component_code ~ '^[0-9A-Z]{6}$' AND s.component_id ~ '^(KR7|.{6}$)'
  AND NOT EXISTS (SELECT FROM market.stocks k WHERE k.stock_code = s.component_code)
  AND NOT EXISTS (SELECT FROM market.snapshots m WHERE m.dataset = '{dataset}' AND m.slice = s.component_code)
  AND NOT EXISTS (SELECT FROM slices x WHERE x.slice = s.component_code)
GROUP BY s.component_code
