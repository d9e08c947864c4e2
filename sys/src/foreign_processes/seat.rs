//! The terminals that the guests of a program have, and that at which it was asked: where something can be told to them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A terminal at which somebody sat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// As proc_pid_stat(5) counts, `tty_nr`.
    pub(super) number: u32,
    uid: u32,
}

impl Seat {
    /// The terminal of a name such as `/dev/pts/3` or `pts/3`.
    pub(super) fn at(terminal: &OsStr) -> Option<Self> {
        let path = Path::new("/dev").join(terminal); // an absolute path stays as it is
        let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_char_device())?;
        Some(Self { number: number(found.rdev()), uid: found.uid() })
    }

    /// Whether it is still the same person's: by now it may be somebody else's.
    pub(super) fn is_taken(&self) -> bool {
        terminal(self.number).is_some_and(|path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == self.uid))
    }
}

/// Writes a line on each of these terminals where that can be done without waiting.
pub(super) fn tell(numbers: HashSet<u32>, line: &str) {
    for path in numbers.into_iter().filter_map(terminal) {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
        // Nobody may be there to read it, and the session goes on.
        let _ = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path)
            .and_then(|mut terminal| terminal.write_all(format!("\r\n{line}\r\n").as_bytes()));
    }
}

/// The number of a terminal (proc_pid_stat(5), `tty_nr`) from that of its device.
fn number(device: u64) -> u32 {
    let (major, minor) = (libc::major(device), libc::minor(device));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The terminal of this number (proc_pid_stat(5), `tty_nr`), if it is one that people sit at.
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
    fn terminals_have_the_names_that_people_know() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(0x0500), None, "/dev/tty itself");
        for number_of in [0x8800, 0x8803, 0x0401, 0x0010_8812] {
            let device = libc::makedev((number_of >> 8) & 0xfff, (number_of & 0xff) | ((number_of >> 12) & 0xf_ff00));
            assert_eq!(number(device), number_of);
        }
        assert!(terminal(0x8800).is_none_or(|path| path == "/dev/pts/0"));
    }
}
