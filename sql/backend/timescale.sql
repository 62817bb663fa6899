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
