//! The reasons why a database cannot be used.

use std::fmt;
use std::path::PathBuf;

use super::{SCHEMA_VERSION, WRITE_PATIENCE};

/// What is wrong with a file or directory of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It is owned by another user than root.
    NotRoots,
    /// Users other than root may read, write or enter it.
    Open,
    /// It is a symbolic link, a device, or the like.
    NotRegular,
    /// It has another hard link.
    Linked,
    /// It should be a directory.
    NotDirectory,
    /// It is a rollback journal, which SQLite would play back.
    Rollback,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRoots => "does not belong to root",
            Self::Open => "is open to others than root",
            Self::NotRegular => "is not a regular file",
            Self::Linked => "has more than one name (hard links)",
            Self::NotDirectory => "is not a directory",
            Self::Rollback => "does not belong beside a database in WAL mode",
        })
    }
}

/// The reason why the database cannot be used; `Display` is a sentence fragment that names the file.
#[derive(Debug)]
pub enum DatabaseError {
    /// The file does not exist or is empty; the administrator runs `jitctl key init`.
    Missing(PathBuf),
    /// `create` found a database that is in use.
    Exists(PathBuf),
    /// A user other than root could write a file or directory; the administrator must act.
    Untrusted(PathBuf, Distrust),
    /// Tables, indexes, triggers or views differ from what this build knows, or the file is no jit-sudo database.
    Schema(PathBuf, String),
    /// A newer version wrote it.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i32,
        /// The newest one that this build knows.
        known: i32,
    },
    /// An earlier version wrote it, and it has not been migrated yet.
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i32,
    },
    /// Other processes held the write lock for the whole of [`WRITE_PATIENCE`].
    Busy(PathBuf),
    /// Its files on disk were replaced by others.
    Replaced(PathBuf),
    /// A file could not be examined or created.
    File(PathBuf, std::io::Error),
    /// An error of SQLite: disk full, read-only, corrupt, and so on.
    Sqlite(PathBuf, rusqlite::Error),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "there is no database {}", path.display()),
            Self::Exists(path) => write!(f, "the database {} exists already", path.display()),
            Self::Untrusted(path, cause) => write!(f, "{} {cause}", path.display()),
            Self::Schema(path, difference) => write!(f, "the database {} {difference}", path.display()),
            Self::Newer { path, found, known } => write!(
                f,
                "the database {} has schema version {found}, but this program supports only {known}",
                path.display()
            ),
            Self::Older { path, found } => {
                write!(f, "the database {} has schema version {found} instead of {SCHEMA_VERSION}", path.display())
            }
            Self::Busy(path) => {
                write!(f, "the database {} was locked for {} seconds", path.display(), WRITE_PATIENCE.as_secs())
            }
            Self::Replaced(path) => write!(f, "the database {} was replaced meanwhile", path.display()),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Sqlite(path, error) => write!(f, "the database {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DatabaseError {}
