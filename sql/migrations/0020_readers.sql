-- What readers get beyond the tables: adjusted prices, weekly and monthly bars, the names of a date, the past of the
-- database, sessions of the calendar.

-- How far the calendar reaches, so that a function can say that it does not know instead of guessing.
ALTER TABLE ops.settings ADD COLUMN covers_from date, ADD COLUMN covers_to date;
CREATE VIEW market.calendar AS
SELECT kind, covers_from, covers_to, calendar FROM ops.settings;
COMMENT ON VIEW market.calendar IS 'What this database is, and how far its trading calendar reaches.';
COMMENT ON COLUMN market.calendar.kind IS 'live: real data; demo: simulated data';
COMMENT ON COLUMN market.calendar.covers_from IS 'first day that the calendar covers';
COMMENT ON COLUMN market.calendar.covers_to IS 'last day that the calendar covers; beyond it nothing is known';
COMMENT ON COLUMN market.calendar.calendar IS 'which version of the calendar trading_days shows';

CREATE FUNCTION market.prev_session(day date) RETURNS date LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    covers record;
    found_time date;
BEGIN
    SELECT covers_from, covers_to INTO covers FROM market.calendar;
    SELECT max(d.time) INTO found_time FROM market.trading_days d WHERE d.time < day;
    IF day > covers.covers_to + 1 OR found_time IS NULL AND day IS NOT NULL THEN
        RAISE EXCEPTION 'the trading calendar covers % to %: the session before % is not known',
                        covers.covers_from, covers.covers_to, day
              USING ERRCODE = 'no_data_found', HINT = 'kdata''s setting KDATA_CALENDAR extends it.';
    END IF;
    RETURN CASE WHEN day IS NOT NULL THEN found_time END;
END $$;
COMMENT ON FUNCTION market.prev_session(date) IS 'The last session of KRX before a day. An error where the trading calendar does not reach.';

CREATE FUNCTION market.sessions_between(from_day date, to_day date) RETURNS SETOF date LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    covers record;
BEGIN
    SELECT covers_from, covers_to INTO covers FROM market.calendar;
    IF from_day < covers.covers_from OR to_day > covers.covers_to THEN
        RAISE EXCEPTION 'the trading calendar covers % to %, not % to %',
                        covers.covers_from, covers.covers_to, from_day, to_day
              USING ERRCODE = 'no_data_found', HINT = 'kdata''s setting KDATA_CALENDAR extends it.';
    END IF;
    RETURN QUERY SELECT d.time FROM market.trading_days d WHERE d.time BETWEEN from_day AND to_day ORDER BY 1;
END $$;
COMMENT ON FUNCTION market.sessions_between(date, date) IS 'The sessions of KRX from a day to a day, both included; count(*) of them is their number. An error where the trading calendar does not reach.';

-- Adjusted prices. A factor is the base price of a session over the close of the calendar session before, where they
-- differ by more than a half-tick's rounding: corporate_actions, with the evidence. Where a name has no bar on the
-- session before, or its bar has no base price, what happened in between is not known: adjustment_gaps. So a name's
-- bars form chains, and prices are adjusted to the last bar of their chain; nothing is assumed across a gap.
CREATE TABLE market.adjustment_gaps (
    stock_code text NOT NULL,
    time       date NOT NULL,
    since      date NOT NULL,
    reason     text NOT NULL,
    PRIMARY KEY (stock_code, time)
);
COMMENT ON TABLE market.adjustment_gaps IS 'Bars that nothing links with the bar before: adjusted prices before and after are not comparable. Follows ohlcv_daily.';
COMMENT ON COLUMN market.adjustment_gaps.stock_code IS 'KRX short code, six characters';
COMMENT ON COLUMN market.adjustment_gaps.time IS 'session (KST) of the bar after the gap';
COMMENT ON COLUMN market.adjustment_gaps.since IS 'session (KST) of the last bar before the gap';
COMMENT ON COLUMN market.adjustment_gaps.reason IS 'what is missing';

-- Kept as a table of intervals, so that a bar finds its factor by an index and readers need no window over a history.
CREATE TABLE market.adjustment_factors (
    stock_code text NOT NULL,
    valid_from date NOT NULL,
    valid_to   date NOT NULL,
    factor     double precision NOT NULL,
    chain_end  date,
    PRIMARY KEY (stock_code, valid_to)
);
COMMENT ON TABLE market.adjustment_factors IS 'What raw prices are multiplied by to be comparable with the last bar of their chain: the product of the factors of the corporate_actions in between. A session outside every interval of its name has factor 1 and is comparable with the newest bar. Follows corporate_actions and adjustment_gaps.';
COMMENT ON COLUMN market.adjustment_factors.stock_code IS 'KRX short code, six characters';
COMMENT ON COLUMN market.adjustment_factors.valid_from IS 'first session (KST) of the interval';
COMMENT ON COLUMN market.adjustment_factors.valid_to IS 'session (KST) of the corporate action or of the bar after the gap; not part of the interval';
COMMENT ON COLUMN market.adjustment_factors.factor IS 'product of the factors up to the end of the chain';
COMMENT ON COLUMN market.adjustment_factors.chain_end IS 'session (KST) of the last bar before the next gap; NULL: no gap follows, the chain ends with the newest bar';

CREATE AGGREGATE ops.product(double precision) (SFUNC = float8mul, STYPE = double precision, INITCOND = '1');

-- The intervals as they must stand. A link is an action or a gap; the links up to the next gap make a chain.
CREATE VIEW ops.chains AS
SELECT stock_code,
       coalesce(lead(time) OVER (PARTITION BY stock_code ORDER BY time DESC), '-infinity') AS valid_from,
       time AS valid_to,
       ops.product(factor) OVER (PARTITION BY stock_code, gaps ORDER BY time DESC) AS factor,
       max(since) OVER (PARTITION BY stock_code, gaps ORDER BY time DESC) AS chain_end
FROM (
    SELECT l.*, count(since) OVER (PARTITION BY stock_code ORDER BY time DESC) AS gaps
    FROM (
        SELECT a.stock_code, a.time, a.factor, NULL::date AS since
        FROM market.corporate_actions a
        WHERE NOT EXISTS (SELECT FROM market.adjustment_gaps g WHERE g.stock_code = a.stock_code AND g.time = a.time)
        UNION ALL
        SELECT g.stock_code, g.time, 1, g.since FROM market.adjustment_gaps g
    ) l
) links;

-- Brings gaps and factors up to date after the bars of these sessions changed. Judged are the bars of the sessions, and
-- each name's first bar after them. A name without a bar on sessions whose source drops names without trades did not
-- trade there: when it comes back with its last close as its base price, nothing happened in between.
CREATE FUNCTION ops.refresh_adjustments(from_time date, to_time date) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before date := coalesce((SELECT max(d.time) FROM market.trading_days d WHERE d.time < from_time), from_time);
BEGIN
    -- Dates are written out, so that partitions and chunks are excluded while planning.
    EXECUTE format($q$
        WITH judged AS MATERIALIZED (
            SELECT o.stock_code, o.time, o.base_price, d.prev_time
            FROM market.ohlcv_daily o JOIN market.trading_days d ON d.time = o.time
            WHERE o.time BETWEEN %1$L AND %2$L
            UNION ALL
            SELECT n.stock_code, n.time, n.base_price, d.prev_time
            FROM (SELECT DISTINCT o.stock_code FROM market.ohlcv_daily o WHERE o.time > %2$L) l
            CROSS JOIN LATERAL (
                SELECT o.stock_code, o.time, o.base_price FROM market.ohlcv_daily o
                WHERE o.stock_code = l.stock_code AND o.time > %2$L ORDER BY o.time LIMIT 1
            ) n
            JOIN market.trading_days d ON d.time = n.time
        ), unlinked AS (
            -- The bar before one of the later bars is in the range, or is none.
            SELECT j.*
            FROM judged j
            LEFT JOIN market.ohlcv_daily p
                   ON p.stock_code = j.stock_code AND p.time = j.prev_time AND p.time BETWEEN %3$L AND %2$L
            WHERE p.stock_code IS NULL OR j.base_price IS NULL
        ), found AS (
            SELECT j.stock_code, j.time, u.time AS since,
                   CASE WHEN u.time = j.prev_time THEN 'no base price on ' || j.time
                        ELSE 'no bar on ' || j.prev_time END AS reason
            FROM unlinked j
            CROSS JOIN LATERAL (
                SELECT o.time, o.close FROM market.ohlcv_daily o
                WHERE o.stock_code = j.stock_code AND o.time < j.time ORDER BY o.time DESC LIMIT 1
            ) u
            WHERE j.base_price IS DISTINCT FROM u.close
               OR EXISTS (
                   SELECT FROM market.trading_days d
                   LEFT JOIN market.session_status s ON s.dataset = 'ohlcv' AND s.time = d.time
                   WHERE d.time > u.time AND d.time < j.time AND s.names IS DISTINCT FROM 'traded')
        ), gone AS (
            DELETE FROM market.adjustment_gaps g
            WHERE (g.time BETWEEN %1$L AND %2$L
                   OR EXISTS (SELECT FROM judged j WHERE j.stock_code = g.stock_code AND j.time = g.time))
              AND NOT EXISTS (SELECT FROM found f WHERE f.stock_code = g.stock_code AND f.time = g.time)
        )
        INSERT INTO market.adjustment_gaps AS g (stock_code, time, since, reason)
        SELECT f.stock_code, f.time, f.since, f.reason FROM found f
        WHERE NOT EXISTS (SELECT FROM market.adjustment_gaps h
                          WHERE (h.stock_code, h.time, h.since, h.reason) = (f.stock_code, f.time, f.since, f.reason))
        ON CONFLICT (stock_code, time) DO UPDATE SET since = excluded.since, reason = excluded.reason
    $q$, from_time, to_time, before);
    DELETE FROM market.adjustment_factors f
    WHERE NOT EXISTS (SELECT FROM ops.chains c WHERE c.stock_code = f.stock_code AND c.valid_to = f.valid_to);
    INSERT INTO market.adjustment_factors AS f (stock_code, valid_from, valid_to, factor, chain_end)
    SELECT c.* FROM ops.chains c
    WHERE NOT EXISTS (SELECT FROM market.adjustment_factors g
                      WHERE g.stock_code = c.stock_code AND g.valid_to = c.valid_to AND g.valid_from = c.valid_from
                        AND g.factor = c.factor AND g.chain_end IS NOT DISTINCT FROM c.chain_end)
    ON CONFLICT (stock_code, valid_to) DO UPDATE
    SET (valid_from, factor, chain_end) = (excluded.valid_from, excluded.factor, excluded.chain_end);
END $$;
SELECT ops.refresh_adjustments(min(time), max(time)) FROM market.ohlcv_daily HAVING count(*) > 0;

CREATE VIEW market.ohlcv_daily_adjusted AS
SELECT o.stock_code, o.time,
       o.open * f.factor AS open, o.high * f.factor AS high, o.low * f.factor AS low, o.close * f.factor AS close,
       o.volume / f.factor AS volume, o.value, o.base_price * f.factor AS base_price, f.factor, a.chain_end,
       o.market, o.security_type
FROM market.ohlcv_daily o
LEFT JOIN market.adjustment_factors a
       ON a.stock_code = o.stock_code AND o.time >= a.valid_from AND o.time < a.valid_to
CROSS JOIN LATERAL (SELECT coalesce(a.factor, 1) AS factor) f;
COMMENT ON VIEW market.ohlcv_daily_adjusted IS 'Daily bars adjusted backwards for splits, bonus and rights issues, consolidations; raw prices stay in ohlcv_daily. Compare prices of equal chain_end only: what happened in the gap between two chains is not known (adjustment_gaps).';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.stock_code IS 'KRX short code, six characters';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.time IS 'session (KST)';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.open IS 'KRW x factor; NULL without trades';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.high IS 'KRW x factor; NULL without trades';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.low IS 'KRW x factor; NULL without trades';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.close IS 'KRW x factor; without trades the reference price';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.volume IS 'shares / factor, 0 without trades';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.value IS 'traded value, KRW, as it was';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.base_price IS 'KRW x factor: the adjusted close of the session before, but for the rounding of base prices; known across a gap too';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.factor IS 'what the raw prices were multiplied by (adjustment_factors)';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.chain_end IS 'the bar that prices are adjusted to: the last before the next gap; NULL: no gap follows, it is the newest bar';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.market IS 'KOSPI, KOSDAQ or KONEX as of that session';
COMMENT ON COLUMN market.ohlcv_daily_adjusted.security_type IS 'as of that session';

-- Weeks begin on Monday. A bar that would span a gap has no prices at all.
DO $do$
DECLARE
    unit text;
    rel text;
    col text[];
BEGIN
    FOREACH unit IN ARRAY ARRAY['week', 'month'] LOOP
        rel := 'ohlcv_' || unit || 'ly_adjusted';
        EXECUTE format($q$
            CREATE VIEW market.%1$I AS
            SELECT b.stock_code, b.time, b.first_session, b.last_session,
                   CASE WHEN b.known THEN b.open END AS open, CASE WHEN b.known THEN b.high END AS high,
                   CASE WHEN b.known THEN b.low END AS low, CASE WHEN b.known THEN b.close END AS close,
                   CASE WHEN b.known THEN b.volume END AS volume, b.value, CASE WHEN b.known THEN b.chain_end END AS chain_end, b.sessions,
                   (SELECT count(*) FROM market.trading_days d
                    WHERE d.time >= b.time AND d.time < (b.time + interval '1 %2$s')::date)::integer AS sessions_of_krx
            FROM (
                SELECT o.stock_code, date_trunc('%2$s', o.time::timestamp)::date AS time,
                       min(o.time) AS first_session, max(o.time) AS last_session,
                       (array_agg(o.open ORDER BY o.time) FILTER (WHERE o.open IS NOT NULL))[1] AS open,
                       max(o.high) AS high, min(o.low) AS low,
                       (array_agg(o.close ORDER BY o.time DESC))[1] AS close,
                       sum(o.volume) AS volume, sum(o.value)::bigint AS value, count(*)::integer AS sessions,
                       min(coalesce(o.chain_end, 'infinity')) = max(coalesce(o.chain_end, 'infinity')) AS known,
                       min(o.chain_end) AS chain_end
                FROM market.ohlcv_daily_adjusted o
                GROUP BY 1, 2
            ) b
        $q$, rel, unit);
        EXECUTE format('COMMENT ON VIEW market.%I IS %L', rel,
            initcap(unit) || 'ly bars over ohlcv_daily_adjusted. sessions < sessions_of_krx: sessions are missing, or the '
            || unit || ' is not over.');
        FOREACH col SLICE 1 IN ARRAY ARRAY[
            ['stock_code', 'KRX short code, six characters'],
            ['time', CASE unit WHEN 'week' THEN 'Monday of the week' ELSE 'first day of the month' END],
            ['first_session', 'first session (KST) with a bar'],
            ['last_session', 'last session (KST) with a bar'],
            ['open', 'first open, KRW adjusted; NULL without trades, or with a gap'],
            ['high', 'KRW adjusted; NULL without trades, or with a gap'],
            ['low', 'KRW adjusted; NULL without trades, or with a gap'],
            ['close', 'last close, KRW adjusted; NULL with a gap'],
            ['volume', 'shares, adjusted; NULL with a gap'],
            ['value', 'traded value, KRW'],
            ['chain_end', 'the bar that prices are adjusted to, as in ohlcv_daily_adjusted'],
            ['sessions', 'sessions with a bar'],
            ['sessions_of_krx', 'sessions of KRX in the ' || unit]
        ] LOOP
            EXECUTE format('COMMENT ON COLUMN market.%I.%I IS %L', rel, col[1], col[2]);
        END LOOP;
    END LOOP;
END $do$;

CREATE FUNCTION market.universe(session date, max_age integer DEFAULT 45)
RETURNS TABLE (stock_code text, isin text, name text, name_en text, market text, segment text, security_type text,
               listing_date date, par_value bigint, listed_shares bigint, master date)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown date := (SELECT max(m.time) FROM market.session_status m
                   WHERE m.dataset = 'stocks' AND m.names <> 'list' AND m.time <= session);
BEGIN
    IF session IS NULL OR shown IS NULL OR shown < session - max_age THEN
        RAISE EXCEPTION 'no stock master tells which names were listed on %: the last one before is of %',
                        session, coalesce(shown::text, 'no session at all')
              USING ERRCODE = 'no_data_found',
                    HINT = 'kdata extract stocks brings one; or allow an older one: universe(session, max_age => days).';
    END IF;
    RETURN QUERY
    SELECT h.stock_code, h.isin, h.name, h.name_en, h.market, h.segment, h.security_type,
           h.listing_date, h.par_value, h.listed_shares, shown
    FROM market.stock_history h
    WHERE h.valid_from <= session AND (h.valid_to IS NULL OR h.valid_to > session) AND h.is_active
    ORDER BY h.stock_code;
END $$;
COMMENT ON FUNCTION market.universe(date, integer) IS 'The names listed on a session, each as it was then, also those delisted since. master: the session of the stock master that tells; older than max_age days is an error.';

-- The tables whose rows belong to batches, with their keys.
CREATE VIEW ops.keyed_tables AS
SELECT c.relname::text AS table_name,
       array_agg(a.attname::text ORDER BY array_position(i.indkey, a.attnum)) AS key
FROM pg_class c
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE c.relnamespace = 'market'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attname = 'batch_id')
GROUP BY c.relname;
COMMENT ON VIEW ops.keyed_tables IS 'The tables of schema market whose rows belong to batches, with their keys.';

-- The database as it stood at an instant. A key's versions: its row in production, since the promotion of its batch;
-- old rows in the revisions, each from valid_from to valid_to; and absence, from a deletion until it was undone. Of
-- those that stood at the instant the one that began last is the one that was seen: it lay over the others.
CREATE FUNCTION market.as_of(dataset text, at timestamptz, from_session date DEFAULT '-infinity',
                             to_session date DEFAULT 'infinity', code text DEFAULT NULL)
RETURNS SETOF jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'Asia/Seoul' AS $$
DECLARE
    bare text := replace(dataset, '-', '_');
    rel text;
    keys text[];
    time_column text;
    code_column text;
    rows_of_production text := 'true';
    rows_of_the_past text := 'true';
BEGIN
    -- A dataset's name, or its table's: relations of schema market whose rows belong to batches, nothing else.
    SELECT t.table_name, t.key INTO rel, keys
    FROM ops.keyed_tables t
    WHERE t.table_name IN (bare, bare || '_daily')
    ORDER BY t.table_name;
    IF rel IS NULL THEN
        RAISE EXCEPTION 'there is no dataset %', dataset USING ERRCODE = 'undefined_table';
    ELSIF at IS NULL THEN
        RAISE EXCEPTION 'as of when?' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    time_column := (SELECT k FROM unnest(keys) k WHERE k IN ('time', 'valid_from'));
    code_column := (SELECT k FROM unnest(keys) k WHERE k IN ('stock_code', 'etf_code'));
    IF time_column IS NOT NULL THEN
        -- Dates and instants alike: a session's day begins at midnight in Korea.
        rows_of_production := format('m.%1$I >= $2 AND m.%1$I < $3', time_column);
        rows_of_the_past := format('(r.key->>%1$L)::timestamptz >= $2 AND (r.key->>%1$L)::timestamptz < $3', time_column);
    END IF;
    IF code IS NOT NULL AND code_column IS NULL THEN
        RAISE EXCEPTION 'dataset % has no codes', dataset USING ERRCODE = 'invalid_parameter_value';
    ELSIF code IS NOT NULL THEN
        rows_of_production := rows_of_production || format(' AND m.%I = $4', code_column);
        rows_of_the_past := rows_of_the_past || format(' AND r.key->>%L = $4', code_column);
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH versions AS (
            SELECT jsonb_build_object(%1$s) AS key, to_jsonb(m) AS row, b.promoted_at AS since
            FROM market.%2$I m LEFT JOIN ops.batches b ON b.batch_id = m.batch_id
            WHERE %3$s AND (b.promoted_at IS NULL OR b.promoted_at <= $1)
            UNION ALL
            SELECT r.key, r.old, r.valid_from
            FROM ops.revisions r
            WHERE r.table_name = %2$L AND %4$s AND (r.valid_from IS NULL OR r.valid_from <= $1) AND r.valid_to > $1
            UNION ALL
            SELECT r.key, NULL, r.valid_to
            FROM ops.revisions r
            WHERE r.table_name = %2$L AND %4$s AND r.operation = 'delete'
              AND r.valid_to <= $1 AND (r.undone_at IS NULL OR r.undone_at > $1)
        )
        SELECT seen.row
        FROM (SELECT DISTINCT ON (v.key) v.row FROM versions v ORDER BY v.key, v.since DESC NULLS LAST) AS seen
        WHERE seen.row IS NOT NULL
    $q$, (SELECT string_agg(format('%L, m.%I', k, k), ', ') FROM unnest(keys) k), rel, rows_of_production, rows_of_the_past)
    USING at, from_session, to_session + 1, code;
END $$;
COMMENT ON FUNCTION market.as_of(text, timestamptz, date, date, text) IS 'The rows of a dataset as the database showed them at an instant, as JSON; sessions and code narrow them. As columns: as_of(NULL::ohlcv_daily, instant).';

CREATE FUNCTION market.as_of(row_type anyelement, at timestamptz, from_session date DEFAULT '-infinity',
                             to_session date DEFAULT 'infinity', code text DEFAULT NULL)
RETURNS SETOF anyelement LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rel text := (SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.reltype = pg_typeof(row_type) AND n.nspname = 'market');
BEGIN
    IF rel IS NULL THEN
        RAISE EXCEPTION '% is no table of schema market', pg_typeof(row_type) USING ERRCODE = 'undefined_table';
    END IF;
    RETURN QUERY SELECT p.*
        FROM market.as_of(rel, at, from_session, to_session, code) a, jsonb_populate_record(row_type, a) p;
END $$;
COMMENT ON FUNCTION market.as_of(anyelement, timestamptz, date, date, text) IS 'The rows of a table as the database showed them at an instant: SELECT * FROM as_of(NULL::ohlcv_daily, ''2026-11-20 18:00+09''), narrowed by from_session, to_session and code.';

-- What the first migrations left without a comment.
DO $do$
DECLARE
    col record;
BEGIN
    FOR col IN
        SELECT c.relname, a.attname, w.words
        FROM (VALUES
            ('trading_days', 'time', 'session (KST)'),
            ('trading_days', 'remark', 'why the hours differ'),
            ('market_cap_daily', 'time', 'session (KST)'),
            ('corporate_actions', 'time', 'session (KST) with the new base price'),
            ('corporate_actions', 'base_price', 'KRW, of that session'),
            ('corporate_actions', 'prev_close', 'KRW, close of the calendar session before'),
            ('corporate_actions', 'evidence', 'the prices and days that the factor comes from, and whether the name was traded'),
            ('session_status', 'dataset', 'name of the dataset'),
            ('session_status', 'time', 'session (KST)'),
            ('session_status', 'source', 'where the rows come from'),
            ('session_status', 'rows', 'rows of the session'),
            ('session_status', 'finality', 'final: read after the data of the session had settled; provisional: before'),
            ('session_status', 'promoted_at', 'when the session last changed'),
            ('etf_portfolios', 'component_name', 'name of the component, as the source says it'),
            ('stock_history', 'delisting_date', 'as the master tells; NULL where it does not'),
            (NULL, 'stock_code', 'KRX short code, six characters [0-9A-Z]'),
            (NULL, 'batch_id', 'the batch that wrote the row'),
            (NULL, 'isin', 'ISIN, twelve characters'),
            (NULL, 'name', 'Korean name'),
            (NULL, 'name_en', 'English name'),
            (NULL, 'market', 'KOSPI, KOSDAQ or KONEX'),
            (NULL, 'segment', 'segment of the market, e.g. KOSDAQ GLOBAL'),
            (NULL, 'security_type', 'STOCK, PREFERRED, REIT, SPAC, ETF, ETN and others'),
            (NULL, 'listing_date', 'first session, as the master tells'),
            (NULL, 'delisting_date', 'as the master tells; NULL where it does not'),
            (NULL, 'is_active', 'listed'),
            (NULL, 'par_value', 'KRW; NULL without par or not known'),
            (NULL, 'listed_shares', 'listed shares of this class'),
            (NULL, 'valid_from', 'first session on which a master shows this state')
        ) AS w(rel, col, words)
        JOIN pg_class c ON c.relnamespace = 'market'::regnamespace AND (c.relname = w.rel OR w.rel IS NULL)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.col AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND col_description(c.oid, a.attnum) IS NULL
        ORDER BY w.rel NULLS LAST
    LOOP
        EXECUTE format('COMMENT ON COLUMN market.%I.%I IS %L', col.relname, col.attname, col.words);
    END LOOP;
END $do$;
