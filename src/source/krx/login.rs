//! The portal's login. The cookies of a session are kept as a token is: processes share them, since a second login throws
//! out the first.

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;

use super::super::http::{Answer, Call, Client, Token, Tokens};
use super::super::{Job, Source};
use crate::error::{Error, Result};
use crate::settings::Secret;

const ENTRANCE: &str = "/contents/MDC/COMS/client/MDCCOMS001.cmd";
const LOGIN_PAGE: &str = "/contents/MDC/COMS/client/view/login.jsp";
const LOGIN: &str = "/contents/MDC/COMS/client/MDCCOMS001D1.cmd";
/// So long a login holds, as far as is known.
const LOGIN_MINUTES: i64 = 60;

/// An account, and the cookies of its session.
pub(super) struct Login {
    id: Secret,
    password: Secret,
    pub(super) tokens: Tokens,
    now: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Entered {
    #[serde(rename = "_error_code")]
    code: String,
    #[serde(rename = "_error_message", default)]
    message: String,
}

impl Login {
    pub(super) fn new(job: &Job, base: &str, id: Secret) -> Result<Self> {
        let password = job.settings.krx.secret.as_ref().ok_or_else(|| {
            Error::usage("KDATA_KRX_ID is set, and KDATA_KRX_PASSWORD is not", "set both, or neither")
        })?;
        let tokens = Tokens::new(&job.state, Source::Krx.name(), base, &id, job.now)?;
        Ok(Self { id, password: password.get()?, tokens, now: job.now })
    }

    /// Logs in as the portal's page does.
    pub(super) async fn enter(&self, client: &Client<'_>) -> Result<Token> {
        let from = format!("{}{ENTRANCE}", client.base());
        let mut cookies = Cookies::default();
        for call in
            [Call::get(ENTRANCE), Call::get(LOGIN_PAGE).query("site", "mdc").header("referer", from.clone())]
        {
            let answer = client.unkept("the login page", &cookies.with(call)).await?;
            cookies.take(&answer);
        }
        let mut form = vec![
            ("mbrNm", String::new()),
            ("telNo", String::new()),
            ("di", String::new()),
            ("certType", String::new()),
            ("mbrId", self.id.reveal().to_owned()),
            ("pw", self.password.reveal().to_owned()),
        ];
        let mut entered = self.post(client, &from, &form, &mut cookies).await?;
        if entered.code == "CD011" {
            // Logged in elsewhere: this throws the other session out.
            form.push(("skipDup", "Y".into()));
            entered = self.post(client, &from, &form, &mut cookies).await?;
        }
        match entered.code.as_str() {
            "CD001" => Ok(Token {
                secret: cookies.header(),
                expires_at: self.now + Duration::minutes(LOGIN_MINUTES),
                issued_at: self.now,
            }),
            "CD010" => {
                Err(refused("it wants the password changed (CD010)", "change it on the portal's own page"))
            }
            code => Err(refused(
                &format!(
                    "it answered {} {}",
                    code.escape_debug(),
                    self.hide(&entered.message).escape_debug()
                ),
                "check KDATA_KRX_ID and KDATA_KRX_PASSWORD: an account of the portal's own, not a social login",
            )),
        }
    }

    /// What the portal says may repeat what it was told.
    fn hide(&self, message: &str) -> String {
        [&self.password, &self.id]
            .iter()
            .fold(message.to_owned(), |message, secret| message.replace(secret.reveal(), "***"))
    }

    async fn post(
        &self,
        client: &Client<'_>,
        from: &str,
        form: &[(&'static str, String)],
        cookies: &mut Cookies,
    ) -> Result<Entered> {
        let call = Call::form(LOGIN, form.to_vec()).header("referer", from);
        let answer = client.unkept("the login", &cookies.with(call)).await?;
        cookies.take(&answer);
        answer.json().map_err(|_| {
            refused(
                &format!("it answered {} and no JSON", answer.status),
                "run again later, or log in by hand to see why",
            )
        })
    }
}

fn refused(what: &str, help: &str) -> Error {
    Error::Credentials { what: format!("krx: the login failed: {what}"), help: help.into() }
}

/// Cookies by their names; the last one counts.
#[derive(Default)]
struct Cookies(Vec<(String, String)>);

impl Cookies {
    fn take(&mut self, answer: &Answer) {
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            self.0.retain(|(known, _)| known != name.trim());
            self.0.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }

    fn header(&self) -> Secret {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Secret::new(pairs.join("; "))
    }

    fn with(&self, call: Call) -> Call {
        if self.0.is_empty() { call } else { call.header("cookie", self.header().reveal()) }
    }
}
