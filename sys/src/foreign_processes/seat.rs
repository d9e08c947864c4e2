//! The terminals of the foreign processes and of their session, to which messages are written.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A terminal, and the user who had it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// The number of the terminal (`tty_nr`, proc_pid_stat(5)).
    pub(super) number: u32,
    uid: u32,
}

impl Seat {
    /// Returns the terminal of a name such as `/dev/pts/3` or `pts/3`.
    pub(super) fn at(terminal: &OsStr) -> Option<Self> {
        let path = Path::new("/dev").join(terminal); // an absolute path stays as it is
        let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_char_device())?;
        Some(Self { number: number(found.rdev()), uid: found.uid() })
    }

    /// Returns whether the terminal still belongs to the same user.
    pub(super) fn is_taken(&self) -> bool {
        terminal(self.number).is_some_and(|path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == self.uid))
    }
}

/// Writes a line to each of these terminals where that does not block.
pub(super) fn tell(numbers: HashSet<u32>, line: &str) {
    for path in numbers.into_iter().filter_map(terminal) {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
        // The terminal may have no reader; the session goes on.
        let _ = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path)
            .and_then(|mut terminal| terminal.write_all(format!("\r\n{line}\r\n").as_bytes()));
    }
}

/// Converts a device number to the number of a terminal (`tty_nr`, proc_pid_stat(5)).
fn number(device: u64) -> u32 {
    let (major, minor) = (libc::major(device), libc::minor(device));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Returns the path of the terminal with this number (`tty_nr`, proc_pid_stat(5)), if it is of a kind that users work
/// at.
fn terminal(number: u32) -> Option<String> {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
    let path = match (major, minor) {
        (136..=143, minor) => format!("/dev/pts/{}", (major - 136) * 256 + minor),
        (4, 1..=63) => format!("/dev/tty{minor}"),
        _ => return None,
    };
    fs::symlink_metadata(&path).ok().map(|_| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_their_usual_names() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(0x0500), None, "/dev/tty itself");
        for number_of in [0x8800, 0x8803, 0x0401, 0x0010_8812] {
            let device = libc::makedev((number_of >> 8) & 0xfff, (number_of & 0xff) | ((number_of >> 12) & 0xf_ff00));
            assert_eq!(number(device), number_of);
        }
        assert!(terminal(0x8800).is_none_or(|path| path == "/dev/pts/0"));
    }
}
