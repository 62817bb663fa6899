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

-- Tables are keyed as a whole, or part by part.
ALTER VIEW ops.keyed_tables RENAME TO tables_with_keys;
CREATE VIEW ops.keyed_tables AS
SELECT table_name, key FROM ops.tables_with_keys
UNION
SELECT table_name, key FROM ops.part_keys;
COMMENT ON VIEW ops.keyed_tables IS 'The tables of schema market whose rows belong to batches, with their keys.';
