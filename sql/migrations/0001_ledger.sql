-- The ledger: what was run, loaded, rejected, flagged, changed. Readers do not see it.

CREATE TABLE ops.settings (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kind       text NOT NULL CHECK (kind IN ('live', 'demo')),
    backend    text NOT NULL CHECK (backend IN ('timescale', 'native')),
    calendar   text
);
COMMENT ON TABLE ops.settings IS 'What this database is, fixed at its first migrate; which calendar trading_days shows.';

CREATE TABLE ops.batches (
    batch_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    extract_run    text NOT NULL,
    dataset        text NOT NULL,
    source         text NOT NULL,
    from_time      date NOT NULL,
    to_time        date NOT NULL,
    scope          text NOT NULL,
    names          text NOT NULL CHECK (names IN ('whole', 'traded', 'list')),
    finality       text NOT NULL CHECK (finality IN ('provisional', 'final')),
    provides       text[] NOT NULL,
    ordered        boolean NOT NULL,
    value_unit     bigint NOT NULL,
    calendar       text NOT NULL,
    rules          text NOT NULL,
    rows           bigint NOT NULL,
    rejected       bigint NOT NULL,
    flagged        bigint NOT NULL,
    missing        bigint NOT NULL,
    state          text NOT NULL CHECK (state IN ('staged', 'promoted', 'rolled_back', 'discarded')),
    staged_at      timestamptz NOT NULL DEFAULT now(),
    promoted_at    timestamptz,
    ended_at       timestamptz,
    inserted       bigint,
    updated        bigint,
    deleted        bigint,
    unchanged      bigint,
    held           bigint,
    problem        text
);
COMMENT ON TABLE ops.batches IS 'One loaded stream: the unit of promotion, lineage and roll-back, with its receipt.';
COMMENT ON COLUMN ops.batches.held IS 'staged rows that better data in production kept out; rows = inserted + updated + unchanged + held (stocks: history rows are counted instead)';
COMMENT ON COLUMN ops.batches.problem IS 'why the last promote refused it';
CREATE INDEX batches_by_state ON ops.batches (state, batch_id);

CREATE TABLE ops.runs (
    run_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command     text NOT NULL,
    extract_run text,
    dataset     text,
    source      text,
    from_time   date,
    to_time     date,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ok', 'failed')),
    exit_code   int,
    reason      text,
    rows        bigint,
    rejected    bigint,
    flagged     bigint,
    missing     bigint,
    batch_id    bigint REFERENCES ops.batches
);
COMMENT ON TABLE ops.runs IS 'Every load, promote and rollback, also those that failed. A run that stays running was killed.';

CREATE TABLE ops.rejects (
    reject_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id    bigint NOT NULL REFERENCES ops.runs,
    dataset   text NOT NULL,
    line      bigint,
    rule      text NOT NULL,
    message   text NOT NULL,
    row       text NOT NULL
);
COMMENT ON TABLE ops.rejects IS 'Rows that broke a hard rule, whole, kept also when their stream was not.';
CREATE INDEX rejects_by_run ON ops.rejects (run_id);

CREATE TABLE ops.flags (
    flag_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     bigint NOT NULL REFERENCES ops.runs,
    batch_id   bigint REFERENCES ops.batches,
    dataset    text NOT NULL,
    severity   text NOT NULL CHECK (severity IN ('note', 'flag', 'gate', 'missing', 'slice')),
    rule       text NOT NULL,
    stock_code text,
    time       date,
    message    text NOT NULL
);
COMMENT ON TABLE ops.flags IS 'Remarks about rows and batches: notes for the record, flags to look at, gates that stopped a batch, what a source could not give.';
CREATE INDEX flags_by_run ON ops.flags (run_id);
CREATE INDEX flags_by_time ON ops.flags (dataset, time);

CREATE TABLE ops.revisions (
    revision_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name   text NOT NULL,
    key          jsonb NOT NULL,
    operation    text NOT NULL CHECK (operation IN ('update', 'delete', 'rollback')),
    old          jsonb NOT NULL,
    old_batch_id bigint NOT NULL,
    batch_id     bigint NOT NULL REFERENCES ops.batches,
    valid_from   timestamptz,
    valid_to     timestamptz NOT NULL DEFAULT now(),
    undone_at    timestamptz
);
COMMENT ON TABLE ops.revisions IS 'Production rows that a later batch changed or removed, as they were from valid_from to valid_to; operation rollback: the row of a batch that was undone. undone_at: when what made the revision was undone.';
CREATE INDEX revisions_by_batch ON ops.revisions (batch_id);
CREATE INDEX revisions_by_old_batch ON ops.revisions (old_batch_id);
CREATE INDEX revisions_by_key ON ops.revisions (table_name, key);
