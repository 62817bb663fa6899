-- The members of indices by session.

CREATE TABLE market.index_components (
    index_code text NOT NULL,
    time       date NOT NULL,
    stock_code text NOT NULL,
    weight     numeric,
    batch_id   bigint NOT NULL,
    CONSTRAINT index_components_pkey PRIMARY KEY (index_code, time, stock_code)
);
COMMENT ON COLUMN market.index_components.index_code IS 'group and number of KRX joined: 1028 KOSPI 200, 2203 KOSDAQ 150, 1001 KOSPI, 2001 KOSDAQ';
COMMENT ON COLUMN market.index_components.time IS 'session as of which the member stands (KST)';
COMMENT ON COLUMN market.index_components.stock_code IS 'KRX short code of the member';
COMMENT ON COLUMN market.index_components.weight IS 'weight in the index, per cent; NULL where the source does not tell it';
COMMENT ON COLUMN market.index_components.batch_id IS 'the batch that wrote the row';
SELECT ops.make_series('index_components', interval '1 year');
COMMENT ON TABLE market.index_components IS 'Snapshots of index members. A session holds an index whole or not at all; between two snapshots the earlier one stands.';
