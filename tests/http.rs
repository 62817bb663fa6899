//! Every source that asks over HTTP, against every fault: the right exit code, no end that looks good, no retry of a
//! block, and a rerun that asks only for the rest. Then the limits across processes, and secrets.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::{KDATA, Reply, Request, Run, Server, Work, tls_server};
use crate::vendors::{self, CANARY, Vendor};

/// What happens to the second question for data and those after it; the first is answered well.
struct Fault {
    name: &'static str,
    /// What the vendor's good answer becomes; `before`: how often the fault has struck already.
    strikes: fn(&Vendor, &Request, usize) -> Option<Reply>,
    code: fn(&Vendor) -> i32,
    /// Is it asked again, within one run?
    retried: bool,
}

const fn fails(name: &'static str, strikes: fn(&Vendor, &Request, usize) -> Option<Reply>) -> Fault {
    Fault { name, strikes, code: |_| 4, retried: true }
}

const LOGOUT: &[u8] = b"LOGOUT";
const HTML: &str = "<!DOCTYPE html><html><head><title>점검 안내</title></head><body>x</body></html>";
const NOTICE: &str = "<html><head><title>에러페이지 - 한국거래소</title></head><body>차단</body></html>";

static FAULTS: &[Fault] = &[
    fails("reset", |_, _, _| Some(Reply::Reset)),
    fails("slow drip", |vendor, request, _| Some(Reply::Drip(body(vendor, request)))),
    fails("timeout", |_, _, _| Some(Reply::Silence)),
    // With a time to wait it is worth waiting.
    Fault {
        name: "429 with Retry-After",
        strikes: |_, _, before| {
            (before == 0).then(|| Reply::Full(429, vec![("Retry-After", "1".into())], vec![]))
        },
        code: |_| 0,
        retried: true,
    },
    // A vendor's word for too fast, or for a quota that is spent.
    fails("429 for ever", |_, _, _| Some(Reply::Status(429))),
    fails("503", |_, _, _| Some(Reply::Status(503))),
    Fault {
        name: "503 once",
        strikes: |_, _, before| (before == 0).then_some(Reply::Status(503)),
        code: |_| 0,
        retried: true,
    },
    fails("200 and a web page", |_, _, _| Some(Reply::Body(HTML.into()))),
    Fault {
        name: "LOGOUT",
        strikes: |_, _, _| Some(Reply::Full(400, vec![], LOGOUT.to_vec())),
        code: |vendor| if vendor.source == "krx" { 6 } else { 4 },
        retried: false,
    },
    Fault {
        name: "an empty list on an open day",
        strikes: |vendor, _, _| Some(Reply::Body(vendor.empty.into())),
        code: |vendor| vendor.empty_code,
        retried: false,
    },
    fails("truncated JSON", |vendor, request, _| {
        let body = body(vendor, request);
        Some(Reply::Body(body[..body.len() * 2 / 3].to_vec()))
    }),
    Fault {
        name: "another date, or the same page again",
        strikes: |vendor, request, _| Some((vendor.stale)(request)),
        code: |_| 4,
        retried: false,
    },
    Fault {
        name: "CP949 bytes",
        strikes: |vendor, request, _| {
            let text = String::from_utf8(body(vendor, request)).unwrap();
            Some(Reply::Body(encoding_rs::EUC_KR.encode(&text).0.into_owned()))
        },
        code: |_| 0,
        retried: false,
    },
    Fault {
        name: "block page with 403",
        strikes: |_, _, _| Some(Reply::Full(403, vec![], NOTICE.into())),
        code: |_| 6,
        retried: false,
    },
    Fault {
        name: "block page with 200",
        strikes: |_, _, _| Some(Reply::Full(200, vec![], NOTICE.into())),
        code: |_| 6,
        retried: false,
    },
    Fault {
        name: "token expired in mid-run",
        strikes: |vendor, _, before| match vendor.expired {
            Some(reply) => (before == 0).then(reply),
            None => Some(Reply::Status(401)),
        },
        code: |vendor| if vendor.expired.is_some() { 0 } else { 6 },
        retried: false,
    },
    Fault {
        name: "token refused for ever",
        strikes: |vendor, _, _| Some(vendor.expired.map_or(Reply::Status(401), |reply| reply())),
        code: |_| 6,
        retried: false,
    },
];

fn body(vendor: &Vendor, request: &Request) -> Vec<u8> {
    match (vendor.reply)(request) {
        Reply::Full(200, _, body) | Reply::Body(body) => body,
        _ => panic!("{}: no good answer to {request:?}", vendor.source),
    }
}

fn work(vendor: &Vendor, url: &str) -> Work {
    let mut work = Work::new();
    (vendor.env)(&mut work, url);
    work.set("KDATA_RETRY_PAUSE", "0.02").set("KDATA_HTTP_TIMEOUT", "1");
    work
}

fn rows(run: &Run) -> BTreeSet<String> {
    run.stdout.lines().skip(2).filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect()
}

fn line(request: &Request) -> String {
    format!("{} {}", request.path, String::from_utf8_lossy(&request.body))
}

fn strike(vendor: &'static Vendor, fault: &'static Fault, healthy: &Run) {
    let what = format!("{}: {}", vendor.source, fault.name);
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let server = Server::answering(move |request, before| {
        // The first question is answered; the fault strikes the second, whenever it is asked.
        let data: Vec<&Request> = before.iter().filter(|b| (vendor.is_data)(b)).collect();
        let is_first = data.first().is_none_or(|first| line(first) == line(request));
        let struck = data.iter().filter(|b| line(b) != line(data[0])).count();
        if is_broken.load(Ordering::Relaxed)
            && (vendor.is_data)(request)
            && !is_first
            && let Some(reply) = (fault.strikes)(vendor, request, struck)
        {
            return reply;
        }
        (vendor.reply)(request)
    });
    let work = work(vendor, &server.url);
    let begun = Instant::now();
    let run = work.kdata(vendor.ask);
    let code = (fault.code)(vendor);
    assert_eq!(run.code, code, "{what}: {run:#?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
    let asked = server.requests();
    if code == 0 {
        assert_eq!(rows(&run), rows(healthy), "{what}");
        return;
    }
    if code == 7 {
        // Some codes are missing, and said to be; the rest is good.
        assert!(run.stdout.contains("#end ") && run.stdout.contains("#missing "), "{what}: {run:#?}");
    } else {
        assert!(run.stdout.contains(&format!("#abort code={code} ")), "{what}: {run:#?}");
        assert!(!run.stdout.contains("#end "), "{what}: {run:#?}");
    }
    assert!(run.stderr.contains("help: "), "{what}: {run:#?}");
    let second = asked.iter().filter(|r| (vendor.is_data)(r)).nth(1).map(line);
    let tries = asked.iter().filter(|r| Some(line(r)) == second).count();
    if !fault.retried && vendor.expired.is_none() {
        assert_eq!(tries, 1, "{what}: {asked:#?}");
    }
    // Once more while it lasts, then when it is over: only the rest is asked for, and all of it comes.
    if fault.name.starts_with("block") {
        // What was under way may arrive a moment after its process ended.
        std::thread::sleep(Duration::from_millis(200));
        let asked = server.requests();
        work.kdata(vendor.ask).fails(6, &["blocks this machine until"]);
        assert_eq!(server.requests().len(), asked.len(), "{what}: asked although blocked");
        return;
    }
    broken.store(false, Ordering::Relaxed);
    let again = work.kdata(vendor.ask);
    assert_eq!(again.code, healthy.code, "{what}: {again:#?}");
    assert_eq!(rows(&again), rows(healthy), "{what}");
    if code != 7 {
        let first = line(asked.iter().find(|r| (vendor.is_data)(r)).unwrap());
        let since = &server.requests()[asked.len()..];
        assert!(
            !since.iter().any(|r| line(r) == first),
            "{what}: what was answered is asked again: {since:#?}"
        );
    }
}

fn matrix(source: &str) {
    let vendor = *vendors::ALL.iter().find(|vendor| vendor.source == source).unwrap();
    let server = Server::answering(|request, _| (vendor.reply)(request));
    let healthy = work(vendor, &server.url).kdata(vendor.ask);
    assert_eq!(healthy.code, 0, "{healthy:#?}");
    assert!(!rows(&healthy).is_empty());
    let questions = server.requests();
    assert!(questions.iter().filter(|r| (vendor.is_data)(r)).count() > 1, "{source}: asks once only");
    // Waits side by side.
    scope(|scope| {
        let all: Vec<_> =
            FAULTS.iter().map(|fault| scope.spawn(|| strike(vendor, fault, &healthy))).collect();
        for one in all {
            one.join().unwrap();
        }
    });
    // An expired certificate is no reason to ask again, or to send the key.
    let server = tls_server(true);
    let run = work(vendor, &server.url).set("KDATA_CA_FILE", &server.ca).kdata(vendor.ask);
    assert!(run.stdout.contains("#abort code=4 ") && !run.stdout.contains("#end "), "{source}: {run:#?}");
    run.fails(4, &["certificate", "KDATA_CA_FILE"]);
    // Questions that are under way together may each find out.
    assert!((1..=questions.len()).contains(&server.hellos()), "{source}: {}", server.hellos());
}

macro_rules! matrices {
    ($($test:ident $source:literal)*) => {
        $(#[test] fn $test() { matrix($source); })*

        #[test]
        fn every_vendor_has_its_matrix() {
            let tested = [$($source),*];
            let all: Vec<_> = vendors::ALL.iter().map(|vendor| vendor.source).collect();
            assert_eq!(all, tested);
        }
    };
}

matrices! {
    faults_of_krx_openapi "krx-openapi"
    faults_of_infomax "infomax"
    faults_of_krx "krx"
    faults_of_kiwoom "kiwoom"
    faults_of_kis "kis"
}

#[test]
fn a_good_certificate_of_an_own_authority_is_taken() {
    let vendor = vendors::ALL[0];
    let server = tls_server(false);
    let run = |work: &mut Work| work.kdata(vendor.ask);
    run(&mut work(vendor, &server.url)).fails(4, &["certificate", "KDATA_CA_FILE"]);
    // It answers nothing, but the handshake is done.
    let trusting = run(work(vendor, &server.url).set("KDATA_CA_FILE", &server.ca));
    assert!(!trusting.stderr.contains("certificate"), "{trusting:#?}");
    let insecure = run(work(vendor, &server.url).set("KDATA_TLS_INSECURE", vendor.source));
    assert!(!insecure.stderr.contains("certificate"), "{insecure:#?}");
}

/// The most calls that any second holds, and the calls a second over all.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn rate_of(mut times: Vec<Instant>) -> (usize, f64) {
    times.sort();
    let within =
        |from: usize| times[from..].iter().take_while(|t| **t - times[from] < Duration::from_secs(1)).count();
    let most = (0..times.len()).map(within).max().unwrap_or(0);
    let span = times[times.len() - 1] - times[0];
    (most, (times.len() - 1) as f64 / span.as_secs_f64())
}

#[test]
fn four_processes_keep_one_limit_and_use_it() {
    const RATE: usize = 30;
    let vendor = vendors::ALL[0];
    // Answers take a while: calls must overlap to use the rate.
    let server = Server::answering(|request, _| {
        Reply::Late(Duration::from_millis(300), Box::new((vendor.reply)(request)))
    });
    let home = work(vendor, &server.url);
    let home = home.path("home").display().to_string();
    let run = |market: &str| {
        let mut work = work(vendor, &server.url);
        work.set("KDATA_HOME", &home)
            .set("KDATA_KRX_OPENAPI_RATE", &RATE.to_string())
            .set("KDATA_HTTP_TIMEOUT", "5");
        let ask =
            format!("extract ohlcv --source krx-openapi --from 2026-01-02 --to 2026-03-31 --market {market}");
        let mut command = work.command(KDATA, &ask.split(' ').collect::<Vec<_>>());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        (work, child)
    };
    let all = ["KOSPI", "KOSDAQ", "KONEX", "KOSPI,KOSDAQ"].map(run);
    std::thread::sleep(Duration::from_secs(5));
    for (_work, mut child) in all {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let times: Vec<Instant> = server.requests().iter().map(|request| request.at).collect();
    // From when all are up.
    let begun = times[0] + Duration::from_millis(500);
    let (most, rate) = rate_of(times.into_iter().filter(|t| *t >= begun).collect());
    assert!(most <= RATE, "{most} calls within a second");
    assert!((0.95 * 30.0..=30.0).contains(&rate), "{rate} calls a second");
}

#[test]
fn secrets_do_not_leave() {
    for vendor in vendors::ALL {
        let server = Server::answering(|request, _| (vendor.reply)(request));
        let mut work = work(vendor, &server.url);
        work.set("KDATA_LOG", "trace");
        let archive = work.path("archive").display().to_string();
        work.set("KDATA_ARCHIVE", &archive);
        let mut outputs = vec![work.kdata(vendor.ask)];
        let broken = Server::start(|_, _| Reply::Status(500));
        (vendor.env)(&mut work, &broken.url);
        outputs.push(work.kdata(vendor.ask));
        outputs.push(work.kdata(&format!("{} --dry-run", vendor.ask)));
        for run in &outputs {
            assert!(!run.stdout.contains(CANARY), "{}: {}", vendor.source, run.stdout);
            let leak = run.stderr.lines().find(|line| line.contains(CANARY));
            assert!(leak.is_none(), "{}: {leak:?}", vendor.source);
        }
        // Tokens are kept on purpose, in files that nobody else reads; nothing else is.
        for folder in [archive, work.path("home").display().to_string()] {
            let found = work.sh(&format!(
                "cd {folder} && find . -type f -name '*.gz' -exec gzip -dc {{}} + | cat - $(find . -type f ! -name '*.gz' \
                 ! -path './tokens/*') </dev/null | grep -a {CANARY} | head -3"
            ));
            assert_eq!(found.stdout, "", "{}: {folder}", vendor.source);
        }
        let tokens = work.sh("find home/tokens -type f -perm /077 2>/dev/null");
        assert_eq!(tokens.stdout, "", "{}", vendor.source);
    }
}

#[test]
fn secrets_come_from_files_and_commands() {
    let vendor = vendors::ALL[0];
    let server = Server::answering(|request, _| (vendor.reply)(request));
    let mut work = work(vendor, &server.url);
    let file = work.write("key", format!("{CANARY}openapi\n")).display().to_string();
    work.unset("KDATA_KRX_OPENAPI_KEY").set("KDATA_KRX_OPENAPI_KEY_FILE", &file).kdata(vendor.ask).ok();
    work.unset("KDATA_KRX_OPENAPI_KEY_FILE");
    work.set("KDATA_KRX_OPENAPI_KEY_COMMAND", &format!("cat {file}")).kdata(vendor.ask).ok();
    work.set("KDATA_KRX_OPENAPI_KEY_COMMAND", "echo canary-said >&2; exit 3");
    let said = work.kdata(vendor.ask).fails(2, &["KDATA_KRX_OPENAPI_KEY_COMMAND failed"]);
    assert!(!said.contains("canary"), "{said}");
    work.unset("KDATA_KRX_OPENAPI_KEY_COMMAND").set("KDATA_KRX_OPENAPI_KEY_FILE", "/nowhere");
    work.kdata(vendor.ask).fails(2, &["KDATA_KRX_OPENAPI_KEY_FILE (/nowhere) cannot be read"]);
}

#[test]
fn kept_answers_are_parsed_again_without_a_call() {
    let vendor = vendors::ALL[0];
    let server = Server::answering(|request, _| (vendor.reply)(request));
    let work = work(vendor, &server.url);
    let replay = format!("{} --replay", vendor.ask);
    work.kdata(&replay).fails(4, &["no answer is kept"]);
    let first = work.kdata(vendor.ask);
    let asked = server.asked().len();
    assert_eq!(rows(&work.kdata(&replay)), rows(&first));
    assert_eq!(server.asked().len(), asked);
    // A run that ended well is not gone on with: the next one asks anew.
    assert_eq!(rows(&work.kdata(vendor.ask)), rows(&first));
    assert_eq!(server.asked().len(), 2 * asked);
}

#[test]
fn the_first_signal_ends_at_a_safe_point() {
    let vendor = vendors::ALL[0];
    let slow = |request: &Request| Reply::Late(Duration::from_millis(300), Box::new((vendor.reply)(request)));
    let server = Server::answering(move |request, _| slow(request));
    let mut work = work(vendor, &server.url);
    work.set("KDATA_KRX_OPENAPI_RATE", "4").set("KDATA_HTTP_TIMEOUT", "5");
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let args: Vec<_> = vendor.ask.split(' ').collect();
        let mut command = work.command(KDATA, &args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(900));
        work.sh(&format!("kill {signal} {}", child.id())).ok();
        let run: Run = child.wait_with_output().unwrap().into();
        assert!(run.stdout.contains(&format!("#abort code={code} ")), "{run:#?}");
        run.fails(code, &["stopping after what is under way", "run the same again"]);
    }
}

/// What is asked for after midnight is of the new day's quota, also when the run began the day before.
#[test]
fn a_run_past_midnight_counts_on_the_new_day() {
    let mut work = Work::new();
    let server = Server::answering(|request, _| vendors::krx_openapi::vendor(request));
    vendors::krx_openapi::env(&mut work, &server.url);
    // Three questions, more than a second apart.
    work.set("KDATA_KRX_OPENAPI_RATE", "0.9").set("KDATA_NOW", "2026-01-08T23:59:59+09:00");
    work.kdata("extract ohlcv --source krx-openapi --date 2026-01-05").ok();
    let limits = std::fs::read_dir(work.path("home/limits")).unwrap().flatten();
    let days = limits.filter(|file| file.file_name().to_string_lossy().ends_with("-day"));
    let told: Vec<String> = days.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    assert!(told.concat().starts_with("2026-01-09 2 "), "{told:?}");
}
