-- Reconciliation
-- ## What was compared, and what differs.
CREATE TEMP TABLE checks (place int, "check" text, about text, compared bigint, differing bigint) ON COMMIT DROP;
-- ## Where two sides do not agree.
CREATE TEMP TABLE differences ("check" text, stock_code text, session date, item text, one text, other text, difference bigint)
ON COMMIT DROP;
-- ## Sessions of which a master is at hand: it counts for 45 days.
CREATE TEMP TABLE mastered ON COMMIT DROP AS
SELECT t.time FROM unnest($7::date[]) AS t(time)
WHERE t.time BETWEEN $1 AND $2
  AND EXISTS (SELECT FROM market.session_status m
              WHERE m.dataset = 'stocks' AND m.names = 'whole' AND m.time BETWEEN t.time - 45 AND t.time);
-- ## Minutes against their day. Daily bars count the off-hours sessions and blocks, minutes do not: up to a tenth less is right.
-- More is right where the rest was traded at prices beyond the day's, as blocks are; without values, up to a half.
WITH minutes AS (
    SELECT m.stock_code, (m.time AT TIME ZONE 'Asia/Seoul')::date AS time, sum(m.volume)::bigint AS volume,
           CASE WHEN count(m.value) = count(*) THEN sum(m.value) END AS value, max(m.high) AS high, min(m.low) AS low
    FROM market.ohlcv_minute m
    WHERE m.time >= TIMESTAMPTZ '{from} 00:00+09' AND m.time < TIMESTAMPTZ '{to} 00:00+09' + INTERVAL '1 day'
    GROUP BY 1, 2
), rests AS (
    SELECT m.*, o.volume AS day_volume, o.high AS day_high, o.low AS day_low,
           o.volume - m.volume AS rest, o.value - m.value AS rest_value
    FROM minutes m
    JOIN market.ohlcv_daily o ON o.stock_code = m.stock_code AND o.time = m.time AND o.time BETWEEN DATE '{from}' AND DATE '{to}'
), judged AS MATERIALIZED (
    SELECT m.stock_code, m.time, v.item, v.one, v.other, v.is_off
    FROM rests m
    CROSS JOIN LATERAL (VALUES
        ('volume: minutes, day', m.volume, m.day_volume,
         m.rest < 0 OR CASE WHEN m.rest_value IS NULL THEN m.rest > 0.5 * m.day_volume
                            ELSE m.rest > 0.1 * m.day_volume
                                 AND m.rest_value BETWEEN m.day_low::bigint * m.rest AND m.day_high::bigint * m.rest END),
        ('high: minutes, day', m.high::bigint, m.day_high::bigint, m.high > m.day_high OR m.day_high IS NULL),
        ('low: minutes, day', m.low::bigint, m.day_low::bigint, m.low < m.day_low OR m.day_low IS NULL)
    ) AS v(item, one, other, is_off)
), counted AS (
    INSERT INTO checks SELECT 1, 'minutes', 'minute bars against their daily bar', count(*), count(*) FILTER (WHERE is_off) FROM judged
)
INSERT INTO differences SELECT 'minutes', stock_code, time, item, one::text, other::text, one - other FROM judged WHERE is_off;
-- ## Capitalisations against close times listed shares.
WITH judged AS MATERIALIZED (
    SELECT a.stock_code, a.time, a.market_cap, o.close::bigint * a.listed_shares AS product
    FROM market.market_cap_daily a
    JOIN market.ohlcv_daily o ON o.stock_code = a.stock_code AND o.time = a.time AND o.time BETWEEN DATE '{from}' AND DATE '{to}'
    WHERE a.time BETWEEN DATE '{from}' AND DATE '{to}'
), counted AS (
    INSERT INTO checks SELECT 2, 'market-cap', 'market cap against close x listed shares', count(*),
                              count(*) FILTER (WHERE market_cap <> product) FROM judged
)
INSERT INTO differences
SELECT 'market-cap', stock_code, time, 'KRW: market cap, close x listed shares', market_cap::text, product::text, market_cap - product
FROM judged WHERE market_cap <> product;
-- ## Index members against the master of their session.
WITH judged AS MATERIALIZED (
    SELECT c.stock_code, c.time, c.index_code, h.is_active, h.stock_code IS NOT NULL AS is_known
    FROM market.index_components c
    JOIN mastered t ON t.time = c.time
    LEFT JOIN market.stock_history h
           ON h.stock_code = c.stock_code AND h.valid_from <= c.time AND (h.valid_to IS NULL OR h.valid_to > c.time)
    WHERE c.time BETWEEN DATE '{from}' AND DATE '{to}'
), counted AS (
    INSERT INTO checks SELECT 3, 'index-members', 'index members against the stocks listed', count(*),
                              count(*) FILTER (WHERE is_active IS NOT TRUE) FROM judged
)
INSERT INTO differences
SELECT 'index-members', stock_code, time, 'member, master', index_code, CASE WHEN is_known THEN 'delisted' ELSE 'not in the master' END, NULL
FROM judged WHERE is_active IS NOT TRUE;
-- ## ETFs and their domestic parts against the master of their session. Not every master lists ETFs.
WITH parts AS (
    SELECT DISTINCT p.component_code AS stock_code, p.time, p.etf_code AS etf, false AS is_fund
    FROM market.etf_portfolios p
    WHERE p.time BETWEEN DATE '{from}' AND DATE '{to}'
      AND p.component_code ~ '^[0-9A-Z]{6}$' AND p.component_id ~ '^(KR7|.{6}$)'
      AND NOT EXISTS (SELECT FROM market.snapshots m WHERE m.dataset = 'etf-portfolios' AND m.slice = p.component_code)
    UNION ALL
    SELECT m.slice, m.time, m.slice, true FROM market.snapshots m
    WHERE m.dataset = 'etf-portfolios' AND m.time BETWEEN $1 AND $2
      AND EXISTS (SELECT FROM market.stocks WHERE security_type = 'ETF')
), judged AS MATERIALIZED (
    SELECT p.*, h.is_active, h.stock_code IS NOT NULL AS is_known
    FROM parts p
    JOIN mastered t ON t.time = p.time
    LEFT JOIN market.stock_history h
           ON h.stock_code = p.stock_code AND h.valid_from <= p.time AND (h.valid_to IS NULL OR h.valid_to > p.time)
), counted AS (
    INSERT INTO checks SELECT 4, 'etf-parts', 'ETFs and their domestic parts against the stocks listed', count(*),
                              count(*) FILTER (WHERE is_active IS NOT TRUE) FROM judged
)
INSERT INTO differences
SELECT 'etf-parts', stock_code, time, CASE WHEN is_fund THEN 'ETF, master' ELSE 'part of ETF, master' END, etf,
       CASE WHEN is_known THEN 'delisted' ELSE 'not in the master' END, NULL
FROM judged WHERE is_active IS NOT TRUE;
-- ## What kinds of investors traded, where all four are known: it nets to zero, and what was bought was sold and traded.
-- Values of sources that round them may be off by as much.
WITH summed AS (
    SELECT i.stock_code, i.time, sum(i.net_volume)::bigint AS net_volume, sum(i.net_value)::bigint AS net_value,
           sum(i.buy_volume)::bigint AS bought, sum(i.sell_volume)::bigint AS sold,
           sum(i.buy_value)::bigint AS paid, sum(i.sell_value)::bigint AS got,
           count(i.buy_volume) = 4 AND count(i.sell_volume) = 4 AS has_volumes,
           count(i.buy_value) = 4 AND count(i.sell_value) = 4 AS has_values,
           count(i.net_volume) = 4 AS has_net_volume, count(i.net_value) = 4 AS has_net_value,
           CASE WHEN max(b.value_unit) > 1 THEN 4 * max(b.value_unit) ELSE 0 END AS slack
    FROM market.investor_trading i
    LEFT JOIN ops.batches b ON b.batch_id = i.batch_id
    WHERE i.time BETWEEN DATE '{from}' AND DATE '{to}' AND i.investor_type <> 'PENSION'
    GROUP BY 1, 2 HAVING count(*) = 4
), judged AS MATERIALIZED (
    SELECT s.stock_code, s.time, v.item, v.one, v.other, abs(v.one - v.other) > v.slack AS is_off
    FROM summed s
    LEFT JOIN market.ohlcv_daily o ON o.stock_code = s.stock_code AND o.time = s.time AND o.time BETWEEN DATE '{from}' AND DATE '{to}'
    CROSS JOIN LATERAL (VALUES
        ('shares: net of all investors, zero', s.net_volume, 0::bigint, 0::bigint, s.has_net_volume),
        ('KRW: net of all investors, zero', s.net_value, 0, s.slack, s.has_net_value),
        ('shares: bought, sold', s.bought, s.sold, 0, s.has_volumes),
        ('KRW: bought, sold', s.paid, s.got, s.slack, s.has_values),
        ('shares: bought, traded', s.bought, o.volume, 0, s.has_volumes),
        ('KRW: bought, traded', s.paid, o.value, s.slack, s.has_values)
    ) AS v(item, one, other, slack, is_there)
    WHERE v.is_there AND v.other IS NOT NULL
), counted AS (
    INSERT INTO checks SELECT 5, 'investors', 'sums of all investors against each other and the day', count(*),
                              count(*) FILTER (WHERE is_off) FROM judged
)
INSERT INTO differences SELECT 'investors', stock_code, time, item, one::text, other::text, one - other FROM judged WHERE is_off;
-- ## Rows that one batch brought and another changed: source against source, or a source against its earlier self.
CREATE TEMP TABLE revised ON COMMIT DROP AS
SELECT r.revision_id, r.table_name, r.key, r.old, r.batch_id, r.old_batch_id, (r.key ->> 'time')::timestamptz::date AS session,
       -- What stood there afterwards: the version that a later batch changed in its turn, or what stands there now.
       (SELECT n.old FROM ops.revisions n
        WHERE n.table_name = r.table_name AND n.key = r.key AND n.old_batch_id = r.batch_id AND n.revision_id > r.revision_id
        ORDER BY n.revision_id LIMIT 1) AS next
FROM ops.revisions r
JOIN ops.batches b ON b.batch_id = r.batch_id
WHERE r.operation = 'update' AND r.undone_at IS NULL AND b.dataset = ANY ($3)
  AND b.from_time <= $2 AND b.to_time >= $1 AND (r.key ->> 'time')::timestamptz::date BETWEEN $1 AND $2;
-- ## Their old and their new values, column by column.
WITH present AS (
    {present}
), paired AS (
    SELECT r.*, coalesce(r.next, p.now) AS now FROM revised r LEFT JOIN present p ON p.revision_id = r.revision_id
), judged AS MATERIALIZED (
    SELECT coalesce(p.key ->> 'stock_code', p.key ->> 'etf_code') AS stock_code, p.session, p.table_name, p.key,
           p.old_batch_id, p.batch_id, c.source AS old_source, b.source, o.key AS column_name, o.value AS one, n.value AS other
    FROM paired p
    JOIN ops.batches b ON b.batch_id = p.batch_id
    LEFT JOIN ops.batches c ON c.batch_id = p.old_batch_id
    CROSS JOIN LATERAL jsonb_each_text(p.old) o
    JOIN LATERAL jsonb_each_text(p.now) n ON n.key = o.key
    WHERE o.key <> 'batch_id' AND o.value IS DISTINCT FROM n.value
), counted AS (
    INSERT INTO checks SELECT 6, 'sources', 'rows that another batch changed: source against source', (SELECT count(*) FROM paired),
                              count(*) FROM judged
)
INSERT INTO differences
SELECT 'sources', stock_code, session,
       format('%s%s: %s batch %s, %s batch %s', column_name,
              (SELECT ' ' || string_agg(k.value, ' ') FROM jsonb_each_text(key) k
               WHERE k.key NOT IN ('stock_code', 'etf_code') AND (k.key <> 'time' OR k.value LIKE '%T%')),
              coalesce(old_source, '?'), old_batch_id, source, batch_id),
       one, other,
       CASE WHEN one ~ '^-?[0-9]{1,18}$' AND other ~ '^-?[0-9]{1,18}$' THEN one::bigint - other::bigint END
FROM judged;
-- # checks: what was compared, and how much of it differs
SELECT "check", compared, differing, about FROM checks ORDER BY place;
-- # differences: where two sides do not agree
-- hidden: difference
-- note: One side may be right: `kdata extract … | kdata validate | kdata load`, then `kdata report reconcile --batch N` compares another source.
SELECT d."check", d.session, d.stock_code, k.name, d.item, d.one, d.other, d.difference
FROM differences d
LEFT JOIN market.stocks k USING (stock_code)
ORDER BY d.session DESC, d."check", d.stock_code, d.item
LIMIT $5;
