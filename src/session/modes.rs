//! The settings of the two terminals of a session: the caller's, which is raw while its keys go to the command, and the command's,
//! which is set like the caller's. Relays no bytes. Once the command may run, only the monitor uses this: users can make each of these
//! calls wait for ever.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use sys::terminal::{Attributes, Terminal};

/// The caller's terminal and the settings of both terminals.
pub(super) struct Modes {
    /// The caller's terminal.
    pub(super) terminal: Terminal,
    /// The caller's settings, to be restored.
    original: Attributes,
    /// Whether other programs write to the caller's terminal and rely on it to add carriage returns to line ends.
    shared: bool,
    /// Whether keys and bytes pass through the caller's terminal unchanged.
    raw: bool,
    /// Whether the command's terminal was set to leave line ends alone.
    plain: bool,
    /// Whether the command's terminal has the caller's settings.
    settled: bool,
}

impl Modes {
    /// Reads the settings before the command's terminal is made. In a pipeline the output to the caller's terminal is `shared`.
    pub(super) fn of(terminal: Terminal, shared: bool) -> io::Result<Self> {
        let original = terminal.attributes()?;
        // From the background this would copy the settings of the terminal's foreground program, such as a shell's line editor.
        let settled = terminal.foreground();
        Ok(Self { terminal, original, shared, raw: false, plain: false, settled })
    }

    /// Returns the settings that the command's terminal begins with; `None` where another program has the caller's terminal now.
    pub(super) fn first(&self) -> Option<&Attributes> {
        self.settled.then_some(&self.original)
    }

    /// Returns the settings of the caller's terminal.
    pub(super) fn original(&self) -> Attributes {
        self.original
    }

    /// Duplicates the descriptor, for the monitor.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { terminal: self.terminal.try_clone()?, ..*self })
    }

    /// Whether the caller's terminal passes everything through.
    pub(super) fn is_raw(&self) -> bool {
        self.raw
    }

    /// Whether the line ends of the command arrive as it wrote them.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Makes the caller's terminal raw. The first time that we are in its foreground, the command's terminal is set like it (sudo's
    /// rule).
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

    /// Restores the settings of the caller's terminal if `ours` says that it is ours: a background process that sets a terminal would
    /// disturb its foreground program.
    pub(super) fn restore(&mut self, ours: bool) -> io::Result<()> {
        let is_changed = std::mem::take(&mut self.raw) && ours;
        if is_changed { self.terminal.set_attributes(&self.original) } else { Ok(()) }
    }

    /// Records that another program has the caller's terminal now, with its own settings.
    pub(super) fn lose(&mut self) {
        self.raw = false;
    }

    /// Has exactly one of the two terminals add carriage returns to line ends: the caller's, where we have not made it raw.
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
