//! One HTTP layer for all sources: limits, retries, the breaker, the spool, and what an answer must not be.
//!
//! An adapter implements [`Vendor`]: how a call is signed, and what its answers mean. [`Client::call`] does the rest:
//! it looks into the spool, waits for its turn, sends, judges, keeps the answer, and tries again where that helps.

mod breaker;
mod client;
mod limit;
mod pages;
mod spool;
mod token;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::NaiveDate;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;

pub use breaker::{Block, Breaker};
pub use client::{Client, Manners};
pub use limit::{Limit, Quota, Used};
pub use pages::Pages;
pub use spool::{Spool, Worth};
pub use token::{Bearer, Token, Tokens};

use crate::error::{Error, Result};
use crate::settings::Secret;

/// One question to a source.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Body,
    /// For the spool: the session it is about.
    session: Option<NaiveDate>,
    /// A name for a limit of its own beside the source's, e.g. Kiwoom's api-id.
    bucket: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(&'static str, String)>),
    Json(serde_json::Value),
}

impl Call {
    /// A GET of a path below the base URL.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), Body::None)
    }

    /// A POST of a form.
    pub fn form(path: impl Into<String>, fields: Vec<(&'static str, String)>) -> Self {
        Self::new(Method::POST, path.into(), Body::Form(fields))
    }

    /// A POST of a JSON document.
    pub fn json(path: impl Into<String>, document: serde_json::Value) -> Self {
        Self::new(Method::POST, path.into(), Body::Json(document))
    }

    fn new(method: Method, path: String, body: Body) -> Self {
        Self { method, path, query: Vec::new(), headers: Vec::new(), body, session: None, bucket: None }
    }

    /// Adds a parameter to the query string.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header that tells the question (and is no secret: those are added by [`Vendor::sign`]).
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says which session the answer is about.
    #[must_use]
    pub fn session(mut self, session: NaiveDate) -> Self {
        self.session = Some(session);
        self
    }

    /// Counts against a limit of its own, too.
    #[must_use]
    pub fn bucket(mut self, bucket: &'static str) -> Self {
        self.bucket = Some(bucket);
        self
    }

    /// The question in one line, the same for the same question: it names the answer in the spool, and appears in
    /// messages. Holds no secret, since secrets are added when it is sent.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.method, self.path);
        let pairs = |line: &mut String, first: char, pairs: &[(&str, String)]| {
            for (at, (name, value)) in pairs.iter().enumerate() {
                let _ = write!(line, "{}{name}={value}", if at == 0 { first } else { '&' });
            }
        };
        pairs(&mut line, '?', &self.query);
        pairs(&mut line, ' ', &self.headers);
        match &self.body {
            Body::None => {}
            Body::Form(fields) => pairs(&mut line, ' ', fields),
            Body::Json(document) => {
                let _ = write!(line, " {document}");
            }
        }
        line
    }
}

/// What a source answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case; cookies are left out, since they are secrets.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// Does it come from the spool?
    pub kept: bool,
}

impl Answer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text: UTF-8, else CP949 as Korean systems have it.
    pub fn text(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.body) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => encoding_rs::EUC_KR.decode(&self.body).0,
        }
    }

    /// The body as a JSON document, or what it is instead.
    pub fn json<T: DeserializeOwned>(&self) -> std::result::Result<T, Verdict> {
        let text = self.text();
        let text = text.trim_start_matches('\u{feff}').trim();
        if is_html(text) {
            let what = format!("it answered with a web page ({}) instead of data", title(text));
            return Err(Verdict::Retry { what, after: None });
        }
        if text.is_empty() {
            return Err(Verdict::Retry { what: "it answered with nothing at all".into(), after: None });
        }
        serde_json::from_str(text).map_err(|e| {
            let what = format!("its answer is no JSON of the expected shape: {e}");
            // Cut on the way: the next try may be whole.
            if e.is_eof() || e.is_syntax() {
                Verdict::Retry { what, after: None }
            } else {
                Verdict::Fatal(odd_answer(what))
            }
        })
    }

    /// What the status alone says; adapters ask it after their own codes.
    pub fn by_status(&self) -> Verdict {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status {
            StatusCode::OK => Verdict::Good,
            StatusCode::TOO_MANY_REQUESTS => Verdict::Retry {
                what: "it answered 429, too many requests".into(),
                after: self.retry_after(),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Verdict::Fatal(Error::Credentials {
                what: format!("it answered {status}"),
                help: "check the key, and that it may use this service".into(),
            }),
            StatusCode::REQUEST_TIMEOUT => {
                Verdict::Retry { what: format!("it answered {status}"), after: None }
            }
            status if status.is_server_error() => {
                Verdict::Retry { what: format!("it answered {status}"), after: self.retry_after() }
            }
            status if status.is_redirection() => Verdict::Fatal(odd_answer(format!(
                "it answered {status}, a redirect: they are not followed, since they would carry the key elsewhere"
            ))),
            status => Verdict::Fatal(odd_answer(format!("it answered {status}"))),
        }
    }

    /// `Retry-After`, in seconds or as a date.
    fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?;
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        let answered =
            self.header("date").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok())?;
        (at - answered).to_std().ok()
    }
}

/// A page that says that we are blocked, whatever its status: never to be tried again.
fn block_notice(answer: &Answer) -> Option<Verdict> {
    const SAYS: [&str; 5] =
        ["에러페이지 - 한국거래소", "접속이 차단", "비정상적인 접근", "Access Denied", "Request blocked"];
    let text = answer.text();
    (is_html(&text) && SAYS.iter().any(|notice| text.contains(notice))).then(|| Verdict::Blocked {
        what: format!("it answered {} with a notice page, {}", answer.status, title(&text)),
        length: chrono::Duration::hours(24),
    })
}

/// Is it a web page?
pub fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head")
}

/// The title of a web page, for messages.
pub fn title(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let inner = lower.find("<title>").and_then(|at| {
        let start = at + "<title>".len();
        lower[start..].find("</title>").map(|end| text[start..start + end].trim().to_owned())
    });
    inner.filter(|title| !title.is_empty()).map_or_else(
        || "without a title".to_owned(),
        |title| format!("\"{}\"", title.chars().take(60).collect::<String>().escape_debug()),
    )
}

/// An answer that is not what the source should give.
pub fn odd_answer(what: String) -> Error {
    Error::Source { what, help: "if it stays, the source has changed: report it with the kept answer".into() }
}

/// What an adapter makes of an answer.
#[derive(Debug)]
pub enum Verdict {
    /// It is what was asked for.
    Good,
    /// It is good and says nothing of the session, e.g. an empty list: taken, and asked for again by a rerun, since there
    /// may be something by then.
    Nothing,
    /// Transient: try again, not before `after`.
    Retry {
        /// What is wrong.
        what: String,
        /// How long the source wants us to wait.
        after: Option<Duration>,
    },
    /// The token or login is no longer good: renew it once, then try again.
    Renew {
        /// What the source said.
        what: String,
    },
    /// The source blocks this machine: never try again before the time is over.
    Blocked {
        /// What the source said.
        what: String,
        /// For how long.
        length: chrono::Duration,
    },
    /// Nothing makes it better.
    Fatal(Error),
}

/// What differs between vendors.
pub trait Vendor {
    /// The headers that prove who asks. May get a token first, by [`Client::unkept`].
    fn sign(&self, client: &Client) -> impl Future<Output = Result<Vec<(&'static str, Secret)>>>;

    /// Says what an answer is.
    fn judge(&self, call: &Call, answer: &Answer) -> Verdict;

    /// Gets a new token, or logs in again: the one of the call before was refused.
    fn renew(&self, client: &Client) -> impl Future<Output = Result<()>>;
}
