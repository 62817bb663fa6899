-- Parts of a series on plain PostgreSQL: partitions.
-- The same function names as in timescale_parts.sql; the rest of the program does not know which is in use.

-- Plain PostgreSQL compresses nothing.
CREATE FUNCTION ops.make_compressible(rel text, segment_by text, order_by text) RETURNS void LANGUAGE sql AS $$
    SELECT;
$$;

-- Moves the primary key of market.<rel> into its parts, a unique index each: a part that is new can be filled before it
-- is keyed. From here on parts hold a month: those of a year of minutes would have an index that no memory holds.
CREATE FUNCTION ops.key_parts(rel text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ops.part_keys (table_name, key)
    SELECT k.table_name, k.key FROM ops.keyed_tables k WHERE k.table_name = rel;
    EXECUTE format('ALTER TABLE market.%I DROP CONSTRAINT %I', rel, rel || '_pkey');
    PERFORM ops.key_range(rel, '-infinity', 'infinity');
END $$;

-- The parts of market.<rel> with their bounds as times, and whether they have the key yet.
CREATE FUNCTION ops.bounds(rel text)
RETURNS TABLE (part regclass, from_time timestamptz, to_time timestamptz, is_keyed boolean) LANGUAGE sql STABLE AS $$
    SELECT c.oid::regclass, bounds[1]::timestamptz, bounds[2]::timestamptz,
           EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisunique)
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds
    WHERE i.inhparent = format('market.%I', rel)::regclass
    ORDER BY 2;
$$;

-- Gives the parts of a range that have no key yet theirs, and proves with that that they hold no key twice.
CREATE FUNCTION ops.key_range(rel text, from_time date, to_time date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name regclass;
    key text := (SELECT string_agg(quote_ident(c), ', ') FROM ops.part_keys k, unnest(k.key) c WHERE k.table_name = rel);
BEGIN
    IF key IS NULL THEN
        RETURN;
    END IF;
    -- The index is made by sorting: on disk it takes twice as long.
    PERFORM set_config('maintenance_work_mem', '256MB', true);
    FOR name IN
        SELECT b.part FROM ops.bounds(rel) b
        WHERE NOT b.is_keyed AND (b.from_time AT TIME ZONE 'Asia/Seoul')::date <= key_range.to_time
          AND (b.to_time AT TIME ZONE 'Asia/Seoul')::date > key_range.from_time
    LOOP
        EXECUTE format('CREATE UNIQUE INDEX %I ON %s (%s)', (SELECT relname FROM pg_class WHERE oid = name) || '_key', name, key);
    END LOOP;
END $$;

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
-- and to_time (exclusive), which hold all rows of the source. Tells how many rows were written. A part without a key, which
-- is new, gets it afterwards, in the same transaction: that takes half the time, and readers go on.
CREATE FUNCTION ops.fill(rel text, source regclass, columns text, from_time timestamptz, to_time timestamptz, batch bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    name record;
    rows bigint;
    filled bigint := 0;
    key text := (SELECT string_agg(quote_ident(k), ', ') FROM ops.part_keys p, unnest(p.key) k WHERE p.table_name = rel);
BEGIN
    FOR name IN
        SELECT b.* FROM ops.bounds(rel) b WHERE b.from_time < fill.to_time AND b.to_time > fill.from_time
    LOOP
        -- By key, which writes an index that is there in a third less time.
        EXECUTE format('INSERT INTO market.%1$I (%2$s, batch_id) SELECT %2$s, %3$s FROM %4$s WHERE time >= %5$L AND time < %6$L %7$s',
                       rel, columns, batch, source, name.from_time, name.to_time,
                       CASE WHEN name.is_keyed THEN 'ORDER BY ' || key ELSE '' END);
        GET DIAGNOSTICS rows = ROW_COUNT;
        filled := filled + rows;
    END LOOP;
    PERFORM ops.key_range(rel, (fill.from_time AT TIME ZONE 'Asia/Seoul')::date, (fill.to_time AT TIME ZONE 'Asia/Seoul')::date);
    RETURN filled;
END $$;

-- The parts of market.<rel> and what they take. until_session is exclusive.
CREATE FUNCTION ops.parts(rel text)
RETURNS TABLE (part text, from_session date, until_session date, bytes bigint, is_compressed boolean, to_mend text, anew boolean, can_wait boolean)
LANGUAGE sql STABLE AS $$
    SELECT format('%I.%I', 'market', c.relname), b.from_time::date, b.to_time::date, pg_total_relation_size(c.oid), false, NULL::text, false, true
    FROM ops.bounds(rel) b
    JOIN pg_class c ON c.oid = b.part
    ORDER BY b.from_time;
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
