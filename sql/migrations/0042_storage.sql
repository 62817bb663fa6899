-- What the parts of tables are compressed by, and bars of 5, 15 and 60 minutes.

-- Reads ask for one stock, ETF, index or scheme, and for a span of time. Layouts of daily bars that were measured
-- (`benches/layouts.py`: 3.48 M rows, 5 years, TimescaleDB 2.28.3; ms are planning and execution, 2 loaded cores):
--   part of     segment by   order by           saved    a stock's 5 years   a session across the market
--   7 days      stock_code   time              -10.7 %      132    ms           7.4 ms
--   1 month     stock_code   time               64.3 %       30    ms           8.5 ms
--   1 year      stock_code   time               83.2 %        4.1  ms          54   ms
--   2 years     stock_code   time               85.5 %        2.7  ms          83   ms
--   5 years     stock_code   time               86.3 %        2.5  ms          87   ms
--   1 month     -            time, stock_code   74.4 %      112    ms           3.2 ms
--   1 year      time         stock_code         76.5 %       47    ms           2.7 ms
--   1 year, plain, key only                      -            2.1  ms          81   ms
-- A year by stock it is: nobody waits for the history of a stock, and the sessions that are asked for across the market are
-- those of the present year, whose part stays plain and has an index by time.
SELECT ops.make_compressible('ohlcv_daily', 'stock_code', 'time');
SELECT ops.make_compressible('market_cap_daily', 'stock_code', 'time');
SELECT ops.make_compressible('floating_shares', 'stock_code', 'time');
SELECT ops.make_compressible('investor_trading', 'stock_code, investor_type', 'time');
SELECT ops.make_compressible('etf_portfolios', 'etf_code', 'time, component_id');
SELECT ops.make_compressible('index_components', 'index_code', 'time, stock_code');
SELECT ops.make_compressible('sectors', 'scheme', 'time, stock_code');
SELECT ops.make_compressible('ohlcv_minute', 'stock_code', 'time');

SELECT ops.key_parts('ohlcv_minute');

-- One session across the market, where a part is plain: sessions lie together, so this index is small.
CREATE INDEX ohlcv_daily_by_time ON market.ohlcv_daily (time);
CREATE INDEX market_cap_daily_by_time ON market.market_cap_daily (time);
CREATE INDEX investor_trading_by_time ON market.investor_trading (time);

SELECT ops.make_rollup('ohlcv_5min', interval '5 minutes', 'ohlcv_minute');
SELECT ops.make_rollup('ohlcv_15min', interval '15 minutes', 'ohlcv_5min');
SELECT ops.make_rollup('ohlcv_60min', interval '60 minutes', 'ohlcv_15min');
DO $do$
DECLARE
    rel text;
    kind text;
    col text[];
BEGIN
    FOR rel IN SELECT table_name FROM ops.rollups LOOP
        kind := CASE (SELECT relkind FROM pg_class WHERE oid = format('market.%I', rel)::regclass) WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END;
        EXECUTE format('COMMENT ON %s market.%I IS %L', kind, rel,
            'Bars of ' || replace(replace(rel, 'ohlcv_', ''), 'min', '') || ' minutes over ohlcv_minute, raw. Brought up to date right after each promote.');
        FOREACH col SLICE 1 IN ARRAY ARRAY[
            ['stock_code', 'KRX short code, six characters'],
            ['time', 'start of the bar; bars begin at full multiples of their width from midnight in Seoul, the last one holds the closing auction'],
            ['open', 'KRW, of the first minute with trades'],
            ['high', 'KRW'],
            ['low', 'KRW'],
            ['close', 'KRW, of the last minute with trades'],
            ['volume', 'shares'],
            ['value', 'KRW; NULL unless it is known of each minute']
        ] LOOP
            EXECUTE format('COMMENT ON COLUMN market.%I.%I IS %L', rel, col[1], col[2]);
        END LOOP;
    END LOOP;
END $do$;
