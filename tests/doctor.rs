//! doctor: what is in order, what is not, and what to do.

use crate::support::{Db, Reply, Server, Work, on_both_backends};
use crate::vendors::krx_openapi::env;

#[test]
fn a_fresh_machine_lacks_a_source() {
    let said = Work::new().kdata("doctor").fails(2, &["checks failed: sources"]);
    for text in [
        "no source is set up",
        "→ .env.example lists them",
        "the trading calendar ends on",
        "GiB free at",
        "none yet",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn blocks_and_bad_secrets_are_told() {
    let notice = "<html><title>에러페이지 - 한국거래소</title></html>";
    let server = Server::start(move |_, _| Reply::Full(403, vec![], notice.into()));
    let mut work = Work::new();
    env(&mut work, &server.url);
    work.kdata("extract ohlcv --source krx-openapi --date 2026-01-05").fails(6, &["blocks this machine"]);
    let said = work.kdata("doctor").fails(2, &["breaker of krx-openapi"]);
    assert!(said.contains("blocked until ") && said.contains("→ wait"), "{said}");
    work.unset("KDATA_KRX_OPENAPI_KEY").set("KDATA_KRX_OPENAPI_KEY_FILE", "/nowhere");
    let said = work.kdata("doctor --format json").fails(2, &[]);
    assert!(said.contains("KDATA_KRX_OPENAPI_KEY_FILE (/nowhere) cannot be read"), "{said}");
    assert!(said.contains("\"schema_version\": 1"), "{said}");
    work.set("KDATA_SOURCES", "nonsense").kdata("doctor").fails(2, &["settings"]);
}

fn a_database_in_order_is_called_so(db: &Db) {
    let said = db.sh("export KDATA_MARCAP=/tmp; kdata doctor").ok();
    assert!(said.contains(&format!("a live database on {} storage", db.backend)), "{said}");
    assert!(said.contains("agrees with the database server's"), "{said}");
}

on_both_backends!(a_database_in_order_is_called_so);
