-- Codes that were asked for and did not come, against all that were, session by session. {max_missing}: how many may
-- be, per cent. {expects}: who listed on a session should have rows; what was not traded all day has no minutes.
WITH missing AS (
    SELECT f.stock_code AS code, s.time, min(f.message) AS reason
    FROM ops.flags f JOIN sessions s ON f.time IS NULL OR f.time = s.time
    WHERE f.batch_id = {batch} AND f.severity = 'missing' AND f.stock_code IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM market.stock_history h CROSS JOIN LATERAL (SELECT s.time) t
          WHERE h.stock_code = f.stock_code AND h.is_active AND h.valid_from <= s.time
            AND (h.valid_to IS NULL OR h.valid_to > s.time) AND NOT ({expects})
      )
    GROUP BY 1, 2
)
SELECT 'batch.codes_are_there',
       CASE WHEN m.rows > {max_missing} / 100.0 * a.codes * n.sessions THEN 'gate' ELSE 'flag' END,
       NULL::text, NULL::date,
       format('%s of %s codes did not come%s, e.g. %s (%s)', m.codes, a.codes,
              CASE WHEN n.sessions > 1 THEN format(', on %s of their %s sessions', m.rows, m.codes * n.sessions) END,
              m.example, m.reason)
FROM (
    SELECT count(*) AS rows, count(DISTINCT code) AS codes, min(code) AS example, min(reason) AS reason FROM missing
) m
CROSS JOIN (SELECT count(*) AS sessions FROM sessions) n
CROSS JOIN LATERAL (
    SELECT count(*) AS codes FROM (SELECT {code} FROM staged UNION SELECT code FROM missing) c WHERE m.codes > 0
) a
WHERE m.codes > 0
