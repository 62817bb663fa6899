//! Encrypted connections to a database elsewhere: what `sslmode` promises is kept, by kdata and by the programs it starts.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::{OnceLock, RwLock};
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use x509_cert::der::{Decode, Encode};

use crate::support::{DATASETS, Session, Sheet, Work, stop_when_gone};

const PORT: u16 = 5462;
/// Held for reading while the server is as it was started, for writing by who changes it.
static AS_STARTED: RwLock<()> = RwLock::new(());

/// A private cluster that listens on an address of loopback as well, with a certificate for `db.test`.
struct Server {
    work: Work,
    address: String,
    authority: Issuer<'static, KeyPair>,
    /// The file of the authority that signed the server's certificate, and of one that did not.
    trusted: String,
    stranger: String,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().unwrap())
}

fn params(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, host);
    params
}

/// What `db status` says of a connection: success, or the exit code and words of a failure.
#[track_caller]
fn tells_of(url: &str, variables: &[(&str, &str)], code: i32, says: &[&str]) {
    let mut work = Work::new();
    work.set("DATABASE_URL", url);
    for (name, value) in variables {
        work.set(name, value);
    }
    let run = work.kdata("db status");
    // Messages are broken into lines as wide as a terminal.
    let told = format!("{}{}", run.stdout, run.stderr).replace("  │ ", " ");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(run.code, code, "{url}: {run:#?}");
    for text in says {
        assert!(told.contains(text), "{url}: {text:?} is not said: {run:#?}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}

impl Server {
    fn start() -> Self {
        let mut work = Work::new();
        work.set("KDATA_BACKEND", "native");
        let home = work.path("home").display().to_string();
        stop_when_gone(&work.path("").display().to_string(), &home);
        work.kdata("db start").ok();
        let owner = Session::connect(work.kdata("db url").ok().trim());
        for role in ["tls", "plain", "either"] {
            owner.rows(&format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'hunter2'"));
        }
        owner.rows("CREATE ROLE certified SUPERUSER LOGIN");
        drop(owner);
        work.kdata("db stop").ok();

        let (ca, ca_key) = authority("trusted");
        let trusted = work.write("trusted.pem", ca.self_signed(&ca_key).unwrap().pem());
        let (stranger, stranger_key) = authority("stranger");
        let stranger = work.write("stranger.pem", stranger.self_signed(&stranger_key).unwrap().pem());
        // An address of its own: no other server of this machine is disturbed.
        let [a, b, c, d] = std::process::id().to_be_bytes();
        let address = format!("127.{}.{c}.{d}", 1 + (a ^ b) % 254);
        let append = |name: &str, text: &str| {
            let mut file = OpenOptions::new().append(true).open(work.path("home").join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(
            "data/postgresql.conf",
            &format!(
                "listen_addresses = '{address}'\nssl = on\nssl_ca_file = '{}'\nlog_connections = on\nfsync = off\n",
                trusted.display()
            ),
        );
        append(
            "pg_hba.conf",
            "hostssl   all  tls        127.0.0.0/8  scram-sha-256\n\
             hostnossl all  plain      127.0.0.0/8  scram-sha-256\n\
             host      all  either     127.0.0.0/8  scram-sha-256\n\
             hostssl   all  certified  127.0.0.0/8  cert\n",
        );
        let [trusted, stranger] = [trusted, stranger].map(|path| path.display().to_string());
        let server = Self { work, address, authority: Issuer::new(ca, ca_key), trusted, stranger };
        let (certificate, key) = server.signed(&params("db.test"));
        server.install(&certificate.pem(), &key);
        server.work.kdata("db start").ok();
        server
    }

    fn signed(&self, params: &CertificateParams) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.authority).unwrap(), key)
    }

    /// The server's certificate; a key is read by its user only, who is another where the tests run as root.
    fn install(&self, certificate: &str, key: &KeyPair) {
        let owner = fs::metadata(self.work.path("home/data")).unwrap();
        for (name, pem) in [("server.crt", certificate), ("server.key", &key.serialize_pem())] {
            let path = self.work.write(&format!("home/data/{name}"), pem);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    fn owner(&self) -> Session {
        Session::connect(self.work.kdata("db url").ok().trim())
    }

    /// Does what a server's administrator does, and waits until new connections see it.
    fn reload(&self, ssl: bool) {
        let owner = self.owner();
        owner.rows(&format!("ALTER SYSTEM SET ssl = {ssl}"));
        owner.rows("SELECT pg_reload_conf()");
        let answer = |ssl| if ssl { b'S' } else { b'N' };
        while self.asked_for_tls() != answer(ssl) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The byte that answers the request for TLS.
    fn asked_for_tls(&self) -> u8 {
        let mut stream = TcpStream::connect((self.address.as_str(), PORT)).unwrap();
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        answer[0]
    }

    fn url(&self, user: &str, host: &str, rest: &str) -> String {
        let rest = rest.replace("TRUSTED", &self.trusted).replace("STRANGER", &self.stranger);
        format!("postgresql://{user}:hunter2@{host}:{PORT}/kdata?hostaddr={}{rest}", self.address)
    }

    #[track_caller]
    fn tells(&self, user: &str, host: &str, rest: &str, code: i32, says: &[&str]) {
        tells_of(&self.url(user, host, rest), &[], code, says);
    }

    /// What the server's log tells of who was let in.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.work.path("home/log/postgres.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("connection authorized: user=tls"));
        lines.map(ToOwned::to_owned).collect()
    }
}

#[test]
fn a_connection_is_as_encrypted_as_the_url_says() {
    let server = server();
    let _as_started = AS_STARTED.read().unwrap();
    let full = "connection encrypted, the server's authority and host checked (sslmode=verify-full)";
    let unchecked = "connection encrypted, the server not checked";
    let plain = "connection not encrypted";
    for (user, host, rest, code, says) in [
        // libpq's default, in both directions.
        ("tls", "db.test", "", 0, [unchecked, "(sslmode=prefer)"]),
        ("either", "db.test", "", 0, [unchecked, "(sslmode=prefer)"]),
        ("plain", "db.test", "", 0, [plain, "(sslmode=prefer)"]),
        ("either", "db.test", "&sslmode=allow", 0, [plain, "(sslmode=allow)"]),
        ("tls", "db.test", "&sslmode=allow", 0, [unchecked, "(sslmode=allow)"]),
        ("either", "db.test", "&sslmode=disable", 0, [plain, "(sslmode=disable)"]),
        ("tls", "db.test", "&sslmode=disable", 6, ["no encryption", "sslmode=require (or verify-full)"]),
        ("tls", "db.test", "&sslmode=require", 0, [unchecked, "(sslmode=require)"]),
        ("plain", "db.test", "&sslmode=require", 6, ["SSL encryption", "DATABASE_URL"]),
        // The server has the certificate's key, and says so together with the password.
        ("tls", "db.test", "&sslmode=require&channel_binding=require", 0, [unchecked, "schema"]),
        ("either", "db.test", "&sslmode=disable&channel_binding=require", 4, ["channel binding", "help:"]),
        // Who it is.
        ("tls", "db.test", "&sslmode=verify-full&sslrootcert=TRUSTED", 0, [full, "schema"]),
        ("tls", "other.test", "&sslmode=verify-full&sslrootcert=TRUSTED", 4, ["\"other.test\"", "db.test"]),
        (
            "tls",
            "other.test",
            "&sslmode=verify-ca&sslrootcert=TRUSTED",
            0,
            ["authority checked", "verify-ca"],
        ),
        (
            "tls",
            "db.test",
            "&sslmode=verify-full&sslrootcert=STRANGER",
            4,
            ["no authority that is trusted", "sslrootcert in"],
        ),
        (
            "tls",
            "db.test",
            "&sslmode=verify-ca&sslrootcert=STRANGER",
            4,
            ["no authority that is trusted", "stand between"],
        ),
        ("tls", "db.test", "&sslrootcert=system", 4, ["no authority that is trusted", "sslrootcert in"]),
        // With a file of authorities `require` is `verify-ca`.
        ("tls", "other.test", "&sslmode=require&sslrootcert=TRUSTED", 0, ["authority checked", "=require"]),
        (
            "tls",
            "db.test",
            "&sslmode=require&sslrootcert=STRANGER",
            4,
            ["no authority that is trusted", "help:"],
        ),
        // What cannot be meant.
        ("tls", "db.test", "&sslmode=verify-full", 2, ["whom to trust", "sslrootcert=system"]),
        (
            "tls",
            "db.test",
            "&sslmode=require&sslrootcert=system",
            2,
            ["asks for more", "sslmode=verify-full"],
        ),
        ("tls", "db.test", "&sslnegotiation=direct", 2, ["asks for more", "sslmode=require"]),
        ("tls", "db.test", "&sslmode=yes", 2, ["is unknown", "verify-ca, verify-full"]),
        ("tls", "db.test", "&sslrootcert=/no/such", 2, ["sslrootcert of DATABASE_URL (/no/such)", "PEM"]),
    ] {
        server.tells(user, host, rest, code, &says);
    }
    let wrong = server.url("tls", "db.test", "&sslmode=require").replacen("hunter2", "hunter22", 1);
    tells_of(&wrong, &[], 6, &["password authentication failed"]);
    // The other form of DATABASE_URL.
    let pairs = format!(
        "host=db.test hostaddr={} port={PORT} user=tls password=hunter2 dbname=kdata sslmode=verify-full \
         sslrootcert='{}'",
        server.address, server.trusted
    );
    tells_of(&pairs, &[], 0, &[full]);
    // Authorities of the machine, and where libpq looks for what is not named.
    let system = server.url("tls", "db.test", "&sslrootcert=system");
    tells_of(&system, &[("SSL_CERT_FILE", &server.trusted)], 0, &[full]);
    let by_home = server.url("tls", "db.test", "&sslmode=verify-full");
    let home = server.work.path("user");
    server.work.write("user/.postgresql/root.crt", fs::read(&server.trusted).unwrap());
    tells_of(&by_home, &[("HOME", &home.display().to_string())], 0, &[full]);
}

#[test]
fn a_client_may_have_a_certificate() {
    let server = server();
    let _as_started = AS_STARTED.read().unwrap();
    let (certificate, key) = server.signed(&params("certified"));
    let certificate = server.work.write("client.pem", certificate.pem());
    let key = server.work.write("client.key", key.serialize_pem());
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let named = format!("&sslmode=verify-full&sslrootcert=TRUSTED&sslcert={}", certificate.display());
    let with_key = format!("{named}&sslkey={}", key.display());
    server.tells("certified", "db.test", &with_key, 0, &["authority and host checked"]);
    server.tells("certified", "db.test", &named, 2, &["sslcert", "its private key is not named (sslkey)"]);
    let with_another = format!("{named}&sslkey={}", certificate.display());
    server.tells("certified", "db.test", &with_another, 2, &["the sslkey of DATABASE_URL", "PEM"]);
    server.tells(
        "certified",
        "db.test",
        "&sslmode=require",
        6,
        &["valid client certificate", "sslcert and sslkey"],
    );
}

#[test]
fn all_that_goes_to_the_server_is_encrypted() {
    let server = server();
    let _as_started = AS_STARTED.read().unwrap();
    let mut work = Work::new();
    let rest = "&sslmode=verify-full&sslrootcert=TRUSTED&channel_binding=require";
    server.owner().rows("CREATE DATABASE whole");
    let url = server.url("tls", "db.test", rest).replacen("/kdata?", "/whole?", 1);
    work.set("DATABASE_URL", &url).set("KDATA_BACKEND", "native");
    work.marcap(2024, &Sheet::fixture(2024));
    let before = server.log().len();
    for dataset in DATASETS {
        let days = "--from 2024-01-02 --to 2024-01-08";
        let pipe = format!("kdata extract {dataset} {days} --source marcap | kdata validate | kdata load");
        work.sh(&format!("{pipe} && kdata promote")).ok();
    }
    assert!(work.kdata("report quality --date 2024-01-08").ok().contains("100.00 %"));
    let backup = work.kdata("db backup").ok();
    assert!(work.kdata("db verify").ok().contains(" is good: "));
    let restored = work.kdata(&format!("db restore --replace {}", backup.split(": ").next().unwrap())).ok();
    assert!(restored.contains(" restored: "), "{restored}");
    let log = &server.log()[before..];
    for line in log {
        assert!(line.contains("SSL enabled (protocol=TLSv1.3"), "{line}");
    }
    for program in ["kdata", "pg_dump", "pg_restore"] {
        let name = format!("application_name={program} ");
        assert!(log.iter().any(|line| line.contains(&name)), "{program}: {log:#?}");
    }
    // A reader is told to look as closely.
    let reader = work.kdata("db url --reader").ok();
    let expected = format!("/whole?sslmode=verify-full&sslrootcert={}\n", server.trusted);
    assert!(reader.ends_with(&expected) && !reader.contains("hunter2"), "{reader}");
}

#[test]
fn other_servers_are_told_apart() {
    let server = server();
    let _alone = AS_STARTED.write().unwrap();
    let full = "&sslmode=verify-full&sslrootcert=TRUSTED";
    let show = |certificate: &str, key: &KeyPair| {
        server.install(certificate, key);
        server.reload(false);
        server.reload(true);
    };

    let mut expired = params("db.test");
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let (certificate, key) = server.signed(&expired);
    show(&certificate.pem(), &key);
    server.tells("tls", "db.test", full, 4, &["expired", "renewed"]);
    server.tells("tls", "db.test", "&sslmode=require", 0, &["encrypted, the server not checked"]);

    // One that signed itself is its own authority, for OpenSSL and for us.
    let (mut own, key) = authority("db.test");
    own.subject_alt_names = params("db.test").subject_alt_names;
    let certificate = own.self_signed(&key).unwrap();
    show(&certificate.pem(), &key);
    let file: PathBuf = server.work.write("own.pem", certificate.pem());
    let by_itself = format!("&sslmode=verify-full&sslrootcert={}", file.display());
    server.tells("tls", "db.test", &by_itself, 0, &["authority and host checked"]);
    server.tells("tls", "other.test", &by_itself, 4, &["\"other.test\""]);
    server.tells("tls", "db.test", full, 4, &["cannot connect to the database: invalid peer certificate"]);

    // Of version 1, as `openssl x509 -req` makes it without extensions.
    let (certificate, key) = server.signed(&params("db.test"));
    let mut first = x509_cert::Certificate::from_der(certificate.der()).unwrap();
    first.tbs_certificate.version = x509_cert::Version::V1;
    first.tbs_certificate.extensions = None;
    let bytes = format!("{:?}", first.to_der().unwrap());
    let bytes = bytes.trim_matches(['[', ']']);
    let base64 = server.owner().value(&format!(
        "SELECT encode(string_agg(set_byte('\\x00', 0, byte), ''), 'base64') FROM unnest(ARRAY[{bytes}]) AS byte"
    ));
    show(&format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"), &key);
    server.tells("tls", "db.test", "&sslmode=require&channel_binding=require", 0, &["encrypted"]);
    server.tells("tls", "db.test", full, 4, &["UnsupportedCertVersion", "version 3", "sslmode=require"]);

    let (certificate, key) = server.signed(&params("db.test"));
    server.install(&certificate.pem(), &key);
    server.reload(false);
    server.tells(
        "either",
        "db.test",
        "&sslmode=require",
        4,
        &["the server takes no encrypted connections", "ssl = on"],
    );
    server.tells("either", "db.test", full, 4, &["the server takes no encrypted connections"]);
    server.tells("either", "db.test", "", 0, &["connection not encrypted (sslmode=prefer)"]);
    server.reload(true);
    server.tells("tls", "db.test", full, 0, &["authority and host checked"]);
}
