//! HTML reports in a real browser: nothing sticks out at a phone's width, charts are drawn, on paper too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::reports::{at, collected};
use crate::support::{Db, announce};

/// Names of the program, the first that is found counts.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn browser() -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/local/bin", "/opt/google/chrome"];
    BROWSERS
        .iter()
        .flat_map(|name| folders.map(|folder| Path::new(folder).join(name)))
        .find(|path| path.exists())
}

/// What the page says of itself once it is drawn. It stands in a frame: a browser's own window has a least width.
const PROBE: &str = "<script>addEventListener('load', () => {
  const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5
      && getComputedStyle(e).position !== 'absolute');
  const drawn = [...document.querySelectorAll('figure svg rect, figure svg path')]
      .filter(e => e.getBoundingClientRect().width > 0);
  parent.postMessage(['PROBE', innerWidth, document.documentElement.scrollWidth, drawn.length,
      document.querySelectorAll('figure').length, wide.length, wide.slice(0, 3).map(e => e.outerHTML.slice(0, 80)).join(' ~ '),
      getComputedStyle(document.body).backgroundColor].join(' | '), '*');
});</script>";

/// Runs the browser on a page; it may take half a minute.
fn run(browser: &Path, work: &Db, args: &[String]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(args);
    command.current_dir(work.path("")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).map(|_| text)
    });
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(90) {
            let _ = child.kill();
            panic!("the browser did not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    reader.join().unwrap().unwrap()
}

#[test]
fn html_reports_are_drawn_and_nothing_sticks_out() {
    let Some(browser) = browser() else {
        return announce("HTML reports in a browser: NOT RUN, no chromium or chrome is installed");
    };
    announce(&format!("HTML reports in a browser: {}", browser.display()));
    let db = Db::native();
    collected(&db);
    let now = "2024-01-05T20:00:00+09:00";
    let pages = [
        ("coverage --year 2024", 2),
        ("coverage --dataset ohlcv --codes 000010,100010 --from 2024-01-02 --to 2024-03-29", 2),
        ("quality --date 2024-01-03", 2),
        ("rejects", 1),
        ("storage", 1),
        ("freshness", 0),
        ("reconcile", 0),
    ];
    // All pages stand in frames of one page: the browser starts once.
    let mut frames =
        "<title></title><script>onmessage = e => document.title += e.data + ' ;;'</script>".to_owned();
    let widths = [390, 1280];
    for (at_page, (report, _)) in pages.iter().enumerate() {
        let html = at(&db, now, &format!("report {report} --format html")).ok();
        let probe = PROBE.replace("PROBE", &format!("PROBE {at_page}"));
        db.write(&format!("page-{at_page}.html"), html.replace("</body>", &format!("{probe}</body>")));
        for width in widths {
            frames.push_str(&format!(
                "<iframe src=\"page-{at_page}.html\" style=\"width:{width}px;height:844px;border:0\"></iframe>"
            ));
        }
    }
    db.write("frames.html", frames);
    let page = format!("file://{}", db.path("frames.html").display());
    let dom = run(&browser, &db, &["--virtual-time-budget=10000".into(), "--dump-dom".into(), page]);
    let title = dom.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0.to_owned();
    for (at_page, (report, least)) in pages.iter().enumerate() {
        for width in widths {
            let begins = format!("PROBE {at_page} | {width} | ");
            let told = title.split(";;").find_map(|told| told.trim().strip_prefix(&begins));
            let told: Vec<&str> =
                told.unwrap_or_else(|| panic!("{report} at {width}: {title}")).split(" | ").collect();
            let [scroll, drawn, figures, beyond, ..] = told.as_slice() else { panic!("{report}: {told:?}") };
            assert_eq!(*scroll, width.to_string(), "{report}: {told:?}");
            assert_eq!(*beyond, "0", "{report} at {width}: {told:?}");
            assert!(drawn.parse::<usize>().unwrap() >= *least, "{report}: {told:?}");
            assert_eq!(*figures == "0", *least == 0, "{report}: {told:?}");
        }
    }
    // On paper: the whole is there, in a file that is one.
    let page = db.path("page-0.html");
    run(&browser, &db, &["--print-to-pdf=page.pdf".into(), format!("file://{}", page.display())]);
    let pdf = std::fs::read(db.path("page.pdf")).unwrap();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 5_000, "{} bytes", pdf.len());
}
