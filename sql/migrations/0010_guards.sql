-- What production holds is told by its status, and guarded by the tables themselves.

-- session_status is claimed by a batch, and counted from what stands in production.
ALTER TABLE market.session_status ALTER rows SET DEFAULT 0;
COMMENT ON COLUMN market.session_status.source IS 'whose data the session is made of';
COMMENT ON COLUMN market.session_status.rows IS 'rows that production holds of the session; stocks: names listed on it';
COMMENT ON COLUMN market.session_status.names IS 'whole: all listed names came; traded: those with trades; list: some, asked for by code or market';
COMMENT ON COLUMN market.session_status.finality IS 'final: the source does not change its answer any more';
COMMENT ON COLUMN market.session_status.batch_id IS 'the batch whose claim stands; a list that came later may have filled it up';
COMMENT ON COLUMN market.session_status.promoted_at IS 'when that claim or its rows last changed';

-- What is to be said of a session: by the batch whose claim stands and by those promoted after it, which may have
-- filled it up or seen it beside their own. Where several say the same of a name, the last one counts.
CREATE VIEW ops.session_remarks AS
WITH speaking AS (
    SELECT s.dataset, s.time, b.batch_id, s.time BETWEEN b.from_time AND b.to_time AS is_own
    FROM market.session_status s
    JOIN ops.batches c ON c.batch_id = s.batch_id
    JOIN ops.batches b ON b.dataset = s.dataset AND b.state = 'promoted'
                      AND (b.promoted_at, b.batch_id) >= (c.promoted_at, c.batch_id)
), said AS (
    SELECT f.dataset, f.time, f.severity, f.rule, f.stock_code, f.message, f.batch_id, NULL AS row
    FROM speaking s
    JOIN ops.flags f ON f.dataset = s.dataset AND f.time = s.time AND f.batch_id = s.batch_id
    UNION ALL
    SELECT s.dataset, s.time, 'reject', r.rule, split_part(r.row, ',', CASE s.dataset WHEN 'sectors' THEN 2 ELSE 1 END),
           r.message, s.batch_id, r.row
    FROM speaking s
    JOIN ops.runs n ON n.batch_id = s.batch_id
    JOIN ops.rejects r ON r.run_id = n.run_id AND r.row LIKE '%' || s.time || '%'
    WHERE s.is_own
), aged AS (
    SELECT *, rank() OVER (PARTITION BY dataset, time, severity, rule, stock_code, row ORDER BY batch_id DESC) AS age
    FROM said
)
SELECT dataset, time, severity, rule, stock_code, message FROM aged WHERE age = 1;
COMMENT ON VIEW ops.session_remarks IS 'Rejects, flags and notes about the sessions that production holds, each by the last batch that says it.';

-- What no validated row breaks. A stream may be made by other means; these hold whatever brings a row.
DO $$
DECLARE
    rel text;
BEGIN
    FOREACH rel IN ARRAY ARRAY['stocks', 'stock_history', 'ohlcv_daily', 'market_cap_daily', 'corporate_actions',
                               'sectors', 'index_components', 'floating_shares', 'investor_trading'] LOOP
        EXECUTE format('ALTER TABLE market.%I ADD CONSTRAINT %I CHECK (stock_code COLLATE "C" ~ ''^[0-9A-Z]{6}$'')',
                       rel, rel || '_code');
    END LOOP;
    FOREACH rel IN ARRAY ARRAY['stocks', 'stock_history', 'ohlcv_daily'] LOOP
        EXECUTE format('ALTER TABLE market.%I '
                       'ADD CONSTRAINT %I CHECK (market IN (''KOSPI'', ''KOSDAQ'', ''KONEX'')), '
                       'ADD CONSTRAINT %I CHECK (security_type IN (''STOCK'', ''PREFERRED'', ''REIT'', ''SPAC'', ''ETF'', ''ETN''))',
                       rel, rel || '_market', rel || '_security_type');
    END LOOP;
    FOREACH rel IN ARRAY ARRAY['stocks', 'stock_history'] LOOP
        EXECUTE format('ALTER TABLE market.%I '
                       'ADD CONSTRAINT %I CHECK (isin COLLATE "C" ~ ''^[A-Z]{2}[0-9A-Z]{9}[0-9]$''), '
                       'ADD CONSTRAINT %I CHECK (listed_shares > 0 AND par_value >= 0)',
                       rel, rel || '_isin', rel || '_shares');
    END LOOP;
END $$;
ALTER TABLE market.stock_history ADD CONSTRAINT stock_history_interval CHECK (valid_from < valid_to);
ALTER TABLE market.ohlcv_daily
    ADD CONSTRAINT ohlcv_daily_prices CHECK (open > 0 AND high > 0 AND low > 0 AND close > 0 AND base_price > 0),
    ADD CONSTRAINT ohlcv_daily_bar CHECK (
        (open IS NULL) = (high IS NULL) AND (open IS NULL) = (low IS NULL)
        AND low <= least(open, close) AND high >= greatest(open, close) AND volume >= 0 AND value >= 0
        AND (volume > 0 OR (open IS NULL AND coalesce(value, 0) = 0)));
ALTER TABLE market.market_cap_daily
    ADD CONSTRAINT market_cap_daily_counts CHECK (market_cap > 0 AND listed_shares > 0);
ALTER TABLE market.corporate_actions
    ADD CONSTRAINT corporate_actions_prices CHECK (base_price > 0 AND prev_close > 0 AND factor > 0);
ALTER TABLE market.session_status
    ADD CONSTRAINT session_status_names CHECK (names IN ('whole', 'traded', 'list')),
    ADD CONSTRAINT session_status_counts CHECK (rows >= 0 AND expected >= missing AND missing >= 0);
ALTER TABLE market.sectors
    ADD CONSTRAINT sectors_words CHECK (scheme COLLATE "C" ~ '^[0-9A-Z-]+$' AND sector_code <> '');
ALTER TABLE market.index_components
    ADD CONSTRAINT index_components_index CHECK (index_code COLLATE "C" ~ '^[0-9A-Z]{4}$'),
    ADD CONSTRAINT index_components_weight CHECK (weight BETWEEN 0 AND 100);
ALTER TABLE market.floating_shares
    ADD CONSTRAINT floating_shares_counts CHECK (floating_shares >= 0 AND listed_shares > 0 AND floating_shares <= listed_shares),
    ADD CONSTRAINT floating_shares_ratio CHECK (floating_ratio BETWEEN 0 AND 100);
ALTER TABLE market.etf_portfolios
    ADD CONSTRAINT etf_portfolios_code CHECK (etf_code COLLATE "C" ~ '^[0-9A-Z]{6}$'),
    ADD CONSTRAINT etf_portfolios_component CHECK (component_id <> '');
-- Minutes come by the million: a pattern would cost a fifth of the way into a compressed chunk, a length does not.
ALTER TABLE market.ohlcv_minute
    ADD CONSTRAINT ohlcv_minute_code CHECK (octet_length(stock_code) = 6),
    ADD CONSTRAINT ohlcv_minute_bar CHECK (
        low > 0 AND low <= least(open, close) AND high >= greatest(open, close) AND volume > 0 AND value >= 0);
ALTER TABLE market.investor_trading
    ADD CONSTRAINT investor_trading_counts CHECK (
        buy_volume >= 0 AND sell_volume >= 0 AND buy_value >= 0 AND sell_value >= 0);
