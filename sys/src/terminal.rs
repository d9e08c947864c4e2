//! Terminals: the controlling terminal, its size and modes, and questions to its user. Sends an ioctl only to character
//! devices: on other files the same numbers mean other operations (CVE-2023-2002).

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kernel::{check, retry};
use crate::process::{Pid, own_process_group};
use crate::secret::Secret;
use crate::signals::{self, SignalSet};

mod apart;
mod held;
mod question;

pub use apart::Apart;
pub use held::{Held, Wish, read_password_from_stdin};
pub use question::{Answer, Echo, PasswordError};

/// An open terminal, usually from [`Self::controlling`].
#[derive(Debug)]
pub struct Terminal {
    fd: OwnedFd,
    device: u64,
}

/// Rows and columns, and the size in pixels where known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// Width in pixels, or 0.
    pub width: u16,
    /// Height in pixels, or 0.
    pub height: u16,
}

/// The modes of a terminal (termios(3)).
#[derive(Clone, Copy, Debug)]
pub struct Attributes(libc::termios);

impl Terminal {
    /// Opens the controlling terminal, as a separate open file.
    ///
    /// # Errors
    /// `ENXIO` when there is none.
    pub fn controlling() -> io::Result<Self> {
        let flags = libc::O_NOCTTY | libc::O_NOFOLLOW;
        let file = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        Self::new(file.into())
    }

    /// Takes ownership of an open terminal.
    ///
    /// # Errors
    /// `ENOTTY` when it is no terminal.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        if !is_terminal(fd.as_fd()) {
            return Err(io::Error::from_raw_os_error(libc::ENOTTY));
        }
        let mut device: libc::c_uint = 0;
        // SAFETY: a character device with terminal modes; TIOCGDEV writes one unsigned int, which lives on.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGDEV, &raw mut device) })?;
        Ok(Self { fd, device: decode_device(device) })
    }

    /// Returns the device number, as in `st_rdev`; the real one, not that of `/dev/tty`.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Returns the path, such as `/dev/pts/3`, when a device node with this number exists.
    pub fn name(&self) -> Option<PathBuf> {
        device_name(self.device)
    }

    /// Returns whether our process group is in the foreground; also `true` when it is not our controlling terminal,
    /// which has no background.
    pub fn foreground(&self) -> bool {
        is_foreground(self.fd.as_fd())
    }

    /// Returns whether a descriptor refers to this terminal.
    pub fn is_behind(&self, fd: BorrowedFd<'_>) -> bool {
        is_terminal(fd) && nix::sys::stat::fstat(fd).is_ok_and(|file| file.st_rdev == self.device)
    }

    /// Returns the size.
    pub fn window(&self) -> io::Result<WindowSize> {
        window_of(self.fd.as_fd())
    }

    /// Duplicates the descriptor.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, device: self.device })
    }

    /// Returns the modes.
    pub fn attributes(&self) -> io::Result<Attributes> {
        Attributes::of(self.fd.as_fd())
    }

    /// Sets the modes at once, without waiting for output. Another process can delay this for ever, as it can delay
    /// most calls on a terminal: Linux takes a lock that a read(2) into a page that is never delivered holds. Works from the background too: the caller checks
    /// [`Self::foreground`] first.
    pub fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        attributes.apply_now(self.fd.as_fd())
    }

    /// Returns whether the terminal was hung up.
    pub fn is_gone(&self) -> bool {
        self.attributes().is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
    }

    /// Asks for a password: shows the prompt unchanged, does not echo the answer, and ends with a new line. Discards what
    /// was typed before the prompt and what follows the answer.
    ///
    /// From the background it first stops this process (SIGTTIN), as the shell expects. ^Z stops it with the terminal
    /// restored, and the prompt is shown again after that. `timeout` counts from the call; `None` waits for ever.
    pub fn read_password(&self, prompt: &[u8], timeout: Option<Duration>) -> Result<Secret, PasswordError> {
        Ok(Held::of(Some(self))?.ask(prompt, Echo::Hidden, timeout)?.text)
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Attributes {
    /// Reads the modes of an open terminal.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: termios is plain integers, for which zero is valid.
        let mut raw: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: `raw` lives through the call.
        check(unsafe { libc::tcgetattr(fd.as_raw_fd(), &raw mut raw) })?;
        Ok(Self(raw))
    }

    /// Sets these modes at once.
    pub fn apply_now(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.apply(fd, libc::TCSANOW)
    }

    /// Returns whether the terminal echoes input. For the leader of a pseudo-terminal these are the follower's modes.
    #[must_use]
    pub fn echoes(&self) -> bool {
        self.0.c_lflag & libc::ECHO != 0
    }

    /// Returns these modes changed to raw mode: every byte passes through.
    #[must_use]
    pub fn raw(&self) -> Self {
        let mut raw = self.0;
        // SAFETY: changes fields of a structure that is exclusively ours.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        Self(raw)
    }

    /// Returns whether the terminal changes output: it turns a line feed into a carriage return and a line feed.
    #[must_use]
    pub fn shapes_output(&self) -> bool {
        self.0.c_oflag & libc::OPOST != 0
    }

    /// Returns these modes with or without output processing.
    #[must_use]
    pub fn shaping_output(&self, wanted: bool) -> Self {
        let mut raw = self.0;
        raw.c_oflag = if wanted { raw.c_oflag | libc::OPOST } else { raw.c_oflag & !libc::OPOST };
        Self(raw)
    }

    /// Returns these modes changed to line input, with or without echo, so that a question works on a terminal that was
    /// left in raw mode.
    fn for_question(&self, echo: Echo) -> Self {
        let mut raw = self.0;
        let shown = libc::ECHO | libc::ECHOE | libc::ECHOK;
        raw.c_iflag |= libc::ICRNL;
        raw.c_iflag &= !(libc::IGNCR | libc::INLCR);
        raw.c_lflag |= libc::ICANON | libc::ISIG;
        raw.c_lflag &= !(shown | libc::ECHONL);
        if echo == Echo::Shown {
            // With the editing keys of line mode (^W, ^U), and control characters shown as ^X.
            raw.c_lflag |= shown | libc::ECHOKE | libc::ECHOCTL | libc::IEXTEN;
            raw.c_iflag |= libc::IUTF8;
            raw.c_oflag |= libc::OPOST | libc::ONLCR;
        }
        Self(raw)
    }

    /// Whether both are the same as far as a question changes them.
    fn is_like(&self, other: &Self) -> bool {
        let kept = |modes: &Self| (modes.0.c_iflag, modes.0.c_oflag, modes.0.c_lflag & !libc::PENDIN);
        kept(self) == kept(other)
    }

    fn apply(&self, fd: BorrowedFd<'_>, when: libc::c_int) -> io::Result<()> {
        let before = signals::block(SignalSet::of(&[libc::SIGTTOU]))?;
        // SAFETY: the structure lives through the call.
        let answer = retry(|| check(unsafe { libc::tcsetattr(fd.as_raw_fd(), when, &raw const self.0) }));
        signals::set_mask(before)?;
        answer.map(drop)
    }
}

/// Returns whether a descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    is_character_device(fd) && Attributes::of(fd).is_ok()
}

/// Returns the size of a terminal.
pub fn window(fd: BorrowedFd<'_>) -> io::Result<WindowSize> {
    only_terminals(fd)?;
    window_of(fd)
}

fn window_of(fd: BorrowedFd<'_>) -> io::Result<WindowSize> {
    // SAFETY: winsize is plain integers, for which zero is valid.
    let mut raw: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut raw) })?;
    Ok(WindowSize { rows: raw.ws_row, columns: raw.ws_col, width: raw.ws_xpixel, height: raw.ws_ypixel })
}

/// Sets the size of a terminal; the foreground process group gets SIGWINCH when it changes.
pub fn set_window(fd: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    only_terminals(fd)?;
    resize(fd, size)
}

/// Sets the size as [`set_window`] does, by a single call that the sandbox permits, for the leader of a
/// pseudo-terminal that this program has opened.
pub fn resize(fd: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: size.width, ws_ypixel: size.height };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const raw) }).map(drop)
}

/// Returns the foreground process group of a terminal; for the leader of a pseudo-terminal, that of its follower.
/// `None` when there is none.
pub fn foreground_group(fd: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    only_terminals(fd)?;
    let mut group: libc::pid_t = 0;
    // SAFETY: TIOCGPGRP writes one pid_t, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGPGRP, &raw mut group) })?;
    Ok(Pid::new(group))
}

/// Returns the path of a terminal by its device number, when a node with that number exists.
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

/// Converts the kernel's encoding in `/proc` and TIOCGDEV to that of stat(2).
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
