//! Expected errors: what happened, where, what to do, and the exit code that scripts branch on.
//! Bugs panic.

use miette::Diagnostic;
use thiserror::Error as ThisError;

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The exit codes and their meaning; README and `--help` print this list.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done, or the market was closed"),
    (1, "internal error, or the disk or the database failed"),
    (2, "usage or configuration"),
    (3, "a data gate failed: the data look wrong, or are stale"),
    (4, "source down, or retries spent: try later"),
    (
        5,
        "refused to protect data (broken stream, not validated, newer schema, simulated data into a live database)",
    ),
    (6, "credentials refused, or blocked"),
    (7, "partial: the source could not give some codes"),
    (8, "another run holds the lock"),
    (9, "not published yet"),
    (130, "interrupted (SIGINT)"),
    (143, "terminated (SIGTERM)"),
];

/// What to do when a run ends with a code; README and its Korean edition print this list too.
pub const NEXT: &[(u8, &str)] = &[
    (1, "read the message; nothing was half done"),
    (2, "correct the command or the setting"),
    (
        3,
        "`kdata runs`, `kdata rejects`, `kdata explain RULE`; then `kdata promote --batch N --force`, or `kdata rollback N`",
    ),
    (4, "run the same again later"),
    (5, "run the whole pipe again"),
    (6, "check them"),
    (
        7,
        "the stream is good and marks them `#missing`; promote takes it when they are few (`--max-missing`, 1 % unless said)",
    ),
    (8, "wait for it"),
    (9, "run again later"),
    (130, "run again"),
    (143, "run again"),
];

/// An expected error.
#[derive(Debug, ThisError, Diagnostic)]
#[allow(missing_docs)]
pub enum Error {
    /// A wrong option, setting or combination of them.
    #[error("{what}")]
    #[diagnostic(code(kdata::usage), help("{help}"))]
    Usage { what: String, help: String },

    /// A gate judged the data wrong.
    #[error("{what}")]
    #[diagnostic(code(kdata::gate), help("{help}"))]
    Gate { what: String, help: String },

    /// A source did not answer, or not what it should.
    #[error("{what}")]
    #[diagnostic(code(kdata::source), help("{help}"))]
    Source { what: String, help: String },

    /// The stream is cut, changed, or not of this version.
    #[error("broken stream: {what}")]
    #[diagnostic(code(kdata::stream), help("{help}"))]
    Stream { what: String, help: String },

    /// Carrying on would put data at risk.
    #[error("refused: {what}")]
    #[diagnostic(code(kdata::refused), help("{help}"))]
    Refused { what: String, help: String },

    /// Credentials were refused, or the source blocks us.
    #[error("{what}")]
    #[diagnostic(code(kdata::credentials), help("{help}"))]
    Credentials { what: String, help: String },

    /// The source could not give some of the codes; what it gave is whole.
    #[error("{what}")]
    #[diagnostic(code(kdata::partial), help("{help}"))]
    Partial { what: String, help: String },

    /// Another run holds the lock.
    #[error("{what}")]
    #[diagnostic(code(kdata::locked), help("{help}"))]
    Locked { what: String, help: String },

    /// The source has not published the session yet.
    #[error("{what}")]
    #[diagnostic(code(kdata::not_published), help("{help}"))]
    NotPublished { what: String, help: String },

    /// The stage before failed and said why: its reason and code are passed on.
    #[error("the stage before this one failed: {reason}")]
    #[diagnostic(
        code(kdata::upstream),
        help("nothing was kept; mend the cause above and run the pipe again")
    )]
    Upstream { code: u8, reason: String },

    /// A signal asked us to stop: 2 is SIGINT, 15 SIGTERM.
    #[error("stopped by {}", if *signal == 2 { "Ctrl-C" } else { "a signal" })]
    #[diagnostic(
        code(kdata::interrupted),
        help("run the same again: what was answered is kept and not asked for again")
    )]
    Interrupted { signal: u8 },

    /// The database answered with an error.
    #[error("database: {what}")]
    #[diagnostic(code(kdata::database), help("{help}"))]
    Database { what: String, help: String },

    /// Reading or writing failed.
    #[error("{what}: {cause}")]
    #[diagnostic(code(kdata::io), help("check the path, its permissions and the space left"))]
    Io { what: String, cause: std::io::Error },

    /// Our standard output was closed: the reader has had enough.
    #[error("standard output was closed")]
    #[diagnostic(code(kdata::closed))]
    ClosedOutput,
}

/// An error and its causes in one line: many libraries' own text stops at the outermost.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

impl Error {
    /// The exit code of the process, one of [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedOutput => 0,
            Self::Database { .. } | Self::Io { .. } => 1,
            Self::Usage { .. } => 2,
            Self::Gate { .. } => 3,
            Self::Source { .. } => 4,
            Self::Stream { .. } | Self::Refused { .. } => 5,
            Self::Credentials { .. } => 6,
            Self::Partial { .. } => 7,
            Self::Locked { .. } => 8,
            Self::NotPublished { .. } => 9,
            Self::Upstream { code, .. } => *code,
            Self::Interrupted { signal } => 128 + signal,
        }
    }

    /// A broken stream and what to do about it.
    pub fn stream(what: impl Into<String>) -> Self {
        Self::Stream { what: what.into(), help: "nothing was kept; run the whole pipe again".into() }
    }

    /// A usage error.
    pub fn usage(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), help: help.into() }
    }

    /// The same error with the place where it arose before its message.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        match &mut self {
            Self::Usage { what, .. }
            | Self::Gate { what, .. }
            | Self::Source { what, .. }
            | Self::Stream { what, .. }
            | Self::Refused { what, .. }
            | Self::Credentials { what, .. }
            | Self::Partial { what, .. }
            | Self::Locked { what, .. }
            | Self::NotPublished { what, .. }
            | Self::Database { what, .. }
            | Self::Io { what, .. } => *what = format!("{place}: {what}"),
            Self::Upstream { .. } | Self::Interrupted { .. } | Self::ClosedOutput => {}
        }
        self
    }

    /// An error of reading or writing; a closed standard output is told apart.
    pub fn io(what: impl Into<String>, cause: std::io::Error) -> Self {
        Self::Io { what: what.into(), cause }
    }

    /// An error of writing the stream to standard output.
    pub fn output(cause: std::io::Error) -> Self {
        if cause.kind() == std::io::ErrorKind::BrokenPipe {
            Self::ClosedOutput
        } else {
            Self::io("cannot write the stream", cause)
        }
    }
}
