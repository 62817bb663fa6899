-- Which lists of the snapshot datasets stand in production: one row for each index, ETF or scheme and session, also
-- where the list is truly empty. And what reads them: the members of an index, the portfolio of an ETF on a date.

CREATE TABLE market.snapshots (
    dataset  text NOT NULL,
    slice    text NOT NULL,
    time     date NOT NULL,
    rows     bigint NOT NULL,
    source   text NOT NULL,
    finality text NOT NULL CHECK (finality IN ('provisional', 'final')),
    batch_id bigint NOT NULL,
    PRIMARY KEY (dataset, slice, time)
);
COMMENT ON TABLE market.snapshots IS 'The lists of index_components, etf_portfolios and sectors: each is here whole. Between two snapshots the earlier one stands.';
COMMENT ON COLUMN market.snapshots.dataset IS 'index-components, etf-portfolios or sectors';
COMMENT ON COLUMN market.snapshots.slice IS 'the index_code, the etf_code or the scheme';
COMMENT ON COLUMN market.snapshots.time IS 'session (KST) as of which the list stands';
COMMENT ON COLUMN market.snapshots.rows IS 'how many rows the list has; 0: it is truly empty';
COMMENT ON COLUMN market.snapshots.source IS 'whose list it is';
COMMENT ON COLUMN market.snapshots.finality IS 'final: the source does not change its answer any more';
COMMENT ON COLUMN market.snapshots.batch_id IS 'the batch that brought the list, or changed it last';

CREATE FUNCTION market.members_on(index_code text, on_date date) RETURNS SETOF market.index_components
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stands date;
BEGIN
    SELECT max(s.time) INTO stands FROM market.snapshots s
    WHERE s.dataset = 'index-components' AND s.slice = $1 AND s.time <= $2;
    RETURN QUERY SELECT c.* FROM market.index_components c
                 WHERE c.index_code = $1 AND c.time = stands ORDER BY c.stock_code;
END $$;
COMMENT ON FUNCTION market.members_on(text, date) IS 'The members of an index on a date, e.g. members_on(''1028'', ''2026-01-05'') for KOSPI 200: those of the latest snapshot at or before it, whose session is in column time. No rows: there is none, or the index was empty.';

CREATE FUNCTION market.portfolio_on(etf_code text, on_date date) RETURNS SETOF market.etf_portfolios
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stands date;
BEGIN
    SELECT max(s.time) INTO stands FROM market.snapshots s
    WHERE s.dataset = 'etf-portfolios' AND s.slice = $1 AND s.time <= $2;
    RETURN QUERY SELECT p.* FROM market.etf_portfolios p
                 WHERE p.etf_code = $1 AND p.time = stands ORDER BY p.weight DESC NULLS LAST, p.component_id;
END $$;
COMMENT ON FUNCTION market.portfolio_on(text, date) IS 'The portfolio of an ETF on a date: that of the latest snapshot at or before it, whose session is in column time. No rows: there is none, or the portfolio was empty.';

CREATE VIEW market.investor_trading_pure AS
SELECT stock_code, time, investor_type, buy_volume, sell_volume, buy_value, sell_value, net_volume, net_value
FROM market.investor_trading
WHERE investor_type <> 'INSTITUTION'
UNION ALL
SELECT i.stock_code, i.time, 'INSTITUTION_PURE',
       i.buy_volume - p.buy_volume, i.sell_volume - p.sell_volume,
       i.buy_value - p.buy_value, i.sell_value - p.sell_value,
       i.net_volume - p.net_volume, i.net_value - p.net_value
FROM market.investor_trading i
LEFT JOIN market.investor_trading p
       ON p.stock_code = i.stock_code AND p.time = i.time AND p.investor_type = 'PENSION'
WHERE i.investor_type = 'INSTITUTION';
COMMENT ON VIEW market.investor_trading_pure IS 'Trading by kinds of investor that do not overlap: INSTITUTION_PURE = INSTITUTION less PENSION, so that FOREIGN, INSTITUTION_PURE, PENSION, OTHER_CORPORATION and RETAIL net to zero.';
COMMENT ON COLUMN market.investor_trading_pure.stock_code IS 'KRX short code, six characters [0-9A-Z]';
COMMENT ON COLUMN market.investor_trading_pure.time IS 'session (KST)';
COMMENT ON COLUMN market.investor_trading_pure.investor_type IS 'FOREIGN, INSTITUTION_PURE, OTHER_CORPORATION, PENSION or RETAIL';
COMMENT ON COLUMN market.investor_trading_pure.buy_volume IS 'shares bought; INSTITUTION_PURE: NULL where PENSION or its figure is not known';
COMMENT ON COLUMN market.investor_trading_pure.sell_volume IS 'shares sold; INSTITUTION_PURE: NULL where PENSION or its figure is not known';
COMMENT ON COLUMN market.investor_trading_pure.buy_value IS 'KRW bought; INSTITUTION_PURE: NULL where PENSION or its figure is not known';
COMMENT ON COLUMN market.investor_trading_pure.sell_value IS 'KRW sold; INSTITUTION_PURE: NULL where PENSION or its figure is not known';
COMMENT ON COLUMN market.investor_trading_pure.net_volume IS 'shares bought less shares sold';
COMMENT ON COLUMN market.investor_trading_pure.net_value IS 'KRW bought less KRW sold';
