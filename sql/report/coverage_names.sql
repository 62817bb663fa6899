-- Coverage
-- ## Every session of the range for each name: is it there, and was it listed.
CREATE TEMP TABLE judged ON COMMIT DROP AS
WITH asked AS (
    SELECT code, place FROM unnest($4::text[]) WITH ORDINALITY AS c(code, place)
), sessions AS (
    SELECT time, number FROM unnest($7::date[]) WITH ORDINALITY AS t(time, number) WHERE time BETWEEN $1 AND $2
), produced AS (
    SELECT {session} AS time, {code} AS code, count(*) AS rows
    FROM market.{table} WHERE {code} = ANY ($4) AND {within} GROUP BY 1, 2
)
SELECT a.place, a.code, t.time, t.number, p.rows,
       CASE WHEN p.rows IS NOT NULL THEN s.finality
            WHEN h.is_active IS FALSE THEN 'not listed'
            WHEN s.time IS NULL THEN 'none'
            WHEN h.is_active IS NULL AND EXISTS (SELECT FROM market.stock_history k WHERE k.stock_code = a.code)
                THEN 'not listed'
            ELSE 'absent' END AS state
FROM asked a
CROSS JOIN sessions t
LEFT JOIN produced p ON p.code = a.code AND p.time = t.time
LEFT JOIN market.session_status s ON s.dataset = '{dataset}' AND s.time = t.time
LEFT JOIN market.stock_history h
       ON h.stock_code = a.code AND h.valid_from <= t.time AND (h.valid_to IS NULL OR h.valid_to > t.time);
-- # sessions: on which sessions the names have rows
-- chart: heatmap
SELECT concat_ws(' ', code, (SELECT name FROM market.stocks k WHERE k.stock_code = code)) AS stock,
       state, min(time) AS "from", max(time) AS "to", count(*) AS sessions, sum(rows)::bigint AS rows
FROM (SELECT *, number - row_number() OVER (PARTITION BY code, state ORDER BY number) AS island FROM judged) j
GROUP BY place, code, state, island
ORDER BY place, "from";
-- # names: how many sessions each of them has
SELECT code AS stock_code, (SELECT name FROM market.stocks k WHERE k.stock_code = code) AS name,
       count(*) FILTER (WHERE rows IS NOT NULL) AS here, count(*) FILTER (WHERE state = 'absent') AS absent,
       count(*) FILTER (WHERE state = 'not listed') AS not_listed, count(*) FILTER (WHERE state = 'none') AS no_session,
       min(time) FILTER (WHERE rows IS NOT NULL) AS first, max(time) FILTER (WHERE rows IS NOT NULL) AS last
FROM judged GROUP BY place, code ORDER BY place;
