//! The command that root types when this host cannot serve: one table for jit-sudo's hints and for `jitctl doctor`.
//! May not: examine anything; the error alone decides.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use super::{HOST_KEY, HostError, PUBLIC_KEY};
use crate::audit::JournalError;
use crate::database::{DatabaseError, Distrust, Unwritten};
use jit_core::escape::command_line;
use jit_core::evidence::KeyEnd;
use jit_core::places::{CONFIGURATION, HOOKS, KEY_SEALER, STATE};
use sys::trusted::TrustError;

impl HostError {
    /// Whether the error is a mistake in the policy files, or in the list of the approvers' keys.
    pub fn is_of_policy(&self) -> bool {
        matches!(self, Self::Policy(_) | Self::Approvers(_) | Self::PolicyEncoding(_))
    }

    /// Returns the command that fixes the error, or short advice; `None` where no fix is known.
    pub fn cure(&self) -> Option<String> {
        if self.unwritten() == Some(Unwritten::Full) {
            return Some(free_space());
        }
        match self {
            Self::Trust(error) => Some(trust(error)),
            Self::Database(error) => database(error),
            Self::Policy(_) | Self::Approvers(_) | Self::PolicyEncoding(_) => Some("jitctl policy check".to_owned()),
            Self::Supervisors(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Some(writable()),
            Self::NoProc => Some("mount -t proc proc /proc".to_owned()),
            Self::Compiler(_) => Some("install jit-sudo again".to_owned()),
            Self::NoKey(_) => Some("jitctl key init".to_owned()),
            Self::Sealed => Some(format!("{KEY_SEALER} unseal")),
            Self::Ended(_) => Some(format!(
                "put the present key back, or `rm {STATE}/{HOST_KEY} {STATE}/{PUBLIC_KEY} && jitctl key init`, then jitctl key accept \
                 --reason 'WHY'"
            )),
            Self::Journal(JournalError::KeyEnded(KeyEnd { is_retirement: true, .. })) | Self::Retired(_, None) => {
                Some("jitctl key init, then jitctl key accept --reason 'WHY'".to_owned())
            }
            Self::Retired(_, Some(_)) => Some("jitctl audit verify, then jitctl key accept --reason 'WHY'".to_owned()),
            Self::Key(_) => Some(format!(
                "restore {STATE}/{HOST_KEY} from a backup, or `rm {STATE}/{HOST_KEY} {STATE}/{PUBLIC_KEY} && jitctl key init`, which \
                 ends every grant"
            )),
            Self::Restored(_) => Some("jitctl audit verify, then jitctl key accept --reason 'WHY'".to_owned()),
            Self::Copy(_, fault) => Some(fault.cure().to_owned()),
            Self::Journal(JournalError::Sqlite(error)) => damaged(error),
            Self::Index(_)
            | Self::Unsettled
            | Self::Journal(_)
            | Self::Damaged(_)
            | Self::Terms(..)
            | Self::Supervisors(_)
            | Self::System(..) => None,
        }
    }
}

/// Returns the advice for a full disk.
pub fn free_space() -> String {
    format!("free space on the file system of {STATE}")
}

/// Returns the advice for a read-only file system.
pub fn writable() -> String {
    format!("mount -o remount,rw the file system of {STATE}")
}

fn trust(error: &TrustError) -> String {
    match error {
        TrustError::Missing { path } if path == Path::new(STATE) => {
            format!("install -d -o root -g root -m 700 {} && jitctl key init", shell(path))
        }
        TrustError::Missing { path } if path == Path::new("/etc/machine-id") => {
            "systemd-machine-id-setup, then jitctl key accept --reason 'WHY'".to_owned()
        }
        TrustError::Missing { path } => {
            format!("restore {} from a backup, or install jit-sudo again", shell(path))
        }
        TrustError::NotRootOwned { path, .. } => format!("chown root:root {}", shell(path)),
        TrustError::Writable { path, .. } if path == Path::new(STATE) => private(path),
        TrustError::Writable { path, .. } => format!("chmod go-w {}", shell(path)),
        TrustError::Readable { path, .. } => private(path),
        // The user of the hooks must be able to execute them.
        TrustError::Listable { path, .. } if path == Path::new(HOOKS) => format!("chmod 711 {}", shell(path)),
        TrustError::Listable { path, .. } if path.starts_with(CONFIGURATION) => format!("chmod 700 {}", shell(path)),
        // The file of a log sink: its group may read it.
        TrustError::Listable { path, .. } => format!("chmod o= {}", shell(path)),
        TrustError::Symlink { path } => {
            let path = shell(path);
            format!("replace the symbolic link by its target: f=$(readlink -f {path}) && rm {path} && mv \"$f\" {path}")
        }
        TrustError::NotRegular { path } | TrustError::NotDirectory { path } => {
            format!("move {} away, and restore it or install jit-sudo again", shell(path))
        }
        TrustError::FileSystem { .. }
        | TrustError::NotCanonical { .. }
        | TrustError::TooLarge { .. }
        | TrustError::Io { .. } => {
            format!("check owner and mode of {CONFIGURATION} and {STATE}: only root may be able to write to them")
        }
    }
}

fn database(error: &DatabaseError) -> Option<String> {
    match error {
        DatabaseError::Missing(_) => Some("jitctl key init".to_owned()),
        DatabaseError::Untrusted(path, Distrust::NotRoots) => Some(format!("chown root:root {}", shell(path))),
        DatabaseError::Untrusted(path, Distrust::Open) => Some(private(path)),
        DatabaseError::Untrusted(path, _) => Some(format!("examine it and move it away: {}", shell(path))),
        DatabaseError::Newer { .. } => Some("install the version of jit-sudo that wrote it, or a later one".to_owned()),
        DatabaseError::Schema(path, _) | DatabaseError::Older { path, .. } => Some(format!(
            "jitctl restore FILE, with a backup of {}, then jitctl key accept --reason 'WHY'",
            shell(path)
        )),
        DatabaseError::Replaced(_) => Some("try again".to_owned()),
        DatabaseError::Sqlite(_, error) => damaged(error),
        DatabaseError::Exists(_) | DatabaseError::Busy(_) | DatabaseError::File(..) => None,
    }
}

/// The advice for a database with damaged pages.
pub const SALVAGE: &str = "jitctl audit export --salvage --output FILE saves what can be read; then jitctl restore BACKUP, and jitctl \
                           key accept --reason 'WHY'";

fn damaged(error: &rusqlite::Error) -> Option<String> {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => Some(SALVAGE.to_owned()),
        // Nothing in it can be found.
        Some(ErrorCode::NotADatabase) => {
            Some("jitctl restore BACKUP, then jitctl key accept --reason 'WHY'".to_owned())
        }
        _ => None,
    }
}

/// Sets mode 0700 for a directory, 0600 for a file.
fn private(path: &Path) -> String {
    format!("chmod u=rwX,go= {}", shell(path))
}

/// Quotes the path as one argument of a command line.
fn shell(path: &Path) -> String {
    command_line([path.as_os_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_one_line_and_names_its_object() {
        let path = Path::new("/var/lib/jit-sudo/it's").to_owned();
        for error in [
            TrustError::Missing { path: path.clone() },
            TrustError::NotRootOwned { path: path.clone(), uid: 1 },
            TrustError::Symlink { path: path.clone() },
            TrustError::Readable { path: path.clone(), mode: 0o755 },
            TrustError::Listable { path: path.clone(), mode: 0o755 },
        ] {
            let cure = HostError::Trust(error).cure().unwrap();
            assert!(cure.contains(&shell(&path)) && !cure.contains('\n'), "{cure}");
        }
        let missing = TrustError::Missing { path: STATE.into() };
        assert!(HostError::Trust(missing).cure().unwrap().ends_with("jitctl key init"));
    }
}
