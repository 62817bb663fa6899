//! marcap over HTTP, from a server on loopback.

use std::thread::scope;

use crate::support::{DATASETS, Reply, Server, Sheet, Work};

const EXTRACT: &str = "extract ohlcv --source marcap --date 2024-01-05";

fn with(server: &Server) -> Work {
    let mut work = Work::new();
    work.set("KDATA_MARCAP", &server.url);
    // Downloads go where the system keeps temporary files.
    let folder = work.write("tmp/empty", "").parent().unwrap().display().to_string();
    work.set("TMPDIR", &folder);
    work
}

#[test]
fn files_over_http_are_as_good_as_files_in_a_folder() {
    let (csv, parquet) = (Sheet::fixture(2024).csv_gz(), Sheet::fixture(2026).parquet());
    let mut local = Work::new();
    local.write("marcap/marcap-2026.parquet", &parquet);
    local.marcap(2024, &Sheet::fixture(2024));
    let server = Server::start(move |path, _| match path {
        "/marcap-2024.csv.gz" => Reply::Body(csv.clone()),
        "/marcap-2026.parquet" => Reply::Body(parquet.clone()),
        _ => Reply::Status(404),
    });
    let work = with(&server);
    for dataset in DATASETS {
        for (from, to) in [("2024-01-02", "2024-01-08"), ("2026-01-02", "2026-01-07")] {
            let rows = |work: &Work| {
                work.validated(dataset, from, to)
                    .lines()
                    .skip(1)
                    .filter(|l| !l.starts_with("#end"))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert_eq!(rows(&work), rows(&local), "{dataset} {from}");
        }
    }
    assert_eq!(server.asked().len(), 3 * (2 + 1), "{:?}", server.asked());
    // Downloads are cleared away.
    let left: Vec<_> = std::fs::read_dir(work.path("tmp")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["empty"]);
}

#[test]
fn every_bad_answer_has_its_code() {
    let good = Sheet::fixture(2024).csv_gz();
    let html = b"<!DOCTYPE html><html><body>login</body></html>".to_vec();
    let start = |reply: fn(Vec<u8>) -> Reply, body: &[u8]| {
        let body = body.to_vec();
        Server::start(
            move |path, _| if path.ends_with(".csv.gz") { reply(body.clone()) } else { Reply::Status(404) },
        )
    };
    let cut = good[..good.len() / 2].to_vec();
    // Those that are retried wait some seconds: side by side.
    let cases = [
        (start(|_| Reply::Status(404), b""), 9, "marcap has no file of 2024", 1),
        (start(|_| Reply::Status(410), b""), 9, "marcap has no file of 2024", 1),
        (start(|_| Reply::Status(403), b""), 6, "answered 403", 1),
        (start(|_| Reply::Status(401), b""), 6, "answered 401", 1),
        (start(|_| Reply::Status(418), b""), 4, "answered 418", 1),
        (start(|_| Reply::Status(500), b""), 4, "answered 500", 4),
        (start(|_| Reply::Status(429), b""), 4, "answered 429", 4),
        (start(Reply::Half, &good), 4, "marcap-2024.csv.gz", 4),
        (start(Reply::Body, &html), 4, "neither parquet nor gzip (an error page?)", 1),
        (start(Reply::Body, &cut), 4, "cannot be read", 1),
        (start(Reply::Body, b""), 4, "neither parquet nor gzip", 1),
    ];
    scope(|scope| {
        for (server, code, says, tries) in &cases {
            scope.spawn(move || {
                let run = with(server).kdata(EXTRACT);
                assert!(run.stdout.starts_with(&format!("#abort code={code} ")), "{run:#?}");
                run.fails(*code, &[says, "help: "]);
                let asked = server.asked().iter().filter(|p| p.ends_with(".csv.gz")).count();
                assert_eq!(asked, *tries, "{says}");
            });
        }
    });
}

#[test]
fn a_server_that_recovers_is_asked_again() {
    let good = Sheet::fixture(2024).csv_gz();
    let server = Server::start(move |path, before| match (path, before) {
        ("/marcap-2024.parquet", _) => Reply::Status(404),
        (_, 0) => Reply::Half(good.clone()),
        _ => Reply::Body(good.clone()),
    });
    let run = with(&server).kdata(EXTRACT);
    assert!(run.stderr.contains("trying again in 500 ms"), "{}", run.stderr);
    assert!(run.ok().contains("#end rows=12 "));
}

#[test]
fn nobody_listens() {
    let server = Server::start(|_, _| Reply::Status(404));
    let mut work = with(&server);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    work.set("KDATA_MARCAP", &format!("http://user:hunter2@127.0.0.1:{port}/data?token=hunter2"));
    work.set("KDATA_LOG", "kdata=trace");
    let told =
        work.kdata(EXTRACT).fails(4, &["Connection refused", &format!("http://127.0.0.1:{port}/data")]);
    assert!(!told.contains("hunter2"), "{told}");
}
