//! The state that `portcullis dev` keeps between starts: one directory per port, accessible to its user only.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::DevError;
use crate::config::{LocalUser, RootKey};
use crate::identity::{hash_password, random_password};
use crate::secret::{SecretText, random};

/// The directory of one port, locked until this process ends.
pub(super) struct State {
    directory: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// A demo user with its plain password, for the screen.
pub(super) struct DemoUser {
    pub(super) user: LocalUser,
    pub(super) password: SecretText,
}

impl State {
    /// Opens or creates the directory under `state_home`, and locks it.
    pub(super) fn open(state_home: &Path, port: u16, url: &str) -> Result<Self, DevError> {
        let directory = directory(state_home, port);
        let failed = |cause: std::io::Error| DevError::State { path: directory.clone(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = lock(&directory, url)?;
        Ok(Self { directory, _lock: lock })
    }

    /// The process that holds the directory, as its lock names it, if one does. Makes nothing.
    pub(super) fn holder(state_home: &Path, port: u16) -> Option<String> {
        let mut lock = File::open(directory(state_home, port).join("lock")).ok()?;
        if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        let mut holder = String::new();
        lock.read_to_string(&mut holder).ok()?;
        Some(holder.trim().to_owned())
    }

    /// The path of the directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database file.
    pub(super) fn database(&self) -> PathBuf {
        self.directory.join("portcullis.db")
    }

    /// The root key; generated at the first start.
    pub(super) fn root_key(&self) -> Result<RootKey, DevError> {
        let path = self.directory.join("root.key");
        let text = keep(&path, || data_encoding::BASE64.encode(&random::<32>()))?;
        RootKey::parse(&text).ok_or(DevError::Damaged { path })
    }

    /// The demo users; their passwords are generated at the first start. They are stored in plain text, so that every start
    /// can show them, beside the root key, which is more valuable. The identity provider gets hashes only.
    pub(super) fn users(&self) -> Result<Vec<DemoUser>, DevError> {
        let path = self.directory.join("passwords");
        let generate = || [random_password(), random_password()].map(|word| word.expose().to_owned()).join("\n");
        let text = keep(&path, generate)?;
        let people = [("alice", "Alice Example", "engineering"), ("bob", "Bob Example", "sales")];
        let passwords: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if passwords.len() != people.len() {
            return Err(DevError::Damaged { path });
        }
        Ok(people.into_iter().zip(passwords).map(|(person, password)| demo_user(person, password)).collect())
    }
}

fn directory(state_home: &Path, port: u16) -> PathBuf {
    state_home.join("portcullis").join(format!("dev-{port}"))
}

/// Reads a file, or creates it atomically with mode 0600.
fn keep(path: &Path, make: impl FnOnce() -> String) -> Result<String, DevError> {
    let failed = |cause| DevError::State { path: path.to_owned(), cause };
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let text = make();
    let draft = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    Ok(text)
}

fn demo_user((id, name, group): (&str, &str, &str), password: &str) -> DemoUser {
    let password = SecretText::from(password.to_owned());
    let password_hash = hash_password(&password);
    let user = LocalUser {
        id: id.to_owned(),
        username: id.to_owned(),
        password_hash,
        name: Some(name.to_owned()),
        email: Some(format!("{id}@example.com")),
        groups: vec![group.to_owned(), "everyone".to_owned()],
    };
    DemoUser { user, password }
}

/// Locks the directory until this process ends; the lock file names the process.
fn lock(directory: &Path, url: &str) -> Result<File, DevError> {
    let path = directory.join("lock");
    let failed = |cause: std::io::Error| DevError::State { path: path.clone(), cause };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            return Err(DevError::Running { holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "process {} on {url}", std::process::id()).map_err(failed)?;
    Ok(file)
}
