//! The table of README's "Measured": kdata's own binary, a real PostgreSQL and psql, against what a user would do by hand.
//!
//! `cargo bench` runs it all (about a quarter of an hour); `cargo bench -- --pairs 1` is a quick look. It works in a
//! folder and a private cluster of its own below the temporary folder, and leaves nothing behind. Each ratio is the
//! median of pairs that ran in turn, so that a busy machine disturbs both alike. Peers in Python are measured where
//! their packages are at hand, and said to be left out elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that fails has failed"
)]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the program")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KDATA: &str = env!("CARGO_BIN_EXE_kdata");
/// Ten sessions of minutes, and five years of days.
const MINUTES: [&str; 2] = ["2026-11-02", "2026-11-13"];
const DAYS: [&str; 2] = ["2021-11-01", "2026-10-30"];
const MINUTE_COLUMNS: &str = "stock_code text NOT NULL, time timestamptz NOT NULL, open integer, high integer, low integer, \
                              close integer, volume bigint, value bigint";
const DAY_COLUMNS: &str = "stock_code text NOT NULL, time date NOT NULL, open integer, high integer, low integer, close integer, \
                           volume bigint, value bigint, base_price integer, market text, security_type text";

fn main() {
    let pairs = std::env::args().skip_while(|arg| arg != "--pairs").nth(1).map_or(5, |n| n.parse().unwrap());
    let bench = Bench::new(pairs);
    bench.run();
    bench.kdata("", "db stop");
    fs::remove_dir_all(&bench.folder).unwrap();
}

struct Bench {
    folder: PathBuf,
    pairs: usize,
    url: String,
    psql: PathBuf,
}

/// A stream, its rows alone for `\copy`, and how many they are.
struct Data {
    extracted: PathBuf,
    validated: PathBuf,
    rows: PathBuf,
    count: u64,
}

/// A read's times, ms.
struct Reading {
    first: f64,
    usual: f64,
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ms (the first of a connection {:.1})", self.usual, self.first)
    }
}

impl Bench {
    fn new(pairs: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("kdata-bench-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        // The server may run as another user.
        let mut passable = fs::metadata(&folder).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut passable, 0o755);
        fs::set_permissions(&folder, passable).unwrap();
        let mut bench = Self { folder, pairs, url: String::new(), psql: "psql".into() };
        bench.kdata("", "db start");
        bench.url = bench.kdata("", "db url").trim().into();
        let status = bench.kdata("", "db status");
        if let Some(line) = status.lines().find(|line| line.starts_with("PostgreSQL")) {
            println!("{line}");
            let bin = line.split(" in ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
            if Path::new(bin).join("psql").exists() {
                bench.psql = Path::new(bin).join("psql");
            }
        }
        bench
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, database: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("KDATA_HOME", self.folder.join("home"))
            .env("PGTZ", "Asia/Seoul")
            .current_dir(&self.folder);
        command.env("KDATA_NOW", "2026-11-20T20:00:00+09:00");
        if !database.is_empty() {
            command.env("DATABASE_URL", self.url_of(database));
        }
        if database.starts_with("native") {
            command.env("KDATA_BACKEND", "native");
        }
        command
    }

    fn url_of(&self, database: &str) -> String {
        self.url.replacen("@/kdata?", &format!("@/{database}?"), 1)
    }

    /// Runs kdata on a database; returns what it prints.
    fn kdata(&self, database: &str, args: &str) -> String {
        let output = self.command(KDATA, database).args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "kdata {args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        let output = self
            .command(&self.psql, "")
            .args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-c", "SET client_min_messages = error", "-c", sql])
            .arg(self.url_of(database))
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn number(&self, database: &str, sql: &str) -> f64 {
        self.sql(database, sql).parse().unwrap()
    }

    /// A new database that holds kdata's schema; its name says the storage.
    fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.kdata(name, "db migrate --demo");
        name.to_owned()
    }

    fn drop_database(&self, name: &str) {
        self.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
    }

    fn data(&self, dataset: &str, [from, to]: [&str; 2]) -> Data {
        let path = |end: &str| self.folder.join(format!("{dataset}.{end}"));
        let data =
            Data { extracted: path("extracted"), validated: path("validated"), rows: path("csv"), count: 0 };
        let mut command = self.command(KDATA, "");
        command.args(["-q", "extract", dataset, "--source", "sim", "--from", from, "--to", to]);
        assert!(command.stdout(File::create(&data.extracted).unwrap()).status().unwrap().success());
        self.validate(&data.extracted, File::create(&data.validated).unwrap().into());
        let mut rows = std::io::BufWriter::new(File::create(&data.rows).unwrap());
        let (mut count, mut is_header) = (0, true);
        let mut lines = BufReader::new(File::open(&data.validated).unwrap());
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).unwrap() > 0 {
            if line[0] != b'#' && !std::mem::take(&mut is_header) {
                rows.write_all(&line).unwrap();
                count += 1;
            }
            line.clear();
        }
        rows.flush().unwrap();
        Data { count, ..data }
    }

    fn validate(&self, input: &Path, output: Stdio) -> Duration {
        let mut command = self.command(KDATA, "");
        command.args(["-q", "validate"]).stdin(File::open(input).unwrap()).stdout(output);
        timed(|| assert!(command.status().unwrap().success()))
    }

    /// `kdata validate < file | kdata load`; returns the time.
    fn pipe(&self, database: &str, data: &Data) -> Duration {
        timed(|| {
            let mut validate = self.command(KDATA, database);
            validate.args(["-q", "validate"]).stdin(File::open(&data.extracted).unwrap());
            let mut validate = validate.stdout(Stdio::piped()).spawn().unwrap();
            let mut load = self.command(KDATA, database);
            load.args(["-q", "load"]).stdin(validate.stdout.take().unwrap()).stdout(Stdio::null());
            assert!(load.status().unwrap().success() && validate.wait().unwrap().success());
        })
    }

    fn load(&self, database: &str, data: &Data) -> Duration {
        let mut load = self.command(KDATA, database);
        load.args(["-q", "load"]).stdin(File::open(&data.validated).unwrap()).stdout(Stdio::null());
        timed(|| assert!(load.status().unwrap().success()))
    }

    /// Until the receipt, and from there until the rollups are up to date.
    fn promote(&self, database: &str) -> (Duration, Duration) {
        let start = Instant::now();
        let mut promote = self.command(KDATA, database);
        let mut child = promote.arg("promote").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut receipt = String::new();
        out.read_line(&mut receipt).unwrap();
        let promoted = start.elapsed();
        out.read_to_string(&mut receipt).unwrap();
        assert!(child.wait().unwrap().success());
        (promoted, start.elapsed().saturating_sub(promoted))
    }

    /// `\copy` of the rows into a new table.
    fn copy(&self, database: &str, data: &Data, table: &str) -> Duration {
        self.sql(database, "DROP TABLE IF EXISTS public.copied");
        self.sql(database, &format!("CREATE TABLE public.copied ({table})"));
        let copy = format!("\\copy public.copied FROM '{}' WITH (FORMAT csv)", data.rows.display());
        timed(|| {
            self.sql(database, &copy);
        })
    }

    /// Planning and execution, ms, in one connection, as a reader keeps it: the median of nine. Its first query, which has to
    /// learn the tables, comes before them.
    fn read_ms(&self, database: &str, query: &str) -> Reading {
        let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query};\n");
        let plans = self.sql(database, &explain.repeat(10));
        let field = |name: &str| -> Vec<f64> {
            let number = |rest: &str| {
                rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap().parse().unwrap()
            };
            plans.split(&format!("\"{name}\": ")).skip(1).map(number).collect()
        };
        let mut times: Vec<f64> =
            field("Planning Time").iter().zip(field("Execution Time")).map(|(a, b)| a + b).collect();
        assert_eq!(times.len(), 10);
        let first = times.remove(0);
        Reading { first, usual: median(&mut times) }
    }

    fn run(&self) {
        println!("| what | figure | against | ratio | how |\n|---|---|---|---|---|");
        let minutes = self.data("ohlcv-minute", MINUTES);
        self.validate_rate(&minutes);
        let timescale =
            self.sql("postgres", "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'") == "1";
        if timescale {
            self.minutes_on_timescale(&minutes);
        } else {
            println!("| on TimescaleDB | left out: this server does not offer it | | | |");
        }
        self.minutes_on_native(&minutes);
        let days = self.data("ohlcv", DAYS);
        self.load_rate(&days);
        if timescale {
            self.days_on_timescale(&days);
        }
        self.peers(&days);
    }

    fn validate_rate(&self, minutes: &Data) {
        let mut times: Vec<f64> =
            (0..self.pairs).map(|_| self.validate(&minutes.extracted, Stdio::null()).as_secs_f64()).collect();
        row(
            &format!("validate, {} minute bars", thousands(minutes.count)),
            &rate(minutes.count, median(&mut times)),
            "",
            None,
            "kdata -q validate < FILE > /dev/null",
        );
    }

    fn minutes_on_timescale(&self, minutes: &Data) {
        let (mut whole, mut loads, mut promotes, mut refreshes, mut seconds) =
            (vec![], vec![], vec![], vec![], vec![]);
        for pair in 1..=self.pairs {
            let database = self.database(&format!("timescale_{pair}"));
            let copied = self.copy(&database, minutes, MINUTE_COLUMNS);
            let loaded = self.pipe(&database, minutes);
            let (receipt, rollups_took) = self.promote(&database);
            whole.push(ratio(copied, loaded + receipt));
            loads.push(ratio(copied, loaded));
            promotes.push(receipt.as_secs_f64());
            refreshes.push(rollups_took.as_secs_f64());
            seconds.push((loaded + receipt).as_secs_f64());
            if pair < self.pairs {
                self.drop_database(&database);
            }
        }
        let database = format!("timescale_{}", self.pairs);
        let n = minutes.count;
        row(
            "minute bars of a new final range: file → validated → staged → promoted and compressed",
            &rate(n, median(&mut seconds)),
            "`\\copy` into a heap",
            Some(&mut whole),
            "kdata validate < FILE \\| kdata load; kdata promote",
        );
        row(
            "of it: validate and load",
            "",
            "`\\copy` into a heap",
            Some(&mut loads),
            "kdata validate < FILE \\| kdata load",
        );
        row("of it: promote", &rate(n, median(&mut promotes)), "", None, "kdata promote, to its receipt");
        row(
            "then bars of 5, 15, 60 minutes",
            &rate(n, median(&mut refreshes)),
            "",
            None,
            "kdata promote, from its receipt",
        );
        self.minute_sizes(&database, minutes);
        self.drop_database(&database);
    }

    fn minute_sizes(&self, database: &str, minutes: &Data) {
        let size = "SELECT sum(bytes) FROM ops.parts('ohlcv_minute')";
        let ours = self.number(database, size);
        self.copy(database, minutes, &format!("{MINUTE_COLUMNS}, PRIMARY KEY (stock_code, time)"));
        let keyed = self.number(database, "SELECT pg_total_relation_size('public.copied')");
        self.sql(
            database,
            "CREATE TABLE public.by_chunk (LIKE market.ohlcv_minute INCLUDING DEFAULTS); \
             SELECT create_hypertable('public.by_chunk', by_range('time', interval '7 days'), create_default_indexes => false); \
             ALTER TABLE public.by_chunk SET (timescaledb.compress, timescaledb.compress_segmentby = 'stock_code', \
                                              timescaledb.compress_orderby = 'time'); \
             INSERT INTO public.by_chunk SELECT *, 1 FROM public.copied ORDER BY stock_code, time",
        );
        let compressing = timed(|| {
            self.sql(database, "SELECT compress_chunk(c) FROM show_chunks('public.by_chunk') c");
        });
        let by_chunk = self.number(database, "SELECT hypertable_size('public.by_chunk')");
        let per_row = ours / f64::from(u32::try_from(minutes.count).unwrap());
        let saved = 100.0 - 100.0 * ours / keyed;
        let figure = format!("{} MB, {per_row:.1} B a row", mb(ours));
        text_row(
            "size, compressed as promoted",
            &figure,
            &format!("compress_chunk: {} MB", mb(by_chunk)),
            ours / by_chunk,
            "ops.parts, hypertable_size",
        );
        text_row(
            "the same",
            &format!("{saved:.1} % saved"),
            &format!("plain keyed table: {} MB", mb(keyed)),
            ours / keyed,
            "",
        );
        text_row(
            "compress_chunk of the same",
            &rate(minutes.count, compressing.as_secs_f64()),
            "",
            f64::NAN,
            "",
        );
        let code = self.sql(
            database,
            "SELECT stock_code FROM public.copied GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
        );
        let day = "time >= '2026-11-05 00:00+09' AND time < '2026-11-06 00:00+09'";
        self.sql(database, "VACUUM ANALYZE");
        for (what, query) in [
            (
                "read one stock's day of minutes",
                format!("SELECT * FROM {{}} WHERE stock_code = '{code}' AND {day}"),
            ),
            ("read one session of minutes, all names", format!("SELECT * FROM {{}} WHERE {day}")),
        ] {
            let ours = self.read_ms(database, &query.replace("{}", "market.ohlcv_minute"));
            let plain = self.read_ms(database, &query.replace("{}", "public.copied"));
            text_row(
                what,
                &ours.to_string(),
                &format!("plain keyed table: {plain}"),
                plain.usual / ours.usual,
                "EXPLAIN ANALYZE, planning + execution",
            );
        }
    }

    fn minutes_on_native(&self, minutes: &Data) {
        let (mut ratios, mut seconds) = (vec![], vec![]);
        for pair in 1..=self.pairs {
            let database = self.database(&format!("native_{pair}"));
            let keyed = format!("{MINUTE_COLUMNS}, PRIMARY KEY (stock_code, time)");
            let copied = self.copy(&database, minutes, &keyed);
            let ours = self.pipe(&database, minutes) + self.promote(&database).0;
            ratios.push(ratio(copied, ours));
            seconds.push(ours.as_secs_f64());
            self.drop_database(&database);
        }
        row(
            "minute bars on native partitions: file → promoted",
            &rate(minutes.count, median(&mut seconds)),
            "`\\copy` into a keyed table",
            Some(&mut ratios),
            "the same, KDATA_BACKEND=native",
        );
    }

    fn load_rate(&self, days: &Data) {
        let database = self.database("loading");
        let (mut ratios, mut seconds) = (vec![], vec![]);
        for _ in 0..self.pairs {
            let copied = self.copy(&database, days, DAY_COLUMNS);
            let loaded = self.load(&database, days);
            let batch = self.sql(&database, "SELECT max(batch_id) FROM ops.batches");
            self.kdata(&database, &format!("-q rollback {batch}"));
            ratios.push(ratio(copied, loaded));
            seconds.push(loaded.as_secs_f64());
        }
        let what = format!("load, {} daily bars", thousands(days.count));
        row(
            &what,
            &rate(days.count, median(&mut seconds)),
            "`\\copy` into a heap",
            Some(&mut ratios),
            "kdata load < STREAM",
        );
        self.drop_database(&database);
    }

    fn days_on_timescale(&self, days: &Data) {
        let database = self.database("timescale_days");
        self.load(&database, days);
        let (promoted, _) = self.promote(&database);
        let (rows, seconds) = (days.count, promoted.as_secs_f64());
        row("promote, five years of daily bars", &rate(rows, seconds), "", None, "kdata promote");
        self.load(&database, days);
        let start = Instant::now();
        let told = self.kdata(&database, "promote");
        let again = told.split(": ").nth(2).unwrap_or_default().split(", 3").next().unwrap_or_default();
        let again = format!("{:.1} s: {}", start.elapsed().as_secs_f64(), again.trim());
        text_row("the same batch once more", &again, "", f64::NAN, "kdata promote");
        let size = "SELECT sum(bytes) FROM ops.parts('ohlcv_daily')";
        let plain = self.number(&database, size);
        self.copy(&database, days, &format!("{DAY_COLUMNS}, PRIMARY KEY (stock_code, time)"));
        let keyed = self.number(&database, "SELECT pg_total_relation_size('public.copied')");
        let code = self.sql(
            &database,
            "SELECT stock_code FROM public.copied GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
        );
        let one = format!("SELECT * FROM market.ohlcv_daily WHERE stock_code = '{code}' ORDER BY time");
        let session = "SELECT * FROM market.ohlcv_daily WHERE time = '2024-03-14'";
        self.sql(&database, "VACUUM ANALYZE");
        let (one_plain, session_plain) = (self.read_ms(&database, &one), self.read_ms(&database, session));
        // Long after: all of it is compressed.
        let mut compress = self.command(KDATA, &database);
        compress.env("KDATA_NOW", "2026-11-20T20:00:00+09:00").args(["-q", "db", "compress"]);
        assert!(compress.status().unwrap().success());
        let usual = self.number(&database, size);
        let (one_usual, session_usual) = (
            self.read_ms(&database, &one),
            self.read_ms(&database, "SELECT * FROM market.ohlcv_daily WHERE time = '2026-10-29'"),
        );
        self.sql(
            &database,
            "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('market.ohlcv_daily') c",
        );
        let all = self.number(&database, size);
        let (one_all, session_all) = (self.read_ms(&database, &one), self.read_ms(&database, session));
        let saved = |bytes: f64| format!("{} MB, {:.1} % saved", mb(bytes), 100.0 - 100.0 * bytes / keyed);
        let against = format!("plain keyed table: {} MB", mb(keyed));
        text_row(
            "five years of daily bars, as `kdata db compress` leaves them",
            &saved(usual),
            &against,
            usual / keyed,
            "kdata db compress",
        );
        text_row("the same, the present year too", &saved(all), &against, all / keyed, "compress_chunk");
        let plainly = |read: &Reading| format!("all plain: {read}");
        text_row(
            "read one stock's five years",
            &format!("{one_usual}, all compressed {one_all}"),
            &plainly(&one_plain),
            one_plain.usual / one_all.usual,
            "EXPLAIN ANALYZE, planning + execution",
        );
        text_row(
            "read one session across the market, of the present year",
            &session_usual.to_string(),
            "",
            f64::NAN,
            "",
        );
        text_row(
            "the same, of a compressed year",
            &session_all.to_string(),
            &plainly(&session_plain),
            session_plain.usual / session_all.usual,
            "",
        );
        let _ = plain;
        self.drop_database(&database);
    }

    /// pandas and pandera, where python3 has them.
    fn peers(&self, days: &Data) {
        let at_hand =
            Command::new("python3").args(["-c", "import pandas, pandera"]).stderr(Stdio::null()).status();
        if !at_hand.is_ok_and(|status| status.success()) {
            println!(
                "| validate against pandera | left out: python3 with pandas and pandera is not at hand | | | |"
            );
            return;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/validate_pandera.py");
        let mut ratios = vec![];
        for _ in 0..self.pairs {
            let mut pandera = Command::new("python3");
            let output = pandera.arg(script).arg(&days.extracted).output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            let theirs: f64 = told.split(", ").nth(1).unwrap().trim_end_matches(" s").parse().unwrap();
            let ours = self.validate(&days.extracted, Stdio::null()).as_secs_f64();
            ratios.push(theirs / ours);
        }
        row(
            "validate, daily bars",
            "",
            "pandas + pandera, 7 checks",
            Some(&mut ratios),
            "benches/validate_pandera.py FILE",
        );
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// How many times as fast as theirs ours is.
fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rate(rows: u64, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let per_second = rows as f64 / seconds / 1000.0;
    format!("{seconds:.1} s, {per_second:.0} k rows/s")
}

fn mb(bytes: f64) -> String {
    format!("{:.0}", bytes / 1e6)
}

fn thousands(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let millions = n as f64 / 1e6;
    format!("{millions:.2} M")
}

fn row(what: &str, figure: &str, against: &str, ratios: Option<&mut Vec<f64>>, how: &str) {
    let ratio = ratios.map_or(String::new(), |ratios| {
        let middle = median(ratios);
        format!(
            "**{middle:.2}** ({:.2} to {:.2}, {} pairs)",
            ratios[0],
            ratios[ratios.len() - 1],
            ratios.len()
        )
    });
    println!("| {what} | {figure} | {against} | {ratio} | `{how}` |");
}

fn text_row(what: &str, figure: &str, against: &str, ratio: f64, how: &str) {
    let ratio = if ratio.is_nan() { String::new() } else { format!("**{ratio:.2}**") };
    println!("| {what} | {figure} | {against} | {ratio} | {how} |");
}
