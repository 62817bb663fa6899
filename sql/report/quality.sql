-- One line a dataset for a session: is it here, whole, final; what was remarked about it.
-- $1: the session; $2: the names of the datasets, in their order.
SELECT d.name AS dataset,
       s.source, s.rows, s.expected, s.missing, s.names, s.finality, s.batch_id, s.promoted_at,
       coalesce(r.rejected, 0) AS rejected, coalesce(r.flagged, 0) AS flagged, coalesce(r.noted, 0) AS noted,
       last.time AS last_session,
       (SELECT count(*) FROM market.trading_days t WHERE t.time > last.time AND t.time <= $1) AS sessions_behind
FROM unnest($2::text[]) WITH ORDINALITY AS d(name, place)
LEFT JOIN market.session_status s ON s.dataset = d.name AND s.time = $1
LEFT JOIN (
    SELECT dataset, count(*) FILTER (WHERE severity = 'reject') AS rejected,
           count(*) FILTER (WHERE severity = 'flag') AS flagged, count(*) FILTER (WHERE severity = 'note') AS noted
    FROM ops.session_remarks
    WHERE time = $1
    GROUP BY dataset
) r ON r.dataset = d.name
LEFT JOIN LATERAL (
    SELECT max(l.time) AS time FROM market.session_status l WHERE l.dataset = d.name AND l.time <= $1
) last ON true
ORDER BY d.place;
