//! What batches of minutes, investors and lists are compared with: the bars of the day, the master, the sessions beside.

use crate::datasets::{made, promoted, staged};
use crate::support::{Db, Made, on_both_backends};

on_both_backends! {
    bars_of_the_day_are_the_measure
    lists_and_counts_are_compared
    sessions_beside_are_the_measure
}

/// Sixty names: enough for shares of them to mean something.
const NAMES: usize = 60;

fn code(name: usize) -> String {
    format!("{:05}0", name + 1)
}

/// A master of the names and an ETF.
fn master() -> Vec<String> {
    let listed =
        |code: &str, kind: &str| format!("{code},2026-01-05,,이름{code},,KOSPI,,{kind},,,t,,1000000");
    let mut lines = of_all(|code, _| listed(code, "STOCK"));
    lines.push(listed("152100", "ETF"));
    lines
}

/// A line for each name.
fn of_all(line: impl Fn(&str, usize) -> String) -> Vec<String> {
    (0..NAMES).map(|name| line(&code(name), name)).collect()
}

/// Brings a session of a dataset into production, over the gate that one market alone is not whole.
fn bring(db: &Db, dataset: &'static str, day: &'static str, lines: &[String]) {
    let made = Made { range: (day, day), ..made(dataset) };
    let batch = staged(db, &made.stream(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    db.kdata(&format!("promote --force --batch {batch}")).ok();
}

/// A master, and two sessions of bars of 10,000 shares and a little at 1,000 won.
fn market(db: &Db) {
    let bar = |code: &str, day: &str, volume: usize| {
        format!("{code},{day},1000,1100,900,1000,{volume},{volume}000,1000,KOSPI,STOCK")
    };
    bring(db, "stocks", "2026-01-05", &master());
    bring(db, "ohlcv", "2026-01-05", &of_all(|code, _| bar(code, "2026-01-05", 10_000)));
    bring(db, "ohlcv", "2026-01-06", &of_all(|code, name| bar(code, "2026-01-06", 10_001 + name)));
}

/// Promotes lines, whatever their order, and rolls them back; returns the exit code, and what was remarked.
#[track_caller]
fn told(db: &Db, made: &Made, lines: &[String]) -> (i32, Vec<String>) {
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.sort_unstable();
    let batch = staged(db, &made.stream(&lines));
    let code = db.kdata(&format!("promote --batch {batch}")).code;
    let told = db.rows(&format!(
        "SELECT DISTINCT severity || '|' || rule FROM ops.flags WHERE batch_id = {batch} ORDER BY 1"
    ));
    db.kdata(&format!("rollback {batch}")).ok();
    (code, told)
}

/// What a batch looks like when so many of its lines are changed, and the rule that this breaks.
struct Change(usize, fn(&str) -> String, &'static str);

/// Promotes a session of a dataset, good and then changed, and sees what is remarked each time. Nothing stays.
#[track_caller]
fn judge(db: &Db, made: &Made, good: &[String], changes: &[Change]) {
    assert_eq!(told(db, made, good), (0, Vec::new()), "{}: a good batch", made.dataset);
    for Change(count, change, rule) in changes {
        let change = |(at, line): (usize, &String)| if at < *count { change(line) } else { line.clone() };
        let lines: Vec<String> = good.iter().enumerate().map(change).collect();
        let (code, told) = told(db, made, &lines);
        assert!(told.contains(&(*rule).to_owned()), "{rule}: {told:?}");
        assert_eq!(code, if rule.starts_with("gate") { 3 } else { 0 }, "{rule}");
        db.kdata(&format!("explain {}", rule.split_once('|').unwrap().1)).ok();
    }
}

fn bars_of_the_day_are_the_measure(db: &Db) {
    market(db);
    let on = |code: &str, rest: &str| format!("{code},2026-01-06{rest}");
    let day = |dataset| Made { range: ("2026-01-06", "2026-01-06"), ..made(dataset) };
    judge(
        db,
        &day("ohlcv-minute"),
        &of_all(|code, _| on(code, "T09:00:00+09:00,1000,1100,950,1000,9000,9000000")),
        &[
            Change(1, |line| line.replace(",1100,", ",1101,"), "flag|ohlcv-minute.within_day"),
            Change(1, |line| line.replace(",9000,", ",90000,"), "flag|ohlcv-minute.volume_is_of_day"),
            Change(1, |line| line.replace(",9000,", ",900,"), "note|ohlcv-minute.volume_is_of_day"),
            Change(20, |line| line.replace(",1100,", ",1101,"), "gate|ohlcv-minute.session_is_its_own"),
            Change(1, |line| line.replacen('0', "9", 1), "gate|ohlcv-minute.code_is_known"),
        ],
    );
    // Everybody, in shares and won.
    let everybody: Vec<String> = (0..NAMES)
        .flat_map(|name| {
            [
                ("FOREIGN", 5001 + name, 3000),
                ("INSTITUTION", 4000, 5000),
                ("OTHER_CORPORATION", 0, 1000),
                ("RETAIL", 1000, 1001 + name),
            ]
            .map(|(who, buy, sell)| {
                let net = i64::try_from(buy).unwrap() - i64::try_from(sell).unwrap();
                on(&code(name), &format!(",{who},{buy},{sell},{buy}000,{sell}000,{net},{}", net * 1000))
            })
        })
        .collect();
    judge(
        db,
        &day("investor-trading"),
        &everybody,
        &[Change(
            1,
            |line| line.replace(",5001,3000,", ",5002,3001,"),
            "flag|investor-trading.buys_are_the_volume",
        )],
    );
    judge(
        db,
        &day("investor-trading"),
        &of_all(|code, _| on(code, ",INSTITUTION,,,,,-5000,-5000000")),
        &[
            Change(1, |line| line.replace("-5000,", "-20000,"), "flag|investor-trading.within_volume"),
            Change(1, |line| line.replace("-5000000", "-50000000"), "flag|investor-trading.within_volume"),
            Change(20, |line| line.replace("-5000,", "-20000,"), "gate|investor-trading.within_volume"),
            Change(
                NAMES,
                |line| line.replace("-5000000", "-5000"),
                "gate|investor-trading.values_have_their_unit",
            ),
            Change(1, |line| line.replacen('0', "9", 1), "gate|investor-trading.code_is_known"),
        ],
    );
}

fn lists_and_counts_are_compared(db: &Db) {
    market(db);
    let on = |code: &str, rest: &str| format!("{code},2026-01-06{rest}");
    let day = |dataset| Made { range: ("2026-01-06", "2026-01-06"), ..made(dataset) };
    judge(
        db,
        &day("floating-shares"),
        &of_all(|code, _| on(code, ",1000000,500000,50")),
        &[
            Change(
                1,
                |line| line.replace(",1000000,500000,50", ",2000000,1000000,50"),
                "flag|floating-shares.listed_agrees",
            ),
            Change(
                1,
                |line| line.replace(",1000000,500000,50", ",,1500000,"),
                "flag|floating-shares.listed_agrees",
            ),
            Change(
                20,
                |line| line.replace(",1000000,500000,", ",1000,500,"),
                "gate|floating-shares.listed_agrees",
            ),
            Change(1, |line| line.replacen('0', "9", 1), "gate|floating-shares.code_is_known"),
        ],
    );
    judge(
        db,
        &day("sectors"),
        &of_all(|code, name| format!("KRX,{},100{1},업종{1}", on(code, ""), name % 9)),
        &[
            Change(1, |line| line.replace("업종", "업"), "flag|sectors.code_has_one_name"),
            Change(1, |line| line.replacen('0', "9", 1), "gate|sectors.code_is_known"),
        ],
    );
    let part = Made { says: vec![("scope", "KOSPI/stock")], ..day("sectors") };
    let batch = staged(db, &part.stream(&["KRX,000010,2026-01-06,1001,업종"]));
    db.kdata(&format!("promote --batch {batch}")).fails(3, &["sectors.scheme_is_whole"]);
    db.kdata(&format!("rollback {batch}")).ok();
    judge(
        db,
        &day("etf-portfolios"),
        &of_all(|code, name| {
            on("152100", &format!(",{code},{code},이름,10,1000,{}", if name == 0 { "41" } else { "1" }))
        }),
        &[
            Change(1, |line| line.replace(",41", ",81"), "flag|etf-portfolios.weights_add_up"),
            Change(1, |line| line.replace("000010", "900010"), "flag|etf-portfolios.part_is_known"),
        ],
    );
    judge(
        db,
        &day("index-components"),
        &of_all(|code, name| on("5042", &format!(",{code},{}", if name == 0 { "41" } else { "1" }))),
        &[
            Change(1, |line| line.replace(",41", ",81"), "flag|index-components.weights_add_up"),
            Change(1, |line| line.replace(",000010", ",900010"), "gate|index-components.code_is_known"),
            Change(NAMES, |line| line.replace("5042", "1028"), "gate|index-components.members_are_all"),
        ],
    );
}

/// A dataset's line about a name on a day; and how many names are left out, or say what they said on the other day, with
/// the rule that this breaks.
struct Case {
    dataset: &'static str,
    line: fn(&str, usize, &str) -> String,
    changes: &'static [(usize, usize, &'static str)],
}

/// The volume of a name on a day, so that days differ.
fn volume(name: usize, day: &str) -> usize {
    if day == "2026-01-05" { 1000 + name } else { 2000 + name }
}

const CASES: [Case; 6] = [
    Case {
        dataset: "ohlcv-minute",
        line: |code, name, day| {
            format!("{code},{day}T10:00:00+09:00,1000,1100,950,1000,{},", volume(name, day))
        },
        changes: &[(12, 0, "gate|ohlcv-minute.names_are_whole"), (0, 20, "gate|ohlcv-minute.session_is_new")],
    },
    Case {
        dataset: "investor-trading",
        line: |code, name, day| format!("{code},{day},FOREIGN,,,,,{0},{0}000", volume(name, day)),
        changes: &[
            (12, 0, "gate|investor-trading.names_are_whole"),
            (0, 20, "gate|investor-trading.session_is_new"),
        ],
    },
    Case {
        dataset: "index-components",
        line: |code, _, day| format!("5042,{day},{code},"),
        changes: &[
            (12, 0, "flag|index-components.list_keeps_its_size"),
            (13, 0, "flag|index-components.few_are_replaced"),
        ],
    },
    Case {
        dataset: "sectors",
        line: |code, name, day| format!("KRX,{code},{day},100{},", name % 9),
        changes: &[(12, 0, "gate|sectors.list_keeps_its_size"), (13, 0, "flag|sectors.few_are_replaced")],
    },
    Case {
        dataset: "etf-portfolios",
        line: |code, _, day| format!("152100,{day},{code},{code},,10,,"),
        changes: &[(13, 0, "flag|etf-portfolios.list_keeps_its_size")],
    },
    Case {
        dataset: "etf-portfolios",
        line: |code, _, day| format!("{code},{day},CASH:원화,,,,1000,100"),
        changes: &[(12, 0, "gate|etf-portfolios.lists_are_there")],
    },
];

fn sessions_beside_are_the_measure(db: &Db) {
    bring(db, "stocks", "2026-01-05", &master());
    // A session may come after the one that follows it.
    let late = CASES.iter().filter(|case| ["investor-trading", "index-components"].contains(&case.dataset));
    for (cases, first, then) in [
        (CASES.iter().collect::<Vec<_>>(), "2026-01-05", "2026-01-06"),
        (late.collect(), "2026-01-06", "2026-01-05"),
    ] {
        for Case { dataset, line, changes } in cases {
            let day = |day| Made { range: (day, day), ..made(dataset) };
            let lines = |names: std::ops::Range<usize>, says: &str, day: &str| -> Vec<String> {
                names.map(|name| line(&code(name), name, says).replace(says, day)).collect()
            };
            let before = lines(0..NAMES, first, first);
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let (before, _) = promoted(db, &day(first).stream(&before));
            let good = lines(0..NAMES, then, then);
            assert_eq!(told(db, &day(then), &good), (0, Vec::new()), "{dataset} {then}: a good batch");
            for (gone, copied, rule) in *changes {
                let mut changed = lines(0..*copied, first, then);
                changed.extend(lines(*copied..NAMES - gone, then, then));
                let (code, told) = told(db, &day(then), &changed);
                // Who comes first has lost nothing.
                let is_expected = first < then || !rule.ends_with("few_are_replaced");
                assert_eq!(
                    told.contains(&(*rule).to_owned()),
                    is_expected,
                    "{dataset} {then} {rule}: {told:?}"
                );
                let stops = told.iter().any(|remark| remark.starts_with("gate"));
                assert_eq!(code, if stops { 3 } else { 0 }, "{rule}");
            }
            db.kdata(&format!("rollback {before}")).ok();
        }
    }
}
