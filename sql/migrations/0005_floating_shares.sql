-- Floating shares by session.

CREATE TABLE market.floating_shares (
    stock_code      text NOT NULL,
    time            date NOT NULL,
    listed_shares   bigint,
    floating_shares bigint,
    floating_ratio  numeric,
    batch_id        bigint NOT NULL,
    CONSTRAINT floating_shares_pkey PRIMARY KEY (stock_code, time)
);
COMMENT ON COLUMN market.floating_shares.stock_code IS 'KRX short code, six characters [0-9A-Z]';
COMMENT ON COLUMN market.floating_shares.time IS 'session as of which they were read (KST): sources give no date of their own';
COMMENT ON COLUMN market.floating_shares.listed_shares IS 'shares: listed shares of this class';
COMMENT ON COLUMN market.floating_shares.floating_shares IS 'shares that float; some sources count in thousands, cut off below';
COMMENT ON COLUMN market.floating_shares.floating_ratio IS 'per cent of the listed shares, as the source says it';
COMMENT ON COLUMN market.floating_shares.batch_id IS 'the batch that wrote the row';
SELECT ops.make_series('floating_shares', interval '1 year');
COMMENT ON TABLE market.floating_shares IS 'Floating shares by name, as of the session on which they were read.';
