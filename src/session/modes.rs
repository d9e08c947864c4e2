//! The settings of the two terminals of a session: the caller's, which is raw while its keys are the command's, and the
//! command's, which is like the caller's. Carries no byte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use sys::terminal::{Attributes, Terminal};

/// The caller's terminal and what both terminals are set to.
pub(super) struct Modes {
    /// The caller's terminal.
    pub(super) terminal: Terminal,
    /// The caller's settings, as they were and as they will be again.
    original: Attributes,
    /// Others write to the caller's terminal, and count on it to make carriage returns of their line ends.
    shared: bool,
    /// Keys and bytes pass through the caller's terminal as they are.
    raw: bool,
    /// The command's terminal was told to leave line ends alone.
    plain: bool,
    /// The command's terminal has got the caller's settings.
    settled: bool,
}

impl Modes {
    /// Before the command's terminal is made. In a pipeline the output to the caller's terminal is `shared`.
    pub(super) fn of(terminal: Terminal, shared: bool) -> io::Result<Self> {
        let original = terminal.attributes()?;
        // From the background we would copy the settings of whoever has the terminal, such as a shell that edits its line.
        let settled = terminal.foreground();
        Ok(Self { terminal, original, shared, raw: false, plain: false, settled })
    }

    /// What the command's terminal begins with; nothing in particular where the caller's is somebody else's now.
    pub(super) fn first(&self) -> Option<&Attributes> {
        self.settled.then_some(&self.original)
    }

    /// The caller's terminal passes everything through.
    pub(super) fn is_raw(&self) -> bool {
        self.raw
    }

    /// The line ends of the command come as it wrote them.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Makes the caller's terminal raw. The first time that it is ours, the command's becomes like it (sudo's rule).
    pub(super) fn go_raw(&mut self, leader: Option<BorrowedFd<'_>>) -> io::Result<()> {
        if self.raw {
            return Ok(());
        }
        self.original = self.terminal.attributes()?;
        if let (false, Some(leader)) = (self.settled, leader) {
            self.original.apply_now(leader)?;
            self.settled = true;
        }
        let raw = self.original.raw();
        let raw = if self.shared { raw.shaping_output(self.original.shapes_output()) } else { raw };
        self.terminal.set_attributes(&raw)?;
        self.raw = true;
        Ok(())
    }

    /// Gives the caller's terminal back as it was.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        if self.raw {
            self.raw = false;
            // A background process that sets a terminal would disturb whoever owns it now.
            if self.terminal.foreground() {
                self.terminal.set_attributes(&self.original)?;
            }
        }
        Ok(())
    }

    /// Whoever owns the caller's terminal now has set it as they want it, and its keys are theirs.
    pub(super) fn lose(&mut self) {
        self.raw = false;
    }

    /// One of the two terminals makes carriage returns of line ends: the caller's where we have not taken it from it.
    pub(super) fn shape_output(&mut self, leader: BorrowedFd<'_>) {
        let Ok(attributes) = Attributes::of(leader) else { return };
        let ours = self.raw && !self.shared;
        let change = if ours { self.plain } else { attributes.shapes_output() };
        if change && attributes.shaping_output(ours).apply_now(leader).is_ok() {
            self.plain = !ours;
        }
    }
}

impl AsFd for Modes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}
