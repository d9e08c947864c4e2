//! Which files are believed. sudo reads a sudoers only where nobody but root could have written it, and so does the importer:
//! its policy must give nobody what sudo would not have given them (sudo's `lib/util/secure_path.c`).

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use sys::opened::Opened;
use sys::users::{account_by_uid, group_by_gid};

/// Whose files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authors {
    /// Those that only root can have written, as sudo does.
    Root,
    /// Anybody's, each with a warning: to review a copy that is in force nowhere.
    Anybody,
}

/// What a path has to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Why sudo would not read a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// What is said of its name, such as `is writable by everybody (mode 0666)`.
    pub(super) what: String,
    /// The command that makes it root's alone, without its last word, the name.
    pub(super) cure: &'static str,
}

/// Why a file is left out.
#[derive(Debug)]
pub(super) enum Unread {
    /// It cannot be read; a sentence fragment.
    Unreadable(String),
    /// Somebody besides root could have written it.
    Untrusted(Distrust),
}

/// A file or directory of the right kind that may be read: only root can have written it, or the caller wants it whoever
/// has.
#[derive(Debug)]
pub(super) struct Believed {
    opened: Opened,
    /// Why sudo would not have read it.
    pub(super) despite: Option<Distrust>,
}

impl Believed {
    /// Judges what was opened by owner and mode of that very file.
    pub(super) fn of(kind: Kind, opened: Opened, authors: Authors) -> Result<Self, Unread> {
        let metadata = opened.metadata();
        let wrong = |what: &str| Err(Unread::Unreadable(what.to_owned()));
        match kind {
            // Nothing else has an end that can be trusted.
            Kind::File if !metadata.is_file() => return wrong("it is not a file"),
            Kind::Directory if !metadata.is_dir() => return wrong("it is not a directory"),
            Kind::File | Kind::Directory => {}
        }
        match (distrust(kind, metadata), authors) {
            (Some(fault), Authors::Root) => Err(Unread::Untrusted(fault)),
            (despite, _) => Ok(Self { opened, despite }),
        }
    }

    /// What is read.
    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }
}

/// Who besides root could have written it. A group that may write must be root's own, as sudo has it.
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
