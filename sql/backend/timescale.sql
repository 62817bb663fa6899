-- Storage on TimescaleDB: hypertables.
-- The same function names as in native.sql; the rest of the program does not know which is in use.

-- Turns the table market.<rel> into a hypertable on column "time". The primary key (stock_code, time) also serves
-- ORDER BY time DESC for one stock, so no index of its own is made on time.
CREATE FUNCTION ops.make_series(rel text, width interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_hypertable(format('market.%I', rel)::regclass, by_range('time', width),
                              create_default_indexes => false);
END $$;

-- Chunks are made by the extension as rows come.
CREATE FUNCTION ops.ensure_range(rel text, from_time date, to_time date) RETURNS void LANGUAGE sql AS $$
    SELECT;
$$;

-- TimescaleDB 2.28.3 now and then skips every chunk of a hypertable in a parallel plan whose range comes from a
-- subquery: a join then finds no row at all (11 of 52 promotes of 95,412 rows; with parallel chunk append off
-- none of 24). kdata counts and would refuse; clients do not, so it is off for the whole database.
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET timescaledb.enable_parallel_chunk_append = off', current_database());
END $$;
