//! Which files are trusted. sudo reads a sudoers file only if no user but root could have written it, and so does the
//! importer: its policy must give no user what sudo would not (sudo's `lib/util/secure_path.c`).

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use sys::opened::Opened;
use sys::users::{account_by_uid, group_by_gid};

/// Which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authors {
    /// Those that only root can have written, as in sudo.
    Root,
    /// All files, with a warning for each untrusted one: to review a copy that is not in force.
    Anybody,
}

/// What a path has to refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Why sudo would not read a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// The text after its name, such as `is writable by everybody (mode 0666)`.
    pub(super) what: String,
    /// The command that fixes owner and mode, without its last argument, the name.
    pub(super) cure: &'static str,
}

/// Why a file is skipped.
#[derive(Debug)]
pub(super) enum Unread {
    /// It cannot be read; the text is a sentence fragment.
    Unreadable(String),
    /// A user other than root could have written it.
    Untrusted(Distrust),
}

/// A file or directory of the right kind that may be read: only root can have written it, or the caller accepts all
/// authors.
#[derive(Debug)]
pub(super) struct Believed {
    opened: Opened,
    /// Why sudo would not have read it.
    pub(super) despite: Option<Distrust>,
}

impl Believed {
    /// Checks owner and mode of the opened file.
    pub(super) fn of(kind: Kind, opened: Opened, authors: Authors) -> Result<Self, Unread> {
        let metadata = opened.metadata();
        let wrong = |what: &str| Err(Unread::Unreadable(what.to_owned()));
        match kind {
            // Nothing else has a reliable end.
            Kind::File if !metadata.is_file() => return wrong("it is not a file"),
            Kind::Directory if !metadata.is_dir() => return wrong("it is not a directory"),
            Kind::File | Kind::Directory => {}
        }
        match (distrust(kind, metadata), authors) {
            (Some(fault), Authors::Root) => Err(Unread::Untrusted(fault)),
            (despite, _) => Ok(Self { opened, despite }),
        }
    }

    /// Returns the opened file.
    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }
}

/// Returns which users besides root could have written it. A group that may write must be root's own, as in sudo.
fn distrust(kind: Kind, metadata: &Metadata) -> Option<Distrust> {
    let (mode, uid, gid) = (metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid());
    let closed = if kind == Kind::File { "chmod 0440" } else { "chmod 0755" };
    if uid != 0 {
        let name = account_by_uid(uid).ok().flatten().map_or_else(|| "no account".to_owned(), |account| account.name);
        Some(Distrust { what: format!("is owned by uid {uid} ({name}), not by root"), cure: "chown root:root" })
    } else if mode & 0o002 != 0 {
        Some(Distrust { what: format!("is writable by everybody (mode {mode:04o})"), cure: closed })
    } else if mode & 0o020 != 0 && gid != 0 {
        let name = group_by_gid(gid).ok().flatten().map_or_else(|| "no group".to_owned(), |group| group.name);
        Some(Distrust { what: format!("is writable by gid {gid} ({name}; mode {mode:04o})"), cure: closed })
    } else {
        None
    }
}
