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
