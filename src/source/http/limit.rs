//! Rate limits and daily quotas that hold across threads and processes: their state is a file that each of them
//! locks. Times are the system clock's, since processes share no other.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;

use crate::error::Result;
use crate::state::locked;

/// The share by which a window is stretched: what is sent on time may arrive late, and the next one on time, so that
/// a server would count one too many. 3 % is the least that stayed below the rate with four busy processes.
const STRETCH: f64 = 1.03;

/// At most so many calls in each sliding window, spread evenly.
#[derive(Debug)]
pub struct Limit {
    path: PathBuf,
    calls: usize,
    window: Duration,
    /// One of the process's tasks at a time waits for the file.
    turn: Mutex<()>,
}

/// What the file holds, in nanoseconds since 1970: when the next call may go, and when the last ones went.
#[derive(Default)]
struct State {
    next: u128,
    sent: Vec<u128>,
}

impl Limit {
    /// A limit of `rate` calls a second; its state is the file `name` of the folder.
    pub fn new(folder: &Path, name: &str, rate: f64) -> Self {
        // Below one call a second the window is that of one call.
        let calls = rate.floor().max(1.0);
        let window = Duration::from_secs_f64(calls / rate * STRETCH);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        Self { path: folder.join(name), calls: calls as usize, window, turn: Mutex::new(()) }
    }

    /// Waits until a call may be sent, and counts it.
    pub async fn take(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        while let Some(wait) = self.try_take()? {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Keeps everybody from sending for a while: the server said that it was too much.
    pub fn pause(&self, length: Duration) -> Result<()> {
        self.change(|state, now| state.next = state.next.max(now + length.as_nanos()))
    }

    fn try_take(&self) -> Result<Option<Duration>> {
        let interval = self.window.as_nanos() / self.calls as u128;
        self.change(|state, now| {
            // A clock that was set back would block for ever.
            if state.next > now + 600_000_000_000 {
                *state = State::default();
            }
            state.sent.retain(|sent| *sent <= now);
            let full =
                state.sent.len().checked_sub(self.calls).map(|at| state.sent[at] + self.window.as_nanos());
            let at = state.next.max(full.unwrap_or(0));
            if at > now {
                let wait = u64::try_from(at - now).unwrap_or(u64::MAX);
                return Some(Duration::from_nanos(wait));
            }
            // A call that was a little late does not push all the others back.
            state.next = if now - state.next < interval { state.next } else { now } + interval;
            state.sent.push(now);
            let surplus = state.sent.len().saturating_sub(self.calls);
            state.sent.drain(..surplus);
            None
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State, u128) -> T) -> Result<T> {
        locked(&self.path, |text| {
            let mut numbers = text.split_ascii_whitespace().map_while(|word| word.parse().ok());
            let mut state = State { next: numbers.next().unwrap_or(0), sent: numbers.collect() };
            let outcome = change(&mut state, now());
            let mut text = state.next.to_string();
            for sent in &state.sent {
                text.push_str(&format!(" {sent}"));
            }
            (text, outcome)
        })
    }
}

/// What a source allows a key on one day (KST).
#[derive(Debug)]
pub struct Quota {
    path: PathBuf,
    /// Calls a day.
    pub calls: Option<u64>,
    /// Bytes of answers a day.
    pub bytes: Option<u64>,
}

/// What was used today.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct Used {
    pub calls: u64,
    pub bytes: u64,
}

impl Used {
    /// What a quota's file tells of a day; nothing where it is of another one.
    fn on(day: &str, text: &str) -> Self {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|w| w.parse().ok()).unwrap_or(0);
        if words.first() == Some(&day) {
            Self { calls: number(1), bytes: number(2) }
        } else {
            Self::default()
        }
    }
}

impl Quota {
    /// A quota whose state is the file `name` of the folder.
    pub fn new(folder: &Path, name: &str, calls: Option<u64>, bytes: Option<u64>) -> Self {
        Self { path: folder.join(name), calls, bytes }
    }

    /// What the busiest key of a source used on a day; only looks.
    pub fn used(folder: &Path, source: &str, day: &str) -> Used {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let of_source = files.filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let key = name.strip_prefix(source).and_then(|rest| rest.strip_prefix('-')?.strip_suffix("-day"));
            // `krx-` begins the names of another source, too.
            key.is_some_and(|key| !key.contains('-'))
        });
        let all = of_source.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        all.map(|text| Used::on(day, &text)).max_by_key(|used| (used.calls, used.bytes)).unwrap_or_default()
    }

    /// Counts a call on a day, if one is left: looked at and counted while nobody else can. What was used with it; the
    /// error tells what was used without.
    pub fn take(&self, day: &str) -> Result<std::result::Result<Used, Used>> {
        self.change(day, |used| {
            if self.is_spent(*used) {
                return Err(*used);
            }
            used.calls += 1;
            Ok(*used)
        })
    }

    /// Adds the bytes of an answer.
    pub fn add_bytes(&self, day: &str, bytes: u64) -> Result<()> {
        self.change(day, |used| used.bytes += bytes)
    }

    fn change<T>(&self, day: &str, change: impl FnOnce(&mut Used) -> T) -> Result<T> {
        locked(&self.path, |text| {
            let mut used = Used::on(day, text);
            let outcome = change(&mut used);
            (format!("{day} {} {}", used.calls, used.bytes), outcome)
        })
    }

    fn is_spent(&self, used: Used) -> bool {
        self.calls.is_some_and(|most| used.calls >= most) || self.bytes.is_some_and(|most| used.bytes >= most)
    }
}

#[expect(clippy::disallowed_methods, reason = "a limit is about real time, also where drills fix the clock")]
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn take(limit: &Limit, calls: usize) -> Vec<Instant> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut times = Vec::new();
            for _ in 0..calls {
                limit.take().await.unwrap();
                times.push(Instant::now());
            }
            times
        })
    }

    #[test]
    fn no_window_holds_more_than_the_rate() {
        let folder = tempfile::tempdir().unwrap();
        // Two limits of the same file are as two processes.
        let limits = [(); 2].map(|()| Limit::new(folder.path(), "kis", 40.0));
        let mut times: Vec<Instant> = std::thread::scope(|scope| {
            let all: Vec<_> = limits.iter().map(|limit| scope.spawn(|| take(limit, 50))).collect();
            all.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        times.sort();
        for pair in times.windows(41) {
            assert!(pair[40] - pair[0] >= Duration::from_secs(1), "{:?}", pair[40] - pair[0]);
        }
        let took = times[99] - times[0];
        assert!(took < Duration::from_millis(99 * 1000 / 40 * 12 / 10), "{took:?}");
    }

    #[test]
    fn a_slow_rate_spreads_over_minutes() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Limit::new(folder.path(), "infomax", 0.5);
        assert_eq!(limit.try_take().unwrap(), None);
        let wait = limit.try_take().unwrap().unwrap();
        assert!(wait > Duration::from_millis(1_900) && wait < Duration::from_millis(2_100), "{wait:?}");
    }

    #[test]
    fn a_pause_holds_for_all_and_odd_files_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Limit::new(folder.path(), "kis", 10.0);
        std::fs::write(folder.path().join("kis"), b"\xff\xfe").unwrap();
        assert_eq!(limit.try_take().unwrap(), None);
        limit.pause(Duration::from_secs(60)).unwrap();
        let other = Limit::new(folder.path(), "kis", 10.0);
        assert!(other.try_take().unwrap().unwrap() > Duration::from_secs(50));
        // The clock was set back by a year.
        std::fs::write(folder.path().join("kis"), format!("{}", now() + 31_536_000_000_000_000)).unwrap();
        assert_eq!(limit.try_take().unwrap(), None);
    }

    #[test]
    fn quotas_count_by_day() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Quota::new(folder.path(), "q", Some(3), Some(1_000));
        let day = "2026-11-20";
        assert_eq!(quota.take(day).unwrap(), Ok(Used { calls: 1, bytes: 0 }));
        quota.add_bytes(day, 999).unwrap();
        assert_eq!(quota.take(day).unwrap(), Ok(Used { calls: 2, bytes: 999 }));
        quota.add_bytes(day, 1).unwrap();
        // The bytes are spent, and what is refused does not count.
        assert_eq!(quota.take(day).unwrap(), Err(Used { calls: 2, bytes: 1_000 }));
        assert_eq!(quota.take("2026-11-21").unwrap(), Ok(Used { calls: 1, bytes: 0 }));
        let calls = Quota::new(folder.path(), "c", Some(1), None);
        assert!(calls.take(day).unwrap().is_ok() && calls.take(day).unwrap().is_err());
    }
}
