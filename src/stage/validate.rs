//! validate: judges every row by the rules of its dataset. A plain function from reader to writer: no database,
//! no network, and no memory but two rows, or the rows of one name and session where rules look at these together.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::mem;

use chrono::NaiveDate;

use crate::dataset::record::{self, CheckGroup, parse_date, session_of};
use crate::dataset::rule::{
    GROUPS_ARE_JUDGED, IN_RANGE, KEY_UNIQUE, NOT_IN_FUTURE, ON_A_SESSION, WELL_FORMED,
};
use crate::dataset::{self, Dataset, Facts, Fields, Finding, Malformed, Rule, Severity};
use crate::error::{Error, Result};
use crate::market::{Calendar, Day};
use crate::stream::{self, Counts, Line, Preamble, Reader, Stage, Writer};

/// How many rejects a batch may have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MaxRejects {
    /// So many; one more stops at once.
    Count(u64),
    /// A share of all rows in per cent; judged at the end.
    Percent(f64),
}

/// What validate found.
#[derive(Debug, Default)]
pub struct Summary {
    /// What its stream holds.
    pub counts: Counts,
    /// Rejects, flags and notes of this stage by rule, most first.
    pub by_rule: Vec<(&'static str, Severity, u64)>,
}

/// Reads a stream, judges it, and writes the validated stream. Whatever fails is written as `#abort`.
pub fn validate<R: Read, W: Write>(
    input: R,
    mut out: W,
    calendar: &Calendar,
    today: NaiveDate,
    limit: MaxRejects,
) -> Result<Summary> {
    let opened = Reader::new(input).and_then(|(reader, preamble)| Ok((reader, accept(preamble)?)));
    let (mut reader, preamble) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            stream::write_abort(&mut out, &error)?;
            return Err(error);
        }
    };
    let mut writer = Writer::new(&mut out, &preamble)?;
    let mut judge = Judge::new(&preamble, calendar, today);
    match judge.all(&mut reader, &mut writer, limit) {
        Ok(()) => Ok(Summary { counts: writer.finish()?, by_rule: judge.by_rule() }),
        Err(Error::ClosedOutput) => Err(Error::ClosedOutput),
        Err(error) => {
            writer.abort(&error)?;
            Err(error)
        }
    }
}

fn accept(preamble: Preamble) -> Result<Preamble> {
    if preamble.stage == Stage::Validated {
        return Err(Error::Stream {
            what: "it is validated already".into(),
            help: "pipe it into `kdata load`".into(),
        });
    }
    Ok(Preamble { stage: Stage::Validated, rules: Some(dataset::rules_version()), ..preamble })
}

/// One row and what was found about it.
#[derive(Default)]
struct Held {
    line: u64,
    row: Vec<u8>,
    /// The fields unquoted, where the row has quotes.
    unquoted: Vec<u8>,
    spans: Vec<(usize, usize)>,
    findings: Vec<Finding>,
    /// Another row has the same key and other values.
    contradicted: bool,
}

impl Held {
    fn set(&mut self, row: &[u8], line: u64) {
        self.line = line;
        self.row.clear();
        self.row.extend_from_slice(row);
        self.findings.clear();
        self.contradicted = false;
        self.unquoted.clear();
        if !record::split(row, &mut self.spans) {
            record::unquote(row, &mut self.unquoted, &mut self.spans);
        }
    }

    fn fields(&self) -> Fields<'_> {
        Fields::new(if self.unquoted.is_empty() { &self.row } else { &self.unquoted }, &self.spans)
    }

    fn key(&self, dataset: &Dataset) -> String {
        let fields = self.fields();
        let value = |key: &&str| stream::printable(fields.get(dataset.index(key)));
        dataset.key.iter().map(value).collect::<Vec<_>>().join(",")
    }
}

/// The fields of a row of any form, unquoted; none where it does not read.
pub(super) fn fields(row: &[u8]) -> Vec<String> {
    let mut held = Held::default();
    held.set(row, 0);
    let fields = held.fields();
    (0..fields.len()).map(|at| stream::printable(fields.get(at)).into_owned()).collect()
}

/// Good rows of one name and session, kept until the last of them is known. Buffers are used again.
#[derive(Default)]
struct Group {
    rows: Vec<Held>,
    count: usize,
}

impl Group {
    fn push(&mut self, row: &mut Held) {
        if self.count == self.rows.len() {
            self.rows.push(Held::default());
        }
        mem::swap(&mut self.rows[self.count], row);
        self.count += 1;
    }
}

/// A closed day with so many rows is no slip of single rows: the calendar or the source is wrong about it.
const MANY: u64 = 10;

/// How many rows came of which days, to tell rows that strayed to a closed day from the data of one.
#[derive(Default)]
struct Days {
    sessions: BTreeSet<NaiveDate>,
    on_sessions: u64,
    closed: Vec<(NaiveDate, u64)>,
    /// Where the present day is in `closed`.
    present: Option<usize>,
}

impl Days {
    /// The rows to come are of this day; rows outside of the range are another rule's matter.
    fn turn_to(&mut self, date: NaiveDate, facts: &Facts) {
        self.present = None;
        if !(facts.range.0..=facts.range.1).contains(&date) {
            return;
        }
        if matches!(facts.calendar.day(date), Day::Closed(_)) {
            let known = self.closed.iter().position(|(day, _)| *day == date);
            self.present = known.or_else(|| {
                self.closed.push((date, 0));
                Some(self.closed.len() - 1)
            });
        } else {
            self.sessions.insert(date);
        }
    }

    /// Counts a row; the day, when it is a closed one and this row is one too many.
    fn count(&mut self) -> Option<NaiveDate> {
        let Some(at) = self.present else {
            self.on_sessions += 1;
            return None;
        };
        let (date, rows) = &mut self.closed[at];
        *rows += 1;
        (*rows >= MANY).then_some(*date)
    }

    /// A closed day with at least half as many rows as a session has, known at the end.
    fn crowded(&self) -> Option<NaiveDate> {
        let sessions = self.sessions.len() as u64;
        let is_crowded = |rows: u64| rows * 2 * sessions >= self.on_sessions;
        self.closed.iter().find(|(_, rows)| is_crowded(*rows)).map(|(date, _)| *date)
    }
}

struct Judge<'a> {
    dataset: &'static Dataset,
    facts: Facts<'a>,
    order: Option<Vec<usize>>,
    time: usize,
    code: usize,
    held: Held,
    is_held: bool,
    next: Held,
    /// Where rules look at the rows of a name together.
    check_group: Option<CheckGroup>,
    group: Group,
    day: Vec<u8>,
    day_findings: Vec<Finding>,
    days: Days,
    source: String,
    counts: Vec<(&'static Rule, Severity, u64)>,
    message: String,
}

impl<'a> Judge<'a> {
    fn new(preamble: &Preamble, calendar: &'a Calendar, today: NaiveDate) -> Self {
        let dataset = preamble.dataset;
        let range = (preamble.from, preamble.to);
        Self {
            dataset,
            facts: Facts { calendar, today, range, value_unit: preamble.value_unit },
            order: preamble.ordered.then(|| dataset.order()),
            time: dataset.index(dataset::TIME),
            code: dataset.index(dataset.code),
            check_group: dataset.check_group.filter(|_| preamble.ordered),
            group: Group::default(),
            held: Held::default(),
            is_held: false,
            next: Held::default(),
            day: Vec::new(),
            day_findings: Vec::new(),
            days: Days::default(),
            source: preamble.source.clone(),
            counts: Vec::new(),
            message: String::new(),
        }
    }

    fn all<R: Read, W: Write>(
        &mut self,
        reader: &mut Reader<R>,
        writer: &mut Writer<W>,
        limit: MaxRejects,
    ) -> Result<()> {
        if self.dataset.check_group.is_some() && self.order.is_none() {
            let finding = Finding { rule: &GROUPS_ARE_JUDGED, severity: Severity::Note };
            writer.remark(&finding, "", GROUPS_ARE_JUDGED.says)?;
        }
        while let Some(line) = reader.next_item()? {
            match line {
                Line::Mark(mark) => writer.pass_mark(mark)?,
                Line::Row(row, number) => {
                    self.next.set(row, number);
                    self.judge_next(writer)?;
                }
            }
            if let MaxRejects::Count(most) = limit
                && writer.counts().rejected > most
            {
                self.release_all(writer)?;
                return Err(too_many(
                    &writer.counts(),
                    &format!("more than --max-rejects {most}"),
                    self.worst(),
                ));
            }
        }
        self.release_all(writer)?;
        if let Some(date) = self.days.crowded() {
            return Err(self.closed(date));
        }
        let counts = writer.counts();
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        if let MaxRejects::Percent(most) = limit
            && counts.rejected as f64 > (counts.rows + counts.rejected) as f64 * most / 100.0
        {
            return Err(too_many(&counts, &format!("more than --max-rejects {most}%"), self.worst()));
        }
        Ok(())
    }

    /// Judges the row in `next`: writes it as a reject, or holds it until the one after it is known.
    fn judge_next<W: Write>(&mut self, writer: &mut Writer<W>) -> Result<()> {
        let mut next = mem::take(&mut self.next);
        let judged = self.findings_of(&mut next);
        if let Some(date) = self.days.count() {
            return Err(self.closed(date));
        }
        let outcome = match judged {
            Err(malformed) => self.reject_malformed(&next, malformed, writer),
            Ok(()) => match next.findings.iter().find(|f| f.severity >= Severity::Reject) {
                Some(finding) => self.reject(&next, finding.rule, writer),
                None => return self.hold(next, writer),
            },
        };
        self.next = next;
        outcome
    }

    fn findings_of(&mut self, next: &mut Held) -> std::result::Result<(), Malformed> {
        let Held { row, unquoted, spans, findings, .. } = next;
        if spans.len() != self.dataset.columns.len() {
            return Err(Malformed {
                column: self.dataset.columns.len(),
                expected: "as many fields as columns",
            });
        }
        let fields = Fields::new(if unquoted.is_empty() { row } else { unquoted }, spans);
        let day = session_of(fields.get(self.time));
        if day != self.day {
            self.day_findings.clear();
            self.day.clear();
            self.day.extend_from_slice(day);
            // An unreadable date is the record's to name.
            if let Some(date) = parse_date(day) {
                day_findings(date, &self.facts, &mut self.day_findings);
                self.days.turn_to(date, &self.facts);
            }
        }
        findings.extend_from_slice(&self.day_findings);
        (self.dataset.check)(&fields, &self.facts, findings)
    }

    /// Compares a good row with the one held before it, and lets that one go on.
    fn hold<W: Write>(&mut self, mut next: Held, writer: &mut Writer<W>) -> Result<()> {
        let Some(order) = self.order.as_ref().filter(|_| self.is_held) else {
            self.release(writer)?;
            mem::swap(&mut self.held, &mut next);
            self.is_held = true;
            self.next = next;
            return Ok(());
        };
        let (before, after) = (self.held.fields(), next.fields());
        let session = session_of(before.get(order[0])).cmp(session_of(after.get(order[0])));
        let rest = order[1..].iter().map(|at| before.get(*at).cmp(after.get(*at)));
        match std::iter::once(session).chain(rest).find(|c| c.is_ne()) {
            Some(std::cmp::Ordering::Less) => {
                self.release(writer)?;
                mem::swap(&mut self.held, &mut next);
                self.is_held = true;
            }
            Some(_) => {
                let what =
                    format!("line {} is out of the order that the preamble promises (order=key)", next.line);
                return Err(Error::stream(what));
            }
            None => {
                self.held.contradicted |= self.held.row != next.row;
                self.reject(&next, &KEY_UNIQUE, writer)?;
            }
        }
        self.next = next;
        Ok(())
    }

    /// Lets the held row go on, or writes it as a reject where another row contradicted it.
    fn release<W: Write>(&mut self, writer: &mut Writer<W>) -> Result<()> {
        if !mem::take(&mut self.is_held) {
            return Ok(());
        }
        let mut held = mem::take(&mut self.held);
        if held.contradicted {
            self.reject(&held, &KEY_UNIQUE, writer)?;
        } else if self.check_group.is_none() {
            self.write(&held, writer)?;
        } else {
            if !self.continues_group(&held) {
                self.release_group(writer)?;
            }
            self.group.push(&mut held);
        }
        self.held = held;
        Ok(())
    }

    /// The same for the held row and the group, at the end of the rows.
    fn release_all<W: Write>(&mut self, writer: &mut Writer<W>) -> Result<()> {
        self.release(writer)?;
        self.release_group(writer)
    }

    fn continues_group(&self, held: &Held) -> bool {
        let Some(first) = self.group.rows[..self.group.count].first() else {
            return true;
        };
        let (first, fields) = (first.fields(), held.fields());
        first.get(self.code) == fields.get(self.code)
            && session_of(first.get(self.time)) == session_of(fields.get(self.time))
    }

    /// Judges the rows of a group together, and lets them go on or rejects them all.
    fn release_group<W: Write>(&mut self, writer: &mut Writer<W>) -> Result<()> {
        let (Some(check), 1..) = (self.check_group, self.group.count) else {
            return Ok(());
        };
        let group = mem::take(&mut self.group);
        let rows = &group.rows[..group.count];
        let mut findings = Vec::new();
        check(&rows.iter().map(Held::fields).collect::<Vec<_>>(), &self.facts, &mut findings);
        let reject = findings.iter().find(|f| f.severity >= Severity::Reject);
        for row in rows {
            match reject {
                Some(finding) => self.reject(row, finding.rule, writer)?,
                None => self.write(row, writer)?,
            }
        }
        // What is remarked of all stands after the last of them.
        for finding in findings.iter().filter(|f| f.severity < Severity::Reject) {
            self.remark(&rows[group.count - 1], finding, writer)?;
        }
        self.group = Group { rows: group.rows, count: 0 };
        Ok(())
    }

    /// Writes a good row with its remarks.
    fn write<W: Write>(&mut self, held: &Held, writer: &mut Writer<W>) -> Result<()> {
        for finding in &held.findings {
            self.remark(held, finding, writer)?;
        }
        writer.row(|out| out.extend_from_slice(&held.row))
    }

    fn remark<W: Write>(&mut self, held: &Held, finding: &Finding, writer: &mut Writer<W>) -> Result<()> {
        self.describe(held, finding.rule);
        writer.remark(finding, &held.key(self.dataset), &self.message)?;
        self.count(finding.rule, finding.severity);
        Ok(())
    }

    fn reject<W: Write>(&mut self, held: &Held, rule: &'static Rule, writer: &mut Writer<W>) -> Result<()> {
        self.describe(held, rule);
        self.count(rule, Severity::Reject);
        writer.reject(held.line, rule.name, &self.message, &held.row)
    }

    fn reject_malformed<W: Write>(
        &mut self,
        held: &Held,
        bad: Malformed,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        self.message.clear();
        match self.dataset.columns.get(bad.column) {
            Some(column) => {
                let found = stream::printable(held.fields().get(bad.column));
                self.message.push_str(&format!("{} is {found:?}: expected {}", column.name, bad.expected));
            }
            None => self.message.push_str(&format!("{} fields: expected {}", held.spans.len(), bad.expected)),
        }
        self.count(&WELL_FORMED, Severity::Reject);
        writer.reject(held.line, WELL_FORMED.name, &self.message, &held.row)
    }

    /// Puts what the rule says, with the columns that it shows, into the message.
    fn describe(&mut self, held: &Held, rule: &Rule) {
        self.message.clear();
        self.message.push_str(rule.says);
        let fields = held.fields();
        for (at, name) in rule.shows.iter().enumerate() {
            self.message.push_str(if at == 0 { ": " } else { " " });
            self.message.push_str(name);
            self.message.push('=');
            let value = fields.get(self.dataset.index(name));
            self.message.push_str(&stream::printable(value));
        }
    }

    fn count(&mut self, rule: &'static Rule, severity: Severity) {
        match self.counts.iter_mut().find(|(r, s, _)| std::ptr::eq(*r, rule) && *s == severity) {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((rule, severity, 1)),
        }
    }

    fn by_rule(&self) -> Vec<(&'static str, Severity, u64)> {
        let mut list: Vec<_> =
            self.counts.iter().map(|(rule, severity, n)| (rule.name, *severity, *n)).collect();
        list.sort_by_key(|(name, severity, n)| (std::cmp::Reverse((*severity, *n)), *name));
        list
    }

    /// Why a batch with data of a closed day stops.
    fn closed(&self, date: NaiveDate) -> Error {
        let reason = match self.facts.calendar.day(date) {
            Day::Closed(reason) => reason,
            Day::Session(_) | Day::Unknown => String::new(),
        };
        Error::Gate {
            what: format!(
                "{} has data of {date} ({}), on which the market was closed: {reason}",
                self.source,
                date.format("%A")
            ),
            help: format!(
                "if it was a session: kdata calendar add {date} --hours 09:00-15:30, then run the same again; if not, the \
                 source is wrong about the day: ask another, or later"
            ),
        }
    }

    fn worst(&self) -> Option<(&'static str, Severity, u64)> {
        self.by_rule().first().copied().filter(|(_, severity, _)| *severity == Severity::Reject)
    }
}

/// What a date alone breaks.
fn day_findings(date: NaiveDate, facts: &Facts, findings: &mut Vec<Finding>) {
    let mut found = |rule, severity| findings.push(Finding { rule, severity });
    if date > facts.today {
        found(&NOT_IN_FUTURE, Severity::Reject);
    }
    match facts.calendar.day(date) {
        Day::Session(_) => {}
        Day::Closed(_) => found(&ON_A_SESSION, Severity::Reject),
        Day::Unknown => found(&ON_A_SESSION, Severity::Flag),
    }
    if date < facts.range.0 || date > facts.range.1 {
        found(&IN_RANGE, Severity::Reject);
    }
}

fn too_many(counts: &Counts, limit: &str, worst: Option<(&str, Severity, u64)>) -> Error {
    let all = counts.rows + counts.rejected;
    let rule = worst.map_or_else(|| "RULE".to_owned(), |(rule, _, _)| rule.to_owned());
    let most = worst.map_or_else(String::new, |(rule, _, n)| format!("; most often {rule} ({n})"));
    Error::Gate {
        what: format!("{} of {all} rows were rejected, {limit}{most}", counts.rejected),
        help: format!(
            "see `kdata explain {rule}`; the rejects are in the stream, and in ops.rejects once it went into load"
        ),
    }
}
