-- Parts of a series on TimescaleDB: chunks, of which some are compressed.
-- The same function names as in native_parts.sql; the rest of the program does not know which is in use.

-- Compresses parts of market.<rel> by columns that reads ask for one value of, and in an order.
CREATE FUNCTION ops.make_compressible(rel text, segment_by text, order_by text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE market.%I SET (timescaledb.compress, timescaledb.compress_segmentby = %L, timescaledb.compress_orderby = %L)',
                   rel, segment_by, order_by);
END $$;

-- Moves the primary key of market.<rel> into its parts, a unique index each. TimescaleDB compresses rows as they are
-- inserted only where the table as a whole has no unique index; into a part that has one, compressed or not, nobody
-- inserts a key that it holds all the same.
CREATE FUNCTION ops.key_parts(rel text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    INSERT INTO ops.part_keys (table_name, key)
    SELECT k.table_name, k.key FROM ops.keyed_tables k WHERE k.table_name = rel;
    EXECUTE format('ALTER TABLE market.%I DROP CONSTRAINT %I', rel, rel || '_pkey');
    PERFORM ops.key_range(rel, '-infinity', 'infinity');
END $$;

CREATE FUNCTION ops.key_part(rel text, part regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := (SELECT c.relname || '_key' FROM pg_class c WHERE c.oid = part);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   WHERE i.indrelid = part AND c.relname = name) THEN
        EXECUTE format('CREATE UNIQUE INDEX %I ON %s (%s)', name, part,
                       (SELECT string_agg(quote_ident(c), ', ') FROM ops.part_keys k, unnest(k.key) c WHERE k.table_name = rel));
    END IF;
END $$;

-- Gives the parts of a range that have no key yet theirs. The server looks for doubles in the whole part, compressed or
-- not, and into the key of a part for each row that it compresses, which takes three times as long: so a new part has none
-- while it is filled, and gets it before anybody writes into it otherwise, at the latest right after the promote.
CREATE FUNCTION ops.key_range(rel text, from_time date, to_time date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT format('%I.%I', c.chunk_schema, c.chunk_name)::regclass FROM timescaledb_information.chunks c
        WHERE c.hypertable_schema = 'market' AND c.hypertable_name = rel
          AND (c.range_start AT TIME ZONE 'UTC')::date <= to_time AND (c.range_end AT TIME ZONE 'UTC')::date > from_time
          AND EXISTS (SELECT FROM ops.part_keys k WHERE k.table_name = rel)
    LOOP
        PERFORM ops.key_part(rel, part);
    END LOOP;
END $$;

-- Makes the parts of keyed tables that hold the range, in a transaction of its own; other parts are made by the
-- extension as rows come.
CREATE OR REPLACE FUNCTION ops.ensure_range(rel text, from_time date, to_time date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    width bigint := (SELECT (extract(epoch FROM d.time_interval) * 1000000)::bigint FROM timescaledb_information.dimensions d
                     WHERE d.hypertable_schema = 'market' AND d.hypertable_name = rel);
    first bigint := (extract(epoch FROM from_time::timestamp AT TIME ZONE 'Asia/Seoul') * 1000000)::bigint / width;
    last bigint := ((extract(epoch FROM (to_time + 1)::timestamp AT TIME ZONE 'Asia/Seoul') * 1000000)::bigint - 1) / width;
BEGIN
    IF NOT EXISTS (SELECT FROM ops.part_keys k WHERE k.table_name = rel) THEN
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', '10s', true);
    PERFORM pg_advisory_xact_lock(hashtext('kdata.ensure_range'), hashtext(rel));
    FOR at IN first .. last LOOP
        PERFORM _timescaledb_functions.create_chunk(format('market.%I', rel)::regclass,
                    jsonb_build_object('time', jsonb_build_array(at * width, (at + 1) * width)));
    END LOOP;
END $$;

-- The page of a table of staged rows, which ascend by session, at which those from a session on begin.
CREATE FUNCTION ops.first_page(source regclass, session date) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    low bigint := 0;
    high bigint := pg_relation_size(source) / current_setting('block_size')::bigint;
    page bigint;
    is_there boolean;
BEGIN
    WHILE low < high LOOP
        page := (low + high) / 2;
        EXECUTE format('SELECT (time AT TIME ZONE ''Asia/Seoul'')::date >= %L FROM %s WHERE ctid >= ''(%s,0)'' LIMIT 1',
                       session, source, page)
        INTO is_there;
        IF is_there IS FALSE THEN
            low := page + 1;
        ELSE
            high := page;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- Brings the rows of <source> into market.<rel>, compressed at once. The caller holds the lock of the dataset, and has
-- proved that no row lies between from_time (inclusive) and to_time (exclusive), which hold all rows of the source,
-- that no key occurs in it twice, and that they ascend by session: none of it is looked at here, nor by the server. Tells
-- how many rows were written.
CREATE FUNCTION ops.fill(rel text, source regclass, columns text, from_time timestamptz, to_time timestamptz, batch bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    part record;
    before boolean;
    after boolean;
    rows bigint;
    filled bigint := 0;
BEGIN
    -- Staged rows are runs in order, a session each: the default of 4 MB merges too many of them, and from 64 MB on they are
    -- sorted as if they were in no order (all of it for 6.50 M rows: 6.4 s, 6.0 s with 16 MB, 8.6 s with 256 MB).
    PERFORM set_config('work_mem', '16MB', true);
    PERFORM set_config('timescaledb.enable_direct_compress_insert', 'on', true);
    PERFORM set_config('timescaledb.enable_direct_compress_insert_sort_batches', 'off', true);
    -- Which sessions changed is kept by us, and their rollups are made anew by force.
    PERFORM set_config('timescaledb.skip_cagg_invalidation', 'on', true);
    FOR part IN
        SELECT c.range_start, c.range_end FROM timescaledb_information.chunks c
        WHERE c.hypertable_schema = 'market' AND c.hypertable_name = rel
          AND c.range_start < fill.to_time AND c.range_end > fill.from_time
        ORDER BY c.range_start
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM market.%1$I WHERE time >= %2$L AND time < %3$L),
                               EXISTS (SELECT FROM market.%1$I WHERE time >= %4$L AND time < %5$L)',
                       rel, part.range_start, fill.from_time, fill.to_time, part.range_end)
        INTO before, after;
        -- Between rows that stand on both sides, compressed rows may overlap in time: the part must know.
        PERFORM set_config('timescaledb.enable_direct_compress_insert_client_sorted',
                           CASE WHEN before AND after THEN 'off' ELSE 'on' END, true);
        -- A part's sessions lie together: only their pages are read. The last row of a session may stand on the next one's.
        EXECUTE format('INSERT INTO market.%1$I (%2$s, batch_id) SELECT %2$s, %3$s FROM %4$s
                        WHERE ctid >= ''(%5$s,0)'' AND ctid < ''(%6$s,0)'' AND time >= %7$L AND time < %8$L ORDER BY %9$s',
                       rel, columns, batch, source,
                       greatest(ops.first_page(source, (part.range_start AT TIME ZONE 'Asia/Seoul')::date) - 1, 0),
                       ops.first_page(source, (part.range_end AT TIME ZONE 'Asia/Seoul')::date + 1) + 1,
                       part.range_start, part.range_end,
                       (SELECT string_agg(quote_ident(k), ', ') FROM ops.part_keys p, unnest(p.key) k WHERE p.table_name = rel));
        GET DIAGNOSTICS rows = ROW_COUNT;
        filled := filled + rows;
    END LOOP;
    PERFORM set_config('timescaledb.enable_direct_compress_insert', 'off', true);
    PERFORM set_config('timescaledb.skip_cagg_invalidation', 'off', true);
    RETURN filled;
END $$;

-- The hypertable behind market.<rel>: itself, or where a rollup keeps its bars.
CREATE FUNCTION ops.kept_in(rel text) RETURNS regclass LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT format('%I.%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)::regclass
                     FROM timescaledb_information.continuous_aggregates a WHERE a.view_schema = 'market' AND a.view_name = rel),
                    format('market.%I', rel)::regclass);
$$;

-- The parts of market.<rel>, what they take, and what compressing them would mend: plain rows, rows out of order, or
-- far more segments than their rows need, as a part has to which sessions came one by one: those can wait until it gets
-- no more of them. Is it all compressed, and only to be compressed anew? A minute of Seoul's day lies in UTC's day of the same date. until_session is exclusive.
CREATE FUNCTION ops.parts(rel text)
RETURNS TABLE (part text, from_session date, until_session date, bytes bigint, is_compressed boolean, to_mend text, anew boolean, can_wait boolean)
LANGUAGE plpgsql AS $$
DECLARE
    chunk record;
    has_plain boolean;
    segments bigint;
    needed bigint;
BEGIN
    FOR chunk IN
        SELECT format('%I.%I', c.chunk_schema, c.chunk_name) AS name, c.range_start, c.range_end, c.is_compressed,
               k.status, s.compress_relid, s.segmentby, d.total_bytes
        FROM timescaledb_information.chunks c
        JOIN _timescaledb_catalog.chunk k ON k.schema_name = c.chunk_schema AND k.table_name = c.chunk_name
        JOIN chunks_detailed_size(ops.kept_in(rel)) d ON d.chunk_schema = c.chunk_schema AND d.chunk_name = c.chunk_name
        LEFT JOIN _timescaledb_catalog.compression_settings s ON s.relid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        WHERE format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass = ops.kept_in(rel)
        ORDER BY c.range_start
    LOOP
        part := chunk.name;
        from_session := (chunk.range_start AT TIME ZONE 'UTC')::date;
        until_session := (chunk.range_end AT TIME ZONE 'UTC')::date;
        bytes := chunk.total_bytes;
        is_compressed := chunk.is_compressed;
        -- Of the status 2 is unordered, and 8 that some rows may be plain.
        has_plain := NOT chunk.is_compressed;
        IF chunk.status & 8 > 0 THEN
            PERFORM set_config('timescaledb.enable_transparent_decompression', 'off', true);
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', chunk.name) INTO has_plain;
            PERFORM set_config('timescaledb.enable_transparent_decompression', 'on', true);
        END IF;
        to_mend := CASE WHEN has_plain THEN 'plain rows' WHEN chunk.status & 2 > 0 THEN 'rows out of order' END;
        can_wait := to_mend IS NULL;
        anew := chunk.is_compressed AND NOT has_plain;
        IF to_mend IS NULL AND chunk.compress_relid IS NOT NULL THEN
            EXECUTE format('SELECT coalesce(sum(n), 0), coalesce(sum(ceil(rows / 1000.0)), 0)
                            FROM (SELECT count(*) AS n, sum(_ts_meta_count) AS rows FROM %s GROUP BY %s) AS s',
                           chunk.compress_relid, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(chunk.segmentby) c))
            INTO segments, needed;
            to_mend := CASE WHEN segments > 1.3 * needed THEN format('%s segments for %s', segments, needed) END;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- A part is compressed anew by decompressing it first, in a transaction of its own: readers wait for its end only.
-- The server could do both in one go, in memory; but 2.28.3 then leaves a row in its compression_chunk_size that refers to
-- the compressed chunk it dropped, and a dump that holds such a row cannot be restored.
CREATE FUNCTION ops.decompress_part(part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM decompress_chunk(part::regclass, if_compressed => true);
END $$;

-- Compresses a part, or what in it is plain: readers go on, writers wait.
CREATE FUNCTION ops.compress_part(part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('timescaledb.enable_in_memory_recompression', 'off', true);
    PERFORM compress_chunk(part::regclass, if_not_compressed => true);
END $$;

-- Makes market.<rel>: bars of a width over those of another relation.
CREATE FUNCTION ops.make_rollup(rel text, width interval, base text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE MATERIALIZED VIEW market.%I WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
                    SELECT stock_code, time_bucket(%L::interval, time) AS time, first(open, time) AS open, max(high) AS high,
                           min(low) AS low, last(close, time) AS close, sum(volume)::bigint AS volume, CASE WHEN count(value) = count(*) THEN sum(value) END::bigint AS value
                    FROM market.%I GROUP BY 1, 2 WITH NO DATA', rel, width, base);
    EXECUTE format('ALTER MATERIALIZED VIEW market.%I SET (timescaledb.enable_columnstore, timescaledb.segmentby = ''stock_code'', timescaledb.orderby = ''time'')', rel);
    INSERT INTO ops.rollups (table_name, width, base) VALUES (rel, width, base);
END $$;

-- What is left to do for a range of sessions once they are promoted: statements, in order, none of them in a transaction.
CREATE FUNCTION ops.to_settle(from_time date, to_time date) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT s.statement
    FROM (
        SELECT interval '0' AS width, format('SELECT ops.key_range(%L, %L, %L)', k.table_name, from_time, to_time) AS statement
        FROM ops.part_keys k
        UNION ALL
        -- In one pass: by default each ten bars are a pass over the whole part.
        SELECT r.width, format('CALL refresh_continuous_aggregate(%L, %L, %L, force => true, options => ''{"buckets_per_batch": 0}'')',
                               'market.' || r.table_name, from_time::timestamp AT TIME ZONE 'Asia/Seoul',
                               (to_time + 1)::timestamp AT TIME ZONE 'Asia/Seoul')
        FROM ops.rollups r
    ) AS s
    ORDER BY s.width;
$$;
