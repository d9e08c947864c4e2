//! Terminals: which one controls us, its size and modes, and questions asked on it. No ioctl goes to a descriptor that
//! is not a character device: on others the same numbers mean other things (CVE-2023-2002).

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kernel::{check, retry};
use crate::process::{Pid, own_process_group};
use crate::procfs;
use crate::secret::Secret;
use crate::signals::{self, SignalSet};

mod question;

use question::Question;
pub use question::{Echo, PasswordError, read_password_from_stdin};

/// An open terminal; [`Self::controlling`] is the usual way to get it.
#[derive(Debug)]
pub struct Terminal {
    fd: OwnedFd,
    device: u64,
}

/// Rows and columns, and the size in pixels where known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
    /// Pixels across, or 0.
    pub width: u16,
    /// Pixels down, or 0.
    pub height: u16,
}

/// The modes of a terminal (termios(3)).
#[derive(Clone, Copy)]
pub struct Attributes(libc::termios);

impl Terminal {
    /// Opens the controlling terminal, as an open file of our own.
    ///
    /// # Errors
    /// `ENXIO` when there is none.
    pub fn controlling() -> io::Result<Self> {
        let flags = libc::O_NOCTTY | libc::O_NOFOLLOW;
        let file = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        Self::new(file.into())
    }

    /// Takes a terminal that is open already.
    ///
    /// # Errors
    /// `ENOTTY` when it is none.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        if !is_terminal(fd.as_fd()) {
            return Err(io::Error::from_raw_os_error(libc::ENOTTY));
        }
        let mut device: libc::c_uint = 0;
        // SAFETY: a character device with terminal modes; TIOCGDEV writes one unsigned int, which lives on.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGDEV, &raw mut device) })?;
        Ok(Self { fd, device: decode_device(device) })
    }

    /// Its device number, as in `st_rdev`; the real one, not that of `/dev/tty`.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Its path, such as `/dev/pts/3`, when a device node with its number is there.
    pub fn name(&self) -> Option<PathBuf> {
        device_name(self.device)
    }

    /// Whether our process group is in its foreground; also `true` when it is not our controlling terminal, where
    /// there is no background.
    pub fn foreground(&self) -> bool {
        is_foreground(self.fd.as_fd())
    }

    /// Whether a descriptor is this very terminal.
    pub fn is_behind(&self, fd: BorrowedFd<'_>) -> bool {
        is_terminal(fd) && nix::sys::stat::fstat(fd).is_ok_and(|file| file.st_rdev == self.device)
    }

    /// Its size.
    pub fn window(&self) -> io::Result<WindowSize> {
        window(self.fd.as_fd())
    }

    /// Its modes.
    pub fn attributes(&self) -> io::Result<Attributes> {
        Attributes::of(self.fd.as_fd())
    }

    /// Sets its modes at once, whatever output waits: to wait for that would be to wait for whoever holds the terminal up
    /// (Linux takes the lock of a writer for TCSADRAIN). Works from the background too: whoever calls this asks
    /// [`Self::foreground`] before.
    pub fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        attributes.apply_now(self.fd.as_fd())
    }

    /// Whether it was hung up: nobody is behind it any more.
    pub fn is_gone(&self) -> bool {
        self.attributes().is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
    }

    /// Asks for a password: the prompt as it is, nothing shown of what is typed, a new line at the end.
    ///
    /// From the background it first stops us (SIGTTIN), as the shell expects; ^Z stops us with the terminal restored,
    /// and the prompt comes again after that. `timeout` counts from the call; `None` waits for ever.
    pub fn read_password(&self, prompt: &[u8], timeout: Option<Duration>) -> Result<Secret, PasswordError> {
        self.read_answer(prompt, Echo::Hidden, timeout)
    }

    /// As [`Self::read_password`], for answers that may be seen too.
    pub fn read_answer(&self, prompt: &[u8], echo: Echo, timeout: Option<Duration>) -> Result<Secret, PasswordError> {
        Question { input: self.fd.as_fd(), output: self.fd.as_fd(), prompt, echo }.ask(timeout)
    }

    /// Throws away what was typed and not read yet.
    pub fn flush_input(&self) -> io::Result<()> {
        flush_input(self.fd.as_fd())
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Attributes {
    /// Those of an open terminal.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: termios is plain integers, for which zero is valid.
        let mut raw: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: `raw` lives through the call.
        check(unsafe { libc::tcgetattr(fd.as_raw_fd(), &raw mut raw) })?;
        Ok(Self(raw))
    }

    /// Puts them in force at once.
    pub fn apply_now(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.apply(fd, libc::TCSANOW)
    }

    /// Whether what is typed is shown. Asked of a pseudo-terminal's leader, these are the follower's modes.
    #[must_use]
    pub fn echoes(&self) -> bool {
        self.0.c_lflag & libc::ECHO != 0
    }

    /// These, but every byte passes through.
    #[must_use]
    pub fn raw(&self) -> Self {
        let mut raw = self.0;
        // SAFETY: changes fields of a structure that is exclusively ours.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        Self(raw)
    }

    /// Output is changed on its way to the screen: line ends become a carriage return and a line feed.
    #[must_use]
    pub fn shapes_output(&self) -> bool {
        self.0.c_oflag & libc::OPOST != 0
    }

    /// These, but output is, or is not, changed on its way.
    #[must_use]
    pub fn shaping_output(&self, wanted: bool) -> Self {
        let mut raw = self.0;
        raw.c_oflag = if wanted { raw.c_oflag | libc::OPOST } else { raw.c_oflag & !libc::OPOST };
        Self(raw)
    }

    /// These, but whole lines, with or without showing them; a terminal left in raw mode works for a question too.
    fn for_question(&self, echo: Echo) -> Self {
        let mut raw = self.0;
        let shown = libc::ECHO | libc::ECHOE | libc::ECHOK;
        raw.c_iflag |= libc::ICRNL;
        raw.c_iflag &= !(libc::IGNCR | libc::INLCR);
        raw.c_lflag |= libc::ICANON | libc::ISIG;
        raw.c_lflag &= !(shown | libc::ECHONL);
        if echo == Echo::Shown {
            raw.c_lflag |= shown;
            raw.c_oflag |= libc::OPOST | libc::ONLCR;
        }
        Self(raw)
    }

    fn apply(&self, fd: BorrowedFd<'_>, when: libc::c_int) -> io::Result<()> {
        let before = signals::block(SignalSet::of(&[libc::SIGTTOU]))?;
        // SAFETY: the structure lives through the call.
        let answer = retry(|| check(unsafe { libc::tcsetattr(fd.as_raw_fd(), when, &raw const self.0) }));
        signals::set_mask(before)?;
        answer.map(drop)
    }
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    is_character_device(fd) && Attributes::of(fd).is_ok()
}

/// The size of a terminal.
pub fn window(fd: BorrowedFd<'_>) -> io::Result<WindowSize> {
    // SAFETY: winsize is plain integers, for which zero is valid.
    let mut raw: libc::winsize = unsafe { mem::zeroed() };
    only_terminals(fd)?;
    // SAFETY: TIOCGWINSZ writes one winsize, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut raw) })?;
    Ok(WindowSize { rows: raw.ws_row, columns: raw.ws_col, width: raw.ws_xpixel, height: raw.ws_ypixel })
}

/// Sets the size of a terminal; the foreground group gets SIGWINCH when it changes.
pub fn set_window(fd: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    only_terminals(fd)?;
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: size.width, ws_ypixel: size.height };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const raw) }).map(drop)
}

/// The group in the foreground of a terminal; asked of a pseudo-terminal's leader, that of its follower. `None` when
/// there is none.
pub fn foreground_group(fd: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    only_terminals(fd)?;
    let mut group: libc::pid_t = 0;
    // SAFETY: TIOCGPGRP writes one pid_t, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGPGRP, &raw mut group) })?;
    Ok(Pid::new(group))
}

/// The controlling terminal of a process, as in `st_rdev`; `None` when it has none.
///
/// # Errors
/// As [`procfs::stat`].
pub fn pid_terminal(pid: Pid) -> io::Result<Option<u64>> {
    let device = procfs::stat(pid)?.terminal;
    Ok((device != 0).then(|| decode_device(device)))
}

/// The path of a terminal by its device number, when a node with that number is there.
pub fn device_name(device: u64) -> Option<PathBuf> {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let likely = match (major, minor) {
        (136..=143, _) => Some(format!("/dev/pts/{}", (major - 136) * 256 + minor)),
        (4, 0..=63) => Some(format!("/dev/tty{minor}")),
        (4, _) => Some(format!("/dev/ttyS{}", minor - 64)),
        (5, 1) => Some(String::from("/dev/console")),
        _ => None,
    };
    let likely = likely.map(PathBuf::from).filter(|path| is_node_of(path, device));
    likely.or_else(|| named_by_kernel(major, minor).filter(|path| is_node_of(path, device)))
}

fn named_by_kernel(major: u32, minor: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/sys/dev/char/{major}:{minor}/uevent")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}

fn is_node_of(path: &Path, device: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|node| node.file_type().is_char_device() && node.rdev() == device)
}

/// From the kernel's encoding in `/proc` and TIOCGDEV to that of stat(2).
pub(crate) fn decode_device(encoded: u32) -> u64 {
    libc::makedev((encoded & 0xfff00) >> 8, (encoded & 0xff) | ((encoded >> 12) & 0xfff00))
}

fn is_foreground(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: touches no memory.
    match check(unsafe { libc::tcgetpgrp(fd.as_raw_fd()) }) {
        Ok(group) => group == own_process_group().raw(),
        Err(_) => true,
    }
}

fn flush_input(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::tcflush(fd.as_raw_fd(), libc::TCIFLUSH) }).map(drop)
}

fn only_terminals(fd: BorrowedFd<'_>) -> io::Result<()> {
    if is_character_device(fd) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOTTY)) }
}

fn is_character_device(fd: BorrowedFd<'_>) -> bool {
    nix::sys::stat::fstat(fd).is_ok_and(|file| file.st_mode & libc::S_IFMT == libc::S_IFCHR)
}

#[cfg(test)]
mod tests;
