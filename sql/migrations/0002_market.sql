-- Production: what clients read. Prices and values are KRW, volumes single shares, sessions KST dates.

CREATE TABLE market.trading_days (
    time      date PRIMARY KEY,
    prev_time date,
    opens_at  time,
    closes_at time,
    certain   boolean NOT NULL,
    remark    text
);
COMMENT ON TABLE market.trading_days IS 'The sessions of KRX, derived from the calendar file that kdata uses.';
COMMENT ON COLUMN market.trading_days.prev_time IS 'the session before';
COMMENT ON COLUMN market.trading_days.opens_at IS 'open of the regular session, KST; NULL where not known';
COMMENT ON COLUMN market.trading_days.closes_at IS 'close of the regular session, KST; NULL where not known';
COMMENT ON COLUMN market.trading_days.certain IS 'false for Saturdays until 1998-12-05, some of which were holidays';

CREATE TABLE market.stock_history (
    stock_code     text NOT NULL,
    valid_from     date NOT NULL,
    valid_to       date,
    isin           text,
    name           text NOT NULL,
    name_en        text,
    market         text NOT NULL,
    segment        text,
    security_type  text NOT NULL,
    listing_date   date,
    delisting_date date,
    is_active      boolean NOT NULL,
    par_value      bigint,
    listed_shares  bigint,
    batch_id       bigint NOT NULL,
    PRIMARY KEY (stock_code, valid_from)
);
COMMENT ON TABLE market.stock_history IS 'What each name was, from valid_from (inclusive) to valid_to (exclusive; NULL: until now), as the masters at hand show it.';
COMMENT ON COLUMN market.stock_history.valid_from IS 'first session on which a master shows this state';
COMMENT ON COLUMN market.stock_history.valid_to IS 'first session on which a master shows another state';
COMMENT ON COLUMN market.stock_history.is_active IS 'listed; false from the first whole master without the name';
COMMENT ON COLUMN market.stock_history.segment IS 'segment of the market, e.g. KOSDAQ GLOBAL';
COMMENT ON COLUMN market.stock_history.par_value IS 'KRW; NULL without par or not known';
COMMENT ON COLUMN market.stock_history.listed_shares IS 'listed shares of this class';

CREATE TABLE market.stocks (
    stock_code     text PRIMARY KEY,
    valid_from     date NOT NULL,
    isin           text,
    name           text NOT NULL,
    name_en        text,
    market         text NOT NULL,
    segment        text,
    security_type  text NOT NULL,
    listing_date   date,
    delisting_date date,
    is_active      boolean NOT NULL,
    par_value      bigint,
    listed_shares  bigint,
    batch_id       bigint NOT NULL
);
COMMENT ON TABLE market.stocks IS 'What each name is now: the last state of stock_history. Delisted names stay, with is_active = false.';

CREATE TABLE market.ohlcv_daily (
    stock_code    text NOT NULL,
    time          date NOT NULL,
    open          integer,
    high          integer,
    low           integer,
    close         integer NOT NULL,
    volume        bigint NOT NULL,
    value         bigint,
    base_price    integer,
    market        text NOT NULL,
    security_type text NOT NULL,
    batch_id      bigint NOT NULL,
    CONSTRAINT ohlcv_daily_pkey PRIMARY KEY (stock_code, time)
);
COMMENT ON COLUMN market.ohlcv_daily.stock_code IS 'KRX short code, six characters [0-9A-Z]';
COMMENT ON COLUMN market.ohlcv_daily.time IS 'session (KST)';
COMMENT ON COLUMN market.ohlcv_daily.open IS 'KRW, not adjusted; NULL without trades';
COMMENT ON COLUMN market.ohlcv_daily.high IS 'KRW, not adjusted; NULL without trades';
COMMENT ON COLUMN market.ohlcv_daily.low IS 'KRW, not adjusted; NULL without trades';
COMMENT ON COLUMN market.ohlcv_daily.close IS 'KRW, not adjusted; without trades the reference price';
COMMENT ON COLUMN market.ohlcv_daily.volume IS 'shares, 0 without trades';
COMMENT ON COLUMN market.ohlcv_daily.value IS 'traded value, KRW';
COMMENT ON COLUMN market.ohlcv_daily.base_price IS 'KRW: close - change; price limits refer to it';
COMMENT ON COLUMN market.ohlcv_daily.market IS 'KOSPI, KOSDAQ or KONEX as of that session';
COMMENT ON COLUMN market.ohlcv_daily.security_type IS 'as of that session';
COMMENT ON COLUMN market.ohlcv_daily.batch_id IS 'the batch that wrote the row';
-- One year: the often quoted 7 days make daily bars larger when compressed and 30 times slower to read.
SELECT ops.make_series('ohlcv_daily', interval '1 year');
COMMENT ON TABLE market.ohlcv_daily IS 'Daily bars of KRX, raw (not adjusted), regular and off-hours sessions as KRX counts them.';

CREATE TABLE market.market_cap_daily (
    stock_code    text NOT NULL,
    time          date NOT NULL,
    market_cap    bigint NOT NULL,
    listed_shares bigint NOT NULL,
    batch_id      bigint NOT NULL,
    CONSTRAINT market_cap_daily_pkey PRIMARY KEY (stock_code, time)
);
COMMENT ON COLUMN market.market_cap_daily.market_cap IS 'KRW: close x listed shares of this class';
COMMENT ON COLUMN market.market_cap_daily.listed_shares IS 'shares of this class';
SELECT ops.make_series('market_cap_daily', interval '1 year');
COMMENT ON TABLE market.market_cap_daily IS 'Market capitalisation by name and session.';

CREATE TABLE market.corporate_actions (
    stock_code text NOT NULL,
    time       date NOT NULL,
    base_price integer NOT NULL,
    prev_close integer NOT NULL,
    factor     double precision NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('split', 'consolidation', 'rights', 'resumption')),
    evidence   text NOT NULL,
    batch_id   bigint NOT NULL,
    PRIMARY KEY (stock_code, time)
);
COMMENT ON TABLE market.corporate_actions IS 'Candidates: sessions whose base price differs from the close of the previous calendar session (half-tick closes rounded up are none).';
COMMENT ON COLUMN market.corporate_actions.factor IS 'base_price / prev_close';
COMMENT ON COLUMN market.corporate_actions.kind IS 'by the factor: near 1/n split or bonus issue, near n consolidation, else rights (below 1) or resumption (above 1)';

CREATE TABLE market.session_status (
    dataset     text NOT NULL,
    time        date NOT NULL,
    source      text NOT NULL,
    rows        bigint NOT NULL,
    expected    bigint,
    missing     bigint,
    names       text NOT NULL,
    finality    text NOT NULL CHECK (finality IN ('provisional', 'final')),
    batch_id    bigint NOT NULL,
    promoted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset, time)
);
COMMENT ON TABLE market.session_status IS 'Is a session of a dataset here, whole and final? Written in the transaction that brings its rows.';
COMMENT ON COLUMN market.session_status.expected IS 'names listed on that session as far as the stock master tells; NULL where it does not';
COMMENT ON COLUMN market.session_status.missing IS 'listed names without a row; NULL where not known';
COMMENT ON COLUMN market.session_status.names IS 'whole: all listed names; traded: the source drops names without trades; list: asked for by code';
