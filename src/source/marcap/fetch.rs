//! Finds the yearly files: in a folder, or over HTTP into a temporary one.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;

use super::super::Job;
use super::file::{self, YearFile};
use crate::error::{Error, Result, causes};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Waits before a failed download is tried again.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Fetched files, removed when dropped.
#[derive(Debug, Default)]
pub(super) struct Downloads(Vec<PathBuf>);

impl Drop for Downloads {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The files of the years, in order; an error when none is there.
pub(super) async fn files(job: &Job<'_>, years: &[i32]) -> Result<(Vec<YearFile>, Downloads)> {
    let Some(place) = job.settings.marcap.as_deref() else {
        return Err(Error::usage(
            "KDATA_MARCAP is not set",
            "set it to the folder (or base URL) that holds marcap-YYYY.parquet or marcap-YYYY.csv.gz",
        ));
    };
    let mut downloads = Downloads::default();
    let mut found = Vec::new();
    if place.starts_with("http://") || place.starts_with("https://") {
        let client = client()?;
        for year in years {
            found.extend(download(&client, place.trim_end_matches('/'), *year, job, &mut downloads).await?);
        }
    } else {
        let folder = PathBuf::from(place);
        if !folder.is_dir() {
            return Err(Error::Source {
                what: format!("the marcap folder {place} is not there"),
                help: "check KDATA_MARCAP, and that the disk is mounted".into(),
            });
        }
        found.extend(years.iter().filter_map(|year| file::in_folder(&folder, *year)));
    }
    if let (true, Some(year)) = (found.is_empty(), years.first()) {
        return Err(Error::NotPublished {
            what: format!(
                "marcap has no file of {year}: looked for marcap-{year}.parquet and marcap-{year}.csv.gz"
            ),
            help: "fetch the yearly file into KDATA_MARCAP, or take another source".into(),
        });
    }
    Ok((found, downloads))
}

fn client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("kdata/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Error::Source {
            what: format!("no HTTP client: {e}"),
            help: "check the TLS certificates".into(),
        })
}

async fn download(
    client: &reqwest::Client,
    base: &str,
    year: i32,
    job: &Job<'_>,
    downloads: &mut Downloads,
) -> Result<Option<YearFile>> {
    for ending in ["parquet", "csv.gz"] {
        let name = format!("marcap-{year}.{ending}");
        let path = job.settings.temporary.join(format!("kdata-{}-{name}", job.run));
        downloads.0.push(path.clone());
        if fetch(client, &format!("{base}/{name}"), &path).await? {
            return Ok(Some(YearFile { year, path, name }));
        }
    }
    Ok(None)
}

/// Fetches one file; false when the server has none of that name.
async fn fetch(client: &reqwest::Client, url: &str, path: &std::path::Path) -> Result<bool> {
    let mut pauses = PAUSES.iter();
    loop {
        match attempt(client, url, path).await {
            Err(Attempt::Again(what)) => match pauses.next() {
                Some(pause) => {
                    tracing::warn!("{what}; trying again in {} ms", pause.as_millis());
                    tokio::time::sleep(*pause).await;
                }
                None => {
                    let help = "check the network and KDATA_MARCAP, then run the same command again".into();
                    return Err(Error::Source { what, help });
                }
            },
            Err(Attempt::Fatal(error)) => return Err(error),
            Ok(there) => return Ok(there),
        }
    }
}

enum Attempt {
    Again(String),
    Fatal(Error),
}

async fn attempt(
    client: &reqwest::Client,
    url: &str,
    path: &std::path::Path,
) -> std::result::Result<bool, Attempt> {
    let shown = without_credentials(url);
    let again = |e: reqwest::Error| Attempt::Again(format!("{shown}: {}", causes(&e.without_url())));
    let mut answer = client.get(url).send().await.map_err(again)?;
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(false),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Attempt::Fatal(Error::Credentials {
                what: format!("{shown} answered {}", answer.status()),
                help: "check KDATA_MARCAP and whether the place may be read".into(),
            }));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Attempt::Again(format!("{shown} answered {status}")));
        }
        status if !status.is_success() => {
            return Err(Attempt::Fatal(Error::Source {
                what: format!("{shown} answered {status}"),
                help: "check KDATA_MARCAP".into(),
            }));
        }
        _ => {}
    }
    let disk = |e| Attempt::Fatal(Error::io(format!("cannot write {}", path.display()), e));
    // A try before may have left a part. Never through a link that somebody else laid.
    let _ = tokio::fs::remove_file(path).await;
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).await.map_err(disk)?;
    while let Some(chunk) = answer.chunk().await.map_err(again)? {
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)?;
    Ok(true)
}

/// A URL without user, password and query.
fn without_credentials(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else {
        return "the marcap URL".into();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        assert_eq!(
            without_credentials("https://u:pw@host/x/marcap-2024.parquet?token=s"),
            "https://host/x/marcap-2024.parquet"
        );
    }
}
