//! The sink in a file: one JSON object per line, as in syslog but complete at any length, with rotation. Only one process writes
//! at a time (see [`super::outbox`]).
//! May not: follow a symbolic link, or leave an incomplete line.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use sys::trusted::{TrustError, TrustedDirectory};

use super::{Delivery, Transport};
use crate::audit::journal::Written;
use jit_core::clock::Timestamp;
use jit_core::evidence::Checkpoint;
use jit_core::policy::JsonFile as Rules;

/// The mode of the file: only root may read it, including log collectors that run as root.
const MODE: u32 = 0o600;

/// A file that grows and is rotated.
pub struct JsonFile {
    rules: Rules,
    open: Option<Open>,
}

struct Open {
    directory: TrustedDirectory,
    file: File,
    length: u64,
}

impl JsonFile {
    /// Creates the sink; nothing is opened before the first record.
    pub fn new(rules: Rules) -> Self {
        Self { rules, open: None }
    }

    fn name(&self) -> &OsStr {
        self.rules.path.file_name().unwrap_or_default()
    }

    fn write(&mut self, line: &str) -> Result<(), TrustError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        if open.length > 0 && open.length.saturating_add(line.len() as u64) > self.rules.size {
            self.put_aside(&open.directory)?;
            open = self.begin()?;
        }
        let failed = |error| TrustError::Io { path: self.rules.path.clone(), error };
        if let Err(error) = open.file.write_all(line.as_bytes()) {
            // A full disk may have taken a part of the line: remove it, so that the next line begins on its own.
            let _ = open.file.set_len(open.length);
            return Err(failed(error));
        }
        open.length += line.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self) -> Result<Open, TrustError> {
        let directory = directory_of(&self.rules)?;
        let file = directory.append(self.name(), MODE)?;
        let failed = |error| TrustError::Io { path: self.rules.path.clone(), error };
        let length = file.metadata().map_err(failed)?.len();
        Ok(Open { directory, file, length })
    }

    /// Renames `audit.jsonl` to `audit.jsonl.1`, that to `.2`, and removes the oldest.
    fn put_aside(&self, directory: &TrustedDirectory) -> Result<(), TrustError> {
        let numbered = |number: u32| {
            let mut name = OsString::from(self.name());
            if number > 0 {
                name.push(format!(".{number}"));
            }
            name
        };
        for number in (0..self.rules.count.saturating_sub(1)).rev() {
            match directory.rename(&numbered(number), &numbered(number + 1)) {
                Ok(()) | Err(TrustError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if self.rules.count <= 1 { directory.remove(self.name()) } else { Ok(()) }
    }
}

/// Opens the directory of the file.
///
/// # Errors
/// Fails where users other than root could write to it, or outside of its group could list it (see [`TrustedDirectory::closed`]).
pub fn directory_of(rules: &Rules) -> Result<TrustedDirectory, TrustError> {
    let directory = TrustedDirectory::open(rules.path.parent().unwrap_or(Path::new("/")))?;
    directory.closed()?;
    Ok(directory)
}

impl Transport for JsonFile {
    fn is_prompt(&self) -> bool {
        false
    }

    fn send(&mut self, record: &Written) -> Delivery {
        let line = format!("{{\"seq\":{},\"head\":\"{}\",\"record\":{}}}\n", record.seq, record.hash, record.body);
        if self.write(&line).is_ok() { Delivery::Delivered } else { Delivery::Missed }
    }

    fn send_checkpoint(&mut self, checkpoint: &Checkpoint, _: Timestamp) -> Delivery {
        if self.write(&(checkpoint.to_line() + "\n")).is_ok() { Delivery::Delivered } else { Delivery::Missed }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::Value;

    use super::super::syslog::tests::{with_argument, written};
    use super::*;
    use crate::audit::sample;

    /// Creates a directory that only root can write, as the file requires.
    fn directory(name: &str) -> std::path::PathBuf {
        let path = Path::new("/var/lib").join(format!("jit-sudo-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        path
    }

    fn lines(path: &Path) -> Vec<Value> {
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn records_are_lines_and_old_files_are_rotated() {
        let directory = directory("rotate");
        let rules = Rules { path: directory.join("audit.jsonl"), size: 5_000, count: 3 };
        let mut sink = JsonFile::new(rules.clone());
        for _ in 0..30 {
            assert_eq!(sink.send(&with_argument("x".repeat(500).into())), Delivery::Delivered);
        }
        let files = ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"].map(|name| directory.join(name));
        for file in &files {
            assert!(file.metadata().unwrap().len() <= 5_000 && !lines(file).is_empty());
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3);
        // A line that is longer than the size limit is kept whole, in a file of its own.
        let large = with_argument(sample::hostile());
        let mut small = JsonFile::new(Rules { size: 10, count: 1, ..rules });
        assert_eq!((small.send(&large), small.send(&large)), (Delivery::Delivered, Delivery::Delivered));
        let line = std::fs::read_to_string(&files[0]).unwrap();
        let expected = format!("{{\"seq\":7,\"head\":\"{}\",\"record\":{}}}\n", large.hash, large.body);
        assert_eq!(line, expected);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_symlink_and_a_directory_that_others_can_write_or_list_are_rejected() {
        let directory = directory("link");
        symlink("/etc/passwd", directory.join("audit.jsonl")).unwrap();
        let rules = |path| Rules { path, size: 5_000, count: 3 };
        let record = written(sample::events().remove(0));
        assert_eq!(JsonFile::new(rules(directory.join("audit.jsonl"))).send(&record), Delivery::Missed);
        assert_eq!(JsonFile::new(rules("/tmp/jit-sudo-audit.jsonl".into())).send(&record), Delivery::Missed);
        assert!(!Path::new("/tmp/jit-sudo-audit.jsonl").exists());
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(JsonFile::new(rules(directory.join("new.jsonl"))).send(&record), Delivery::Missed);
        assert!(!directory.join("new.jsonl").exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
