-- Minute bars.

CREATE TABLE market.ohlcv_minute (
    stock_code text NOT NULL,
    time       timestamptz NOT NULL,
    open       integer NOT NULL,
    high       integer NOT NULL,
    low        integer NOT NULL,
    close      integer NOT NULL,
    volume     bigint NOT NULL,
    value      bigint,
    batch_id   bigint NOT NULL,
    CONSTRAINT ohlcv_minute_pkey PRIMARY KEY (stock_code, time)
);
COMMENT ON COLUMN market.ohlcv_minute.stock_code IS 'KRX short code, six characters [0-9A-Z]';
COMMENT ON COLUMN market.ohlcv_minute.time IS 'start of the minute; its date in Asia/Seoul is the session. The closing auction is the bar of the close (15:30)';
COMMENT ON COLUMN market.ohlcv_minute.open IS 'KRW, not adjusted';
COMMENT ON COLUMN market.ohlcv_minute.high IS 'KRW, not adjusted';
COMMENT ON COLUMN market.ohlcv_minute.low IS 'KRW, not adjusted';
COMMENT ON COLUMN market.ohlcv_minute.close IS 'KRW, not adjusted';
COMMENT ON COLUMN market.ohlcv_minute.volume IS 'shares traded in the minute';
COMMENT ON COLUMN market.ohlcv_minute.value IS 'KRW traded in the minute; NULL where the source does not tell it';
COMMENT ON COLUMN market.ohlcv_minute.batch_id IS 'the batch that wrote the row';
SELECT ops.make_series('ohlcv_minute', interval '7 days');
COMMENT ON TABLE market.ohlcv_minute IS 'Minute bars of the regular session of KRX, raw (not adjusted). A minute without trades has no row.';
