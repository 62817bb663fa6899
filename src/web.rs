//! Floor 2: HTTP clients, made the same way for all: how long an answer may take, which certificates are trusted, and no
//! redirects, since they would carry keys elsewhere.

use std::time::Duration;

use reqwest::redirect;

use crate::error::{Error, Result, causes};
use crate::settings::HttpSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client. `trusts_all`: it takes any certificate, as `KDATA_TLS_INSECURE` asks for by name.
pub fn client(settings: &HttpSettings, timeout: Duration, trusts_all: bool) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(timeout.min(CONNECT_TIMEOUT))
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .tls_danger_accept_invalid_certs(trusts_all)
        .user_agent(concat!("kdata/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &settings.ca_file {
        let bad = |why: String| {
            Error::usage(
                format!("KDATA_CA_FILE ({}) does not read: {why}", path.display()),
                "set it to a file with certificates in PEM form",
            )
        };
        let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(causes(&e)))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|e| Error::Source {
        what: format!("no HTTP client: {}", causes(&e)),
        help: "check the TLS certificates of this machine".into(),
    })
}
