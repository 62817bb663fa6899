-- The sector of each name, by scheme and session.

CREATE TABLE market.sectors (
    scheme      text NOT NULL,
    stock_code  text NOT NULL,
    time        date NOT NULL,
    sector_code text NOT NULL,
    sector_name text,
    batch_id    bigint NOT NULL,
    CONSTRAINT sectors_pkey PRIMARY KEY (scheme, stock_code, time)
);
COMMENT ON COLUMN market.sectors.scheme IS 'who classifies, e.g. KRX or KIS-MID: codes mean something only within their scheme';
COMMENT ON COLUMN market.sectors.stock_code IS 'KRX short code, six characters [0-9A-Z]';
COMMENT ON COLUMN market.sectors.time IS 'session as of which it stands (KST)';
COMMENT ON COLUMN market.sectors.sector_code IS 'the scheme''s code';
COMMENT ON COLUMN market.sectors.sector_name IS 'the scheme''s name as of the session: names are revised now and then';
COMMENT ON COLUMN market.sectors.batch_id IS 'the batch that wrote the row';
SELECT ops.make_series('sectors', interval '1 year');
COMMENT ON TABLE market.sectors IS 'Snapshots of the sector of each name. A session holds a scheme whole or not at all; between two snapshots the earlier one stands.';
