//! Backups of the database: one file that only root can read. A backup is checked when it is made and before it takes the place of
//! the database.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::identity::public_key;
use super::{DATABASE, Host, HostError, schema, state_directory};
use crate::audit::{Due, Journal, Known, backup, state_checks};
use crate::database::Database;
use jit_core::clock::Timestamp;
use jit_core::escape::escape;
use jit_core::evidence::{Elsewhere, FirstBad, Mark, Signers};
use jit_core::grant::{HostDescriptor, HostPublicKey};
use jit_core::places::STATE;
use jit_core::policy::AuditSettings;
use sys::trusted::{TrustError, TrustedDirectory, TrustedFile};

/// The name of a backup while it is checked, before it takes the place of the database.
const STAGED: &str = "journal.db.restoring";

/// Why a copy of the database cannot take its place.
#[derive(Debug)]
pub enum CopyFault {
    /// Pages of it are damaged.
    Pages(Vec<String>),
    /// Its journal is not intact.
    NotIntact(FirstBad),
    /// It is of another host, or of this host under another key or machine-id.
    OtherHost,
    /// It was not made by this program, or was changed since.
    Head(String),
}

impl fmt::Display for CopyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(faults) => {
                write!(f, "the copy of the database is damaged: {}", escape(faults.join("; ").as_bytes()))
            }
            Self::NotIntact(bad) => write!(f, "the copy of the journal is not intact: {bad}"),
            Self::OtherHost => f.write_str("this is a backup of another host, or of this host under another key"),
            Self::Head(what) => write!(f, "this is not a backup as jitctl wrote it: {what}"),
        }
    }
}

impl CopyFault {
    /// Returns what the administrator does about it.
    pub(super) fn cure(&self) -> &'static str {
        match self {
            Self::Pages(_) | Self::NotIntact(_) => {
                "use another backup; jitctl audit export --salvage --output FILE saves the records that can be read"
            }
            Self::OtherHost => "restore host_key and host_key.pub of that time first, or use a backup of this host",
            Self::Head(_) => "use a file that `jitctl backup` has written, unchanged",
        }
    }
}

/// What took the place of the database.
#[derive(Debug)]
pub struct Restored {
    /// The head of its journal.
    pub head: Mark,
    /// The file that contains the former database, if there was one.
    pub former: Option<PathBuf>,
    /// The record that the anchor of the former database names.
    pub known: Option<Mark>,
}

impl Host {
    /// Writes a consistent copy of the database into the new file at `path`, and returns the head of its journal. The head is signed
    /// first. Other processes write meanwhile.
    ///
    /// # Errors
    /// The file exists, or lies in a directory to which users other than root may write; or the copy has a fault. Then no file remains.
    pub fn back_up(&self, journal: &Journal<'_>, path: &Path) -> Result<Mark, HostError> {
        self.seal(journal, Due::Now)?;
        let (directory, name) = place(path)?;
        directory.create(name, b"", 0o600)?;
        let copied = self.database.copy_to(path, |copy| backup::name_head(copy).map_err(HostError::from));
        let checked = copied.and_then(|head| {
            let copy = schema::open_copy(path)?;
            check(&copy, self.name(), &self.public_key()?, self.clocks()?.wall)?;
            Ok(head)
        });
        if checked.is_err() {
            let _ = directory.remove(name);
        }
        checked
    }

    /// Puts the backup at `path` in the place of the database, which may be damaged or missing, and keeps that under another name.
    /// Afterwards no grant is given or accepted until root accepts the state of the host.
    ///
    /// # Errors
    /// The backup has a fault, or is not root's alone. Then the database is as it was.
    pub fn restore(name: &str, path: &Path) -> Result<Restored, HostError> {
        let state = state_directory()?;
        let backup = TrustedFile::open(path)?;
        backup.private()?;
        let key = public_key(&state)?;
        let staged = Path::new(STATE).join(STAGED);
        Database::discard(&staged)?;
        let head = stage(path, &staged, name, &key);
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                Database::discard(&staged)?;
                return Err(error);
            }
        };
        let known = super::anchor::Anchor::at(Path::new(STATE).join(super::ANCHOR)).read();
        let known = known.map_err(|error| HostError::System("read the anchor", error))?;
        let former = unused(Path::new(STATE))?;
        let was_there = Database::put_in_place(&Path::new(STATE).join(DATABASE), &staged, &former)?;
        let host = Self::open(name)?;
        let journal = host.journal(&AuditSettings::default());
        let moment = host.notice(&journal)?;
        let how = format!("the database was restored from a backup of record {}", head.seq);
        let told = journal.distrust(&moment, &how)?;
        let _ = journal.mirror(&told);
        let known = known.filter(|known| known.seq < u64::MAX);
        Ok(Restored { head, former: was_there.then_some(former), known })
    }
}

/// Copies the backup into the state directory, where no other user can change it, converts it where an earlier version wrote it, and
/// checks it.
fn stage(path: &Path, staged: &Path, name: &str, key: &HostPublicKey) -> Result<Mark, HostError> {
    let copied = || -> io::Result<()> {
        let mut from = File::open(path)?;
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    };
    copied().map_err(|error| HostError::Trust(TrustError::Io { path: path.to_owned(), error }))?;
    Database::wake_copy(staged)?;
    let copy = schema::open(staged)?;
    let fault = |fault| HostError::Copy(path.to_owned(), fault);
    let head = backup::named_head(copy.connection()).map_err(|error| fault(CopyFault::Head(error.to_string())))?;
    check(&copy, name, key, Timestamp(sys::time::realtime_us())).map_err(|error| match error {
        HostError::Copy(_, cause) => fault(cause),
        error => error,
    })?;
    backup::forget_head(copy.connection())?;
    copy.settle()?;
    Ok(head)
}

/// Checks pages, chain, signatures and tables of a copy, and that it is of this host.
fn check(copy: &Database, name: &str, key: &HostPublicKey, now: Timestamp) -> Result<(), HostError> {
    let fault = |fault| Err(HostError::Copy(copy.path().to_owned(), fault));
    let faults = copy.integrity()?;
    if !faults.is_empty() {
        return fault(CopyFault::Pages(faults));
    }
    let machine = sys::machine::machine_id()?.unwrap_or_default();
    let identity = HostDescriptor::with_id(key, name, &machine).map(|(id, _)| id);
    if let (Some(known), Some(id)) = (state_checks::host(copy.connection())?, identity)
        && known != id.as_str().as_bytes()
    {
        return fault(CopyFault::OtherHost);
    }
    let known = Known {
        signers: Signers::Host(key.public_key()),
        anchor: Vec::new(),
        elsewhere: Elsewhere::default(),
        sealing_keys: Vec::new(),
        files: None,
        now,
    };
    match Journal::new(copy, name, Vec::new()).prove(known)? {
        Ok(_) => Ok(()),
        Err(bad) => fault(CopyFault::NotIntact(bad)),
    }
}

/// Returns the directory of a file that only root can have written, and its name.
fn place(path: &Path) -> Result<(TrustedDirectory, &OsStr), HostError> {
    let refused = || TrustError::NotCanonical { path: path.to_owned() };
    let directory = path.parent().ok_or_else(refused)?;
    let name = path.file_name().ok_or_else(refused)?;
    Ok((TrustedDirectory::open(directory)?, name))
}

/// Returns a name for the former database that no file has.
fn unused(state: &Path) -> Result<PathBuf, HostError> {
    let time = Timestamp(sys::time::realtime_us()).seconds();
    for number in 0..100 {
        let mut name = OsString::from(format!("{DATABASE}.former-{time}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        let path = state.join(name);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(path);
        }
    }
    Err(HostError::System("name the former database", io::ErrorKind::AlreadyExists.into()))
}
