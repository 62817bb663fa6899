-- History that is being brought in: what was asked for, and how far it is. The windows that are done are told by
-- market.session_status itself.
CREATE TABLE ops.backfills (
    backfill_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset     text NOT NULL,
    source      text NOT NULL,
    from_time   date NOT NULL,
    to_time     date NOT NULL,
    windows     int NOT NULL,
    done        int NOT NULL DEFAULT 0,
    held        int NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    problem     text,
    UNIQUE (dataset, source, from_time, to_time)
);
COMMENT ON TABLE ops.backfills IS 'One row a backfill; the same command goes on with it.';
COMMENT ON COLUMN ops.backfills.windows IS 'windows of sessions that were still to do when it was started last';
COMMENT ON COLUMN ops.backfills.done IS 'of those, promoted';
COMMENT ON COLUMN ops.backfills.held IS 'of those, staged but held by a gate of promote';
COMMENT ON COLUMN ops.backfills.problem IS 'why it stopped last; NULL when it did not';
