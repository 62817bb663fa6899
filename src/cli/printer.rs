//! The only place that prints. stdout carries the stream or the report; everything else goes to stderr.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use super::language::{fill, is_korean, say};
use crate::error::{Error, NEXT, Result};
use crate::source::Progress;

/// How lines on stderr are written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// Decides what is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    quiet: bool,
    log: LogFormat,
}

/// A line of the log for programs; those of `KDATA_LOG` have the same fields.
#[derive(serde::Serialize)]
struct LogLine<'a> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl<'a> LogLine<'a> {
    #[expect(
        clippy::disallowed_methods,
        reason = "when a line was written, whatever the clock of a drill says"
    )]
    fn new(level: &'a str, message: &'a str) -> Self {
        let timestamp = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        Self { timestamp, level, message, help: None, code: None, exit_code: None }
    }

    fn write(&self) {
        let line = serde_json::to_string(self).expect("plain data");
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

impl Printer {
    /// A printer; a quiet one keeps remarks and receipts to itself.
    pub(super) fn new(quiet: bool, log: LogFormat) -> Self {
        Self { quiet, log }
    }

    /// A bug, as a line of the log too.
    pub(super) fn log_panics(self) {
        if self.log == LogFormat::Json {
            std::panic::set_hook(Box::new(|panic| {
                LogLine { exit_code: Some(101), ..LogLine::new("ERROR", &panic.to_string()) }.write();
            }));
        }
    }

    /// What was done, in a line of its own: a quiet run does not tell.
    pub(super) fn receipt(self, text: impl Display) -> Result<()> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// A line of the report.
    #[expect(clippy::unused_self, reason = "printing goes through a printer")]
    pub(super) fn line(self, text: impl Display) -> Result<()> {
        writeln!(std::io::stdout(), "{text}").map_err(Error::output)
    }

    /// A report on whether all is well: a quiet run tells it only when it is not.
    pub(super) fn verdict(self, is_good: bool, text: impl Display) -> Result<()> {
        if is_good { self.receipt(text) } else { self.line(text) }
    }

    /// A report for programs.
    pub(super) fn json(self, document: &impl serde::Serialize) -> Result<()> {
        self.line(serde_json::to_string_pretty(document).expect("reports are plain data"))
    }

    /// A remark for the person at the terminal; cron with `-q` does not see it.
    pub(super) fn remark(self, text: impl Display) {
        if !self.quiet {
            self.say("INFO", &text.to_string());
        }
    }

    /// Tells how far a run is, on a terminal.
    pub(super) fn progress(self) -> Progress {
        if !self.quiet && self.log == LogFormat::Text && std::io::stderr().is_terminal() {
            Progress::on_terminal()
        } else {
            Progress::default()
        }
    }

    /// A remark that must be seen.
    pub(super) fn warning(self, text: impl Display) {
        let text = text.to_string();
        match self.log {
            LogFormat::Json => self.say("WARN", &text),
            LogFormat::Text => self.say("WARN", &fill("kdata: warning: {what}", &[("what", &text)])),
        }
    }

    fn say(self, level: &str, text: &str) {
        match self.log {
            LogFormat::Json => LogLine::new(level, text.trim()).write(),
            // A closed stderr is no reason to fail.
            LogFormat::Text => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// An error, with what to do about it.
    pub(super) fn error(self, error: &Error) {
        use miette::Diagnostic;
        let code = error.exit_code();
        if self.log == LogFormat::Json {
            let message = error.to_string();
            let line = LogLine {
                help: error.help().map(|help| help.to_string()).filter(|help| !help.is_empty()),
                code: error.code().map(|code| code.to_string()),
                exit_code: Some(code),
                ..LogLine::new("ERROR", &message)
            };
            return line.write();
        }
        let mut lines = vec![fill("kdata: error: {what}", &[("what", &error.to_string())])];
        if let Some(help) = error.help().map(|h| h.to_string()).filter(|h| !h.is_empty()) {
            lines.push(fill("  help: {help}", &[("help", &help)]));
        }
        let number = code.to_string();
        let values = [("code", number.as_str()), ("meaning", say(meaning(code)))];
        lines.push(fill("  exit code {code}: {meaning}", &values));
        // The help is written in English: what to do next stands in the reader's language as well.
        if let (true, Some((_, steps))) = (is_korean(), NEXT.iter().find(|(of, _)| *of == code)) {
            lines.push(fill("  next: {steps}", &[("steps", say(steps))]));
        }
        let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    }
}

fn meaning(code: u8) -> &'static str {
    crate::error::EXIT_CODES.iter().find(|(c, _)| *c == code).map_or("unknown", |(_, meaning)| meaning)
}

/// Is something piped into stdin?
pub(super) fn stdin_is_piped() -> bool {
    !std::io::stdin().is_terminal()
}

/// Does somebody see what is said?
pub(super) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// A whole number with thousands separators.
pub(super) fn count(n: impl Into<i128>) -> String {
    let n: i128 = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

/// Bytes in the unit that leaves up to four digits.
pub(super) fn bytes(n: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (mut size, mut unit) = (n as f64, 0);
    while size.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// The terminal's width, when stdout is one.
pub(super) fn terminal_width() -> Option<u16> {
    std::io::stdout().is_terminal().then(|| comfy_table::Table::new().width()).flatten()
}

/// A table whose columns line up, also with East Asian characters.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], right: &[usize], width: Option<u16>) -> String {
    render(&lay_out(Some(header), rows, right, width))
}

/// The same without a header.
pub(super) fn body(rows: &[Vec<String>], width: Option<u16>) -> String {
    render(&lay_out(None, rows, &[], width))
}

/// A table that ends in a text, which alone is wrapped; `None` where the width leaves too little for it.
pub(super) fn table_with_text(
    header: &[&str],
    rows: &[Vec<String>],
    right: &[usize],
    width: Option<u16>,
) -> Option<String> {
    let mut table = lay_out(Some(header), rows, right, width);
    let last = header.len() - 1;
    let widths = table.column_max_content_widths();
    // Each column has a blank on both sides.
    let before: u16 = widths[..last].iter().map(|w| w + 2).sum();
    let needed = before + widths[last].min(LEAST_TEXT) + 2;
    if width.is_some_and(|width| width < needed) {
        return None;
    }
    for column in table.column_iter_mut().take(last) {
        column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
    }
    Some(render(&table))
}

/// A text in a column narrower than this is unreadable.
const LEAST_TEXT: u16 = 40;

fn lay_out(
    header: Option<&[&str]>,
    rows: &[Vec<String>],
    right: &[usize],
    width: Option<u16>,
) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if let Some(header) = header {
        table.set_header(header.to_vec());
    }
    if let Some(width) = width {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(width);
    }
    for row in rows {
        table.add_row(row);
    }
    for at in right {
        if let Some(column) = table.column_mut(*at) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}

fn render(table: &comfy_table::Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (n, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (95_412, "95,412"), (-1_234_567, "-1,234,567")]
        {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn sizes() {
        for (n, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5_368_709_120, "5.0 GiB")] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn korean_names_line_up() {
        let rows = vec![
            vec!["삼성바이오로직스".to_owned(), "1".to_owned()],
            vec!["NAVER".to_owned(), "20".to_owned()],
        ];
        let text = table(&["name", "n"], &rows, &[1], None);
        let width =
            |line: &str| line.chars().map(|c| if ('가'..='힣').contains(&c) { 2 } else { 1 }).sum::<usize>();
        let widths: Vec<_> = text.lines().skip(1).map(width).collect();
        assert_eq!(widths[0], widths[1], "{text}");
    }
}
