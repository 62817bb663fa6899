//! Rules: named, dated, with a scope and a severity. `kdata explain` prints what stands here.

use super::record::Facts;

/// What a broken rule does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// A remark for the record.
    Note,
    /// The row goes on; someone should look at it.
    Flag,
    /// The row does not go on.
    Reject,
    /// The batch does not go on.
    Gate,
}

impl Severity {
    /// The word in streams and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Flag => "flag",
            Self::Reject => "reject",
            Self::Gate => "gate",
        }
    }
}

/// What a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// One row.
    Row,
    /// Rows that stand together in key order.
    Group,
    /// A batch and what production holds of the sessions around it.
    Batch,
}

impl Scope {
    /// The word in `kdata explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row (validate)",
            Self::Group => "neighbouring rows of the stream (validate)",
            Self::Batch => "batch, and the sessions before and after its own in production (promote)",
        }
    }
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// `dataset.what_holds`.
    pub name: &'static str,
    /// What breaking it does; a test may soften it on evidence.
    pub severity: Severity,
    /// What it looks at.
    pub scope: Scope,
    /// What is wrong with a row that breaks it; the message of its marks.
    pub says: &'static str,
    /// Why it stands, since when, and its exceptions.
    pub why: &'static str,
    /// The columns that its marks show.
    pub shows: &'static [&'static str],
}

/// A rule about one row, with its test: `None` when it holds or does not apply, else the severity.
pub struct RowRule<R: 'static> {
    /// The rule.
    pub rule: Rule,
    /// Its test.
    pub test: fn(&R, &Facts) -> Option<Severity>,
}

/// A rule about the rows of one group (one name of a session), with its test.
pub struct GroupRule<R: 'static> {
    /// The rule.
    pub rule: Rule,
    /// Its test, over the group's good rows in the order of the stream.
    pub test: fn(&[R], &Facts) -> Option<Severity>,
}

/// A rule that a row broke.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How grave it is for this row.
    pub severity: Severity,
}

/// A rule that a source checks on single rows of its answers.
pub const fn row(name: &'static str, severity: Severity, says: &'static str, why: &'static str) -> Rule {
    Rule { name, severity, scope: Scope::Row, says, why, shows: &[] }
}

/// A rule about a batch: promote checks it, or a source remarks it of all its rows.
pub const fn batch(name: &'static str, severity: Severity, says: &'static str, why: &'static str) -> Rule {
    Rule { name, severity, scope: Scope::Batch, says, why, shows: &[] }
}

/// The batch rule about codes that no master knows, which datasets share.
pub(super) const fn code_is_known(name: &'static str) -> Rule {
    batch(
        name,
        Severity::Flag,
        "the code is not in the stock master",
        "Flagged once for each code; more than 1 % of the codes stop the batch. While the master is empty, or for \
         sessions before its first, one remark for the batch: run `kdata extract stocks` for these sessions first. \
         ETFs are compared once a master lists some.",
    )
}

/// The batch rule about sessions without a snapshot, which datasets share.
pub(super) const fn snapshot_is_there(name: &'static str) -> Rule {
    batch(
        name,
        Severity::Note,
        "a session of the range has no row",
        "What is read now and then stands until it is read again: a missing session is no gap. Many sources give the \
         present state only.",
    )
}

/// Breaks with a reject unless the condition holds.
pub fn must(holds: bool) -> Option<Severity> {
    (!holds).then_some(Severity::Reject)
}

/// The rules that hold for every row of every dataset; validate tests them on the fields.
pub static STREAM_RULES: &[&Rule] =
    &[&WELL_FORMED, &ON_A_SESSION, &NOT_IN_FUTURE, &IN_RANGE, &KEY_UNIQUE, &GROUPS_ARE_JUDGED];

/// What the ledger remarks of a batch of any dataset.
pub static LEDGER_RULES: &[&Rule] = &[&BETTER_IS_THERE, &CODES_ARE_THERE, &LIST_IS_WHOLE, &MISSING];

/// Production holds the session in better shape.
pub static BETTER_IS_THERE: Rule = Rule {
    name: "batch.better_is_there",
    severity: Severity::Flag,
    scope: Scope::Batch,
    says: "production holds the session from a better source, or final",
    why: "Provisional data never replace final ones, nor a source one that stands before it in the order of \
          preference. Such sessions of a batch are held back; kdata promote --batch N --force replaces them.",
    shows: &[],
};

/// Few of the codes asked for did not come.
pub static CODES_ARE_THERE: Rule = Rule {
    name: "batch.codes_are_there",
    severity: Severity::Gate,
    scope: Scope::Batch,
    says: "codes that were asked for did not come",
    why: "A source that is asked code by code may fail on some: they stand in the stream as #missing, extract ends with \
          exit 7, and a rerun asks for the rest. More than 1 % of the codes (kdata promote --max-missing), session by \
          session, hold the batch, so that half a market never looks like a whole one; fewer are flagged.",
    shows: &[],
};

/// None of a list's rows was rejected.
pub static LIST_IS_WHOLE: Rule = Rule {
    name: "batch.list_is_whole",
    severity: Severity::Flag,
    scope: Scope::Batch,
    says: "a row of the list was rejected: the list does not come into production",
    why: "The members of an index, the portfolio of an ETF, the sectors of a scheme replace what stands there as a whole: \
          without one of its rows the list would look like one that this member has left. What stands there stays. When \
          no list of the batch is left, the batch is held; kdata promote --batch N --force brings the lists as they are.",
    shows: &[],
};

/// The source lacks a session or a code.
pub static MISSING: Rule = Rule {
    name: "source.missing",
    severity: Severity::Note,
    scope: Scope::Batch,
    says: "the source could not give a session or a code",
    why: "It was asked for and did not come: kept in the ledger with severity missing, so that it is known and not \
          taken for a closed market. kdata due lists the sessions that another source should fill.",
    shows: &[],
};

/// Every field reads as its column's type.
pub static WELL_FORMED: Rule = Rule {
    name: "row.well_formed",
    severity: Severity::Reject,
    scope: Scope::Row,
    says: "a field does not read as its column's type",
    why: "Codes are six characters [0-9A-Z] (a lost leading zero or lower case shows here), dates are \
          YYYY-MM-DD, numbers are whole and without sign, exponent, NaN or thousands separators, text is UTF-8, \
          and a row has as many fields as the header.",
    shows: &[],
};

/// The row's date is a session.
pub static ON_A_SESSION: Rule = Rule {
    name: "row.on_a_session",
    severity: Severity::Reject,
    scope: Scope::Row,
    says: "the market was closed on that day",
    why: "A bar, cap or master belongs to a session of the trading calendar. A row that strayed is rejected. Data of a \
          whole closed day (10 rows, or half as many as a session has) stop the batch with exit 3: the calendar is \
          wrong about the day, or the source is. A holiday that was declared or lifted later is added with kdata calendar \
          add. Saturdays were sessions until 1998-12-05. Where the calendar does not reach (kdata calendar show), the \
          row is flagged.",
    shows: &["time"],
};

/// The row's date is not after today.
pub static NOT_IN_FUTURE: Rule = Rule {
    name: "row.not_in_future",
    severity: Severity::Reject,
    scope: Scope::Row,
    says: "the session is still to come",
    why: "Nothing is known of a session before it was held. The clock is Asia/Seoul's.",
    shows: &["time"],
};

/// The row's date lies in the range that the stream claims.
pub static IN_RANGE: Rule = Rule {
    name: "row.in_range",
    severity: Severity::Reject,
    scope: Scope::Row,
    says: "the session lies outside of the range that the stream claims",
    why: "A batch is judged, promoted and rolled back by the sessions of its preamble (from, to); a source that \
          answers with another date than was asked for has not answered.",
    shows: &["time"],
};

/// A key occurs once.
pub static KEY_UNIQUE: Rule = Rule {
    name: "row.key_unique",
    severity: Severity::Reject,
    scope: Scope::Group,
    says: "the key occurs more than once",
    why: "If the rows are the same, the first goes on and the others do not. If they differ, nobody knows which \
          is right, and none goes on.",
    shows: &[],
};

/// The stream has an order, so that groups can be judged.
pub static GROUPS_ARE_JUDGED: Rule = Rule {
    name: "row.groups_are_judged",
    severity: Severity::Note,
    scope: Scope::Group,
    says: "the stream promises no order (order=none): rules about several rows of a name were not tested",
    why: "Rules about the rows of one name and session need them to stand together. Sources that can promise it \
          (order=key in the preamble).",
    shows: &[],
};
