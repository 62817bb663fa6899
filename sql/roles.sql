-- What belongs to server and database rather than to the schema, so that a restored dump does not bring it.
-- The reader: client projects see schema market and nothing else. Roles belong to the whole server, so this
-- may find the role made by another database; run at each migrate.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kdata_reader') THEN
        CREATE ROLE kdata_reader LOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database's migrate made it in this moment
END $$;
DO $$
BEGIN
    EXECUTE format('ALTER ROLE kdata_reader IN DATABASE %I SET search_path = market', current_database());
    EXECUTE format('ALTER ROLE kdata_reader IN DATABASE %I SET default_transaction_read_only = on', current_database());
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO kdata_reader', current_database());
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA ops, staging FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ops FROM PUBLIC;
GRANT USAGE ON SCHEMA market TO kdata_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA market TO kdata_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA market GRANT SELECT ON TABLES TO kdata_reader;
-- Functions that change something and that everybody may call: large objects, and those of TimescaleDB, of which
-- 2.28.3 has some that ask nobody (drop_chunk drops a chunk for a role that may only read). Left are those that only
-- compute. Only a superuser can do this: where kdata is none, have one revoke them.
DO $$
DECLARE
    routine regprocedure;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    FOR routine IN
        SELECT p.oid FROM pg_proc p
        WHERE has_function_privilege('kdata_reader', p.oid, 'execute')
          AND (p.pronamespace = 'pg_catalog'::regnamespace
               AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'lo_truncate',
                                 'lo_truncate64', 'lo_unlink')
               OR p.provolatile = 'v' AND p.proname NOT IN ('time_bucket_gapfill', 'locf', 'interpolate')
                  AND p.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                                WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'timescaledb'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', routine);
    END LOOP;
END $$;
-- TimescaleDB 2.28.3 now and then skips every chunk of a hypertable in a parallel plan whose range comes from a
-- subquery: a join then finds no row at all (11 of 52 promotes of 95,412 rows; with parallel chunk append off
-- none of 24). kdata counts and would refuse; clients do not, so it is off for the whole database.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        EXECUTE format('ALTER DATABASE %I SET timescaledb.enable_parallel_chunk_append = off', current_database());
    END IF;
END $$;
