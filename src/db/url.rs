//! `DATABASE_URL`: what tokio-postgres reads of it, and what it says of encryption, which tokio-postgres knows in part only.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::{Error, Result};
use crate::settings::Secret;

/// `sslmode`, each protecting from more than the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The modes with libpq's names.
const MODES: [(Mode, &str); 6] = [
    (Mode::Disable, "disable"),
    (Mode::Allow, "allow"),
    (Mode::Prefer, "prefer"),
    (Mode::Require, "require"),
    (Mode::VerifyCa, "verify-ca"),
    (Mode::VerifyFull, "verify-full"),
];

impl Mode {
    /// Its name in `sslmode`.
    pub fn as_str(self) -> &'static str {
        MODES.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }
}

/// What libpq knows of encryption and kdata does not. Ignoring them could protect less than is meant.
const UNSUPPORTED: [&str; 9] = [
    "gssencmode",
    "requiressl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslsni",
];

/// What a URL says of encryption.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Encryption {
    /// `sslmode`.
    pub mode: Option<Mode>,
    /// `sslrootcert`: a file of authorities, or `system`.
    pub roots: Option<String>,
    /// `sslcert`: the file of the client's certificate.
    pub certificate: Option<String>,
    /// `sslkey`: the file of its private key.
    pub key: Option<String>,
}

/// Reads `DATABASE_URL`, in the form of a URL or of pairs (`host=… user=…`).
pub fn parse(url: &Secret) -> Result<(Config, Encryption)> {
    let mut encryption = Encryption::default();
    let url = url.reveal();
    let is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
    let rest = if is_url { encryption.of_url(url)? } else { encryption.of_pairs(url)? };
    // The parser's message may quote the URL, and with it a password.
    let mut config: Config = rest.parse().map_err(|_| {
        Error::usage("DATABASE_URL does not read", "write it like postgresql://user:password@host:5432/name")
    })?;
    // An @ behind the host makes a host of the parameters, with the password in it; and what encryption was asked for there
    // must not go unheeded.
    let is_odd = |host: &Host| matches!(host, Host::Tcp(name) if name.contains(['&', '=', '?']));
    let is_unheeded = encryption.mode.is_none() && config.get_ssl_mode() != SslMode::Prefer;
    if is_unheeded || config.get_hosts().iter().any(is_odd) {
        return Err(Error::usage("DATABASE_URL does not read", "write an @ in user or password as %40"));
    }
    // Certificates are checked for a host's name, or else its address.
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    Ok((config, encryption))
}

impl Encryption {
    /// The parameters for a client that is to check the server as kdata does; not for one with kdata's certificate.
    pub fn query(&self) -> String {
        let mode = self.mode.map(|mode| format!("sslmode={}", mode.as_str()));
        let roots = self.roots.as_ref().map(|roots| format!("sslrootcert={}", encoded(roots)));
        let all: Vec<String> = mode.into_iter().chain(roots).collect();
        if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
    }

    /// Takes its parameters out of a URL.
    fn of_url(&mut self, url: &str) -> Result<String> {
        // A password may hold a question mark.
        let host = url.find('@').map_or(0, |at| at + 1);
        let Some(at) = url[host..].find('?').map(|at| host + at) else {
            return Ok(url.to_owned());
        };
        let mut rest = Vec::new();
        for pair in url[at + 1..].split('&') {
            let taken = match pair.split_once('=') {
                Some((name, value)) => self.take(name, &decoded(value))?,
                None => false,
            };
            if !taken {
                rest.push(pair);
            }
        }
        let mark = if rest.is_empty() { "" } else { "?" };
        Ok(format!("{}{mark}{}", &url[..at], rest.join("&")))
    }

    /// Takes its parameters out of pairs. What does not read is left for the parser to refuse.
    fn of_pairs(&mut self, pairs: &str) -> Result<String> {
        let mut rest = Vec::new();
        let mut text = pairs.trim_start();
        while !text.is_empty() {
            let value = text.split_once('=').and_then(|(name, text)| Some((name, value(text.trim_start())?)));
            let Some((name, (value, behind))) = value else {
                return Ok(pairs.to_owned());
            };
            if !self.take(name.trim_end(), &value)? {
                rest.push(&text[..text.len() - behind.len()]);
            }
            text = behind.trim_start();
        }
        Ok(rest.join(" "))
    }

    /// Takes a parameter, if it is about encryption. Values are not told: they could be part of a password.
    fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "sslmode" => {
                let mode = MODES.iter().find(|(_, name)| *name == value).map(|(mode, _)| *mode);
                self.mode = Some(mode.ok_or_else(|| {
                    let names = MODES.map(|(_, name)| name).join(", ");
                    Error::usage("the sslmode in DATABASE_URL is unknown", format!("it is one of {names}"))
                })?);
            }
            "sslrootcert" => self.roots = Some(value.to_owned()),
            "sslcert" => self.certificate = Some(value.to_owned()),
            "sslkey" => self.key = Some(value.to_owned()),
            _ => {
                let Some(name) = UNSUPPORTED.into_iter().find(|unsupported| *unsupported == name) else {
                    return Ok(false);
                };
                return Err(Error::usage(
                    format!("DATABASE_URL: kdata does not know {name}"),
                    "of encryption it knows sslmode, sslrootcert, sslcert, sslkey, sslnegotiation and channel_binding",
                ));
            }
        }
        Ok(true)
    }
}

/// A value of a pair and what stands behind it: in quotes, or up to a blank; a backslash takes the next character as it is.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' if quoted => return Some((value, &text[at + 1..])),
            blank if !quoted && blank.is_whitespace() => return Some((value, &text[at..])),
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            char => value.push(char),
        }
    }
    (!quoted).then_some((value, ""))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn encoded(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    percent_encoding::utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> (Config, Encryption) {
        parse(&Secret::new(url.into())).unwrap()
    }

    #[test]
    fn encryption_is_taken_out_of_both_forms() {
        let all = Encryption {
            mode: Some(Mode::VerifyFull),
            roots: Some("/a b/ca.pem".into()),
            certificate: Some("c.pem".into()),
            key: Some("k.pem".into()),
        };
        for url in [
            "postgresql://u:p%40%3F@db.example:5433/name?sslmode=verify-full&connect_timeout=7&\
             sslrootcert=%2Fa%20b/ca.pem&sslcert=c.pem&sslkey=k.pem",
            "host=db.example port=5433 user=u password='p@?' sslmode = verify-full  sslrootcert='/a b/ca.pem' \
             sslcert=c.pem sslkey=k.pem connect_timeout=7 dbname=name",
            "host=db.example port=5433 user=u password=p@? sslmode=verify-full sslrootcert=/a\\ b/ca.pem sslcert=c.pem \
             sslkey=k.pem connect_timeout=7 dbname=name ",
        ] {
            let (config, encryption) = read(url);
            assert_eq!(encryption, all, "{url}");
            assert_eq!(config.get_hosts(), [Host::Tcp("db.example".into())]);
            assert_eq!((config.get_ports(), config.get_user()), (&[5433][..], Some("u")));
            assert_eq!((config.get_password(), config.get_dbname()), (Some(&b"p@?"[..]), Some("name")));
            assert_eq!(config.get_connect_timeout().map(std::time::Duration::as_secs), Some(7));
        }
        assert_eq!(all.query(), "?sslmode=verify-full&sslrootcert=/a%20b/ca.pem");
    }

    #[test]
    fn what_says_nothing_of_encryption_is_left_alone() {
        for url in
            ["postgresql://u:a?sslmode=b@h/name", "postgres://h", "host=h", "host=h password='sslmode=x'"]
        {
            let (config, encryption) = read(url);
            assert_eq!(encryption, Encryption::default(), "{url}");
            assert_eq!(config.get_hosts(), [Host::Tcp("h".into())]);
        }
        assert_eq!(Encryption::default().query(), "");
    }

    #[test]
    fn what_is_not_known_is_refused_without_a_secret() {
        for (url, says) in [
            ("postgresql://u:hunter2@h/n?sslmode=on", "sslmode in DATABASE_URL is unknown"),
            ("host=h password=hunter2 sslmode=''", "sslmode in DATABASE_URL is unknown"),
            ("postgresql://u:hunter2@h/n?sslcrl=hunter2", "does not know sslcrl"),
            ("postgresql://u:hunter2@h/n?ssl=hunter2", "does not read"),
            ("host=h password='hunter2 sslmode=require", "does not read"),
            ("postgresql://h/n?user=me@corp&password=hunter2&sslmode=require", "does not read"),
        ] {
            let error = parse(&Secret::new(url.into())).unwrap_err();
            let told = format!("{error:?}");
            assert!(told.contains(says) && !told.contains("hunter2"), "{url}: {told}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
