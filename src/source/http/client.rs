//! Asks one source on behalf of one job: the spool, the turn, the tries, the breaker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limit::{Limit, Quota};
use super::spool::{self, Spool, Unfinished, Worth};
use super::{Answer, Body, Breaker, Call, Vendor, Verdict, block_notice};
use crate::error::{Error, Result, causes};
use crate::market::kst_date;
use crate::settings::{HttpSettings, Secret};
use crate::source::{Job, Plan, Source};
use crate::state::{digest, private_folder};
use crate::web;

/// So often a call is sent before the run gives up.
const TRIES: u32 = 5;
/// So long answers are kept without an archive.
const SPOOL_DAYS: u64 = 7;

/// How a source may be asked.
#[derive(Clone, Debug)]
pub struct Manners {
    /// The base URL, without a slash at its end.
    pub base: String,
    /// Calls a second for the key.
    pub rate: f64,
    /// Calls a second for each bucket, where the source counts those, too.
    pub bucket_rate: Option<f64>,
    /// Tells keys apart, so that each has its own count; only its digest is written.
    pub key: Option<Secret>,
    /// Calls a day.
    pub calls_a_day: Option<u64>,
    /// Bytes of answers a day.
    pub bytes_a_day: Option<u64>,
}

/// Asks one source on behalf of one job.
#[derive(Debug)]
pub struct Client<'a> {
    job: &'a Job<'a>,
    source: Source,
    manners: Manners,
    inner: reqwest::Client,
    limits: PathBuf,
    /// Names the source and the key in the state directory.
    id: String,
    limit: Limit,
    buckets: tokio::sync::Mutex<Vec<(&'static str, Arc<Limit>)>>,
    quota: Quota,
    breaker: Breaker,
    spool: Spool,
    unfinished: Option<Unfinished>,
    /// When the job's present instant was.
    begun: Instant,
}

impl<'a> Client<'a> {
    /// A client for a job; refuses while the source blocks us.
    pub fn new(source: Source, job: &'a Job<'a>, manners: Manners) -> Result<Self> {
        let (name, http) = (source.name(), &job.settings.http);
        let limits = job.state.join("limits");
        private_folder(&limits)?;
        let breaker = Breaker::new(&job.state, name);
        if !job.replay {
            breaker.check(job.now)?;
        }
        let key = digest(&format!("{} {}", manners.base, manners.key.as_ref().map_or("", Secret::reveal)));
        let id = format!("{name}-{key}");
        let folder = http.archive.clone().unwrap_or_else(|| job.state.join("spool"));
        // An archive is the user's to tidy.
        let days = if http.archive.is_some() { u64::MAX } else { SPOOL_DAYS };
        let spool = Spool::new(&folder, name, days)?;
        let unfinished =
            if job.replay { None } else { Some(spool.begin(&job.line(source), spool::clock())?) };
        let limit = Limit::new(&limits, &id, manners.rate);
        let quota = Quota::new(&limits, &format!("{id}-day"), manners.calls_a_day, manners.bytes_a_day);
        let inner = web::client(http, http.timeout, http.insecure.iter().any(|source| source == name))?;
        let buckets = tokio::sync::Mutex::default();
        Ok(Self {
            job,
            source,
            manners,
            inner,
            limits,
            id,
            limit,
            buckets,
            quota,
            breaker,
            spool,
            unfinished,
            begun: Instant::now(),
        })
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.manners.base
    }

    /// The source.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The job.
    pub fn job(&self) -> &'a Job<'a> {
        self.job
    }

    /// Refuses while the source blocks us.
    pub fn check(&self) -> Result<()> {
        self.breaker.check(self.job.now)
    }

    /// So many calls at the configured rate.
    pub fn plan(&self, calls: usize) -> Plan {
        Plan::new(calls, self.manners.rate)
    }

    /// How many calls may be under way so that the rate is used although answers take their time.
    pub fn in_flight(&self) -> usize {
        // Answers of up to four seconds.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let covered = (self.manners.rate * 4.0).ceil() as usize;
        covered.clamp(2, 64)
    }

    /// Asks a question and reads the answer. One that turns out not to be what was asked for (another date, no rows on
    /// an open day, a page that came before) is not taken for an answer when the job is run again.
    pub async fn ask<T>(
        &self,
        vendor: &impl Vendor,
        call: &Call,
        read: impl FnOnce(&Answer) -> Result<T>,
    ) -> Result<T> {
        let answer = self.call(vendor, call).await?;
        read(&answer).inspect_err(|_| self.spool.disown(call.session, &call.line()))
    }

    /// An answer was good as such, and not there yet together with the others: it is not taken for one when the job is
    /// run again.
    pub fn disown(&self, call: &Call) {
        if !self.job.replay {
            self.spool.disown(call.session, &call.line());
        }
    }

    /// Asks a question: the answer that [`Vendor::judge`] calls good, from the spool where this run has it already.
    pub async fn call(&self, vendor: &impl Vendor, call: &Call) -> Result<Answer> {
        let line = call.line();
        let since = self.unfinished.as_ref().map(|run| run.since);
        if let Some(answer) = self.spool.get(call.session, &line, since) {
            self.job.progress.called();
            return Ok(answer);
        }
        if self.job.replay {
            return Err(Error::Source {
                what: format!("{}: no answer is kept for {}", self.source.name(), shorten(&line)),
                help: "leave --replay out to ask the source".into(),
            });
        }
        let mut pauses = Pauses::new(&self.job.settings.http, &line);
        let mut renewed = false;
        loop {
            let headers = vendor.sign(self).await?;
            let (what, after) = match self.send(call, headers).await {
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Again(what)) => (what, None),
                Ok(answer) => {
                    let verdict = block_notice(&answer).unwrap_or_else(|| vendor.judge(call, &answer));
                    let worth = match verdict {
                        Verdict::Good => Worth::Good,
                        Verdict::Nothing => Worth::Nothing,
                        _ => Worth::Bad,
                    };
                    self.spool.keep(call.session, &line, &answer, worth, spool::clock())?;
                    match verdict {
                        Verdict::Good | Verdict::Nothing => {
                            self.job.progress.called();
                            return Ok(answer);
                        }
                        Verdict::Retry { what, after } => (what, after),
                        Verdict::Renew { what } if renewed => return Err(self.refused(&line, &what)),
                        Verdict::Renew { what } => {
                            tracing::info!("{}: {what}: renewing", self.source.name());
                            vendor.renew(self).await?;
                            renewed = true;
                            continue;
                        }
                        Verdict::Blocked { what, length } => {
                            return Err(self.breaker.trip(self.job.now, length, &what));
                        }
                        Verdict::Fatal(error) => return Err(self.locate(error, &line)),
                    }
                }
            };
            match pauses.next(after) {
                Some(pause) => {
                    tracing::warn!(
                        "{}: {}: {what}; trying again in {:.1} s",
                        self.source.name(),
                        shorten(&line),
                        pause.as_secs_f64()
                    );
                    if after.is_some() {
                        // The others would be told the same.
                        self.limit.pause(pause)?;
                    }
                    self.sleep(pause).await?;
                }
                None => return Err(self.spent(&line, &what, pauses.tries)),
            }
        }
    }

    /// Sends a call that holds secrets or is about the connection itself (a token, a login): not signed, not kept, not
    /// shown. Failures on the way are tried again; the answer is the caller's to judge.
    pub async fn unkept(&self, about: &str, call: &Call) -> Result<Answer> {
        self.judged(about, call, |_| Verdict::Good).await
    }

    /// As [`Self::unkept`], and tries again where the answer's judge says so.
    pub async fn judged(
        &self,
        about: &str,
        call: &Call,
        judge: impl Fn(&Answer) -> Verdict,
    ) -> Result<Answer> {
        let mut pauses = Pauses::new(&self.job.settings.http, about);
        loop {
            let (what, after) = match self.send(call, Vec::new()).await {
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Again(what)) => (what, None),
                Ok(answer) => match block_notice(&answer).unwrap_or_else(|| judge(&answer)) {
                    Verdict::Good | Verdict::Nothing => return Ok(answer),
                    Verdict::Retry { what, after } => (what, after),
                    Verdict::Renew { what } => return Err(self.refused(about, &what)),
                    Verdict::Blocked { what, length } => {
                        return Err(self.breaker.trip(self.job.now, length, &what));
                    }
                    Verdict::Fatal(error) => return Err(self.locate(error, about)),
                },
            };
            let Some(pause) = pauses.next(after) else {
                return Err(self.spent(about, &what, pauses.tries));
            };
            tracing::warn!(
                "{}: {about}: {what}; trying again in {:.1} s",
                self.source.name(),
                pause.as_secs_f64()
            );
            self.sleep(pause).await?;
        }
    }

    /// The job is done: the next one asks anew.
    pub fn finish(self) -> Result<()> {
        self.unfinished.map_or(Ok(()), Unfinished::finish)
    }

    async fn send(
        &self,
        call: &Call,
        secrets: Vec<(&'static str, Secret)>,
    ) -> std::result::Result<Answer, Failure> {
        self.may_send(call).await.map_err(Failure::Fatal)?;
        let mut request =
            self.inner.request(call.method.clone(), format!("{}{}", self.manners.base, call.path));
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        for (name, value) in secrets {
            let mut value = reqwest::header::HeaderValue::from_str(value.reveal()).map_err(|_| {
                Failure::Fatal(Error::usage(
                    format!("{}: the key holds characters that no header may hold", self.source.name()),
                    "check the setting for line ends and blanks",
                ))
            })?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request = match &call.body {
            Body::None => request,
            Body::Form(fields) => request.form(fields),
            Body::Json(document) => request.json(document),
        };
        let answer = request.send().await.map_err(|e| self.failure(e))?;
        let status = answer.status().as_u16();
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers =
            answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let body = answer.bytes().await.map_err(|e| self.failure(e))?.to_vec();
        self.quota.add_bytes(&self.today(), body.len() as u64).map_err(Failure::Fatal)?;
        Ok(Answer { status, headers, body, kept: false })
    }

    /// Waits for the call's turn.
    async fn may_send(&self, call: &Call) -> Result<()> {
        self.job.stop.check()?;
        // Another process may have been told meanwhile.
        self.breaker.check(self.job.now)?;
        if let (Some(bucket), Some(rate)) = (call.bucket, self.manners.bucket_rate) {
            let mut buckets = self.buckets.lock().await;
            let known = buckets.iter().find(|(name, _)| *name == bucket).map(|(_, limit)| Arc::clone(limit));
            let limit = known.unwrap_or_else(|| {
                let limit = Arc::new(Limit::new(&self.limits, &format!("{}-{bucket}", self.id), rate));
                buckets.push((bucket, Arc::clone(&limit)));
                limit
            });
            drop(buckets);
            limit.take().await?;
        }
        self.limit.take().await?;
        self.job.stop.check()?;
        let today = self.today();
        let used = self.quota.take(&today)?.map_err(|used| Error::Source {
            what: format!(
                "{}: the day's quota is spent ({} calls, {} bytes on {today})",
                self.source.name(),
                used.calls,
                used.bytes
            ),
            help: "run the same again after 00:00 KST: what was answered is kept and not asked for again"
                .into(),
        })?;
        self.job.progress.quota(used, self.quota.calls);
        Ok(())
    }

    /// Waits, unless the run shall stop.
    async fn sleep(&self, pause: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            error = self.job.stop.wait() => Err(error),
        }
    }

    /// The day that a quota is of: a run that goes on past midnight counts on the next one.
    fn today(&self) -> String {
        let passed = chrono::Duration::from_std(self.begun.elapsed()).unwrap_or_default();
        kst_date(self.job.now + passed).to_string()
    }

    fn failure(&self, error: reqwest::Error) -> Failure {
        let causes = causes(&error.without_url());
        let what = format!("{}: {causes}", self.source.name());
        // A certificate does not get better by trying again.
        if causes.contains("certificate") || causes.contains("UnknownIssuer") {
            return Failure::Fatal(Error::Source {
                what: format!("{what} (the server's certificate is not trusted)"),
                help: format!(
                    "check the machine's clock; for a private or incomplete chain set KDATA_CA_FILE to a PEM file with \
                     the missing certificates, or as a last resort name {} in KDATA_TLS_INSECURE",
                    self.source.name()
                ),
            });
        }
        Failure::Again(causes)
    }

    fn spent(&self, line: &str, what: &str, tries: u32) -> Error {
        Error::Source {
            what: format!("{}: {}: {what}, {tries} times", self.source.name(), shorten(line)),
            help: "run the same again later: what was answered is kept and not asked for again".into(),
        }
    }

    fn refused(&self, line: &str, what: &str) -> Error {
        Error::Credentials {
            what: format!("{}: {}: {what}, also after renewing", self.source.name(), shorten(line)),
            help: "check the key of this source, and that no other program uses the same account".into(),
        }
    }

    /// Says where an error arose.
    fn locate(&self, error: Error, line: &str) -> Error {
        let at = format!("{}: {}", self.source.name(), shorten(line));
        error.at(&at)
    }
}

enum Failure {
    /// Something on the way failed.
    Again(String),
    Fatal(Error),
}

/// Waits between tries: they double, with jitter, within an overall limit.
struct Pauses {
    tries: u32,
    next: Duration,
    left: Duration,
    dice: u64,
}

impl Pauses {
    fn new(http: &HttpSettings, seed: &str) -> Self {
        // Jitter only has to differ between calls and processes.
        let dice = seed.bytes().fold(u64::from(std::process::id()), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { tries: 1, next: http.retry_pause, left: http.retry_limit, dice }
    }

    /// The next wait; `None` when it is time to give up.
    fn next(&mut self, after: Option<Duration>) -> Option<Duration> {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let percent = u32::try_from(75 + (self.dice >> 33) % 50).unwrap_or(100);
        let pause = after.unwrap_or(self.next * percent / 100);
        if self.tries >= TRIES || pause > self.left {
            return None;
        }
        self.tries += 1;
        self.next *= 2;
        self.left -= pause;
        Some(pause)
    }
}

fn shorten(line: &str) -> String {
    const MOST: usize = 160;
    if line.chars().count() <= MOST {
        return line.to_owned();
    }
    line.chars().take(MOST).chain("…".chars()).collect()
}
