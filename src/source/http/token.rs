//! Access tokens, cached in files of mode 0600 that all processes share: a token is issued once and used by all, and
//! renewed before it expires.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::settings::Secret;
use crate::state::{digest, private_folder};

/// A token, until when it is good, and when it was issued.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Token {
    pub secret: Secret,
    pub expires_at: DateTime<Utc>,
    pub issued_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    expires_at: DateTime<Utc>,
    issued_at: DateTime<Utc>,
}

/// The tokens of one key of a source.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    now: DateTime<Utc>,
}

impl Tokens {
    /// The tokens of a key, by the source's name, its base URL and the key.
    pub fn new(state: &Path, source: &str, base: &str, key: &Secret, now: DateTime<Utc>) -> Result<Self> {
        let folder = state.join("tokens");
        private_folder(&folder)?;
        let name = format!("{source}-{}", digest(&format!("{base} {}", key.reveal())));
        Ok(Self { path: folder.join(name), now })
    }

    /// The token in the cache, if it is still good.
    pub fn cached(&self) -> Option<Token> {
        self.read().filter(|token| self.is_good(token))
    }

    /// The token in the cache, or one that `issue` gets; others wait meanwhile. `refused` is a token that the source
    /// no longer takes: when the cache holds another one, that one was issued by somebody else and is good.
    pub async fn get(
        &self,
        refused: Option<&Secret>,
        issue: impl AsyncFnOnce(Option<DateTime<Utc>>) -> Result<Token>,
    ) -> Result<Token> {
        let cannot = |e| Error::io(format!("cannot lock {}", self.path.display()), e);
        let path = self.path.with_extension("lock");
        // The lock goes with the file handle, also when we are killed.
        let lock = tokio::task::spawn_blocking(move || {
            let mut options = fs::OpenOptions::new();
            let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
            file.lock().map(|()| file)
        });
        let _lock = lock
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            .map_err(cannot)?;
        let kept = self.read();
        if let Some(token) = &kept
            && self.is_good(token)
            && refused.is_none_or(|refused| refused.reveal() != token.secret.reveal())
        {
            return Ok(token.clone());
        }
        let token = issue(kept.map(|token| token.issued_at)).await?;
        self.write(&token)?;
        Ok(token)
    }

    /// Renewed when a tenth of its life is left, and at least ten minutes before the end.
    fn is_good(&self, token: &Token) -> bool {
        let life = token.expires_at - token.issued_at;
        let reserve = (life / 10).clamp(chrono::Duration::minutes(10), chrono::Duration::hours(2));
        token.expires_at - reserve > self.now
    }

    fn read(&self) -> Option<Token> {
        let kept: Kept = serde_json::from_str(&fs::read_to_string(&self.path).ok()?).ok()?;
        Some(Token {
            secret: Secret::new(kept.token),
            expires_at: kept.expires_at,
            issued_at: kept.issued_at,
        })
    }

    fn write(&self, token: &Token) -> Result<()> {
        let kept = Kept {
            token: token.secret.reveal().to_owned(),
            expires_at: token.expires_at,
            issued_at: token.issued_at,
        };
        let part = self.path.with_extension(format!("{}.part", std::process::id()));
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&part);
            let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part)?;
            file.write_all(serde_json::to_string(&kept)?.as_bytes())?;
            fs::rename(&part, &self.path)
        };
        write().map_err(|e| Error::io(format!("cannot keep the token in {}", self.path.display()), e))
    }
}

/// Calls that were under way while a token was renewed come back refused: that is no reason to renew it again.
const JUST_RENEWED: Duration = Duration::from_secs(60);

/// The token that a run's calls bear.
#[derive(Debug)]
pub struct Bearer {
    tokens: Tokens,
    /// And when it was renewed last.
    current: Mutex<(Option<Secret>, Option<Instant>)>,
}

impl Bearer {
    /// None yet.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, current: Mutex::default() }
    }

    /// The token; the first call gets it.
    pub async fn get(
        &self,
        issue: impl AsyncFnOnce(Option<DateTime<Utc>>) -> Result<Token>,
    ) -> Result<Secret> {
        let mut current = self.current.lock().await;
        if let (Some(token), _) = &*current {
            return Ok(token.clone());
        }
        let token = self.tokens.get(None, issue).await?.secret;
        current.0 = Some(token.clone());
        Ok(token)
    }

    /// Another token: this one was refused.
    pub async fn renew(&self, issue: impl AsyncFnOnce(Option<DateTime<Utc>>) -> Result<Token>) -> Result<()> {
        let mut current = self.current.lock().await;
        if current.1.is_some_and(|at| at.elapsed() < JUST_RENEWED) {
            return Ok(());
        }
        let token = self.tokens.get(current.0.as_ref(), issue).await?;
        *current = (Some(token.secret), Some(Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token(text: &str, now: DateTime<Utc>) -> Token {
        let secret = Secret::new(text.to_owned());
        Token { secret, expires_at: now + chrono::Duration::hours(24), issued_at: now }
    }

    #[tokio::test]
    async fn a_token_is_issued_once() {
        let folder = tempfile::tempdir().unwrap();
        let now: DateTime<Utc> = "2026-11-20T09:00:00Z".parse().unwrap();
        let key = Secret::new("key".into());
        let issued = Cell::new(0);
        let get = async |at: DateTime<Utc>, refused: Option<&Secret>| {
            let tokens = Tokens::new(folder.path(), "kis", "http://x", &key, at).unwrap();
            let issue = async |_| {
                issued.set(issued.get() + 1);
                Ok(token(&format!("t{}", issued.get()), at))
            };
            tokens.get(refused, issue).await.unwrap().secret
        };
        let first = get(now, None).await;
        assert_eq!(get(now, None).await.reveal(), "t1");
        assert_eq!(get(now, Some(&first)).await.reveal(), "t2");
        // Refused, but somebody renewed it already.
        assert_eq!(get(now, Some(&first)).await.reveal(), "t2");
        assert_eq!(get(now + chrono::Duration::hours(23), None).await.reveal(), "t3");
        let files: Vec<_> = fs::read_dir(folder.path().join("tokens")).unwrap().flatten().collect();
        assert!(files.iter().all(|f| f.metadata().unwrap().permissions().mode() & 0o777 == 0o600));
        assert!(files.iter().all(|f| !f.file_name().to_string_lossy().contains("key")));
    }
}
