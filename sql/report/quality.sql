-- Quality
-- # datasets: is the session here, whole, final; what was remarked about it
-- hidden: missing, names, batch_id, promoted_at, last_session, sessions_behind
SELECT d.name AS dataset, coalesce(s.finality, 'absent') AS state, s.source, s.rows, s.expected, s.missing,
       -- Not rounded up to 100.
       (floor((s.expected - s.missing) * 10000.0 / nullif(s.expected, 0)) / 100)::float8 AS coverage,
       coalesce(r.rejected, 0) AS rejected, coalesce(r.flagged, 0) AS flagged, coalesce(r.noted, 0) AS noted,
       CASE WHEN last.time IS NULL THEN 'no session yet'
            WHEN last.behind = 0 THEN 'up to date'
            WHEN last.behind = 1 THEN format('1 session behind (%s)', last.time)
            ELSE format('%s sessions behind (%s)', last.behind, last.time) END AS fresh,
       s.names, s.batch_id, s.promoted_at, last.time AS last_session,
       CASE WHEN last.time IS NOT NULL THEN last.behind END AS sessions_behind
FROM unnest($3::text[]) WITH ORDINALITY AS d(name, place)
LEFT JOIN market.session_status s ON s.dataset = d.name AND s.time = $2
LEFT JOIN (
    SELECT dataset, count(*) FILTER (WHERE severity = 'reject') AS rejected,
           count(*) FILTER (WHERE severity = 'flag') AS flagged, count(*) FILTER (WHERE severity = 'note') AS noted
    FROM ops.session_remarks
    WHERE time = $2
    GROUP BY dataset
) r ON r.dataset = d.name
LEFT JOIN LATERAL (
    SELECT l.time, (SELECT count(*) FROM unnest($7::date[]) AS t(time) WHERE t.time > l.time AND t.time <= $2) AS behind
    FROM (SELECT max(time) AS time FROM market.session_status WHERE dataset = d.name AND time <= $2) l
) last ON true
ORDER BY d.place;
-- # trends: rows of the last 60 sessions; a gap is a session that is not here
SELECT d.name AS dataset, min(s.rows) AS least, max(s.rows) AS most, array_agg(s.rows ORDER BY t.time) AS trend
FROM unnest($3::text[]) WITH ORDINALITY AS d(name, place)
CROSS JOIN (SELECT time FROM unnest($7::date[]) AS t(time) WHERE time <= $2 ORDER BY time DESC LIMIT 60) t
LEFT JOIN market.session_status s ON s.dataset = d.name AND s.time = t.time
GROUP BY d.place, d.name
HAVING count(s.rows) > 1
ORDER BY d.place;
-- # rules: what was remarked, with up to three samples
-- note: `kdata explain RULE` says what a rule means.
WITH named AS (
    SELECT r.*, h.name,
           row_number() OVER (PARTITION BY r.dataset, r.severity, r.rule ORDER BY r.stock_code, r.message) AS place
    FROM ops.session_remarks r
    LEFT JOIN market.stock_history h
           ON h.stock_code = r.stock_code AND h.valid_from <= $2 AND (h.valid_to IS NULL OR h.valid_to > $2)
    WHERE r.time = $2 AND r.dataset = ANY ($3)
)
SELECT dataset, severity, count(*) AS count, rule,
       jsonb_agg(jsonb_build_object('stock_code', coalesce(stock_code, ''), 'name', coalesce(name, ''), 'message', message)
                 ORDER BY place) FILTER (WHERE place <= 3) AS samples
FROM named
GROUP BY dataset, severity, rule
ORDER BY dataset, array_position(ARRAY['reject', 'gate', 'flag', 'missing', 'slice', 'note'], severity), count(*) DESC, rule;
