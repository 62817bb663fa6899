-- What one creation unit of an ETF consists of, by session.

CREATE TABLE market.etf_portfolios (
    etf_code       text NOT NULL,
    time           date NOT NULL,
    component_id   text NOT NULL,
    component_code text,
    component_name text,
    quantity       numeric,
    value          bigint,
    weight         numeric,
    batch_id       bigint NOT NULL,
    CONSTRAINT etf_portfolios_pkey PRIMARY KEY (etf_code, time, component_id)
);
COMMENT ON COLUMN market.etf_portfolios.etf_code IS 'KRX short code of the ETF';
COMMENT ON COLUMN market.etf_portfolios.time IS 'session for which the portfolio stands (KST)';
COMMENT ON COLUMN market.etf_portfolios.component_id IS 'ISIN, else short code, else CASH: or FUT: with the name';
COMMENT ON COLUMN market.etf_portfolios.component_code IS 'KRX short code of stocks and ETFs, twelve characters for derivatives; NULL without';
COMMENT ON COLUMN market.etf_portfolios.quantity IS 'shares or contracts in one creation unit; negative when short';
COMMENT ON COLUMN market.etf_portfolios.value IS 'KRW in one creation unit; negative when owed';
COMMENT ON COLUMN market.etf_portfolios.weight IS 'per cent of the creation unit''s value';
COMMENT ON COLUMN market.etf_portfolios.batch_id IS 'the batch that wrote the row';
SELECT ops.make_series('etf_portfolios', interval '1 year');
COMMENT ON TABLE market.etf_portfolios IS 'Snapshots of ETF portfolios (portfolio deposit files). A session holds an ETF''s portfolio whole or not at all.';
