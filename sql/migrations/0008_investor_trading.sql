-- What each kind of investor bought and sold.

CREATE TABLE market.investor_trading (
    stock_code    text NOT NULL,
    time          date NOT NULL,
    investor_type text NOT NULL CHECK (investor_type IN ('FOREIGN', 'INSTITUTION', 'OTHER_CORPORATION', 'PENSION', 'RETAIL')),
    buy_volume    bigint,
    sell_volume   bigint,
    buy_value     bigint,
    sell_value    bigint,
    net_volume    bigint,
    net_value     bigint,
    batch_id      bigint NOT NULL,
    CONSTRAINT investor_trading_pkey PRIMARY KEY (stock_code, time, investor_type)
);
COMMENT ON COLUMN market.investor_trading.stock_code IS 'KRX short code, six characters [0-9A-Z]';
COMMENT ON COLUMN market.investor_trading.time IS 'session (KST)';
COMMENT ON COLUMN market.investor_trading.investor_type IS 'FOREIGN (registered and other foreigners together), INSTITUTION, OTHER_CORPORATION, RETAIL: these four net to zero. PENSION is contained in INSTITUTION: never add the two';
COMMENT ON COLUMN market.investor_trading.buy_volume IS 'shares bought; NULL where the source tells only the net';
COMMENT ON COLUMN market.investor_trading.sell_volume IS 'shares sold; NULL where the source tells only the net';
COMMENT ON COLUMN market.investor_trading.buy_value IS 'KRW bought; some sources round to thousand or million KRW';
COMMENT ON COLUMN market.investor_trading.sell_value IS 'KRW sold; some sources round to thousand or million KRW';
COMMENT ON COLUMN market.investor_trading.net_volume IS 'shares bought less shares sold';
COMMENT ON COLUMN market.investor_trading.net_value IS 'KRW bought less KRW sold; its sign may differ from the volume''s';
COMMENT ON COLUMN market.investor_trading.batch_id IS 'the batch that wrote the row';
SELECT ops.make_series('investor_trading', interval '1 year');
COMMENT ON TABLE market.investor_trading IS 'Trading by kind of investor, name and session.';
