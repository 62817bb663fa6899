-- Which batch made a staged one needless: it was read later, and holds the same or better.

ALTER TABLE ops.batches ADD COLUMN superseded_by bigint REFERENCES ops.batches;
COMMENT ON COLUMN ops.batches.superseded_by IS 'the batch that was promoted in place of this one, which was staged before it and holds no more';
