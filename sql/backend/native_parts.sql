-- Parts of a series on plain PostgreSQL: partitions.
-- The same function names as in timescale_parts.sql; the rest of the program does not know which is in use.

-- Plain PostgreSQL compresses nothing.
CREATE FUNCTION ops.make_compressible(rel text, segment_by text, order_by text) RETURNS void LANGUAGE sql AS $$
    SELECT;
$$;

-- From here on parts of market.<rel> hold a month: those of a year of minutes would have an index that no memory holds.
CREATE FUNCTION ops.key_parts(rel text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO ops.part_keys (table_name, key)
    SELECT k.table_name, k.key FROM ops.keyed_tables k WHERE k.table_name = rel;
$$;

-- A partition has its key from the first.
CREATE FUNCTION ops.key_range(rel text, from_time date, to_time date) RETURNS void LANGUAGE sql AS $$
    SELECT;
$$;

-- Makes the parts that hold the range: of a month where a part has its own key, else of a year. Made apart and
-- attached, as native.sql says.
CREATE OR REPLACE FUNCTION ops.ensure_range(rel text, from_time date, to_time date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    is_monthly boolean := EXISTS (SELECT FROM ops.part_keys k WHERE k.table_name = rel);
    width interval := CASE WHEN is_monthly THEN interval '1 month' ELSE interval '1 year' END;
    first date := date_trunc(CASE WHEN is_monthly THEN 'month' ELSE 'year' END, from_time::timestamp)::date;
    yearly text;
    part text;
BEGIN
    PERFORM set_config('lock_timeout', '10s', true);
    PERFORM pg_advisory_xact_lock(hashtext('kdata.ensure_range'), hashtext(rel));
    WHILE first <= to_time LOOP
        yearly := rel || '_' || to_char(first, 'YYYY');
        part := CASE WHEN is_monthly THEN rel || '_' || to_char(first, 'YYYY_MM') ELSE yearly END;
        -- A month may lie in a part that was made for its year.
        IF to_regclass(format('market.%I', part)) IS NULL AND to_regclass(format('market.%I', yearly)) IS NULL THEN
            EXECUTE format('CREATE TABLE market.%I (LIKE market.%I INCLUDING ALL)', part, rel);
            EXECUTE format('ALTER TABLE market.%I ATTACH PARTITION market.%I FOR VALUES FROM (%L) TO (%L)',
                           rel, part, ops.start_of(rel, first), ops.start_of(rel, (first + width)::date));
        END IF;
        first := (first + width)::date;
    END LOOP;
END $$;

-- The first time of a session in market.<rel>, as text.
CREATE FUNCTION ops.start_of(rel text, session date) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN a.atttypid = 'date'::regtype THEN session::text
                ELSE (session::timestamp AT TIME ZONE 'Asia/Seoul')::text END
    FROM pg_attribute a WHERE a.attrelid = format('market.%I', rel)::regclass AND a.attname = 'time';
$$;

-- Brings the rows of <source> into market.<rel>. The caller has proved that no row lies between from_time (inclusive)
-- and to_time (exclusive), which hold all rows of the source. Tells how many rows were written.
CREATE FUNCTION ops.fill(rel text, source regclass, columns text, from_time timestamptz, to_time timestamptz, batch bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
BEGIN
    -- By key, which writes the index in a third less time.
    EXECUTE format('INSERT INTO market.%1$I (%2$s, batch_id) SELECT %2$s, %3$s FROM %4$s ORDER BY %5$s',
                   rel, columns, batch, source,
                   (SELECT string_agg(quote_ident(k), ', ') FROM ops.part_keys p, unnest(p.key) k WHERE p.table_name = rel));
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END $$;

-- The parts of market.<rel> and what they take. until_session is exclusive.
CREATE FUNCTION ops.parts(rel text)
RETURNS TABLE (part text, from_session date, until_session date, bytes bigint, is_compressed boolean, to_mend text, anew boolean, can_wait boolean)
LANGUAGE sql STABLE AS $$
    SELECT format('%I.%I', 'market', c.relname), left(bounds[1], 10)::date, left(bounds[2], 10)::date,
           pg_total_relation_size(c.oid), false, NULL::text, false, true
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds
    WHERE i.inhparent = format('market.%I', rel)::regclass
    ORDER BY 2;
$$;

CREATE FUNCTION ops.decompress_part(part text) RETURNS void LANGUAGE sql AS $$
    SELECT;
$$;

CREATE FUNCTION ops.compress_part(part text) RETURNS void LANGUAGE sql AS $$
    SELECT;
$$;

-- Makes market.<rel>: bars of a width over those of another relation.
CREATE FUNCTION ops.make_rollup(rel text, width interval, base text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE market.%1$I (
                        stock_code text NOT NULL, time timestamptz NOT NULL, open integer NOT NULL, high integer NOT NULL,
                        low integer NOT NULL, close integer NOT NULL, volume bigint NOT NULL, value bigint,
                        CONSTRAINT %2$I PRIMARY KEY (stock_code, time))', rel, rel || '_pkey');
    PERFORM ops.make_series(rel, interval '1 year');
    INSERT INTO ops.rollups (table_name, width, base) VALUES (rel, width, base);
END $$;

-- Brings a rollup of a range of sessions up to date; writes only what differs.
CREATE FUNCTION ops.refresh_rollup(rel text, from_time date, to_time date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rollup ops.rollups := (SELECT r FROM ops.rollups r WHERE r.table_name = rel);
    within text := format('time >= %L AND time < %L', from_time::timestamp AT TIME ZONE 'Asia/Seoul',
                          (to_time + 1)::timestamp AT TIME ZONE 'Asia/Seoul');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('kdata.rollup'), hashtext(rel));
    -- Buckets begin at midnight in Seoul.
    EXECUTE format('CREATE TEMP TABLE rolled ON COMMIT DROP AS
                    SELECT stock_code, date_bin(%L, time, TIMESTAMPTZ ''2000-01-01 00:00+09'') AS time,
                           (array_agg(open ORDER BY time))[1] AS open, max(high) AS high, min(low) AS low,
                           (array_agg(close ORDER BY time DESC))[1] AS close, sum(volume)::bigint AS volume, CASE WHEN count(value) = count(*) THEN sum(value) END::bigint AS value
                    FROM market.%I WHERE %s GROUP BY 1, 2', rollup.width, rollup.base, within);
    EXECUTE format('DELETE FROM market.%1$I m WHERE %2$s AND NOT EXISTS (
                        SELECT FROM rolled r WHERE (r.*) IS NOT DISTINCT FROM (m.*) AND r.stock_code = m.stock_code AND r.time = m.time)',
                   rel, within);
    EXECUTE format('INSERT INTO market.%1$I SELECT * FROM rolled r WHERE NOT EXISTS (
                        SELECT FROM market.%1$I m WHERE m.stock_code = r.stock_code AND m.time = r.time AND %2$s)
                    ORDER BY stock_code, time', rel, within);
    DROP TABLE rolled;
END $$;

-- What is left to do for a range of sessions once they are promoted: statements, in order, each a transaction.
CREATE FUNCTION ops.to_settle(from_time date, to_time date) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT s.statement
    FROM ops.rollups r
    CROSS JOIN LATERAL (VALUES
        (1, format('SELECT ops.ensure_range(%L, %L, %L)', r.table_name, from_time, to_time)),
        (2, format('SELECT ops.refresh_rollup(%L, %L, %L)', r.table_name, from_time, to_time))
    ) AS s(step, statement)
    ORDER BY r.width, s.step;
$$;
