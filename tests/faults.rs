//! Faults seeded into the source file and run through the whole pipe: what becomes of them, kind by kind.
//!
//! A fault counts as found when its row is in `ops.rejects`, or has a flag of its own in `ops.flags`, or the batch was
//! stopped. A note does not count, nor does a flag that the row has undamaged. The rows are real where the real data
//! are, three sessions of a year (`KDATA_FAULT_YEAR`, 2024), else made up. `KDATA_FAULT_SEED` (1) chooses sessions,
//! rows and damage. What nobody can see in a row is measured beside it: the list of the documentation.

#![allow(clippy::similar_names, reason = "rows and rules are told apart by more than a letter")]
#![allow(clippy::needless_pass_by_value, reason = "test helpers read shorter")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{Datelike, Days, NaiveDate};

use crate::support::{Db, Run, Sheet, announce, real_data};

/// Of the faults of all kinds together, this share is found.
const OF_ALL: f64 = 0.99;
/// The most faults of a kind.
const MOST: usize = 40;
/// 삼성전자 in CP949, and what stands for it until the row is bytes.
const CP949: (&[u8], char) = (b"\xbb\xef\xbc\xba\xc0\xfc\xc0\xda", '\u{f8ff}');
const TEXTS: [&str; 6] = ["Code", "Name", "Market", "Dept", "MarketId", "Date"];
const PRICES: [&str; 4] = ["Open", "High", "Low", "Close"];
/// Prices, and what is made of them.
const ALL: [&str; 7] = ["Open", "High", "Low", "Close", "Changes", "Marcap", "Amount"];
/// The numbers that bars, and that the others, are made of or checked by.
const NUMBERS: [&str; 10] =
    ["Close", "Marcap", "Stocks", "Rank", "Open", "High", "Low", "Volume", "Amount", "Changes"];

/// xorshift64*: the same faults for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % n.max(1)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        (1..list.len()).rev().for_each(|at| list.swap(at, self.below(at + 1)));
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings.rs")]
fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

// ---- damage to a row ----

/// A row under damage; what changes something answers true.
struct Cells<'a> {
    sheet: &'a Sheet,
    row: Vec<String>,
    numbers: &'a [String],
}

impl Cells<'_> {
    fn get(&self, column: &str) -> &str {
        &self.row[self.sheet.at(column)]
    }

    fn number(&self, column: &str) -> i128 {
        self.sheet.number(&self.row, column)
    }

    fn date(&self) -> NaiveDate {
        self.get("Date").parse().unwrap()
    }

    fn set(&mut self, column: &str, value: impl ToString) -> bool {
        let at = self.sheet.at(column);
        let before = std::mem::replace(&mut self.row[at], value.to_string());
        before != self.row[at]
    }

    fn swap(&mut self, one: &str, other: &str) -> bool {
        let (one, other) = (self.sheet.at(one), self.sheet.at(other));
        self.row.swap(one, other);
        self.row[one] != self.row[other]
    }

    fn times(&mut self, columns: &[&str], by: i128) -> bool {
        let mut changed = false;
        for column in columns {
            let number = self.number(column);
            changed |= self.set(column, number * by) && number != 0;
        }
        changed
    }

    /// As pandas divides: what is left has a fraction.
    #[expect(clippy::cast_precision_loss, reason = "as pandas has it")]
    fn divided(&mut self, column: &str, by: i128) -> bool {
        let number = self.number(column);
        self.set(column, number as f64 / by as f64) && number != 0
    }

    /// A little more or less.
    fn off(&mut self, column: &str, per_mille: i128, dice: &mut Dice) -> bool {
        let number = self.number(column);
        let by = number * per_mille / 1000;
        by != 0 && self.set(column, number + dice.pick(&[-by, by]))
    }

    fn moved(&mut self, columns: &[&str], by: i128) -> bool {
        by != 0 && columns.iter().all(|column| self.set(column, self.number(column) + by))
    }

    /// Another close, and all that follows from it.
    #[expect(clippy::cast_precision_loss, reason = "prices are small")]
    fn reprice(&mut self, close: i128) -> bool {
        let base = self.number("Close") - self.number("Changes");
        let changes = close - base;
        let code = ["2", "3", "1"][usize::try_from(changes.signum() + 1).unwrap()];
        self.set("Marcap", close * self.number("Stocks"));
        self.set("Changes", changes);
        self.set("ChangeCode", code);
        self.set(&ratio(self.sheet), format!("{:.2}", changes as f64 * 100.0 / base as f64));
        self.set("Close", close)
    }

    /// The tick at a price, as of the session and the market.
    fn tick(&self, price: i128) -> i128 {
        let unified = self.date() >= "2023-01-25".parse().unwrap();
        let table: &[(i128, i128)] = match self.get("Market") {
            _ if unified => &[(2, 1), (5, 5), (20, 10), (50, 50), (200, 100), (500, 500), (99_999, 1_000)],
            "KOSPI" => &[(1, 1), (5, 5), (10, 10), (50, 50), (100, 100), (500, 500), (99_999, 1_000)],
            _ => &[(1, 1), (5, 5), (10, 10), (50, 50), (99_999, 100)],
        };
        table.iter().find(|(below, _)| price < below * 1_000).unwrap().1
    }

    /// Another value in some number or in one of these texts.
    fn anywhere(&mut self, value: &str, texts: &[&str], dice: &mut Dice) -> bool {
        let at = dice.below(self.numbers.len() + texts.len());
        let column =
            self.numbers.get(at).map_or_else(|| texts[at - self.numbers.len()].to_owned(), Clone::clone);
        self.set(&column, value)
    }
}

fn ratio(sheet: &Sheet) -> String {
    sheet.header.iter().rfind(|name| name.ends_with("Ratio")).unwrap().clone()
}

/// How a fault is seeded.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Other values in a row.
    Cells,
    /// The same where the session before is at hand: only beside it the row looks wrong.
    Later,
    /// The row stays, and another one with its key follows.
    Twin,
    /// Other bytes in a line.
    Line,
}
use How::{Cells as Cell, Later, Line, Twin};

/// A kind of fault, the datasets whose columns it touches, and the share of it that is found at least.
type Kind = (&'static str, &'static [&'static str], f64, How);
const BARS: &[&str] = &["ohlcv"];
const CAPS: &[&str] = &["ohlcv", "market-cap"];
const SHARES: &[&str] = &["market-cap", "stocks"];
const EACH: &[&str] = &["ohlcv", "market-cap", "stocks"];

/// Those with rare rows first. Floors below 1 leave room for what makes another good row by chance (1,999 of 2,000),
/// and for names that were not listed the session before.
const KINDS: &[Kind] = &[
    ("lower-case code", EACH, 1.0, Cell),
    ("line cut short", EACH, 1.0, Line),
    ("line broken in two", EACH, 1.0, Line),
    ("line broken in a text", EACH, 1.0, Line),
    ("quote lost", EACH, 1.0, Line),
    ("comma lost", EACH, 1.0, Line),
    ("sign", EACH, 1.0, Cell),
    ("high and low swapped", BARS, 1.0, Cell),
    ("open and volume swapped", BARS, 0.95, Cell),
    ("close and change swapped", EACH, 1.0, Cell),
    ("close x 10", EACH, 1.0, Cell),
    ("close / 10", EACH, 1.0, Cell),
    ("all prices x 10", EACH, 1.0, Cell),
    ("all prices x 100", EACH, 1.0, Cell),
    ("all prices, change, cap x 10", CAPS, 0.95, Later),
    ("all prices, change, cap, value x 10", CAPS, 0.9, Later),
    ("volume x 1000", BARS, 1.0, Cell),
    ("value / 1000", BARS, 1.0, Cell),
    ("value / 1000, whole", BARS, 1.0, Cell),
    ("value / 1,000,000", BARS, 1.0, Cell),
    ("shares x 1000", EACH, 1.0, Cell),
    ("shares and cap x 1000", SHARES, 0.9, Later),
    ("off the tick by a won", BARS, 0.95, Cell),
    ("closed day", EACH, 1.0, Cell),
    ("Sunday", EACH, 1.0, Cell),
    ("future day", EACH, 1.0, Cell),
    ("day of another session", EACH, 1.0, Cell),
    ("lost leading zero", EACH, 1.0, Cell),
    ("blank", EACH, 1.0, Cell),
    ("text", EACH, 1.0, Cell),
    ("NaN", EACH, 1.0, Cell),
    ("inf", EACH, 1.0, Cell),
    ("exponent", EACH, 1.0, Cell),
    ("overflow", EACH, 1.0, Cell),
    ("key twice, another price", EACH, 1.0, Twin),
    ("name in CP949", EACH, 1.0, Cell),
    ("name read as Latin-1", EACH, 1.0, Cell),
];

/// What a row does not show. Change, ratio and capitalisation are as they must be with the close.
const UNSEEN: &[Kind] = &[
    ("open and close swapped", BARS, 0.0, Cell),
    ("close at low or high", BARS, 0.0, Cell),
    ("open at low or high", BARS, 0.0, Cell),
    ("all prices a tick off", BARS, 0.0, Cell),
    ("all prices half a tick off", BARS, 0.0, Cell),
    ("volume 5 % off", BARS, 0.0, Cell),
    ("value 5 % off", BARS, 0.0, Cell),
    ("trades lost", BARS, 0.0, Cell),
    ("name of another stock", EACH, 0.0, Cell),
];

/// Damages a row; false where the kind does not apply to it.
fn damage(kind: &str, c: &mut Cells, dice: &mut Dice) -> bool {
    let traded = c.number("Open") > 0;
    let close = c.number("Close");
    match kind {
        "lower-case code" => c.set("Code", c.get("Code").to_lowercase()),
        "lost leading zero" => c.set("Code", c.get("Code").trim_start_matches('0').to_owned()),
        "high and low swapped" => c.swap("High", "Low"),
        "open and volume swapped" => c.swap("Open", "Volume"),
        "close and change swapped" => c.swap("Close", "Changes"),
        "close x 10" => c.times(&["Close"], 10),
        "close / 10" => c.divided("Close", 10),
        "all prices x 10" => c.times(&PRICES, 10),
        "all prices x 100" => c.times(&PRICES, 100),
        "all prices, change, cap x 10" => c.times(&ALL[..6], 10),
        "all prices, change, cap, value x 10" => c.times(&ALL, 10),
        "volume x 1000" => c.times(&["Volume"], 1_000),
        "value / 1000" => c.divided("Amount", 1_000),
        "value / 1000, whole" => c.number("Amount") > 0 && c.set("Amount", c.number("Amount") / 1_000),
        "value / 1,000,000" => c.divided("Amount", 1_000_000),
        "shares x 1000" => c.times(&["Stocks"], 1_000),
        "shares and cap x 1000" => c.times(&["Stocks", "Marcap"], 1_000),
        "off the tick by a won" => {
            let column = dice.pick(&PRICES);
            let price = c.number(column);
            traded && c.tick(price) > 1 && c.set(column, price + dice.pick(&[-1, 1]))
        }
        "sign" => {
            let column = c.numbers[dice.below(c.numbers.len())].clone();
            let text = c.get(&column).to_owned();
            let other = text.strip_prefix('-').map_or(format!("-{text}"), ToOwned::to_owned);
            text.parse::<f64>().unwrap() != 0.0 && c.set(&column, other)
        }
        "closed day" => {
            // Closed in every year.
            let day = dice.pick(&["01-01", "03-01", "05-05", "08-15", "10-03", "12-25"]);
            c.set("Date", format!("{}-{day}", c.date().year()))
        }
        "Sunday" => {
            let next = 7 - u64::from(c.date().weekday().num_days_from_sunday());
            c.set("Date", c.date() + Days::new(next + 7 * dice.pick(&[0, 0, 1, 5])))
        }
        "future day" => {
            let same_year = format!("{}-12-2{}", c.date().year(), dice.below(10));
            c.set("Date", dice.pick(&["2026-12-01", "2027-01-04", "2099-06-30", &same_year]))
        }
        "day of another session" => {
            let sessions = c.sheet.sessions();
            c.set("Date", &sessions[dice.below(sessions.len())])
        }
        "blank" => c.anywhere("", &["Code", "Name", "Market", "Date"], dice),
        // Any word may be a name.
        "text" => {
            let word = dice.pick(&["abc", "-", "N/A", "없음", "1 000"]);
            c.anywhere(word, &["Code", "Market", "Date"], dice)
        }
        "NaN" => c.anywhere(dice.pick(&["NaN", "nan"]), &["Code", "Name", "Market", "Date"], dice),
        "inf" => {
            let word = dice.pick(&["inf", "-inf", "Infinity"]);
            c.anywhere(word, &["Code", "Name", "Market", "Date"], dice)
        }
        "exponent" => c.anywhere(dice.pick(&["7.86e+04", "1e5", "1.066E12"]), &[], dice),
        "overflow" => {
            let number =
                dice.pick(&["99999999999999999999", "9223372036854775808", "-1000000000000000000000000"]);
            c.anywhere(number, &[], dice)
        }
        "key twice, another price" => {
            let other = [c.number("Low"), c.number("High")].into_iter().find(|price| *price != close);
            other.is_some_and(|price| price > 0 && c.reprice(price))
        }
        "name in CP949" => c.set("Name", CP949.1),
        "name read as Latin-1" => c.set("Name", "»ï¼ºÀüÀÚ"),
        "open and close swapped" => {
            let open = c.number("Open");
            traded && c.set("Open", close) && c.reprice(open)
        }
        "close at low or high" => {
            let price = c.number(dice.pick(&["Low", "High"]));
            traded && c.reprice(price)
        }
        "open at low or high" => c.set("Open", c.get(dice.pick(&["Low", "High"])).to_owned()),
        "all prices a tick off" | "all prices half a tick off" => {
            let half = kind.contains("half");
            let by = c.tick(close) * dice.pick(&[-1, 1]) / if half { 2 } else { 1 };
            let applies = traded && (!half || c.date() >= "2025-03-04".parse().unwrap());
            applies && by != 0 && c.moved(&["Open", "High", "Low"], by) && c.reprice(close + by)
        }
        "volume 5 % off" => c.off("Volume", 50, dice),
        "value 5 % off" => c.off("Amount", 50, dice),
        "trades lost" => {
            traded && ["Open", "High", "Low", "Volume", "Amount"].iter().all(|column| c.set(column, 0))
        }
        "name of another stock" => {
            let other = c.sheet.rows[dice.below(c.sheet.rows.len())][c.sheet.at("Name")].clone();
            c.set("Name", other)
        }
        _ => panic!("{kind}"),
    }
}

/// Damages a line.
fn tear(kind: &str, line: &[u8], dice: &mut Dice) -> Vec<u8> {
    let quotes = places(line, b'"');
    let anywhere = 1 + dice.below(line.len() - 1);
    match kind {
        "line cut short" => line[..anywhere].to_vec(),
        "line broken in two" => insert(line, anywhere),
        "line broken in a text" => {
            let text = 2 * dice.below(quotes.len() / 2);
            insert(line, quotes[text] + 1 + dice.below(quotes[text + 1] - quotes[text]))
        }
        "quote lost" => cut(line, dice.pick(&quotes)),
        "comma lost" => cut(line, dice.pick(&places(line, b','))),
        _ => panic!("{kind}"),
    }
}

fn places(line: &[u8], byte: u8) -> Vec<usize> {
    (0..line.len()).filter(|at| line[*at] == byte).collect()
}

fn insert(line: &[u8], at: usize) -> Vec<u8> {
    [&line[..at], b"\r\n", &line[at..]].concat()
}

fn cut(line: &[u8], at: usize) -> Vec<u8> {
    [&line[..at], &line[at + 1..]].concat()
}

// ---- the file ----

/// Three sessions: of the real year, or made up where that is not there. The date stands last, as in marcap's csv.
fn sheet(dice: &mut Dice) -> Sheet {
    let mut sheet = any_order(dice);
    let (date, last) = (sheet.at("Date"), sheet.header.len() - 1);
    sheet.header.swap(date, last);
    sheet.rows.iter_mut().for_each(|row| row.swap(date, last));
    sheet
}

fn any_order(dice: &mut Dice) -> Sheet {
    let year = from_environment("KDATA_FAULT_YEAR", 2024);
    let file =
        |ending| Some(real_data()?.join(format!("marcap-{year}.{ending}"))).filter(|path| path.is_file());
    let Some(path) = file("parquet").or_else(|| file("csv.gz")) else {
        return made_up();
    };
    let sheet = Sheet::read(&path);
    let sessions = sheet.sessions();
    let first = dice.below(sessions.len() - 2);
    let kept: HashSet<String> = sessions[first..first + 3].iter().cloned().collect();
    sheet.keep(|sheet, row| kept.contains(&row[sheet.at("Date")]))
}

/// Half of the names at ten times the price, so that a tick is more than a won; some codes end in a letter.
fn made_up() -> Sheet {
    let mut sheet = Sheet::market(1_500, &["2024-01-10", "2024-01-11", "2024-01-12"]);
    let scaled =
        ["Open", "High", "Low", "Close", "Amount", "Marcap", "Changes"].map(|column| sheet.at(column));
    let code = sheet.at("Code");
    for row in &mut sheet.rows {
        let name: usize = row[code][..5].parse().unwrap();
        if name.is_multiple_of(2) {
            for at in scaled {
                if row[at] != "0" {
                    row[at].push('0');
                }
            }
        }
        if name.is_multiple_of(40) {
            row[code].replace_range(5.., "K");
        }
    }
    sheet
}

/// A line as pandas writes it: texts in quotes.
fn line(sheet: &Sheet, row: &[String]) -> Vec<u8> {
    let mut text = String::new();
    for (column, value) in sheet.header.iter().zip(row) {
        let comma = if text.is_empty() { "" } else { "," };
        let quote = if TEXTS.contains(&column.as_str()) { "\"" } else { "" };
        write!(text, "{comma}{quote}{value}{quote}").unwrap();
    }
    match text.find(CP949.1) {
        Some(at) => [&text.as_bytes()[..at], CP949.0, &text.as_bytes()[at + CP949.1.len_utf8()..]].concat(),
        None => text.into_bytes(),
    }
}

fn header(sheet: &Sheet) -> Vec<u8> {
    sheet.header.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",").into_bytes()
}

fn lines(sheet: &Sheet) -> Vec<Vec<u8>> {
    std::iter::once(header(sheet)).chain(sheet.rows.iter().map(|row| line(sheet, row))).collect()
}

fn text(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().chain(b"\r\n")).copied().collect()
}

fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn key(sheet: &Sheet, row: &[String]) -> String {
    format!("{},{}", row[sheet.at("Code")], row[sheet.at("Date")])
}

/// Writes the file and runs the pipe over its range.
fn pipe(db: &Db, dataset: &str, sheet: &Sheet, file: &[u8], limit: &str) -> Run {
    let sessions = sheet.sessions();
    db.write(&format!("marcap/marcap-{}.csv.gz", &sessions[0][..4]), file);
    db.sh(&format!(
        "kdata extract {dataset} --source marcap --from {} --to {} | kdata validate {limit} | kdata load && kdata promote",
        sessions[0],
        sessions[sessions.len() - 1]
    ))
}

// ---- faults in rows ----

/// A fault in the file.
struct Fault {
    kind: usize,
    /// The lines that the damaged row takes.
    lines: std::ops::RangeInclusive<usize>,
    /// Its key, and what the damage made of it.
    keys: [String; 2],
}

/// A file with faults of all kinds, one a name at most.
struct Plan {
    file: Vec<u8>,
    faults: Vec<Fault>,
    /// The rows without a fault; true for those behind a torn line, which may take them along.
    innocent: Vec<(usize, bool)>,
}

fn plan(sheet: &Sheet, dataset: &str, kinds: &[Kind], dice: &mut Dice) -> Plan {
    let is_bars = dataset == "ohlcv";
    let mut numbers: Vec<String> =
        NUMBERS[..if is_bars { NUMBERS.len() } else { 4 }].iter().map(ToString::to_string).collect();
    numbers.retain(|name| sheet.header.contains(name));
    numbers.extend(is_bars.then(|| ratio(sheet)));
    let first = &sheet.sessions()[0];
    let names: HashSet<&String> = sheet.rows.iter().map(|row| &row[sheet.at("Code")]).collect();
    let most = MOST.min(names.len() * 9 / 10 / kinds.len());
    let mut order: Vec<usize> = (0..sheet.rows.len()).collect();
    let (mut used, mut damaged, mut behind) = (HashSet::new(), BTreeMap::new(), HashSet::new());
    for (kind, (name, _, _, how)) in kinds.iter().enumerate() {
        dice.shuffle(&mut order);
        let mut left = most;
        for &at in &order {
            let row = &sheet.rows[at];
            let code = &row[sheet.at("Code")];
            if left == 0 {
                break;
            }
            if used.contains(code) || behind.contains(&at) {
                continue;
            }
            let mut cells = Cells { sheet, row: row.clone(), numbers: &numbers };
            let lines = match how {
                Later if row[sheet.at("Date")] == *first => None,
                Cell | Later => damage(name, &mut cells, dice).then(|| vec![line(sheet, &cells.row)]),
                Twin => {
                    damage(name, &mut cells, dice).then(|| vec![line(sheet, row), line(sheet, &cells.row)])
                }
                Line => (!damaged.contains_key(&(at + 1))).then(|| {
                    behind.insert(at + 1);
                    vec![tear(name, &line(sheet, row), dice)]
                }),
            };
            if let Some(lines) = lines {
                used.insert(code.clone());
                damaged.insert(at, (kind, lines, key(sheet, &cells.row)));
                left -= 1;
            }
        }
    }
    let mut plan = Plan { file: Vec::new(), faults: Vec::new(), innocent: Vec::new() };
    let (mut all, mut number) = (vec![header(sheet)], 2);
    for (at, row) in sheet.rows.iter().enumerate() {
        let Some((kind, lines, after)) = damaged.remove(&at) else {
            plan.innocent.push((at, behind.contains(&at)));
            all.push(line(sheet, row));
            number += 1;
            continue;
        };
        let begin = number;
        number += lines.iter().map(|line| 1 + places(line, b'\n').len()).sum::<usize>();
        plan.faults.push(Fault { kind, lines: begin..=number - 1, keys: [key(sheet, row), after] });
        all.extend(lines);
    }
    plan.file = gz(&text(&all));
    plan
}

/// (rule, key) of all flags of rows.
fn flags(db: &Db) -> HashSet<(String, String)> {
    let rows = db.rows("SELECT rule, stock_code || ',' || time FROM ops.flags WHERE severity = 'flag' AND stock_code IS NOT NULL");
    rows.iter()
        .map(|row| row.split_once('|').unwrap())
        .map(|(rule, key)| (rule.to_owned(), key.to_owned()))
        .collect()
}

/// What was found, kind by kind; the rows without a fault must be where they belong.
fn in_rows(dataset: &str) {
    let seed = from_environment("KDATA_FAULT_SEED", 1);
    let mut dice = Dice::new(u64::from(seed));
    let sheet = sheet(&mut dice);
    let kinds: Vec<Kind> =
        KINDS.iter().chain(UNSEEN).copied().filter(|kind| kind.1.contains(&dataset)).collect();
    let clean = Db::native();
    let run = pipe(&clean, dataset, &sheet, &gz(&text(&lines(&sheet))), "");
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(clean.value("SELECT count(*) FROM ops.rejects"), "0");
    let before = flags(&clean);

    let plan = plan(&sheet, dataset, &kinds, &mut dice);
    let db = Db::native();
    // So many faults together are gates: what they say of single rows is seen by going over them.
    let run = pipe(&db, dataset, &sheet, &plan.file, "--max-rejects 100%");
    assert!([0, 3].contains(&run.code), "{run:#?}");
    if run.code == 3 {
        let batch = db.value("SELECT batch_id FROM ops.batches WHERE state = 'staged'");
        db.kdata(&format!("promote --batch {batch} --force")).ok();
    }
    let (mut by_line, mut by_key): (HashMap<usize, Vec<String>>, HashMap<String, Vec<String>>) =
        Default::default();
    for row in db
        .rows("SELECT line, rule, split_part(row, ',', 1) || ',' || split_part(row, ',', 2) FROM ops.rejects")
    {
        let [line, rule, key] = row.splitn(3, '|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        // A source's rejects bear the line of its file, validate's that of the stream.
        if rule.starts_with("marcap.") {
            by_line.entry(line.parse().unwrap()).or_default().push(rule.to_owned());
        } else {
            by_key.entry(key.to_owned()).or_default().push(rule.to_owned());
        }
    }
    let new_flags: HashMap<String, String> =
        flags(&db).difference(&before).map(|(rule, key)| (key.clone(), format!("{rule} (flag)"))).collect();
    let mut tally: BTreeMap<usize, (usize, usize, BTreeMap<String, usize>)> = BTreeMap::new();
    for fault in &plan.faults {
        let lines = fault.lines.clone().filter_map(|line| by_line.remove(&line)).flatten();
        let keys = fault.keys.iter().filter_map(|key| by_key.remove(key)).flatten();
        let found: Vec<String> = lines
            .chain(keys)
            .chain(fault.keys.iter().filter_map(|key| new_flags.get(key).cloned()))
            .collect();
        let (of, seen, rules) = tally.entry(fault.kind).or_default();
        *of += 1;
        *seen += usize::from(!found.is_empty());
        found.into_iter().take(1).for_each(|rule| *rules.entry(rule).or_default() += 1);
    }
    assert!(
        by_line.is_empty() && by_key.is_empty(),
        "rejects of rows without a fault: {by_line:?} {by_key:?}"
    );
    let swallowed = innocent_rows_are_there(&db, dataset, &sheet, &plan.innocent);
    report(dataset, seed, &sheet, &kinds, &tally, swallowed);
}

/// Compares production with the file; returns how many rows went with a torn line before them.
fn innocent_rows_are_there(db: &Db, dataset: &str, sheet: &Sheet, innocent: &[(usize, bool)]) -> usize {
    let (query, columns): (&str, &[&str]) = match dataset {
        "ohlcv" => (
            "SELECT stock_code, time, coalesce(open, 0), coalesce(high, 0), coalesce(low, 0), close, volume, value FROM market.ohlcv_daily",
            &["Open", "High", "Low", "Close", "Volume", "Amount"],
        ),
        "market-cap" => (
            "SELECT stock_code, time, market_cap, listed_shares FROM market.market_cap_daily",
            &["Marcap", "Stocks"],
        ),
        _ => return 0,
    };
    let there: HashSet<String> = db.rows(query).into_iter().collect();
    let expected = |at: usize| {
        let row = &sheet.rows[at];
        let numbers = columns.iter().map(|column| sheet.number(row, column).to_string());
        [key(sheet, row).replace(',', "|")].into_iter().chain(numbers).collect::<Vec<_>>().join("|")
    };
    let missing: Vec<_> = innocent.iter().filter(|(at, _)| !there.contains(&expected(*at))).collect();
    let lost: Vec<_> = missing.iter().filter(|(_, behind)| !behind).map(|(at, _)| expected(*at)).collect();
    assert!(lost.is_empty(), "rows without a fault are missing: {lost:?}");
    missing.len()
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn report(
    dataset: &str,
    seed: u32,
    sheet: &Sheet,
    kinds: &[Kind],
    tally: &BTreeMap<usize, (usize, usize, BTreeMap<String, usize>)>,
    swallowed: usize,
) {
    let share = |seen: usize, of: usize| seen as f64 / of.max(1) as f64;
    let sessions = sheet.sessions();
    let data = if sheet.header.iter().any(|name| name == "Rank") { "real rows" } else { "made-up rows" };
    let mut table =
        format!("faults in {dataset}, seed {seed}, {data} of {} to {}:\n", sessions[0], sessions[2]);
    let (mut all, mut all_seen, mut below) = (0, 0, Vec::new());
    for (at, (name, _, floor, _)) in kinds.iter().enumerate() {
        let Some((of, seen, rules)) = tally.get(&at) else {
            writeln!(table, "  {name:40}  does not apply to these rows").unwrap();
            continue;
        };
        let rules: Vec<String> = rules.iter().map(|(rule, n)| format!("{rule} {n}")).collect();
        let percent = share(*seen, *of) * 100.0;
        writeln!(table, "  {name:40} {seen:3} of {of:3} {percent:5.1} %  {}", rules.join(", ")).unwrap();
        if *floor > 0.0 {
            (all, all_seen) = (all + of, all_seen + seen);
        }
        if share(*seen, *of) < *floor {
            below.push(*name);
        }
    }
    writeln!(
        table,
        "  {:40} {all_seen} of {all} {:.2} %; {swallowed} rows went with a torn line before them, no other row without a fault was lost",
        "all but those that a row does not show",
        share(all_seen, all) * 100.0
    )
    .unwrap();
    announce(&table);
    assert!(below.is_empty(), "less was found than should be: {below:?}\n{table}");
    assert!(share(all_seen, all) >= OF_ALL, "{table}");
}

#[test]
fn faults_in_the_rows_of_bars() {
    in_rows("ohlcv");
}

#[test]
fn faults_in_the_rows_of_caps() {
    in_rows("market-cap");
}

#[test]
fn faults_in_the_rows_of_masters() {
    in_rows("stocks");
}

// ---- faults of whole sessions and files ----

/// What becomes of a file.
enum End {
    /// The pipe ends with this code; this is said, or is the rule of its rejects.
    Stops(i32, &'static str),
    /// The batch goes on with this flag.
    Flagged(&'static str),
}
use End::{Flagged, Stops};

const FILES: &[(&str, End)] = &[
    ("a session copies the one before", Stops(3, "ohlcv.session_is_new")),
    ("half a session missing", Stops(3, "ohlcv.market_is_whole")),
    ("every other row missing", Stops(3, "ohlcv.market_is_whole")),
    ("one market missing", Stops(3, "ohlcv.market_is_whole")),
    ("a session missing", Flagged("ohlcv.session_is_there")),
    ("a session dated to a holiday", Flagged("ohlcv.session_is_there")),
    ("a session dated to the future", Stops(3, "marcap.row_reads")),
    ("a session dated to the one before", Stops(3, "row.key_unique")),
    ("all prices of a session x 10", Stops(3, "ohlcv.bases_follow_closes")),
    ("CP949 throughout", Stops(3, "marcap.row_reads")),
    ("a byte order mark", Flagged("marcap.file_is_plain")),
    ("line ends of two kinds", Flagged("marcap.file_is_plain")),
    ("a carriage return too many", Flagged("marcap.file_is_plain")),
    ("the text cut short", Stops(3, "ohlcv.market_is_whole")),
    ("the gzip cut short", Stops(4, "cannot be read")),
    ("no gzip at all", Stops(4, "neither parquet nor gzip")),
    ("the header lost", Stops(4, "is missing")),
];

/// The faulty file. The session is not the first.
fn spoil(kind: &str, sheet: &Sheet, session: &str, dice: &mut Dice) -> Vec<u8> {
    let (date, sessions) = (sheet.at("Date"), sheet.sessions());
    let before = &sessions[sessions.iter().position(|s| s == session).unwrap() - 1];
    let of_session: Vec<usize> =
        (0..sheet.rows.len()).filter(|at| sheet.rows[*at][date] == session).collect();
    let without = |gone: &[usize]| {
        let rows = sheet.rows.iter().enumerate().filter(|(at, _)| gone.binary_search(at).is_err());
        whole(&Sheet { header: sheet.header.clone(), rows: rows.map(|(_, row)| row.clone()).collect() })
    };
    let changed = |change: &dyn Fn(&mut Cells)| {
        let mut sheet = sheet.clone();
        for at in &of_session {
            let mut cells = Cells { sheet: &sheet, row: sheet.rows[*at].clone(), numbers: &[] };
            change(&mut cells);
            sheet.rows[*at] = cells.row;
        }
        whole(&sheet)
    };
    let mut plain = text(&lines(sheet));
    let line_end = dice.pick(&places(&plain, b'\r'));
    let half = of_session.len() / 2;
    match kind {
        "a session copies the one before" => whole(&sheet.clone().copy_session(before, session)),
        "half a session missing" => {
            let start = dice.pick(&[0, half / 2, half]);
            without(&of_session[start..start + half])
        }
        "every other row missing" => without(&of_session.iter().copied().step_by(2).collect::<Vec<_>>()),
        "one market missing" => {
            let market = dice.pick(&["KOSPI", "KOSDAQ", "KONEX"]);
            let is_of = |at: &usize| sheet.rows[*at][sheet.at("Market")] == market;
            without(&of_session.iter().copied().filter(is_of).collect::<Vec<_>>())
        }
        "a session missing" => without(&of_session),
        "a session dated to a holiday" => {
            changed(&|c| assert!(c.set("Date", format!("{}-12-25", &session[..4]))))
        }
        "a session dated to the future" => changed(&|c| assert!(c.set("Date", "2027-01-04"))),
        "a session dated to the one before" => changed(&|c| assert!(c.set("Date", before))),
        "all prices of a session x 10" => changed(&|c| assert!(c.times(&ALL, 10))),
        "CP949 throughout" => changed(&|c| assert!(c.set("Name", CP949.1))),
        "a byte order mark" => gz(&[b"\xef\xbb\xbf", &plain[..]].concat()),
        "line ends of two kinds" => gz(&cut(&plain, line_end)),
        "a carriage return too many" => {
            plain.insert(line_end, b'\r');
            gz(&plain)
        }
        "the text cut short" => gz(&plain[..plain.len() * (40 + dice.below(50)) / 100]),
        "the gzip cut short" => {
            let file = gz(&plain);
            file[..file.len() * (10 + dice.below(89)) / 100].to_vec()
        }
        "no gzip at all" => plain,
        "the header lost" => gz(&text(&lines(sheet)[1..])),
        _ => panic!("{kind}"),
    }
}

fn whole(sheet: &Sheet) -> Vec<u8> {
    gz(&text(&lines(sheet)))
}

#[test]
fn faults_of_whole_sessions_and_files() {
    let seed = from_environment("KDATA_FAULT_SEED", 1);
    let mut dice = Dice::new(u64::from(seed));
    let sheet = sheet(&mut dice);
    let sessions = sheet.sessions();
    let mut table =
        format!("faults of whole sessions and files, seed {seed}, {} to {}:\n", sessions[0], sessions[2]);
    for (name, end) in FILES {
        let session = &sessions[1 + dice.below(2)];
        let file = spoil(name, &sheet, session, &mut dice);
        let db = Db::native();
        let run = pipe(&db, "ohlcv", &sheet, &file, "");
        let what = match end {
            Stops(code, says) => {
                let rejects = db.rows("SELECT DISTINCT rule FROM ops.rejects");
                let is_said = run.stderr.contains(says) || rejects.iter().any(|rule| rule == says);
                assert!(run.code == *code && is_said, "{name}: {run:#?}");
                format!("stopped, exit {code}: {says}")
            }
            Flagged(rule) => {
                assert_eq!(run.code, 0, "{name}: {run:#?}");
                let flags = db.value(&format!(
                    "SELECT count(*) FROM ops.flags WHERE severity = 'flag' AND rule = '{rule}'"
                ));
                assert_ne!(flags, "0", "{name}: {run:#?}");
                format!("flagged: {rule}")
            }
        };
        writeln!(table, "  {name:40} {session}  {what}").unwrap();
    }
    announce(&table);
}
