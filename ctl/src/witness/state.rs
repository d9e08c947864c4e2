//! The directory of a witness: its key, and the last cosigned note of each host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_core::evidence::TreeHead;
use jit_core::evidence::note::{Note, WitnessKey};
use jit_core::grant::PublicKey;
use sys::lock::Locked;
use sys::random::random;

use super::is_host;
use crate::audit::anchor::signed;
use crate::clean::clean;
use crate::speech::{Notice, Trouble};

const KEY: &str = "key";
const LOCK: &str = "lock";

/// The end of the names of the files with notes; the host id precedes it.
const NOTE: &str = ".note";

/// The end of the names of the files with the id that a host has since its key was replaced.
const NEXT: &str = ".next";

/// How long another process may hold the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// The directory of a witness.
pub(super) struct State {
    directory: PathBuf,
}

impl State {
    /// Opens the directory, or creates it; only its owner may enter it.
    pub(super) fn open(directory: &Path) -> Result<Self, Trouble> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed("create", directory, &error))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Waits for other processes that use the directory.
    pub(super) fn lock(&self) -> Result<Locked, Trouble> {
        let path = self.directory.join(LOCK);
        Locked::at(&path, PATIENCE).map_err(|error| failed("lock", &path, &error))
    }

    /// Reads the key.
    pub(super) fn key(&self) -> Result<WitnessKey, Trouble> {
        let path = self.directory.join(KEY);
        match fs::read_to_string(&path) {
            Ok(text) => WitnessKey::parse(text.trim_end())
                .ok_or_else(|| trouble("no-key", format!("{} is not the key of a witness", shown(&path)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let notice = Notice::new("this witness has no key");
                let hint = format!("jitctl witness key --state {} --name NAME", shown(&self.directory));
                Err(Trouble::Local("no-key", notice.with_hint(hint)))
            }
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Makes a key with this name, if there is none.
    pub(super) fn make_key(&self, name: &str) -> Result<WitnessKey, Trouble> {
        let _lock = self.lock()?;
        let path = self.directory.join(KEY);
        if path.exists() {
            let key = self.key()?;
            let other =
                || trouble("other-name", format!("this witness has a key with the name {}", clean(&key.public().name)));
            return if key.public().name == name { Ok(key) } else { Err(other()) };
        }
        let seed = random().map_err(|error| failed("make", &path, &error))?;
        let bad = || trouble("name", "the name of a witness has no space and no plus sign".to_owned());
        let key = WitnessKey::new(name, seed).ok_or_else(bad)?;
        self.replace(KEY, &(key.to_text() + "\n"))?;
        Ok(key)
    }

    /// Returns the last tree head of a host that was cosigned, with its note.
    pub(super) fn last(&self, host: &str) -> Result<Option<(TreeHead, Note)>, Trouble> {
        let path = self.directory.join(name(host));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        // A damaged file must not count as none: the witness would begin anew.
        let damaged = || trouble("damaged", format!("{} is damaged", shown(&path)));
        let note = Note::parse(&text).ok_or_else(damaged)?;
        let head = note.head().map(|(_, head)| head).ok_or_else(damaged)?;
        Ok(Some((head, note)))
    }

    /// Returns the host whose last note this key has signed. Leaves out notes that are damaged: they stop only their own host.
    pub(super) fn host_of(&self, key: &PublicKey) -> Result<Option<String>, Trouble> {
        let is_by = |note: &Note| signed(note, std::slice::from_ref(key)).is_some();
        let is_of = |host: &String| self.last(host).is_ok_and(|last| last.is_some_and(|(_, note)| is_by(&note)));
        Ok(self.hosts()?.into_iter().find(is_of))
    }

    /// Whether it has the note of any host, damaged or not.
    pub(super) fn knows_hosts(&self) -> Result<bool, Trouble> {
        Ok(!self.hosts()?.is_empty())
    }

    fn hosts(&self) -> Result<Vec<String>, Trouble> {
        let failed = |error| failed("read", &self.directory, &error);
        let mut hosts = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let file = entry.map_err(failed)?.file_name();
            let host = file.to_str().and_then(|file| file.strip_suffix(NOTE)).filter(|host| is_host(host));
            hosts.extend(host.map(str::to_owned));
        }
        Ok(hosts)
    }

    /// Returns the id that a host has since its key was replaced.
    pub(super) fn successor(&self, host: &str) -> Result<Option<String>, Trouble> {
        let path = self.directory.join(format!("{host}{NEXT}"));
        match fs::read_to_string(&path) {
            Ok(text) if is_host(text.trim_end()) => Ok(Some(text.trim_end().to_owned())),
            Ok(_) => Err(trouble("damaged", format!("{} is damaged", shown(&path)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Stores the id that a host has from now on; nothing is cosigned for the old one any more.
    pub(super) fn succeed(&self, host: &str, next: &str) -> Result<(), Trouble> {
        self.replace(&format!("{host}{NEXT}"), &format!("{next}\n"))
    }

    /// Returns the path of the note of a host, for messages.
    pub(super) fn note_of(&self, host: &str) -> String {
        shown(&self.directory.join(name(host)))
    }

    /// Stores the cosigned note of a host; it is on the disk when this returns.
    pub(super) fn remember(&self, host: &str, note: &Note) -> Result<(), Trouble> {
        self.replace(&name(host), &note.to_string())
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), Trouble> {
        let (path, new) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        let written = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        written().map_err(|error| failed("write", &path, &error))
    }
}

fn name(host: &str) -> String {
    format!("{host}{NOTE}")
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string())
}

fn trouble(code: &'static str, message: String) -> Trouble {
    Trouble::Local(code, Notice::new(message))
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Trouble {
    trouble("state", format!("cannot {what} {}: {}", shown(path), sys::plain_words(error)))
}
