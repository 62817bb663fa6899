//! Who asks KIS: app key and secret, the token that they get, and what its answers say of themselves.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::market::kst;
use crate::settings::Secret;
use crate::source::http::{Answer, Bearer, Call, Client, Token, Tokens, Vendor, Verdict, odd_answer};

/// App key and secret, and the token that they get.
pub(super) struct Account {
    app_key: Secret,
    app_secret: Secret,
    bearer: Bearer,
}

impl Vendor for Account {
    async fn sign(&self, client: &Client<'_>) -> Result<Vec<(&'static str, Secret)>> {
        let token = self.bearer.get(async |_| self.issue(client).await).await?;
        Ok(vec![
            ("authorization", Secret::new(format!("Bearer {}", token.reveal()))),
            ("appkey", self.app_key.clone()),
            ("appsecret", self.app_secret.clone()),
        ])
    }

    fn judge(&self, _: &Call, answer: &Answer) -> Verdict {
        match Envelope::of(answer) {
            Err(verdict) => verdict,
            Ok(envelope) if envelope.rt_cd == "0" && answer.status == 200 => Verdict::Good,
            Ok(envelope) => envelope.verdict(answer),
        }
    }

    async fn renew(&self, client: &Client<'_>) -> Result<()> {
        self.bearer.renew(async |_| self.issue(client).await).await
    }
}

impl Account {
    pub(super) fn new(app_key: Secret, app_secret: Secret, tokens: Tokens) -> Self {
        Self { app_key, app_secret, bearer: Bearer::new(tokens) }
    }

    /// Gets a token. KIS issues one a minute and tells the account's owner of each.
    async fn issue(&self, client: &Client<'_>) -> Result<Token> {
        let call = Call::json(
            "/oauth2/tokenP",
            json!({
                "grant_type": "client_credentials",
                "appkey": self.app_key.reveal(),
                "appsecret": self.app_secret.reveal(),
            }),
        );
        // A minute and a second, in units of the first retry's pause.
        let minute = client.job().settings.http.retry_pause * 61;
        let judge = |answer: &Answer| match answer.json::<Issued>() {
            Ok(issued) if answer.status == 200 && issued.access_token.is_some() => Verdict::Good,
            _ => match Envelope::of(answer) {
                Err(verdict) => verdict,
                Ok(envelope) if envelope.code() == "EGW00133" => {
                    Verdict::Retry { what: envelope.says(), after: Some(minute) }
                }
                Ok(envelope) => envelope.verdict(answer),
            },
        };
        let answer = client.judged("the token", &call, judge).await?;
        let issued: Issued =
            answer.json().map_err(|_| odd_answer("kis: its token does not read twice".into()))?;
        let now = client.job().now;
        Ok(Token {
            expires_at: issued.expires_at(now),
            secret: Secret::new(issued.access_token.unwrap_or_default()),
            issued_at: now,
        })
    }
}

#[derive(Deserialize)]
struct Issued {
    access_token: Option<String>,
    /// Seconds.
    expires_in: Option<i64>,
    /// Seoul's time.
    access_token_token_expired: Option<String>,
}

impl Issued {
    /// The earlier of what it says in two ways: the same token may be issued again with a part of its life over.
    fn expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let life = TimeDelta::try_seconds(self.expires_in.unwrap_or(86_400)).unwrap_or_default();
        let told = self.access_token_token_expired.as_deref().and_then(|text| {
            let at = NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S").ok()?;
            at.and_local_timezone(kst()).single()
        });
        match told {
            Some(told) if told > now => (now + life).min(told.to_utc()),
            _ => now + life,
        }
    }
}

/// What every answer says of itself: quotations in one envelope, tokens in another.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Envelope {
    rt_cd: String,
    msg_cd: String,
    msg1: String,
    error_code: String,
    error_description: String,
}

impl Envelope {
    /// Of an answer, whatever its status.
    fn of(answer: &Answer) -> std::result::Result<Self, Verdict> {
        answer.json().map_err(|verdict| if answer.status == 200 { verdict } else { answer.by_status() })
    }

    fn code(&self) -> &str {
        if self.msg_cd.is_empty() { self.error_code.trim() } else { self.msg_cd.trim() }
    }

    fn says(&self) -> String {
        let text = if self.msg1.is_empty() { &self.error_description } else { &self.msg1 };
        format!("it answered {} {}", self.code().escape_debug(), text.trim().escape_debug())
    }

    /// What an error means.
    fn verdict(&self, answer: &Answer) -> Verdict {
        let what = self.says();
        let credentials = |help: &str| Error::Credentials { what: self.says(), help: help.into() };
        match self.code() {
            // Too many calls within a second, the gateway's hiccups, a back end that is busy.
            "EGW00201" | "EGW00215" | "EGW00202" | "EGW00203" | "EGW00300" | "EGW00301" | "EGW00316"
            | "OPSQ0003" | "OPSQ1002" => Verdict::Retry { what, after: None },
            "EGW00121" | "EGW00123" => Verdict::Renew { what },
            "EGW00103" | "EGW00105" => {
                Verdict::Fatal(credentials("check KDATA_KIS_APP_KEY and KDATA_KIS_APP_SECRET"))
            }
            "EGW00206" => Verdict::Fatal(credentials("the key may not use this service: see KIS Developers")),
            "EGW00213" | "EGW02004" => Verdict::Fatal(Error::usage(
                what,
                "the key and the host do not go together: take the key of a real account, not of a paper one",
            )),
            // Investors of today are open from 15:40 on.
            "OPSQ2001" if self.msg1.contains("TIME LIMIT") => Verdict::Fatal(Error::NotPublished {
                what,
                help: "run again after that time, or ask for an earlier session".into(),
            }),
            "" if answer.status == 200 => {
                Verdict::Fatal(odd_answer("its answer does not say whether it is one (rt_cd)".into()))
            }
            _ if answer.status == 200 => Verdict::Fatal(odd_answer(what)),
            _ => match answer.by_status() {
                Verdict::Retry { after, .. } => Verdict::Retry { what, after },
                Verdict::Fatal(error) => Verdict::Fatal(error.at(&what)),
                other => other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Verdict {
        let answer = Answer { status, headers: vec![], body: body.into(), kept: false };
        match Envelope::of(&answer) {
            Err(verdict) => verdict,
            Ok(envelope) => envelope.verdict(&answer),
        }
    }

    #[test]
    fn errors_by_their_codes() {
        let body = |code: &str| format!(r#"{{"rt_cd":"1","msg_cd":"{code}","msg1":"말씀   "}}"#);
        for code in [
            "EGW00201", "EGW00215", "EGW00202", "EGW00203", "EGW00300", "EGW00301", "EGW00316", "OPSQ0003",
            "OPSQ1002",
        ] {
            for status in [200, 500] {
                assert!(matches!(judged(status, &body(code)), Verdict::Retry { .. }), "{code}");
            }
        }
        for code in ["EGW00121", "EGW00123"] {
            assert!(matches!(judged(500, &body(code)), Verdict::Renew { .. }), "{code}");
        }
        let exit = |status, body: &str| match judged(status, body) {
            Verdict::Fatal(error) => error.exit_code(),
            other => panic!("{other:?}"),
        };
        for (code, expected) in [
            ("EGW00103", 6),
            ("EGW00105", 6),
            ("EGW00206", 6),
            ("EGW00213", 2),
            ("EGW02004", 2),
            ("OPSQ0002", 4),
            ("OPSQ2001", 4),
            ("XYZ", 4),
        ] {
            assert_eq!(exit(200, &body(code)), expected, "{code}");
        }
        let late = r#"{"rt_cd":"2","msg_cd":"OPSQ2001","msg1":"ERROR TIME LIMIT 00:00 ~ 15:40"}"#;
        assert_eq!(exit(200, late), 9);
        let token = r#"{"error_code":"EGW00103","error_description":"유효하지 않은 AppKey입니다."}"#;
        assert_eq!(exit(403, token), 6);
        assert_eq!(exit(200, "{}"), 4);
        assert!(matches!(judged(500, &body("XYZ")), Verdict::Retry { .. }));
        assert!(matches!(judged(502, "<html>"), Verdict::Retry { .. }));
        assert!(matches!(judged(200, r#"{"rt_cd":"0","out"#), Verdict::Retry { .. }));
    }

    #[test]
    fn tokens_end_when_they_say() {
        let now: DateTime<Utc> = "2026-11-23T11:00:00Z".parse().unwrap();
        let end = |expires_in, told: Option<&str>| {
            let told = told.map(ToOwned::to_owned);
            Issued { access_token: None, expires_in, access_token_token_expired: told }.expires_at(now)
        };
        let in_hours = |hours| now + TimeDelta::hours(hours);
        assert_eq!(end(Some(86_400), Some("2026-11-24 20:00:00")), in_hours(24));
        // Issued hours ago.
        assert_eq!(end(Some(86_400), Some("2026-11-24 15:00:00")), in_hours(19));
        // A clock that is off, or a text that does not read.
        assert_eq!(end(Some(3_600), Some("2024-06-12 09:00:00")), in_hours(1));
        assert_eq!(end(None, Some("soon")), in_hours(24));
    }
}
