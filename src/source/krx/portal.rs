//! The portal's one call: a form that names a screen, answered with a list of texts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use chrono::{Duration, NaiveDate};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};

use super::super::http::{Answer, Call, Client, Manners, Vendor, Verdict, is_html, odd_answer, title};
use super::super::{Job, Source, text};
use super::login::Login;
use crate::error::{Error, Result};
use crate::settings::Secret;

const BASE: &str = "https://data.krx.co.kr";
/// No figure is published: what public clients keep to without being blocked.
const RATE: f64 = 0.5;
const DATA: &str = "/comm/bldAttendant/getJsonData.cmd";
const SCREENS: &str = "/contents/MDC/MDI/outerLoader/index.cmd";
/// A block lasts a day, and is renewed when another try is noticed.
const BLOCK_HOURS: i64 = 24;
/// Lists with prices or amounts of so many names are never the same on two sessions.
const NEVER_TWICE: usize = 5;

/// Asks the portal.
pub(super) struct Portal<'a> {
    client: Client<'a>,
    login: Option<Login>,
    /// Held by the first question: whether the portal wants a login is found out once.
    entering: Mutex<()>,
    has_answered: Cell<bool>,
    /// The last list to each question without its dates: the question, and the list's hash.
    last: RefCell<HashMap<String, (Question, u64)>>,
}

/// What is asked: a screen and its fields.
#[derive(Clone, Debug)]
pub(super) struct Question {
    screen: &'static str,
    fields: Vec<(&'static str, String)>,
    session: Option<NaiveDate>,
}

impl Question {
    /// A question about a session or, without one, about the present.
    pub(super) fn new(screen: &'static str, session: Option<NaiveDate>) -> Self {
        Self { screen, fields: Vec::new(), session }
    }

    /// Adds a field.
    pub(super) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a field with the session as the portal writes it.
    pub(super) fn day(self, name: &'static str) -> Self {
        let day = self.session.map(text::compact).unwrap_or_default();
        self.field(name, day)
    }

    fn call(&self) -> Call {
        let mut fields = self.fields.clone();
        fields.push(("bld", self.screen.to_owned()));
        let call = Call::form(DATA, fields);
        match self.session {
            Some(session) => call.session(session),
            None => call,
        }
    }

    /// The same for all sessions.
    fn without_dates(&self) -> String {
        let day = self.session.map(text::compact).unwrap_or_default();
        let fields = self.fields.iter().filter(|(_, value)| *value != day);
        fields.fold(self.screen.to_owned(), |line, (name, value)| format!("{line}&{name}={value}"))
    }
}

/// A row of a screen. Its fields are texts, and all must be there, blank or not: a column that was renamed must not
/// pass for one without values.
pub(super) trait Row: DeserializeOwned {
    /// Do its values change from session to session?
    const MOVES: bool = true;

    /// Has it nothing of its session? The portal answers for a closed day, and for one that it has nothing of yet, with
    /// all names and dashes for their values.
    fn is_blank(&self) -> bool {
        false
    }
}

/// A list that was answered.
#[derive(Deserialize)]
pub(super) struct List<R> {
    #[serde(rename = "OutBlock_1", alias = "output", alias = "block1")]
    pub(super) rows: Vec<R>,
    /// When it was made, e.g. `2026.01.25 PM 08:28:15` (KST).
    #[serde(rename = "CURRENT_DATETIME")]
    pub(super) made_at: Option<String>,
}

impl<R: Row> List<R> {
    /// Is there nothing of the session in it?
    pub(super) fn says_nothing(&self) -> bool {
        self.rows.iter().all(Row::is_blank)
    }
}

impl<'a> Portal<'a> {
    /// Sets up the client; asks nothing.
    pub(super) fn new(job: &'a Job<'a>) -> Result<Self> {
        if !job.settings.krx_is_on {
            return Err(Error::usage(
                "the KRX data portal (source krx) is off: its terms of use, article 10(2), forbid automated collection, \
                 and it blocks machines that it finds at it",
                "take krx-openapi, the exchange's official service, with a free key; or read the terms, and set \
                 KDATA_KRX=on if you may use the portal",
            ));
        }
        let settings = &job.settings.krx;
        let base = settings.url.clone().unwrap_or_else(|| BASE.into());
        let id = settings.key.as_ref().map(crate::settings::SecretPlace::get).transpose()?;
        let login = id.clone().map(|id| Login::new(job, &base, id)).transpose()?;
        let manners = Manners {
            base,
            rate: settings.rate.unwrap_or(RATE),
            bucket_rate: None,
            key: id,
            calls_a_day: None,
            bytes_a_day: None,
        };
        Ok(Self {
            client: Client::new(Source::Krx, job, manners)?,
            login,
            entering: Mutex::default(),
            has_answered: Cell::default(),
            last: RefCell::default(),
        })
    }

    /// The client, for its rate and its end.
    pub(super) fn client(&self) -> &Client<'a> {
        &self.client
    }

    /// The job is done.
    pub(super) fn finish(self) -> Result<()> {
        self.client.finish()
    }

    /// Asks a question.
    pub(super) async fn ask<R: Row>(&self, question: &Question) -> Result<List<R>> {
        let asking = Asking::<R> {
            portal: self,
            question,
            used: RefCell::default(),
            said: RefCell::default(),
            renewed: Cell::default(),
            row: PhantomData,
        };
        let alone = self.alone_at_first().await;
        let answer = self.client.call(&asking, &question.call()).await?;
        self.has_answered.set(true);
        drop(alone);
        let list: List<R> = answer.json().map_err(|_| odd_answer("krx: a kept answer is no list".into()))?;
        if question.session.is_some() {
            self.last.borrow_mut().insert(question.without_dates(), (question.clone(), hash(&answer.text())));
        }
        Ok(list)
    }

    /// While it is not known whether the account is wanted, one question goes alone: no crowd that is sent away.
    async fn alone_at_first(&self) -> Option<MutexGuard<'_, ()>> {
        let login = self.login.as_ref()?;
        let is_known = || self.has_answered.get() || login.tokens.cached().is_some();
        if is_known() {
            return None;
        }
        let alone = self.entering.lock().await;
        (!is_known()).then_some(alone)
    }

    /// Another session had the very same list. Which of the two is wrong it does not tell: neither is kept.
    fn repeats(&self, question: &Question, text: &str) -> Option<Error> {
        let last = self.last.borrow();
        let (other, same) = last.get(&question.without_dates())?;
        if other.session == question.session || *same != hash(text) {
            return None;
        }
        self.client.disown(&other.call());
        let day = |question: &Question| question.session.map_or_else(String::new, |day| day.to_string());
        Some(odd_answer(format!("it answered with the very list of {} for {}", day(other), day(question))))
    }
}

/// Of the list alone: the time of the answer differs.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.find('[').zip(text.rfind(']')).map(|(from, to)| &text[from..=to]).hash(&mut hasher);
    hasher.finish()
}

/// One question under way.
struct Asking<'p, 'a, R> {
    portal: &'p Portal<'a>,
    question: &'p Question,
    /// The cookies it was sent with.
    used: RefCell<Option<Secret>>,
    /// What was answered instead of data.
    said: RefCell<String>,
    /// Was it logged in for this question?
    renewed: Cell<bool>,
    row: PhantomData<R>,
}

impl<R: Row> Vendor for Asking<'_, '_, R> {
    /// The cookies of a login, where there is one: the portal may want none, and says so.
    async fn sign(&self, client: &Client<'_>) -> Result<Vec<(&'static str, Secret)>> {
        let cookies = self.portal.login.as_ref().and_then(|login| login.tokens.cached());
        let cookies = cookies.map(|token| token.secret);
        self.used.borrow_mut().clone_from(&cookies);
        // As the portal's own pages send them.
        let mut headers = vec![
            ("referer", Secret::new(format!("{}{SCREENS}", client.base()))),
            ("x-requested-with", Secret::new("XMLHttpRequest".into())),
        ];
        headers.extend(cookies.map(|cookies| ("cookie", cookies)));
        Ok(headers)
    }

    fn judge(&self, _: &Call, answer: &Answer) -> Verdict {
        let text = answer.text();
        // The content type says text/html of everything.
        let logged_out = text.trim_start().starts_with("LOGOUT");
        let renew = |what: String| {
            self.said.borrow_mut().clone_from(&what);
            Verdict::Renew { what }
        };
        match answer.status {
            _ if logged_out => renew(format!("it answered {} LOGOUT", answer.status)),
            403 => Verdict::Blocked { what: "it answered 403".into(), length: Duration::hours(BLOCK_HOURS) },
            400 | 401 | 404 => renew(format!("it answered {}", answer.status)),
            // A page may be the one to log in, or say that the portal is being mended.
            200 if is_html(&text) && self.portal.login.is_some() && !self.renewed.get() => {
                renew(format!("it answered with a page, {}", title(&text)))
            }
            200 => match answer.json::<List<R>>() {
                Err(verdict) => verdict,
                Ok(list) if list.says_nothing() => Verdict::Nothing,
                Ok(list) if R::MOVES && list.rows.len() >= NEVER_TWICE => {
                    self.portal.repeats(self.question, &text).map_or(Verdict::Good, Verdict::Fatal)
                }
                Ok(_) => Verdict::Good,
            },
            _ => answer.by_status(),
        }
    }

    async fn renew(&self, client: &Client<'_>) -> Result<()> {
        let said = self.said.borrow().clone();
        let Some(login) = &self.portal.login else {
            return Err(Error::Credentials {
                what: format!("krx: {said} to {}: it wants a login, and KDATA_KRX_ID is not set", self.question.screen),
                help: "set KDATA_KRX_ID and KDATA_KRX_PASSWORD: an account of the portal's own, not a social login".into(),
            });
        };
        self.renewed.set(true);
        let used = self.used.borrow().clone();
        login.tokens.get(used.as_ref(), async |_| login.enter(client).await).await.map(|_| ())
    }
}
