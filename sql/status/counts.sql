-- Rows, names that should have some, and those of them that have none, of a dataset's sessions from {from} to {to}, as
-- production holds them at this moment. Only what differs is written.
-- {produced}: time, code, rows; {expects}: which names listed on a session should have rows.
WITH concerned AS (
    -- Names listed are known where a master of that session or of the 45 days before it is in production.
    SELECT s.time, {tells} AND EXISTS (
        SELECT FROM market.session_status m
        WHERE m.dataset = 'stocks' AND m.names = 'whole' AND m.time BETWEEN s.time - 45 AND s.time
    ) AS is_known
    FROM market.session_status s
    WHERE s.dataset = '{dataset}' AND s.time BETWEEN {from} AND {to}
), produced AS (
    {produced}
), counted AS (
    SELECT time, sum(rows)::bigint AS rows FROM produced GROUP BY time
), measured AS (
    SELECT t.time, count(*) AS expected, count(*) FILTER (WHERE p.code IS NULL) AS missing
    FROM concerned t
    JOIN market.stock_history h ON h.is_active AND h.valid_from <= t.time AND (h.valid_to IS NULL OR h.valid_to > t.time)
    LEFT JOIN produced p ON p.time = t.time AND p.code = h.stock_code
    WHERE t.is_known AND {expects}
    GROUP BY t.time
), true_now AS (
    SELECT time, coalesce(n.rows, 0) AS rows,
           CASE WHEN is_known THEN coalesce(m.expected, 0) END AS expected,
           CASE WHEN is_known THEN coalesce(m.missing, 0) END AS missing
    FROM concerned
    LEFT JOIN counted n USING (time)
    LEFT JOIN measured m USING (time)
)
UPDATE market.session_status s
SET (rows, expected, missing) = (n.rows, n.expected, n.missing)
FROM true_now n
WHERE s.dataset = '{dataset}' AND s.time = n.time
  AND (s.rows, s.expected, s.missing) IS DISTINCT FROM (n.rows, n.expected, n.missing)
