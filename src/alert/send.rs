//! Delivery. URLs and the command's text are secrets: no message quotes them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Alert;
use crate::error::causes;
use crate::settings::{AlertSettings, Form, Secret, SecretPlace, Settings};
use crate::web;

/// An answer, and a command, may take so long.
const ANSWER: Duration = Duration::from_secs(3);
/// All of it, with the secrets' own commands.
const ALL: Duration = Duration::from_secs(5);
/// Telegram takes 4,096 characters, Slack advises 4,000.
const LONGEST: usize = 3_500;

/// Who is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// `KDATA_ALERT_WEBHOOK`.
    Webhook,
    /// `KDATA_ALERT_COMMAND`.
    Command,
}

impl Channel {
    /// The setting.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Webhook => "KDATA_ALERT_WEBHOOK",
            Self::Command => "KDATA_ALERT_COMMAND",
        }
    }

    /// Those that are set up.
    pub fn of(settings: &AlertSettings) -> Vec<Self> {
        let webhook = settings.webhook.as_ref().map(|_| Self::Webhook);
        let command = settings.command.as_ref().map(|_| Self::Command);
        webhook.into_iter().chain(command).collect()
    }
}

/// Delivered, or why not.
pub type Outcome = std::result::Result<(), String>;

/// Delivers alerts, all at once, and waits for a few seconds; what took longer counts as not delivered.
pub fn send(alerts: &[(Alert, Channel)], settings: &Settings) -> Vec<Outcome> {
    let (told, outcomes) = mpsc::channel();
    for (at, (alert, channel)) in alerts.iter().enumerate() {
        let (alert, channel, settings, told) = (alert.clone(), *channel, settings.clone(), told.clone());
        std::thread::spawn(move || {
            let outcome = match channel {
                Channel::Webhook => webhook(&alert, &settings),
                Channel::Command => command(&alert, settings.alerts.command.as_ref()),
            };
            told.send((at, outcome))
        });
    }
    let mut all = vec![Err("no answer for some seconds".to_owned()); alerts.len()];
    let begun = Instant::now();
    for _ in alerts {
        match outcomes.recv_timeout(ALL.saturating_sub(begun.elapsed())) {
            Ok((at, outcome)) => all[at] = outcome,
            Err(_) => break,
        }
    }
    all
}

/// What a dead man's switch is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ping {
    /// A job begins.
    Start,
    /// It ended well.
    Success,
    /// It failed.
    Fail,
}

/// Pings `KDATA_PING_URL`, by the paths that healthchecks.io has: the URL itself, `/start`, `/fail`.
pub fn ping(ping: Ping, settings: &Settings) -> Outcome {
    let Some(place) = settings.alerts.ping.clone() else { return Ok(()) };
    let settings = settings.clone();
    within(ALL, move || {
        let mut url = url(&place)?;
        let suffix = match ping {
            Ping::Success => None,
            Ping::Start => Some("start"),
            Ping::Fail => Some("fail"),
        };
        if let (Some(suffix), Ok(mut path)) = (suffix, url.path_segments_mut()) {
            path.pop_if_empty().push(suffix);
        }
        request(&settings, |client| client.get(url))
    })
}

/// Does something on a thread of its own, which is left alone when it takes too long: it ends with the process.
fn within(limit: Duration, what: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let (told, outcome) = mpsc::channel();
    std::thread::spawn(move || told.send(what()));
    outcome.recv_timeout(limit).unwrap_or_else(|_| Err("no answer for some seconds".to_owned()))
}

fn url(place: &SecretPlace) -> std::result::Result<Url, String> {
    let secret = place.get().map_err(|error| error.to_string())?;
    let url = Url::parse(secret.reveal()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| format!("{} is not an http or https URL", place.name))
}

/// Sends a request; any answer but 2xx is a failure. No message holds the URL.
fn request(settings: &Settings, make: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Outcome {
    let client = web::client(&settings.http, ANSWER, false).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(|error| error.to_string())?.block_on(async { make(&client).send().await });
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) if answer.status().is_redirection() => {
            Err(format!("it answered {}, a redirect: they are not followed", answer.status()))
        }
        Ok(answer) => Err(format!("it answered {}", answer.status())),
        Err(error) => Err(causes(&error.without_url())),
    }
}

fn webhook(alert: &Alert, settings: &Settings) -> Outcome {
    let Some(place) = &settings.alerts.webhook else { return Err("it is no longer set".to_owned()) };
    let url = url(place)?;
    let (url, document) = form(url, settings.alerts.form, alert)?;
    request(settings, |client| client.post(url).json(&document))
}

/// Where to, and what, in the form that the webhook takes.
fn form(mut url: Url, form: Option<Form>, alert: &Alert) -> std::result::Result<(Url, Value), String> {
    let of_host = || match url.host_str() {
        Some("hooks.slack.com" | "hooks.slack-gov.com") => Form::Slack,
        Some("api.telegram.org") => Form::Telegram,
        _ => Form::Json,
    };
    let document = match form.unwrap_or_else(of_host) {
        Form::Json => serde_json::to_value(alert).expect("plain data"),
        // The three characters that its markup gives a meaning to.
        Form::Slack => {
            let text = alert.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            json!({ "text": shorten(&text) })
        }
        Form::Telegram => {
            let chat = url.query_pairs().find(|(name, _)| name == "chat_id").map(|(_, id)| id.into_owned());
            let chat =
                chat.ok_or_else(|| "it names no chat: end the URL in sendMessage?chat_id=…".to_owned())?;
            url.set_query(None);
            json!({ "chat_id": chat, "text": shorten(&alert.text) })
        }
    };
    Ok((url, document))
}

/// No longer than what is taken, and no character cut in two.
fn shorten(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

/// Runs the command with the alert on its stdin. What it prints may be about its secrets: not shown.
fn command(alert: &Alert, command: Option<&Secret>) -> Outcome {
    let Some(command) = command else { return Err("it is no longer set".to_owned()) };
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command.reveal()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // With a group of its own: what it started is ended with it.
    shell.process_group(0);
    let mut child = shell.spawn().map_err(|error| format!("it cannot be run: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing is its own business.
        let _ = writeln!(stdin, "{}", serde_json::to_string(alert).expect("plain data"));
    }
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("it failed ({status})")),
            Ok(None) if begun.elapsed() < ANSWER => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let group = format!("-{}", child.id());
                let _ = Command::new("/bin/kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", ANSWER.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, SCHEMA_VERSION};
    use super::*;

    fn alert(text: &str) -> Alert {
        Alert {
            schema_version: SCHEMA_VERSION,
            event: Event::Failed,
            host: "h".into(),
            job: "run ohlcv --due".into(),
            at: "2026-11-20T19:10:00+09:00".parse().unwrap(),
            exit_code: 4,
            meaning: String::new(),
            message: String::new(),
            help: String::new(),
            text: text.into(),
        }
    }

    #[test]
    fn each_webhook_gets_its_form() {
        let told = |url: &str, chosen| form(Url::parse(url).unwrap(), chosen, &alert("<삼성전자> & 1 > 0"));
        let (_, slack) = told("https://hooks.slack.com/services/T/B/x", None).unwrap();
        assert_eq!(slack, json!({ "text": "&lt;삼성전자&gt; &amp; 1 &gt; 0" }));
        let (url, telegram) = told("https://api.telegram.org/bot1:x/sendMessage?chat_id=-100", None).unwrap();
        assert_eq!(telegram, json!({ "chat_id": "-100", "text": "<삼성전자> & 1 > 0" }));
        assert_eq!(url.as_str(), "https://api.telegram.org/bot1:x/sendMessage");
        assert!(told("https://api.telegram.org/bot1:x/sendMessage", None).unwrap_err().contains("chat_id"));
        let (_, plain) = told("https://example.org/hook", None).unwrap();
        assert_eq!(plain["text"], "<삼성전자> & 1 > 0");
        assert_eq!(plain["schema_version"], 1);
        let (_, chosen) = told("https://example.org/hook", Some(Form::Slack)).unwrap();
        assert!(chosen.get("schema_version").is_none());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shorten("가나"), "가나");
        assert_eq!(shorten(&"가".repeat(5_000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn a_command_that_hangs_or_fails_is_told() {
        let run = |text: &str| command(&alert("x"), Some(&Secret::new(text.to_owned())));
        assert_eq!(run("cat >/dev/null"), Ok(()));
        assert_eq!(run("true"), Ok(()));
        assert!(run("exit 3").unwrap_err().contains("exit status: 3"));
        // What it started is gone as well.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let hangs = format!("sleep 60 & echo $! > {}; wait", file.display());
        assert!(run(&hangs).unwrap_err().contains("longer than"));
        let child = std::fs::read_to_string(file).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        // A zombie has no command line.
        let left = std::fs::read_to_string(format!("/proc/{}/cmdline", child.trim())).unwrap_or_default();
        assert!(!left.starts_with("sleep"), "{left}");
    }
}
