//! The simulated market: all nine datasets through the stages, and what they say of each other there.

use crate::support::{Db, on_both_backends};

on_both_backends! {
    all_nine_arrive_and_agree
}

const ALL: [&str; 9] = [
    "stocks",
    "ohlcv",
    "market-cap",
    "sectors",
    "index-components",
    "floating-shares",
    "etf-portfolios",
    "ohlcv-minute",
    "investor-trading",
];

/// A review of the indices lies between the two sessions.
const RANGE: &str = "--from 2026-06-11 --to 2026-06-12";

/// Brings a dataset into production; minutes of some names only, for they are many.
fn bring(demo: &Db, dataset: &str, codes: &str) -> String {
    let codes = if dataset == "ohlcv-minute" { format!("--codes {codes}") } else { String::new() };
    demo.sh(&format!(
        "kdata -q extract {dataset} --source sim --seed 5 {RANGE} {codes} | kdata -q validate | kdata -q load \
         && kdata promote"
    ))
    .ok()
}

fn all_nine_arrive_and_agree(db: &Db) {
    let mut demo = db.another();
    demo.set("KDATA_NOW", "2026-06-15T09:00:00+09:00");
    demo.kdata("db migrate --demo").ok();
    let codes = {
        bring(&demo, "stocks", "");
        demo.rows("SELECT stock_code FROM market.stocks ORDER BY md5(stock_code) LIMIT 120").join(",")
    };
    for dataset in ALL {
        bring(&demo, dataset, &codes);
    }
    assert_eq!(
        demo.value("SELECT count(*), sum(rejected), 1000 * sum(flagged) < sum(rows) FROM ops.batches"),
        "10|0|t"
    );
    for (what, sql) in CHECKS {
        assert_eq!(demo.rows(sql), Vec::<String>::new(), "{what}");
    }
    let counts = "SELECT count(DISTINCT time), min(n), max(n) FROM (SELECT index_code, time, count(*) AS n \
                  FROM market.index_components GROUP BY 1, 2) x GROUP BY index_code ORDER BY index_code";
    assert_eq!(demo.rows(counts), ["2|200|200", "2|150|150"]);
    assert_ne!(demo.value("SELECT count(*) FROM market.etf_portfolios WHERE quantity < 0"), "0");

    // The whole again writes nothing.
    let before = demo.writes();
    for dataset in ALL {
        let promoted = bring(&demo, dataset, &codes);
        assert!(promoted.contains(" 0 inserted, 0 updated, "), "{promoted}");
    }
    assert_eq!(demo.writes(), before);
    reconciled(&demo);
}

/// Nothing contradicts anything, until something is changed: then each is found, with the stock, the session and both values.
fn reconciled(demo: &Db) {
    let report = || {
        let text = demo.kdata("report reconcile --from 2026-06-11 --to 2026-06-12 --format json").ok();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let clean = report();
    assert_eq!(clean["differences"].as_array().unwrap().len(), 0, "{clean}");
    for check in clean["checks"].as_array().unwrap() {
        let is_compared = check["compared"].as_i64().unwrap() > 0 || check["check"] == "sources";
        assert!(is_compared && check["differing"] == 0, "{check}");
    }
    let one = |table: &str| {
        demo.value(&format!("SELECT min(stock_code) FROM market.{table} WHERE (time AT TIME ZONE 'Asia/Seoul')::date = '2026-06-12'"))
    };
    let (bar, cap, member) = (one("ohlcv_minute"), one("market_cap_daily"), one("index_components"));
    let day = |table: &str, column: &str, code: &str| {
        demo.value(&format!(
            "SELECT {column} FROM market.{table} WHERE stock_code = '{code}' AND time = '2026-06-12'"
        ))
    };
    let flow = demo.value("SELECT min(stock_code) FROM market.investor_trading WHERE time = '2026-06-12' AND investor_type = 'RETAIL'");
    let (volume, market_cap) =
        (day("ohlcv_daily", "volume", &bar), day("market_cap_daily", "market_cap", &cap));
    // Written out: an update by a subquery misses rows of compressed parts.
    let minute = demo.value(&format!(
        "SELECT max(time) FROM market.ohlcv_minute WHERE stock_code = '{bar}' AND (time AT TIME ZONE 'Asia/Seoul')::date = '2026-06-12'"
    ));
    let part = demo.value("SELECT min(component_code) FROM market.etf_portfolios WHERE time = '2026-06-12' AND component_id LIKE 'KR7%'");
    for change in [
        // More in a minute than the whole day has.
        format!(
            "UPDATE market.ohlcv_minute SET volume = volume + {volume} WHERE stock_code = '{bar}' AND time = '{minute}'"
        ),
        format!(
            "UPDATE market.market_cap_daily SET market_cap = market_cap + 1 WHERE stock_code = '{cap}' AND time = '2026-06-12'"
        ),
        format!(
            "UPDATE market.index_components SET stock_code = 'ZZZZZ1' WHERE stock_code = '{member}' AND time = '2026-06-12'"
        ),
        format!(
            "UPDATE market.etf_portfolios SET component_code = 'ZZZZZ2' WHERE component_code = '{part}' AND time = '2026-06-12'"
        ),
        format!(
            "UPDATE market.investor_trading SET net_volume = net_volume + 7 \
                 WHERE stock_code = '{flow}' AND time = '2026-06-12' AND investor_type = 'RETAIL'"
        ),
    ] {
        demo.rows(&change);
    }
    let found = report();
    let told = |check: &str, code: &str| {
        let rows = found["differences"].as_array().unwrap().iter();
        let row = rows.clone().find(|row| row["check"] == check && row["stock_code"] == code);
        let row = row.unwrap_or_else(|| panic!("{check} {code}: {found}"));
        assert_eq!(row["session"], "2026-06-12", "{row}");
        [&row["one"], &row["other"], &row["difference"]].map(|value| value.to_string().replace('"', ""))
    };
    assert_eq!(told("minutes", &bar)[1], volume);
    let more = (market_cap.parse::<i64>().unwrap() + 1).to_string();
    assert_eq!(told("market-cap", &cap), [more, market_cap, "1".into()]);
    assert_eq!(told("index-members", "ZZZZZ1")[1], "not in the master");
    assert_eq!(told("etf-parts", "ZZZZZ2")[1], "not in the master");
    assert_eq!(told("investors", &flow), ["7", "0", "7"]);
    let checks = found["checks"].as_array().unwrap();
    assert!(
        checks.iter().all(|c| c["check"] == "sources" || c["differing"].as_i64().unwrap() > 0),
        "{found}"
    );
}

/// What no row may contradict: each query shows what does.
const CHECKS: [(&str, &str); 8] = [
    (
        "minutes add up to the day, but for blocks",
        "SELECT o.stock_code, o.time FROM market.ohlcv_daily o JOIN LATERAL (
             SELECT (array_agg(m.open ORDER BY m.time))[1] AS open, max(m.high) AS high, min(m.low) AS low,
                    (array_agg(m.close ORDER BY m.time DESC))[1] AS close, sum(m.volume) AS volume, sum(m.value) AS value
             FROM market.ohlcv_minute m
             WHERE m.stock_code = o.stock_code AND (m.time AT TIME ZONE 'Asia/Seoul')::date = o.time) m ON m.open IS NOT NULL
         WHERE (m.open, m.high, m.low, m.close) IS DISTINCT FROM (o.open, o.high, o.low, o.close)
            OR m.volume > o.volume OR m.value > o.value
            OR (m.volume <> o.volume AND o.value BETWEEN o.low::bigint * o.volume AND o.high::bigint * o.volume)",
    ),
    (
        "only names that were traded have minutes, and all of them",
        "SELECT o.stock_code, o.time FROM market.ohlcv_daily o
         WHERE o.stock_code IN (SELECT stock_code FROM market.ohlcv_minute)
           AND (o.volume > 0) <> EXISTS (SELECT FROM market.ohlcv_minute m WHERE m.stock_code = o.stock_code
                                         AND (m.time AT TIME ZONE 'Asia/Seoul')::date = o.time)",
    ),
    (
        "all that was bought was sold, and was traded",
        "SELECT o.stock_code, o.time FROM market.ohlcv_daily o
         LEFT JOIN (SELECT stock_code, time, sum(buy_volume) AS bought, sum(sell_volume) AS sold,
                           sum(buy_value) AS paid, sum(sell_value) AS got, sum(net_volume) AS net, sum(net_value) AS value
                    FROM market.investor_trading WHERE investor_type <> 'PENSION' GROUP BY 1, 2) i USING (stock_code, time)
         WHERE o.volume > 0 AND o.security_type <> 'ETF'
           AND (i.bought, i.sold, i.paid, i.got, i.net, i.value)
               IS DISTINCT FROM (o.volume, o.volume, o.value, o.value, 0, 0)",
    ),
    (
        "pension funds are a part of the institutions",
        "SELECT p.stock_code, p.time FROM market.investor_trading p JOIN market.investor_trading i
           ON i.stock_code = p.stock_code AND i.time = p.time AND i.investor_type = 'INSTITUTION'
         WHERE p.investor_type = 'PENSION' AND (p.buy_volume > i.buy_volume OR p.sell_volume > i.sell_volume
                                                OR p.buy_value > i.buy_value OR p.sell_value > i.sell_value)",
    ),
    (
        "members are listed on their market, and weigh 100 per cent together",
        "SELECT c.index_code, c.time, c.stock_code FROM market.index_components c
         LEFT JOIN market.ohlcv_daily o ON o.stock_code = c.stock_code AND o.time = c.time
         WHERE o.market IS DISTINCT FROM CASE c.index_code WHEN '1028' THEN 'KOSPI' ELSE 'KOSDAQ' END
         UNION ALL
         SELECT index_code, time, NULL FROM market.index_components GROUP BY 1, 2 HAVING sum(weight) <> 100",
    ),
    (
        "parts of baskets are listed, and are worth a unit together",
        "SELECT p.etf_code, p.time, p.component_id FROM market.etf_portfolios p
         LEFT JOIN market.stocks s ON s.isin = p.component_id AND s.stock_code = p.component_code
         WHERE p.component_id LIKE 'KR7%' AND s.stock_code IS NULL
         UNION ALL
         SELECT p.etf_code, p.time, NULL FROM market.etf_portfolios p
         JOIN market.ohlcv_daily o ON o.stock_code = p.etf_code AND o.time = p.time
         GROUP BY 1, 2, o.close HAVING sum(p.weight) <> 100 OR sum(p.value) <> 50000 * o.close::bigint",
    ),
    (
        "each share has a sector where KRX gives one, and floats",
        "SELECT o.stock_code, o.time FROM market.ohlcv_daily o
         LEFT JOIN market.sectors s ON s.stock_code = o.stock_code AND s.time = o.time
         LEFT JOIN market.floating_shares f ON f.stock_code = o.stock_code AND f.time = o.time
         WHERE (o.security_type <> 'ETF' AND o.market <> 'KONEX') <> (s.sector_code IS NOT NULL)
            OR (o.security_type <> 'ETF') <> (f.floating_shares IS NOT NULL)",
    ),
    (
        "listed shares are the same wherever they stand",
        "SELECT c.stock_code, c.time FROM market.market_cap_daily c
         JOIN market.ohlcv_daily o ON o.stock_code = c.stock_code AND o.time = c.time
         LEFT JOIN market.floating_shares f ON f.stock_code = c.stock_code AND f.time = c.time
         WHERE c.market_cap <> c.listed_shares * o.close OR f.listed_shares <> c.listed_shares
            OR f.floating_shares > f.listed_shares",
    ),
];
