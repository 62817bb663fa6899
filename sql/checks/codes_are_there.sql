-- Codes that were asked for and did not come, against all that were. {max_missing}: how many may be, per cent.
WITH missing AS (
    SELECT f.stock_code AS code, min(f.message) AS reason
    FROM ops.flags f
    WHERE f.batch_id = {batch} AND f.severity = 'missing' AND f.stock_code IS NOT NULL
    GROUP BY 1
)
SELECT 'batch.codes_are_there', CASE WHEN m.codes > {max_missing} / 100.0 * a.codes THEN 'gate' ELSE 'flag' END,
       NULL::text, NULL::date,
       format('%s of %s codes did not come, e.g. %s (%s)', m.codes, a.codes, m.example, m.reason)
FROM (SELECT count(*) AS codes, min(code) AS example, min(reason) AS reason FROM missing) m
CROSS JOIN LATERAL (
    SELECT count(*) AS codes FROM (SELECT {code} FROM staged UNION SELECT code FROM missing) c WHERE m.codes > 0
) a
WHERE m.codes > 0
