//! The files of the database: root's alone, before SQLite opens them by name.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{DatabaseError, Distrust};
use super::{WAL_LIMIT, Wal};

/// The directory is private to root, and so are the database and what SQLite keeps beside it. SQLite opens by path,
/// so this guards against mistakes; what makes it safe is that only root can change a 0700 directory of root.
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

/// The length of the file, where it exists; then it must be trustworthy.
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

/// Where an open database lies: the files that it was opened as.
#[derive(Debug)]
pub struct DatabaseFiles {
    path: PathBuf,
    files: Option<Files>,
}

/// Device and inode of the database and of what SQLite keeps beside it, as far as it is there.
type Files = [Option<(u64, u64)>; 3];

impl DatabaseFiles {
    /// Of one that is not open yet: any is the same.
    pub(super) fn unknown(path: &Path) -> Self {
        Self { path: path.to_owned(), files: None }
    }

    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), files: files(path) }
    }

    /// Whether whoever opens it now opens the same files. Root may have put others there; what is written into the old ones then is
    /// read by nobody.
    pub fn is_the_same(&self) -> bool {
        // Where one cannot look, one looks again the next time.
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
