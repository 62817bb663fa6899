//! Who asks Kiwoom: app key and secret key, the token that they get, and what its answers say of themselves.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::market::kst;
use crate::settings::Secret;
use crate::source::http::{Answer, Bearer, Call, Client, Token, Tokens, Vendor, Verdict, odd_answer};
use crate::source::text::Cell;

/// App key and secret key, and the token that they get.
pub(super) struct Account {
    app_key: Secret,
    secret_key: Secret,
    bearer: Bearer,
}

impl Vendor for Account {
    async fn sign(&self, client: &Client<'_>) -> Result<Vec<(&'static str, Secret)>> {
        let token = self.bearer.get(async |_| self.issue(client).await).await?;
        Ok(vec![("authorization", Secret::new(format!("Bearer {}", token.reveal())))])
    }

    fn judge(&self, _: &Call, answer: &Answer) -> Verdict {
        judge(answer)
    }

    async fn renew(&self, client: &Client<'_>) -> Result<()> {
        self.bearer.renew(async |_| self.issue(client).await).await
    }
}

impl Account {
    pub(super) fn new(app_key: Secret, secret_key: Secret, tokens: Tokens) -> Self {
        Self { app_key, secret_key, bearer: Bearer::new(tokens) }
    }

    /// Gets a token, good for about a day. It is bound to the address of this machine.
    async fn issue(&self, client: &Client<'_>) -> Result<Token> {
        let call = Call::json(
            "/oauth2/token",
            json!({
                "grant_type": "client_credentials",
                "appkey": self.app_key.reveal(),
                "secretkey": self.secret_key.reveal(),
            }),
        );
        let call = call.header("content-type", super::CONTENT_TYPE).header("api-id", "au10001");
        let answer = client.judged("the token", &call, judge).await?;
        let issued: Issued =
            answer.json().map_err(|_| odd_answer("kiwoom: its token does not read".into()))?;
        let now = client.job().now;
        Ok(Token {
            secret: Secret::new(issued.token),
            expires_at: expires_at(&issued.expires_dt, now),
            issued_at: now,
        })
    }
}

#[derive(Deserialize)]
struct Issued {
    token: String,
    #[serde(default)]
    expires_dt: String,
}

/// Seoul's time; a day where it does not read, or is over already by a clock that is off.
fn expires_at(told: &str, now: DateTime<Utc>) -> DateTime<Utc> {
    let read = NaiveDateTime::parse_from_str(told.trim(), "%Y%m%d%H%M%S").ok();
    let told = read.and_then(|at| at.and_local_timezone(kst()).single()).map(|at| at.to_utc());
    told.filter(|at| *at > now).unwrap_or(now + TimeDelta::hours(24))
}

/// What every answer says of itself.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Envelope {
    /// A class of errors; a number, of some clients a text.
    return_code: Cell,
    /// The precise code stands in brackets: `[8005:Token이 유효하지 않습니다]`.
    return_msg: Cell,
}

/// Is the answer good? One about a name that Kiwoom does not know, or that has no data, is: it has no rows.
pub(super) fn judge(answer: &Answer) -> Verdict {
    match answer.json::<Envelope>() {
        Err(verdict) if answer.status == 200 => verdict,
        Err(_) => answer.by_status(),
        Ok(envelope) if &*envelope.return_code == "0" && answer.status == 200 => Verdict::Good,
        Ok(envelope) => envelope.verdict(answer),
    }
}

impl Envelope {
    /// The code in brackets.
    fn code(&self) -> Option<&str> {
        self.return_msg.split('[').skip(1).find_map(|rest| {
            let code = rest.get(..4)?;
            let is_code = code.bytes().all(|b| b.is_ascii_digit())
                && !rest[4..].starts_with(|c: char| c.is_ascii_digit());
            is_code.then_some(code)
        })
    }

    fn says(&self) -> String {
        let text: String = self.return_msg.trim().chars().take(200).collect();
        format!("it answered {} {}", self.return_code.escape_debug(), text.escape_debug())
    }

    /// What an error means: business errors come with status 200, those about too many calls with 429. The same class
    /// and text stand for a question that is too large, which does not get smaller by asking again.
    fn verdict(&self, answer: &Answer) -> Verdict {
        let what = self.says();
        let credentials =
            |help: &str| Verdict::Fatal(Error::Credentials { what: self.says(), help: help.into() });
        match self.code() {
            Some("1634") => Verdict::Fatal(odd_answer(what)),
            // Of the operation, of all, of its group; and the gateway's hiccups.
            Some("1700" | "1701" | "1702" | "1999") => self.again(answer),
            // No such name.
            Some("1902" | "1903") if answer.status == 200 => Verdict::Good,
            Some("8005" | "8103") => Verdict::Renew { what },
            Some("8010") => credentials(
                "the token belongs to another address: register this machine's at Kiwoom REST, and let it alone use the key",
            ),
            Some("8030" | "8031") => credentials(
                "the key and the host do not go together: a key of the mock service needs \
                 KDATA_KIWOOM_URL=https://mockapi.kiwoom.com, one of a real account no setting",
            ),
            Some("8001" | "8002" | "8020") => {
                credentials("check KDATA_KIWOOM_APP_KEY and KDATA_KIWOOM_SECRET_KEY")
            }
            Some(code) if code.starts_with('8') => {
                credentials("see what Kiwoom REST says of the key and its account")
            }
            None if &*self.return_code == "5" => self.again(answer),
            None if &*self.return_code == "20" && answer.status == 200 => Verdict::Good,
            None if self.return_code.is_empty() && answer.status == 200 => {
                Verdict::Fatal(odd_answer("its answer does not say whether it is one (return_code)".into()))
            }
            _ if answer.status == 200 => Verdict::Fatal(odd_answer(what)),
            _ => match answer.by_status() {
                Verdict::Retry { after, .. } => Verdict::Retry { what, after },
                Verdict::Fatal(error) => Verdict::Fatal(error.at(&what)),
                other => other,
            },
        }
    }

    fn again(&self, answer: &Answer) -> Verdict {
        let after = if let Verdict::Retry { after, .. } = answer.by_status() { after } else { None };
        Verdict::Retry { what: self.says(), after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, class: &str, message: &str) -> Verdict {
        let body = format!(r#"{{"return_code":{class},"return_msg":"{message}"}}"#);
        judge(&Answer { status, headers: vec![], body: body.into_bytes(), kept: false })
    }

    #[test]
    fn errors_by_their_codes() {
        let too_many = "허용된 요청 개수를 초과하였습니다";
        for code in ["1700:허용된 요청 개수 유량=5, API ID=ka10080", "1701:전체", "1702:그룹"] {
            let message = format!("{too_many}[{code}]");
            assert!(matches!(judged(429, "5", &message), Verdict::Retry { .. }), "{code}");
        }
        assert!(matches!(judged(429, "5", too_many), Verdict::Retry { .. }));
        assert!(matches!(judged(200, "3", "[1999:예기치 못한 에러]"), Verdict::Retry { .. }));
        // The same class and text: only the code in brackets differs.
        for status in [200, 429] {
            assert!(matches!(judged(status, "5", &format!("{too_many}[1634:x]")), Verdict::Fatal(_)));
        }
        for class in ["0", "\"0\""] {
            assert!(matches!(judged(200, class, "정상적으로 처리되었습니다"), Verdict::Good));
        }
        for (class, message) in [("20", "조회된 데이터가 없습니다"), ("2", "[1902:종목 정보가 없습니다]")]
        {
            assert!(matches!(judged(200, class, message), Verdict::Good));
        }
        for code in ["8005", "8103"] {
            assert!(matches!(judged(200, "3", &format!("인증 실패[{code}:Token]")), Verdict::Renew { .. }));
        }
        let exit = |verdict| match verdict {
            Verdict::Fatal(error) => error.exit_code(),
            other => panic!("{other:?}"),
        };
        for code in ["8001", "8002", "8010", "8030", "8031", "8050", "8200"] {
            assert_eq!(exit(judged(200, "3", &format!("인증 실패[{code}:x]"))), 6, "{code}");
        }
        for (class, message) in [("2", "[1511:필수 입력값]"), ("2", "[15115:x]"), ("7", ""), ("null", "")]
        {
            assert_eq!(exit(judged(200, class, message)), 4, "{message}");
        }
        assert!(matches!(judged(503, "7", "x"), Verdict::Retry { .. }));
        assert_eq!(exit(judged(401, "7", "x")), 6);
    }

    #[test]
    fn tokens_end_when_they_say() {
        let now: DateTime<Utc> = "2026-11-23T11:00:00Z".parse().unwrap();
        assert_eq!(
            expires_at("20261124083713", now),
            "2026-11-23T23:37:13Z".parse::<DateTime<Utc>>().unwrap()
        );
        // A clock that is off, or a text that does not read.
        for odd in ["20241107083713", "soon", ""] {
            assert_eq!(expires_at(odd, now), now + TimeDelta::hours(24));
        }
    }
}
