-- What is known of the parts of tables, chunks or partitions, and of bars made of minute bars.

CREATE TABLE ops.part_keys (
    table_name text PRIMARY KEY,
    key        text[] NOT NULL
);
COMMENT ON TABLE ops.part_keys IS 'Tables whose parts are keyed one by one, so that a whole range can be written compressed.';

CREATE TABLE ops.rollups (
    table_name text PRIMARY KEY,
    width      interval NOT NULL,
    base       text NOT NULL
);
COMMENT ON TABLE ops.rollups IS 'Bars of a width over those of another relation.';

CREATE TABLE ops.pending_rollups (
    pending_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_time  date NOT NULL,
    to_time    date NOT NULL,
    batch_id   bigint NOT NULL REFERENCES ops.batches,
    since      timestamptz NOT NULL DEFAULT now(),
    problem    text
);
COMMENT ON TABLE ops.pending_rollups IS 'Sessions whose minute bars changed and whose rollups were not brought up to date yet.';

CREATE OR REPLACE VIEW ops.keyed_tables AS
SELECT c.relname::text AS table_name,
       array_agg(a.attname::text ORDER BY array_position(i.indkey, a.attnum)) AS key
FROM pg_class c
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE c.relnamespace = 'market'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attname = 'batch_id')
GROUP BY c.relname
UNION
SELECT table_name, key FROM ops.part_keys;
