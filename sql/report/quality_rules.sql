-- What was remarked about a session, by dataset and rule, with up to three samples.
-- $1: the session.
WITH named AS (
    SELECT r.*, h.name,
           row_number() OVER (PARTITION BY r.dataset, r.severity, r.rule ORDER BY r.stock_code, r.message) AS place
    FROM ops.session_remarks r
    LEFT JOIN market.stock_history h
           ON h.stock_code = r.stock_code AND h.valid_from <= $1 AND (h.valid_to IS NULL OR h.valid_to > $1)
    WHERE r.time = $1
)
SELECT dataset, severity, rule, count(*) AS count,
       array_agg(coalesce(stock_code, '') ORDER BY place) FILTER (WHERE place <= 3) AS codes,
       array_agg(coalesce(name, '') ORDER BY place) FILTER (WHERE place <= 3) AS names,
       array_agg(message ORDER BY place) FILTER (WHERE place <= 3) AS messages
FROM named
GROUP BY dataset, severity, rule
ORDER BY dataset, array_position(ARRAY['reject', 'gate', 'flag', 'missing', 'slice', 'note'], severity), count(*) DESC, rule;
