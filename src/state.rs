//! Floor 2: the state directory. Small files that processes share, and folders that nobody else may look into.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Makes a folder that nobody else may look into. Those above it are plain: the private cluster's server, which runs as
/// another user, must pass them.
pub fn private_folder(path: &Path) -> Result<()> {
    let above = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let made = above.and_then(|()| match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    });
    made.map_err(|e| {
        let what = format!("cannot use the folder {}", path.display());
        if e.kind() == std::io::ErrorKind::PermissionDenied {
            return Error::usage(format!("{what}: {e}"), "run as the user who owns it, or set KDATA_HOME");
        }
        Error::io(what, e)
    })
}

/// Reads a small file (mode 0600), lets it be changed and writes it back, while nobody else can. A file that is not there
/// is an empty one.
pub fn locked<T>(path: &Path, change: impl FnOnce(&str) -> (String, T)) -> Result<T> {
    let cannot = |e| Error::io(format!("cannot keep count in {}", path.display()), e);
    let mut file = open(path).map_err(cannot)?;
    file.lock().map_err(cannot)?;
    let mut text = String::new();
    // What is not text was not written by us: begun anew.
    if file.read_to_string(&mut text).is_err() {
        text.clear();
    }
    let (after, outcome) = change(&text);
    if after != text {
        file.seek(SeekFrom::Start(0)).map_err(cannot)?;
        file.write_all(after.as_bytes()).map_err(cannot)?;
        file.set_len(after.len() as u64).map_err(cannot)?;
    }
    Ok(outcome)
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A document of JSON in a private folder of its own, which processes share.
#[derive(Clone, Debug)]
pub struct Document<D> {
    folder: PathBuf,
    content: PhantomData<fn() -> D>,
}

impl<D: Default + Serialize + DeserializeOwned> Document<D> {
    /// The document in a folder of the state directory.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, content: PhantomData }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("book.json")
    }

    /// Reads it, lets it be changed and writes it back, while nobody else can. One that does not read (the disk was full, a
    /// power cut) is begun anew.
    pub fn change<T>(&self, change: impl FnOnce(&mut D) -> T) -> Result<T> {
        private_folder(&self.folder)?;
        let cannot = |e| Error::io(format!("cannot keep {}", self.path().display()), e);
        let lock = open(&self.folder.join("lock")).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        let mut document = self.look();
        let before = serde_json::to_string(&document).expect("plain data");
        let outcome = change(&mut document);
        let after = serde_json::to_string(&document).expect("plain data");
        if after != before {
            // Whole or not at all: others look without the lock, and a disk may be full.
            let new = self.folder.join("book.json.new");
            let written = open(&new).and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(after.as_bytes())?;
                file.sync_all()
            });
            written.and_then(|()| std::fs::rename(&new, self.path())).map_err(cannot)?;
        }
        Ok(outcome)
    }

    /// As it stands, only looked at; an empty one where none is.
    pub fn look(&self) -> D {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// A short name that differs where the texts differ.
pub fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(12).fold(String::with_capacity(24), |name, byte| name + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_itself_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home/limits");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_ne!(mode(path.parent().unwrap()), 0o700);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(private_folder(&folder.path().join("file")).is_err());
    }

    #[test]
    fn a_document_is_kept_shortened_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let list = Document::<Vec<u32>>::new(folder.path().join("list"));
        let push = |n: u32| list.change(|list| list.push(n)).unwrap();
        push(1);
        push(22);
        assert_eq!(list.look(), [1, 22]);
        list.change(|list| list.truncate(1)).unwrap();
        assert_eq!(std::fs::read_to_string(list.path()).unwrap(), "[1]");
        std::fs::write(list.path(), "[1, 2").unwrap();
        assert_eq!(list.look(), [0; 0]);
        push(3);
        assert_eq!(list.look(), [3]);
    }
}
