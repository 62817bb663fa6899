//! A TLS server on loopback that shakes hands and then hangs up.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server, and the file with the authority that signed its certificate.
pub struct TlsServer {
    pub url: String,
    pub ca: String,
    hellos: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl TlsServer {
    /// How many connections came.
    pub fn hellos(&self) -> usize {
        self.hellos.load(Ordering::Relaxed)
    }
}

/// Starts it, with a certificate of its own authority: good, or expired long ago.
pub fn tls_server(expired: bool) -> TlsServer {
    let folder = tempfile::tempdir().unwrap();
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    if expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let hellos = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hellos);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                // What is read does not matter: the client sees a closed connection.
                let _ = StreamOwned::new(connection, stream).read(&mut [0; 4096]);
            });
        }
    });
    TlsServer { url, ca: ca_file.display().to_string(), hellos, _folder: folder }
}
