//! Who runs kdata and the server, and which folders are theirs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CHOOSE_HOME, PORT, SOCKET_PATH_LIMIT, answer};
use crate::error::{Error, Result};
use crate::settings::Settings;

/// An OS user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: PathBuf,
}

impl Account {
    pub(super) fn by_uid(uid: u32) -> Result<Self> {
        let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let id = uid.to_string();
        // Users of LDAP and of macOS are not in the file.
        let asked = || {
            let name = answer(Command::new("id").args(["-un", &id])).filter(|name| *name != id)?;
            let gid = answer(Command::new("id").args(["-g", &id]))?.parse().ok()?;
            Some(Self { name, uid, gid, home: PathBuf::new() })
        };
        passwd(&file).find(|account| account.uid == uid).or_else(asked).ok_or_else(|| {
            Error::usage(
                format!("the user id {uid} has no name on this machine, and PostgreSQL needs one"),
                "add the user to /etc/passwd, or set DATABASE_URL to a database that runs already",
            )
        })
    }
}

/// The accounts of a file like /etc/passwd.
fn passwd(text: &str) -> impl Iterator<Item = Account> {
    text.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let &[name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Account { name: name.to_owned(), uid, gid, home: PathBuf::from(home) })
    })
}

pub(super) fn own_uid() -> Result<u32> {
    let process = fs::metadata("/proc/self").map(|process| process.uid()).ok();
    let uid = process.or_else(|| answer(Command::new("id").arg("-u"))?.parse().ok());
    uid.ok_or_else(|| Error::usage("cannot tell which user runs kdata", "mount /proc, or set DATABASE_URL"))
}

/// Whom the server runs as: the owner of the cluster's files, else us, or an unprivileged user instead of root.
pub(super) fn server_account(me: &Account, data: &Path) -> Result<Account> {
    match fs::metadata(data) {
        Ok(folder) if folder.uid() != 0 => return Account::by_uid(folder.uid()),
        _ if me.uid != 0 => return Ok(me.clone()),
        _ => {}
    }
    let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let by_name = |name| passwd(&file).find(|account| account.name == name);
    by_name("postgres").or_else(|| by_name("nobody")).ok_or_else(|| {
        let what = "PostgreSQL refuses to run as root, and there is no user postgres or nobody";
        Error::usage(what, "add a user postgres, or run kdata as a normal user")
    })
}

/// The folder of the private cluster and of kdata's state: `KDATA_HOME`, else the user's default.
pub fn home(settings: &Settings) -> Result<PathBuf> {
    if let Some(home) = &settings.home {
        return Ok(home.clone());
    }
    let uid = own_uid()?;
    if uid == 0 {
        return Ok(PathBuf::from("/var/lib/kdata"));
    }
    // The XDG specification: a relative path is to be ignored.
    if let Some(xdg) = settings.xdg_data_home.as_ref().filter(|xdg| xdg.is_absolute()) {
        return Ok(xdg.join("kdata"));
    }
    let user = match &settings.user_home {
        Some(home) => home.clone(),
        None => Account::by_uid(uid)?.home,
    };
    if user.is_absolute() {
        return Ok(user.join(".local/share/kdata"));
    }
    Err(Error::usage("cannot tell your home folder", CHOOSE_HOME))
}

/// The path without links, as far as it exists: one home has one spelling, and one socket.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|there| Some((there, fs::canonicalize(there).ok()?)));
    let Some((there, real)) = real else {
        return path.to_owned();
    };
    match path.strip_prefix(there) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => path.to_owned(),
    }
}

/// `<home>/run`, unless the path is too long for a socket or holds what a list of hosts cannot.
pub(super) fn socket_dir(home: &Path) -> Result<PathBuf> {
    let Some(text) = home.to_str().filter(|text| !text.contains(char::is_control)) else {
        return Err(Error::usage(
            format!("the folder's name is not plain text: {}", home.display()),
            CHOOSE_HOME,
        ));
    };
    let socket = format!("{text}/run/.s.PGSQL.{PORT}");
    if socket.len() <= SOCKET_PATH_LIMIT && !text.contains([',', '"', '\\']) {
        return Ok(home.join("run"));
    }
    let fnv = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = text.bytes().fold(0x811c_9dc5, fnv);
    Ok(PathBuf::from(format!("/tmp/kdata-{hash:08x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_awkward_home_gets_a_short_socket_folder() {
        let dir = |home: &str| socket_dir(Path::new(home)).unwrap();
        assert_eq!(dir("/var/lib/kdata"), Path::new("/var/lib/kdata/run"));
        let fits = format!("/{}", "a".repeat(SOCKET_PATH_LIMIT - "//run/.s.PGSQL.5462".len()));
        assert_eq!(dir(&fits), Path::new(&format!("{fits}/run")));
        assert_eq!(dir(&format!("{fits}a")).to_string_lossy().len(), "/tmp/kdata-01234567".len());
        assert!(dir("/data/a,b").starts_with("/tmp"));
        assert_ne!(dir("/data/a,b"), dir("/data/a,c"));
    }

    #[test]
    fn passwd_lines_are_read() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken\n+::::::\n\
                    nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";
        let found: Vec<_> = passwd(text).collect();
        assert_eq!(found.len(), 2);
        let nobody = Account { name: "nobody".into(), uid: 65534, gid: 65533, home: "/nonexistent".into() };
        assert_eq!(found[1], nobody);
    }
}
