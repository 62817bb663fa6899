//! Encrypted connections, with libpq's meanings of `sslmode`, `sslrootcert`, `sslcert` and `sslkey` (PostgreSQL's
//! documentation, "SSL Support" of libpq). Sockets of the same machine are not encrypted; over TCP the default is `prefer`.
//!
//! Certificates are checked by rustls, which asks for more than OpenSSL: version 3, and hosts as subjectAltName.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::url::{Encryption, Mode};
use crate::error::{Error, Result};

/// The word of `sslrootcert` for the authorities that the machine trusts.
const SYSTEM: &str = "system";
/// Where libpq looks, below the user's home, for what is not named.
const DEFAULTS: &str = ".postgresql";

/// How connections to a server are encrypted.
#[derive(Clone)]
pub(super) struct Tls {
    mode: Mode,
    /// None where nothing is ever encrypted.
    connector: Option<MakeRustlsConnect>,
    checks_authority: bool,
    /// What libpq's programs are told of it.
    environment: Vec<(&'static str, PathBuf)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Tls {
    /// Nothing is encrypted.
    pub(super) fn none() -> Self {
        Self { mode: Mode::Disable, connector: None, checks_authority: false, environment: Vec::new() }
    }

    /// As the URL says; `home` is the user's.
    pub(super) fn new(config: &Config, encryption: &Encryption, home: Option<&Path>) -> Result<Self> {
        let system = encryption.roots.as_deref() == Some(SYSTEM);
        let default = if system { Mode::VerifyFull } else { Mode::Prefer };
        let mode = encryption.mode.unwrap_or(default);
        let is_tcp = |host: &Host| matches!(host, Host::Tcp(_));
        if mode == Mode::Disable || !config.get_hosts().iter().any(is_tcp) {
            return Ok(Self::none());
        }
        let weak = match config.get_ssl_negotiation() {
            SslNegotiation::Direct if mode < Mode::Require => Some(("sslnegotiation=direct", Mode::Require)),
            _ if system && mode < Mode::VerifyFull => Some(("sslrootcert=system", Mode::VerifyFull)),
            _ => None,
        };
        if let Some((with, least)) = weak {
            return Err(Error::usage(
                format!("DATABASE_URL: {with} asks for more than sslmode={}", mode.as_str()),
                format!("write sslmode={}", least.as_str()),
            ));
        }
        let file = |given: &Option<String>, default: &str| {
            let default = || Some(home?.join(DEFAULTS).join(default)).filter(|path| path.exists());
            given.as_ref().map(PathBuf::from).or_else(default)
        };
        let roots = file(&encryption.roots, "root.crt");
        if roots.is_none() && mode >= Mode::VerifyCa {
            return Err(Error::usage(
                format!("DATABASE_URL: sslmode={} needs to know whom to trust", mode.as_str()),
                "name the file of the authority that signed the server's certificate (sslrootcert=FILE), or let \
                 sslrootcert=system mean the ones that this machine trusts",
            ));
        }
        let authorities = match &roots {
            None => Vec::new(),
            Some(_) if system => rustls_native_certs::load_native_certs().certs,
            Some(path) => certificates("sslrootcert", path)?,
        };
        let certificate = file(&encryption.certificate, "postgresql.crt");
        let key = file(&encryption.key, "postgresql.key");
        let connector = connector(
            Verifier::new(mode, authorities, roots.as_deref())?,
            certificate.as_deref().map(|certificate| (certificate, key.as_deref())),
        )?;
        // libpq 15 does not know the word, but the file has what it means.
        let roots = if system { openssl_probe::probe().cert_file.or(roots) } else { roots };
        let environment = [("PGSSLROOTCERT", roots), ("PGSSLCERT", certificate), ("PGSSLKEY", key)];
        let environment: Vec<_> =
            environment.into_iter().filter_map(|(name, path)| Some((name, path?))).collect();
        let checks_authority = environment.iter().any(|(name, _)| *name == "PGSSLROOTCERT");
        Ok(Self { mode, connector: Some(connector), checks_authority, environment })
    }

    /// Opens a connection; is it encrypted?
    pub(super) async fn connect(
        &self,
        config: &Config,
    ) -> std::result::Result<(Client, bool), tokio_postgres::Error> {
        let plain = async || Ok((open(config, SslMode::Disable, NoTls).await?, false));
        let Some(connector) = &self.connector else { return plain().await };
        let encrypted = async || Ok((open(config, SslMode::Require, connector.clone()).await?, true));
        match self.mode {
            Mode::Disable => plain().await,
            Mode::Allow => match plain().await {
                Err(error) if not_this_way(&error) => encrypted().await,
                outcome => outcome,
            },
            Mode::Prefer => match encrypted().await {
                // Of two refusals the first says more: that one was meant.
                Err(error) if not_this_way(&error) => match plain().await {
                    Err(second) if not_this_way(&second) => Err(error),
                    outcome => outcome,
                },
                outcome => outcome,
            },
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => encrypted().await,
        }
    }

    /// What a connection is protected by, in words.
    pub(super) fn describe(&self, encrypted: bool) -> String {
        let what = match (encrypted, self.checks_authority, self.mode) {
            (false, _, _) => "not encrypted",
            (true, false, _) => "encrypted, the server not checked",
            (true, true, Mode::VerifyFull) => "encrypted, the server's authority and host checked",
            (true, true, _) => "encrypted, the server's authority checked",
        };
        format!("{what} (sslmode={})", self.mode.as_str())
    }

    /// Tells one of libpq's programs to connect in the same way.
    pub(super) fn tell(&self, command: &mut Command) {
        command.env("PGSSLMODE", self.mode.as_str()).env("PGGSSENCMODE", "disable");
        command.envs(self.environment.iter().map(|(name, path)| (name, path)));
    }
}

async fn open<T>(config: &Config, mode: SslMode, tls: T) -> std::result::Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.clone().ssl_mode(mode).connect(tls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection ended: {error}");
        }
    });
    Ok(client)
}

/// The handshake failed, or `pg_hba.conf` lets nobody in this way.
fn not_this_way(error: &tokio_postgres::Error) -> bool {
    is_handshake(error) || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// tokio-postgres tells the kind of an error by its words only.
fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error performing TLS handshake")
}

/// The certificates of a file in PEM form.
fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let certificates = read.map_err(|e| unreadable(option, path, &e))?;
    if certificates.is_empty() {
        return Err(unreadable(option, path, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn unreadable(option: &str, path: &Path, why: &dyn fmt::Display) -> Error {
    Error::usage(
        format!("the {option} of DATABASE_URL ({}) does not read: {why}", path.display()),
        "name a file in PEM form that kdata's user may read; keys without a passphrase",
    )
}

fn connector(verifier: Verifier, client: Option<(&Path, Option<&Path>)>) -> Result<MakeRustlsConnect> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((path, None)) => {
            return Err(unreadable("sslcert", path, &"its private key is not named (sslkey)"));
        }
        Some((path, Some(key))) => {
            let chain = certificates("sslcert", path)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("sslkey", key, &e))?;
            builder.with_client_auth_cert(chain, private).map_err(|e| unreadable("sslkey", key, &e))?
        }
    };
    // As libpq since 17; servers that skip the negotiation insist on it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Judges the server's certificate: not at all where no authority is known, else by its authority, and by its host where
/// the mode asks for that. That the server has the certificate's key is proved in every mode: SCRAM's channel binding
/// stands on it.
#[derive(Debug)]
struct Verifier {
    checks_name: bool,
    authorities: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(mode: Mode, authorities: Vec<CertificateDer<'static>>, from: Option<&Path>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        if let Some(path) = from.filter(|_| roots.is_empty()) {
            return Err(unreadable("sslrootcert", path, &"it holds no authority that can be used"));
        }
        let algorithms = provider().signature_verification_algorithms;
        Ok(Self { checks_name: mode == Mode::VerifyFull, authorities, roots, algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        if self.roots.is_empty() {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(server)?;
        let algorithms = self.algorithms.all;
        let signed = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        );
        match signed {
            // A certificate that signed itself is an authority, and no server's to webpki; its dates were looked at before.
            Err(TlsError::InvalidCertificate(CertificateError::Other(_)))
                if self.authorities.contains(server) => {}
            other => other?,
        }
        if self.checks_name {
            verify_server_name(&certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return verify_tls13_signature(message, certificate, signature, &self.algorithms);
        }
        // Of version 1, as `openssl x509 -req` makes it: nothing of it can be checked, but it has a key.
        let key = Certificate::from_der(certificate)
            .and_then(|certificate| certificate.tbs_certificate.subject_public_key_info.to_der())
            .map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why a handshake failed and what to do; `None` for other errors.
pub(super) fn refusal(error: &tokio_postgres::Error) -> Option<Error> {
    if !is_handshake(error) {
        return None;
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let (what, help) = match judgement(error) {
        _ if cause == "server does not support TLS" => (
            "the server takes no encrypted connections",
            "turn them on there (ssl = on in postgresql.conf); where nobody can listen on the way, sslmode=disable in \
             DATABASE_URL does without",
        ),
        Some(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
            "no authority that is trusted signed the server's certificate",
            "name the file of the authority that did (sslrootcert in DATABASE_URL), or sslrootcert=system for those that \
             this machine trusts; where it worked before, somebody may stand between: see the server first",
        ),
        Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => (
            cause.as_str(),
            "write the host in DATABASE_URL as the certificate names it (hostaddr says where it is), or have the \
             certificate made anew with the host as subjectAltName; sslmode=verify-ca does not look at names",
        ),
        Some(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => {
            (cause.as_str(), "have the server's certificate renewed; see that this machine's clock is right")
        }
        Some(_) => (
            cause.as_str(),
            "have the server's certificate made anew: X.509 version 3, for a server, its hosts as subjectAltName; \
             sslmode=require does not look at it",
        ),
        None => (
            cause.as_str(),
            "see the server's log; sslmode, sslrootcert and sslcert in DATABASE_URL say how kdata connects",
        ),
    };
    Some(Error::Source { what: format!("cannot connect to the database: {what}"), help: help.into() })
}

/// What rustls says of the server's certificate, from below the layers around it.
fn judgement(error: &tokio_postgres::Error) -> Option<&CertificateError> {
    let io = error.source()?.downcast_ref::<io::Error>()?;
    match io.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::InvalidCertificate(judgement) => Some(judgement),
        _ => None,
    }
}

/// What to do where the server lets nobody in this way, by its message.
pub(super) fn advice(message: &str) -> Option<&'static str> {
    if message.contains("client certificate") {
        return Some("name the client's certificate and its key: sslcert and sslkey in DATABASE_URL");
    }
    // PostgreSQL 14 says it in the first way, older ones in the second.
    let unencrypted = message.contains("no encryption") || message.contains("SSL off");
    unencrypted.then_some(
        "the server may want it encrypted: sslmode=require (or verify-full) in DATABASE_URL; else see its pg_hba.conf",
    )
}
