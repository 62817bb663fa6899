//! What readers get beyond the tables: adjusted prices, weeks and months, names of a date, the past, the calendar.

use crate::support::{DATASETS, Db, Session, Sheet, on_both_backends, reseal};

on_both_backends! {
    adjusted_prices_follow_the_actions
    adjusted_prices_stop_at_a_gap
    weeks_and_months_are_made_of_adjusted_days
    the_names_of_a_date
    the_past_is_shown_as_it_was
    the_past_of_masters
    sessions_come_from_the_calendar
    everything_is_explained
    the_reader_changes_nothing
}

const FROM: &str = "2024-01-02";
const TO: &str = "2024-01-08";

fn show(db: &Db, sheet: &Sheet) {
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
}

fn fixture(db: &Db) {
    show(db, &Sheet::fixture(2024));
    for dataset in DATASETS {
        db.pipe(dataset, FROM, TO);
    }
}

fn reader(db: &Db) -> Session {
    Session::connect(db.kdata("db url --reader").ok().trim())
}

fn adjusted_prices_follow_the_actions(db: &Db) {
    fixture(db);
    let reader = reader(db);
    // 000020 went from 50,200 to the base price 10,040 on 2024-01-05.
    let adjusted = "SELECT time, round(close::numeric, 2), round(volume::numeric, 2), round(factor::numeric, 4), chain_end \
                    FROM ohlcv_daily_adjusted WHERE stock_code = '000020' ORDER BY 1";
    let raw = db.rows(
        "SELECT time, round(close * f, 2), round(volume / f, 2), round(f, 4) FROM market.ohlcv_daily, \
         LATERAL (SELECT CASE WHEN time < '2024-01-05' THEN 0.2 ELSE 1 END AS f) x WHERE stock_code = '000020' ORDER BY 1",
    );
    assert_eq!(reader.rows(adjusted), raw.iter().map(|row| format!("{row}|-")).collect::<Vec<_>>());
    // Nothing else is adjusted, and raw prices are what they were.
    let changed = "SELECT DISTINCT stock_code FROM ohlcv_daily_adjusted WHERE factor <> 1";
    assert_eq!(reader.rows(changed), ["000020"]);
    assert_eq!(
        reader.value("SELECT close FROM ohlcv_daily WHERE stock_code = '000020' AND time = '2024-01-04'"),
        "50200"
    );
    // Each adjusted base price is the adjusted close of the session before.
    let unlinked = "SELECT count(*) FROM ohlcv_daily_adjusted a JOIN trading_days d USING (time) \
                    JOIN ohlcv_daily_adjusted b ON b.stock_code = a.stock_code AND b.time = d.prev_time \
                    WHERE abs(a.base_price - b.close) > 1e-6 * b.close";
    assert_eq!(reader.value(unlinked), "0");
    // Undone with the batch that saw it.
    let batch = db.value("SELECT batch_id FROM ops.batches WHERE dataset = 'ohlcv'");
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(reader.value("SELECT count(*) FROM adjustment_factors"), "0");
}

fn adjusted_prices_stop_at_a_gap(db: &Db) {
    show(db, &Sheet::fixture(2024));
    let gaps = "SELECT time, since, reason, count(*) FROM market.adjustment_gaps GROUP BY 1, 2, 3 ORDER BY 1";
    let chains = "SELECT chain_end, min(time), max(time), count(DISTINCT time) FROM market.ohlcv_daily_adjusted \
                  GROUP BY 1 ORDER BY 1";
    // The session of the split itself is there, the one before is not: no factor is made up, nor passed over.
    db.pipe("ohlcv", FROM, "2024-01-03");
    db.pipe("ohlcv", "2024-01-05", TO);
    let gap = ["2024-01-05|2024-01-03|no bar on 2024-01-04|12"];
    assert_eq!(db.rows(gaps), gap);
    assert_eq!(db.rows(chains), ["2024-01-03|2024-01-02|2024-01-03|2", "-|2024-01-05|2024-01-08|2"]);
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily_adjusted WHERE factor <> 1"), "0");
    // A week across it has no prices, but its sessions.
    assert_eq!(
        db.rows("SELECT time, open, close, sessions, sessions_of_krx FROM market.ohlcv_weekly_adjusted WHERE stock_code = '000020' ORDER BY 1"),
        ["2024-01-01|-|-|3|4".to_owned(), db.value("SELECT '2024-01-08', open, close, 1, 5 FROM market.ohlcv_daily WHERE stock_code = '000020' AND time = '2024-01-08'")]
    );
    // It closes when the session comes, and opens when it goes.
    db.pipe("ohlcv", "2024-01-04", "2024-01-04");
    assert_eq!(db.rows(gaps), [""; 0]);
    assert_eq!(db.rows("SELECT DISTINCT stock_code, round(factor::numeric, 2) FROM market.ohlcv_daily_adjusted WHERE factor <> 1"), ["000020|0.20"]);
    let batch = db.value("SELECT max(batch_id) FROM ops.batches");
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(db.rows(gaps), gap);
    // The whole in any order ends in the same.
    let other = db.another();
    show(&other, &Sheet::fixture(2024));
    other.pipe("ohlcv", "2024-01-05", TO);
    assert_eq!(other.rows(gaps), [""; 0]);
    other.pipe("ohlcv", FROM, "2024-01-03");
    assert_eq!(other.rows(gaps), gap);

    // A source that does not know base prices leaves every link open.
    let poor = db.another();
    show(&poor, &Sheet::fixture(2024));
    let stream = poor.validated("ohlcv", FROM, "2024-01-03");
    let cells = |line: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        if line.starts_with(['0', '1', '2']) {
            cells[8] = "";
        }
        cells.join(",") + "\n"
    };
    let provides = "provides=open,high,low,close,volume,value,market,security_type";
    poor.load(&reseal(&stream.lines().map(cells).collect::<String>().replacen("provides=all", provides, 1)));
    poor.kdata("promote").ok();
    assert_eq!(poor.rows(gaps), ["2024-01-03|2024-01-02|no base price on 2024-01-03|12"]);
    poor.pipe("ohlcv", FROM, "2024-01-03");
    assert_eq!(poor.rows(gaps), [""; 0]);

    // A source that drops names without trades: back with its last close as its base price, nothing happened to a name.
    let traded = db.another();
    let sessions = ["2024-01-02", "2024-01-03", "2024-01-04"];
    let mut sheet = Sheet::market(240, &sessions);
    for session in [sessions[0], sessions[2]] {
        // 000040 has no trades and keeps its price; now it has some on the first and the last session.
        let close = close_of(&sheet, "000040", session);
        for column in ["Open", "High", "Low"] {
            sheet = sheet.set("000040", session, column, &close.to_string());
        }
        sheet = sheet.set("000040", session, "Volume", "10").set(
            "000040",
            session,
            "Amount",
            &(close * 10).to_string(),
        );
    }
    let sheet = sheet.keep(|sheet, row| {
        let lost = row[sheet.at("Code")] == "000010" && row[sheet.at("Date")] == sessions[1];
        sheet.number(row, "Volume") > 0 && !lost
    });
    show(&traded, &sheet);
    traded.pipe("ohlcv", FROM, sessions[2]);
    assert_eq!(
        traded.rows("SELECT stock_code, time, since FROM market.adjustment_gaps"),
        ["000010|2024-01-04|2024-01-02"]
    );
}

fn close_of(sheet: &Sheet, code: &str, session: &str) -> i128 {
    let row =
        sheet.rows.iter().find(|r| r[sheet.at("Code")] == code && r[sheet.at("Date")] == session).unwrap();
    sheet.number(row, "Close")
}

fn weeks_and_months_are_made_of_adjusted_days(db: &Db) {
    fixture(db);
    let reader = reader(db);
    for (view, unit) in [("ohlcv_weekly_adjusted", "week"), ("ohlcv_monthly_adjusted", "month")] {
        // Worked out another way, for every name.
        let differing = format!(
            "SELECT count(*) FROM {view} w FULL JOIN (
                 SELECT DISTINCT stock_code, date_trunc('{unit}', time::timestamp)::date AS time,
                        first_value(open) OVER (w ORDER BY open IS NULL, time) AS open,
                        max(high) OVER w AS high, min(low) OVER w AS low,
                        first_value(close) OVER (w ORDER BY time DESC) AS close,
                        sum(volume) OVER w AS volume, sum(value) OVER w AS value, count(*) OVER w AS sessions
                 FROM ohlcv_daily_adjusted
                 WINDOW w AS (PARTITION BY stock_code, date_trunc('{unit}', time::timestamp))
             ) d USING (stock_code, time)
             WHERE (w.open, w.high, w.low, w.close, w.volume, w.value, w.sessions::bigint)
                   IS DISTINCT FROM (d.open, d.high, d.low, d.close, d.volume, d.value, d.sessions)"
        );
        assert_eq!(reader.value(&differing), "0", "{view}");
        assert_ne!(reader.value(&format!("SELECT count(*) FROM {view}")), "0");
    }
    assert_eq!(
        reader.rows(
            "SELECT time, first_session, last_session, round(open::numeric, 1), sessions, sessions_of_krx \
             FROM ohlcv_weekly_adjusted WHERE stock_code = '000020' ORDER BY 1"
        ),
        ["2024-01-01|2024-01-02|2024-01-05|10000.0|4|4", "2024-01-08|2024-01-08|2024-01-08|10030.0|1|5"]
    );
    assert_eq!(
        reader.rows(
            "SELECT time, sessions, sessions_of_krx FROM ohlcv_monthly_adjusted WHERE stock_code = '000020'"
        ),
        ["2024-01-01|5|22"]
    );
}

fn the_names_of_a_date(db: &Db) {
    let sheet = Sheet::market(400, &["2024-01-02", "2024-01-03", "2024-01-04"]).keep(|sheet, row| {
        // 000010 goes, 000020 comes.
        match row[sheet.at("Code")].as_str() {
            "000010" => row[sheet.at("Date")] == "2024-01-02",
            "000020" => row[sheet.at("Date")] != "2024-01-02",
            _ => true,
        }
    });
    show(db, &sheet.set("000030", "2024-01-04", "Name", "새이름"));
    db.pipe("stocks", FROM, "2024-01-04");
    let reader = reader(db);
    let names = |day: &str| {
        reader.rows(&format!(
            "SELECT stock_code, name, master FROM universe('{day}') WHERE stock_code IN ('000010', '000020', '000030') ORDER BY 1"
        ))
    };
    assert_eq!(names("2024-01-02"), ["000010|모의0|2024-01-02", "000030|모의2|2024-01-02"]);
    assert_eq!(names("2024-01-03"), ["000020|모의1|2024-01-03", "000030|모의2|2024-01-03"]);
    // Until the next master tells otherwise.
    assert_eq!(names("2024-02-01"), ["000020|모의1|2024-01-04", "000030|새이름|2024-01-04"]);
    assert_eq!(reader.value("SELECT count(*) FROM universe('2024-01-02')"), "399");
    for (day, says) in [
        ("2024-01-01", "the last one before is of no session"),
        ("2024-06-03", "the last one before is of 2024-01-04"),
    ] {
        let told = reader.try_rows(&format!("SELECT * FROM universe('{day}')")).unwrap_err();
        assert!(
            told.contains("no stock master tells which names were listed") && told.contains(says),
            "{told}"
        );
    }
    assert_eq!(reader.value("SELECT count(*) FROM universe('2024-06-03', max_age => 365)"), "399");
}

/// What `ohlcv_daily` shows, as JSON without the order of rows.
const BARS: &str =
    "SELECT md5(coalesce(string_agg(r::text, '' ORDER BY r->>'stock_code', r->>'time'), '')) FROM";

fn the_past_is_shown_as_it_was(db: &Db) {
    let sheet = Sheet::fixture(2024);
    show(db, &sheet);
    db.kdata("db migrate").ok();
    let now = || db.value(&format!("{BARS} (SELECT to_jsonb(m) AS r FROM market.ohlcv_daily m) x"));
    let mut seen = vec![(db.value("SELECT clock_timestamp()"), now())];
    let mut step = |what: &dyn Fn()| {
        what();
        seen.push((db.value("SELECT clock_timestamp()"), now()));
    };
    let promote = |sheet: &Sheet, from: &str, to: &str| {
        show(db, sheet);
        db.pipe("ohlcv", from, to);
    };
    let rollback = || {
        let last = db.value("SELECT max(batch_id) FROM ops.batches WHERE state = 'promoted'");
        db.kdata(&format!("rollback {last}")).ok();
    };
    let prices = [70_100, 70_000, 69_900].map(|price| sheet.clone().reprice("000010", "2024-01-05", price));
    step(&|| promote(&sheet, FROM, "2024-01-05"));
    step(&|| promote(&prices[0], "2024-01-05", "2024-01-05"));
    step(&|| promote(&prices[1], "2024-01-05", TO));
    step(&rollback);
    step(&rollback);
    step(&|| promote(&prices[2], "2024-01-03", TO));
    step(&rollback);
    step(&rollback);
    step(&|| promote(&prices[1], "2024-01-04", TO));
    step(&|| promote(&sheet, FROM, TO));
    let reader = reader(db);
    for (at, (instant, shown)) in seen.iter().enumerate() {
        let past = reader.value(&format!("{BARS} (SELECT r FROM as_of('ohlcv', '{instant}') r) x"));
        assert_eq!(past, *shown, "step {at}");
        let typed = reader.value(&format!(
            "{BARS} (SELECT to_jsonb(m) AS r FROM as_of(NULL::ohlcv_daily, '{instant}') m) x"
        ));
        assert_eq!(typed, *shown, "step {at}");
    }
    // Narrowed.
    let (instant, _) = &seen[2];
    let call = format!("as_of(NULL::ohlcv_daily, '{instant}', '2024-01-04', '2024-01-05', '000010')");
    assert_eq!(
        reader.rows(&format!("SELECT stock_code, time, close FROM {call} ORDER BY 2")),
        [db.value("SELECT stock_code, time, close FROM market.ohlcv_daily WHERE stock_code = '000010' AND time = '2024-01-04'"),
         "000010|2024-01-05|70100".to_owned()]
    );
    for (call, says) in [
        ("as_of('nothing', now())", "there is no dataset nothing"),
        ("as_of('trading_days', now())", "there is no dataset"),
        ("as_of('pg_authid', now())", "there is no dataset"),
        ("as_of('ohlcv_daily; DROP TABLE market.stocks', now())", "there is no dataset"),
        ("as_of(NULL::text, now())", "there is no dataset"),
        ("as_of(NULL::pg_catalog.pg_class, now())", "is no table of schema market"),
        ("as_of('ohlcv', NULL)", "as of when?"),
        ("as_of('session_status', now(), code => '000010')", "has no codes"),
    ] {
        let told = reader.try_rows(&format!("SELECT * FROM {call}")).unwrap_err();
        assert!(told.contains(says), "{call}: {told}");
    }
}

fn the_past_of_masters(db: &Db) {
    let names = |gone: &'static [&'static str]| {
        Sheet::market(400, &["2024-01-02", "2024-01-03", "2024-01-04"]).keep(move |sheet, row| {
            !gone.contains(&row[sheet.at("Code")].as_str()) || row[sheet.at("Date")] == "2024-01-02"
        })
    };
    let rows = |table: &str| format!("(SELECT to_jsonb(m) AS r FROM market.{table} m) x");
    let sum = "SELECT md5(coalesce(string_agg(r::text, '' ORDER BY r::text), '')) FROM";
    let tables = ["stocks", "stock_history", "session_status"];
    let mut seen = Vec::new();
    for (gone, from, to) in [
        (&[][..], "2024-01-02", "2024-01-02"),
        (&["000010"], "2024-01-04", "2024-01-04"),
        (&["000010", "000020"], "2024-01-03", "2024-01-03"),
    ] {
        show(db, &names(gone));
        db.pipe("stocks", from, to);
        seen.push((
            db.value("SELECT clock_timestamp()"),
            tables.map(|t| db.value(&format!("{sum} {}", rows(t)))),
        ));
    }
    // A state of the history that an earlier master removed is shown as of the time when it stood.
    assert_ne!(db.value("SELECT count(*) FROM ops.revisions WHERE operation = 'delete'"), "0");
    let last = db.value("SELECT max(batch_id) FROM ops.batches");
    db.kdata(&format!("rollback {last}")).ok();
    seen.push((
        db.value("SELECT clock_timestamp()"),
        tables.map(|t| db.value(&format!("{sum} {}", rows(t)))),
    ));
    let reader = reader(db);
    for (at, (instant, shown)) in seen.iter().enumerate() {
        let past =
            tables.map(|t| reader.value(&format!("{sum} (SELECT r FROM as_of('{t}', '{instant}') r) x")));
        assert_eq!(past, *shown, "step {at}");
    }
}

fn sessions_come_from_the_calendar(db: &Db) {
    db.kdata("db migrate").ok();
    let reader = reader(db);
    assert_eq!(
        reader.value("SELECT prev_session('2024-01-02'), prev_session('2024-01-06')"),
        "2023-12-28|2024-01-05"
    );
    assert_eq!(
        reader.rows("SELECT * FROM sessions_between('2023-12-28', '2024-01-03')"),
        ["2023-12-28", "2024-01-02", "2024-01-03"]
    );
    assert_eq!(reader.value("SELECT count(*) FROM sessions_between('2024-01-06', '2024-01-07')"), "0");
    assert_eq!(reader.value("SELECT kind FROM calendar"), "live");
    for call in [
        "prev_session('1995-01-01')",
        "prev_session('2031-01-01')",
        "sessions_between('2024-01-01', '2031-01-01')",
    ] {
        let told = reader.try_rows(&format!("SELECT {call}")).unwrap_err();
        assert!(told.contains("the trading calendar covers 1995-01-01 to"), "{call}: {told}");
    }
}

fn everything_is_explained(db: &Db) {
    db.kdata("db migrate").ok();
    let silent = db.rows(
        "SELECT c.relname, '' FROM pg_class c WHERE relnamespace = 'market'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') \
         AND NOT relispartition AND obj_description(c.oid, 'pg_class') IS NULL \
         UNION ALL SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped \
         WHERE relnamespace = 'market'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition \
         AND col_description(c.oid, attnum) IS NULL \
         UNION ALL SELECT p.oid::regprocedure::text, '' FROM pg_proc p WHERE pronamespace = 'market'::regnamespace \
         AND obj_description(p.oid, 'pg_proc') IS NULL",
    );
    assert!(silent.is_empty(), "without a COMMENT: {silent:#?}");
}

fn the_reader_changes_nothing(db: &Db) {
    fixture(db);
    let before = (db.production_to_the_letter(), db.versions());
    let reader = reader(db);
    reader.rows("SET default_transaction_read_only = off");
    // No relation anywhere may be written, and none of other schemas of ours read.
    let granted = db.rows(
        "SELECT c.oid::regclass, p FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, \
         unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'SELECT']) p \
         WHERE relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege('kdata_reader', c.oid, p) \
         AND CASE WHEN p = 'SELECT' THEN nspname IN ('ops', 'staging') \
                  ELSE nspname <> 'information_schema' AND c.oid <> 'pg_catalog.pg_settings'::regclass END \
         UNION ALL SELECT c.oid::regclass, 'USAGE' FROM pg_class c \
         WHERE CASE relkind WHEN 'S' THEN has_sequence_privilege('kdata_reader', c.oid, 'USAGE, UPDATE') END",
    );
    assert!(granted.is_empty(), "{granted:#?}");
    // Functions that change something are for the owner: those of kdata, of TimescaleDB, of large objects.
    let callable = db.rows(
        "SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace \
         WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND provolatile = 'v' \
         AND has_function_privilege('kdata_reader', p.oid, 'execute') AND proname NOT IN ('time_bucket_gapfill', 'locf', 'interpolate')",
    );
    assert!(callable.is_empty(), "{callable:#?}");
    for forbidden in [
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT ops.refresh_adjustments('2024-01-02', '2024-01-08')",
        "SELECT ops.make_series('stocks', interval '1 year')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'kdata_reader'",
        "CREATE FUNCTION market.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW market.mine AS SELECT 1",
        "COMMENT ON TABLE market.stocks IS 'mine'",
        "ALTER TABLE market.stocks ADD COLUMN mine int",
        "CREATE INDEX ON market.stocks (name)",
        "LOCK TABLE market.stocks IN SHARE MODE",
        "COPY market.stocks FROM PROGRAM 'true'",
        "COPY market.stocks TO '/tmp/stolen'",
        "SET ROLE kdata",
    ] {
        let answer = reader.try_rows(forbidden);
        assert!(answer.is_err(), "{forbidden}: {answer:?}");
    }
    // The one function that runs as the owner only reads.
    let definers = "SELECT proname, provolatile, proconfig FROM pg_proc WHERE prosecdef AND has_function_privilege('kdata_reader', oid, 'execute')";
    assert_eq!(db.rows(definers), ["as_of|s|{\"search_path=pg_catalog, pg_temp\",TimeZone=Asia/Seoul}"]);
    if db.backend == "timescale" {
        let chunk = db.value(
            "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks LIMIT 1",
        );
        for forbidden in [
            format!("SELECT _timescaledb_functions.drop_chunk('{chunk}')"),
            "SELECT public.add_job('market.prev_session', '1h')".to_owned(),
            "SELECT public.drop_chunks('market.ohlcv_daily', older_than => DATE '2030-01-01')".to_owned(),
        ] {
            let answer = reader.try_rows(&forbidden);
            assert!(answer.is_err(), "{forbidden}: {answer:?}");
        }
        assert_ne!(reader.value("SELECT count(*) FROM (SELECT public.time_bucket('7 days', time) FROM ohlcv_daily GROUP BY 1) x"), "0");
    }
    assert_eq!((db.production_to_the_letter(), db.versions()), before);
}
