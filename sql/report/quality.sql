-- One line a dataset for a session: is it here, whole, final; what was remarked about it.
-- $1: the session; $2: the names of the datasets, in their order.
SELECT d.name AS dataset,
       s.source, s.rows, s.expected, s.missing, s.names, s.finality, s.batch_id, s.promoted_at,
       (SELECT count(*) FROM ops.rejects r JOIN ops.runs n USING (run_id)
        WHERE n.batch_id = s.batch_id AND r.row LIKE '%' || $1::date::text || '%') AS rejected,
       (SELECT count(*) FROM ops.flags f
        WHERE f.batch_id = s.batch_id AND f.time = $1 AND f.severity = 'flag') AS flagged,
       (SELECT count(*) FROM ops.flags f
        WHERE f.batch_id = s.batch_id AND f.time = $1 AND f.severity = 'note') AS noted,
       last.time AS last_session,
       (SELECT count(*) FROM market.trading_days t WHERE t.time > last.time AND t.time <= $1) AS sessions_behind
FROM unnest($2::text[]) WITH ORDINALITY AS d(name, place)
LEFT JOIN market.session_status s ON s.dataset = d.name AND s.time = $1
LEFT JOIN LATERAL (
    SELECT max(l.time) AS time FROM market.session_status l WHERE l.dataset = d.name AND l.time <= $1
) last ON true
ORDER BY d.place;
