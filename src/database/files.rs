//! Checks the files of the database before SQLite opens them by name: only root may have access to them.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{DatabaseError, Distrust};
use super::{WAL_LIMIT, Wal};

/// Checks that the directory, the database and SQLite's files beside it are private to root. SQLite opens by path, so this
/// guards against mistakes; the safety comes from the fact that only root can change a 0700 directory of root.
pub(super) fn check_files(path: &Path) -> Result<Wal, DatabaseError> {
    check_directory(path)?;
    if check_file(path)?.is_none() {
        return Err(DatabaseError::Missing(path.to_owned()));
    }
    let wal = match check_file(&beside(path, "-wal"))? {
        None => Wal::New,
        Some(length) if length > WAL_LIMIT => Wal::Long,
        Some(_) => Wal::Old,
    };
    check_file(&beside(path, "-shm"))?;
    let rollback = beside(path, "-journal");
    match fs::symlink_metadata(&rollback) {
        Ok(_) => Err(DatabaseError::Untrusted(rollback, Distrust::Rollback)),
        Err(_) => Ok(wal),
    }
}

pub(super) fn check_directory(path: &Path) -> Result<(), DatabaseError> {
    let directory = directory_of(path);
    let metadata = fs::symlink_metadata(directory).map_err(|error| match error.kind() {
        ErrorKind::NotFound => DatabaseError::Missing(path.to_owned()),
        _ => DatabaseError::File(directory.to_owned(), error),
    })?;
    let fault = if metadata.is_dir() { fault_of(&metadata) } else { Some(Distrust::NotDirectory) };
    fault.map_or(Ok(()), |cause| Err(DatabaseError::Untrusted(directory.to_owned(), cause)))
}

/// Returns the length of the file, if it exists; fails when it is not private to root.
fn check_file(path: &Path) -> Result<Option<u64>, DatabaseError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DatabaseError::File(path.to_owned(), error)),
        Ok(metadata) => metadata,
    };
    let fault = if !metadata.is_file() {
        Some(Distrust::NotRegular)
    } else if metadata.nlink() != 1 {
        Some(Distrust::Linked)
    } else {
        fault_of(&metadata)
    };
    fault.map_or(Ok(Some(metadata.len())), |cause| Err(DatabaseError::Untrusted(path.to_owned(), cause)))
}

fn fault_of(metadata: &Metadata) -> Option<Distrust> {
    if metadata.uid() != 0 {
        Some(Distrust::NotRoots)
    } else if metadata.mode() & 0o077 != 0 {
        Some(Distrust::Open)
    } else {
        None
    }
}

/// The files that were opened as the database.
#[derive(Debug)]
pub struct DatabaseFiles {
    path: PathBuf,
    files: Option<Files>,
}

/// Device and inode of the database, its WAL and its index; `None` for a file that does not exist.
type Files = [Option<(u64, u64)>; 3];

impl DatabaseFiles {
    /// Stands for a database that is not open yet; every set of files counts as the same.
    pub(super) fn unknown(path: &Path) -> Self {
        Self { path: path.to_owned(), files: None }
    }

    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), files: files(path) }
    }

    /// Whether a process that opens the path now gets the same files. Root may have replaced them; then no process reads what is
    /// written to the old ones.
    pub fn is_the_same(&self) -> bool {
        // A file that cannot be examined is no evidence of a replacement; the next check looks again.
        files(&self.path).is_none_or(|files| self.files.is_none_or(|own| own == files))
    }
}

fn files(path: &Path) -> Option<Files> {
    let mut files = Files::default();
    for (file, suffix) in files.iter_mut().zip(["", "-wal", "-shm"]) {
        *file = match fs::symlink_metadata(beside(path, suffix)) {
            Ok(found) => Some((found.dev(), found.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) => return None,
        };
    }
    Some(files)
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
