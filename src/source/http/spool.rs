//! The spool: every answer, compressed, with its request and without secrets, by source and session. A rerun after a
//! failure asks only for what is missing; `--replay` parses again without a call.
//!
//! `<state>/spool/<source>/<session>/<key>.gz` holds the last good answer to a request, `<key>.<n>.bad.gz` those that
//! were not good. Each is one line of JSON about the request and the answer, then the body as it came.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDate, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::error::{Error, Result};
use crate::state::{digest, private_folder};

/// The spool of one source.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    days: u64,
}

/// What stands before the body.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    request: String,
    asked_at: DateTime<Utc>,
    status: u16,
    headers: Vec<(String, String)>,
    /// Good, but without anything in it.
    #[serde(default)]
    is_empty: bool,
}

/// What an answer is worth to later runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worth {
    /// A rerun need not ask again.
    Good,
    /// A rerun asks again: there may be something by then. A replay takes it.
    Nothing,
    /// Kept to be looked at.
    Bad,
}

/// A mark that a run is under way: answers kept since then are its own, also when it is run again.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    /// When the first try of the run began.
    pub since: DateTime<Utc>,
}

impl Unfinished {
    /// The run is done: the next one asks anew.
    pub fn finish(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove {}", self.path.display()), e))
            }
            _ => Ok(()),
        }
    }
}

impl Spool {
    /// The spool of a source below a folder; answers older than so many days are removed now and then.
    pub fn new(folder: &Path, source: &str, days: u64) -> Result<Self> {
        let spool = Self { folder: folder.join(source), days };
        private_folder(&spool.folder)?;
        spool
            .ready()
            .map_err(|e| Error::io(format!("cannot use the spool {}", spool.folder.display()), e))?;
        Ok(spool)
    }

    fn ready(&self) -> std::io::Result<()> {
        let swept = self.folder.join("swept");
        let is_old = |path: &Path, age| {
            let changed = fs::metadata(path).and_then(|m| m.modified());
            changed.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > age))
        };
        // Once a day is often enough.
        if swept.exists() && !is_old(&swept, Duration::from_secs(86_400)) {
            return Ok(());
        }
        fs::write(&swept, "")?;
        let age = Duration::from_secs(self.days.saturating_mul(86_400));
        for session in fs::read_dir(&self.folder)?.flatten().filter(|entry| entry.path().is_dir()) {
            for answer in fs::read_dir(session.path())?.flatten() {
                if is_old(&answer.path(), age) {
                    let _ = fs::remove_file(answer.path());
                }
            }
            // Only an empty folder goes.
            let _ = fs::remove_dir(session.path());
        }
        Ok(())
    }

    /// Marks a run as under way. A run of the same name that did not finish is gone on with.
    pub fn begin(&self, run: &str, now: DateTime<Utc>) -> Result<Unfinished> {
        let path = self.folder.join(format!("{}.unfinished", digest(run)));
        let before = fs::read_to_string(&path).ok().and_then(|text| text.parse::<DateTime<Utc>>().ok());
        // Older than a day: the answers may have changed meanwhile.
        if let Some(since) =
            before.filter(|since| now - *since < chrono::Duration::hours(24) && *since <= now)
        {
            return Ok(Unfinished { path, since });
        }
        fs::write(&path, now.to_rfc3339())
            .map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?;
        Ok(Unfinished { path, since: now })
    }

    /// The good answer to a request that was kept since an instant.
    pub fn get(
        &self,
        session: Option<NaiveDate>,
        request: &str,
        since: Option<DateTime<Utc>>,
    ) -> Option<Answer> {
        let path = self.place(session).join(format!("{}.gz", digest(request)));
        // A file that was cut or damaged is as none: the question is asked again.
        let (head, body) = read(&path).ok()?;
        let fits =
            head.request == request && since.is_none_or(|since| head.asked_at >= since && !head.is_empty);
        fits.then_some(Answer { status: head.status, headers: head.headers, body, kept: true })
    }

    /// Keeps an answer.
    pub fn keep(
        &self,
        session: Option<NaiveDate>,
        request: &str,
        answer: &Answer,
        worth: Worth,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let folder = self.place(session);
        // Cookies are secrets.
        let headers = answer.headers.iter().filter(|(name, _)| !name.contains("cookie")).cloned().collect();
        let head = Head {
            request: request.to_owned(),
            asked_at: now,
            status: answer.status,
            headers,
            is_empty: worth == Worth::Nothing,
        };
        let name = if worth == Worth::Bad {
            format!("{}.{}.bad.gz", digest(request), nanos())
        } else {
            format!("{}.gz", digest(request))
        };
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            serde_json::to_writer(&mut encoder, &head)?;
            encoder.write_all(b"\n")?;
            encoder.write_all(&answer.body)?;
            // Renamed when whole: a killed run leaves no half answer.
            let part = folder.join(format!("{name}.{}.part", std::process::id()));
            fs::write(&part, encoder.finish()?)?;
            fs::rename(&part, folder.join(&name))
        };
        write().map_err(|e| Error::io(format!("cannot keep an answer in {}", folder.display()), e))
    }

    /// Answers about a session that hold a text, in the folder of a source: where each is, and to what request.
    pub fn look(
        folder: &Path,
        session: NaiveDate,
        text: Option<&str>,
        most: usize,
    ) -> Vec<(PathBuf, String)> {
        let places = [session.to_string(), "undated".to_owned()].map(|name| fs::read_dir(folder.join(name)));
        let paths = places.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
        let answers = paths.filter_map(|path| read(&path).ok().map(|(head, body)| (path, head, body)));
        let holds = |request: &str, body: &[u8]| {
            text.is_none_or(|text| {
                request.contains(text) || memchr::memmem::find(body, text.as_bytes()).is_some()
            })
        };
        answers
            .filter(|(_, head, body)| holds(&head.request, body))
            .map(|(path, head, _)| (path, head.request))
            .take(most)
            .collect()
    }

    /// What was kept as a good answer is none: it stays, by another name.
    pub fn disown(&self, session: Option<NaiveDate>, request: &str) {
        let (folder, name) = (self.place(session), digest(request));
        // Not there: then nothing is taken for an answer, which is what was wanted.
        let _ =
            fs::rename(folder.join(format!("{name}.gz")), folder.join(format!("{name}.{}.bad.gz", nanos())));
    }

    fn place(&self, session: Option<NaiveDate>) -> PathBuf {
        self.folder.join(session.map_or_else(|| "undated".to_owned(), |date| date.to_string()))
    }
}

fn read(path: &Path) -> std::io::Result<(Head, Vec<u8>)> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path)?).read_to_end(&mut bytes)?;
    let line = memchr::memchr(b'\n', &bytes).ok_or(std::io::ErrorKind::InvalidData)?;
    let head = serde_json::from_slice(&bytes[..line])?;
    bytes.drain(..=line);
    Ok((head, bytes))
}

/// When answers come: real time, also where drills fix the clock, since a later run must not take them for its own.
#[expect(clippy::disallowed_methods, reason = "says nothing about the data")]
pub(super) fn clock() -> DateTime<Utc> {
    Utc::now()
}

#[expect(clippy::disallowed_methods, reason = "tells answers apart, says nothing about the data")]
fn nanos() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    fn answer(body: &[u8]) -> Answer {
        Answer {
            status: 200,
            headers: vec![("cont-yn".into(), "Y".into())],
            body: body.to_vec(),
            kept: false,
        }
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), "kis", 7).unwrap();
        let now: DateTime<Utc> = "2026-11-20T09:00:00Z".parse().unwrap();
        let session = Some(ymd(2026, 11, 20));
        spool.keep(session, "GET /a", &answer(b"x\ny\xff"), Worth::Good, now).unwrap();
        spool.keep(session, "GET /b", &answer(b"<html>"), Worth::Bad, now).unwrap();
        spool.keep(session, "GET /c", &answer(b"[]"), Worth::Nothing, now).unwrap();
        let kept = spool.get(session, "GET /a", Some(now)).unwrap();
        assert_eq!(
            (kept.body.as_slice(), kept.headers[0].1.as_str(), kept.kept),
            (&b"x\ny\xff"[..], "Y", true)
        );
        assert!(spool.get(session, "GET /a", Some(now + chrono::Duration::seconds(1))).is_none());
        assert!(spool.get(session, "GET /b", None).is_none());
        assert!(
            spool.get(session, "GET /c", Some(now)).is_none() && spool.get(session, "GET /c", None).is_some()
        );
        assert!(spool.get(None, "GET /a", None).is_none());
        let path = folder.path().join("kis/2026-11-20").join(format!("{}.gz", digest("GET /a")));
        fs::write(&path, &fs::read(&path).unwrap()[..20]).unwrap();
        assert!(spool.get(session, "GET /a", None).is_none());
    }

    #[test]
    fn an_unfinished_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), "kis", 7).unwrap();
        let now: DateTime<Utc> = "2026-11-20T09:00:00Z".parse().unwrap();
        let later = |hours| now + chrono::Duration::hours(hours);
        assert_eq!(spool.begin("a", now).unwrap().since, now);
        let again = spool.begin("a", later(2)).unwrap();
        assert_eq!(again.since, now);
        assert_eq!(spool.begin("b", later(2)).unwrap().since, later(2));
        again.finish().unwrap();
        assert_eq!(spool.begin("a", later(3)).unwrap().since, later(3));
        assert_eq!(spool.begin("a", later(30)).unwrap().since, later(30));
    }

    #[test]
    fn old_answers_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let now: DateTime<Utc> = "2026-11-20T09:00:00Z".parse().unwrap();
        Spool::new(folder.path(), "kis", 7)
            .unwrap()
            .keep(None, "GET /a", &answer(b"x"), Worth::Good, now)
            .unwrap();
        fs::remove_file(folder.path().join("kis/swept")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        Spool::new(folder.path(), "kis", 0).unwrap();
        assert!(!folder.path().join("kis/undated").exists());
    }
}
