//! Reads the keys that an auditor presses during a replay, from a terminal whose modes are restored afterwards.

use std::os::fd::AsFd;
use std::time::Duration;

use sys::poll::{PollEntry, poll, read};
use sys::terminal::{Attributes, Terminal};

/// The meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Space: pause or continue.
    Pause,
    /// q or ^C.
    Quit,
    /// Right arrow.
    Forward,
    /// Left arrow.
    Back,
    /// i: show where the replay is.
    Info,
    /// +
    Faster,
    /// -
    Slower,
}

/// The terminal, in raw mode while this value lives.
pub(crate) struct Keys {
    terminal: Terminal,
    before: Attributes,
}

impl Keys {
    /// Opens the controlling terminal, if there is one and this process is in its foreground.
    pub(crate) fn take() -> Option<Self> {
        let terminal = Terminal::controlling().ok().filter(Terminal::foreground)?;
        let before = terminal.attributes().ok()?;
        terminal.set_attributes(&before.raw()).ok()?;
        Some(Self { terminal, before })
    }

    /// Waits for a key up to this time; without limit for `None`.
    pub(crate) fn within(&self, time: Option<Duration>) -> Option<Key> {
        let mut entries = [PollEntry::reading(self.terminal.as_fd())];
        if !poll(&mut entries, time).is_ok_and(|count| count > 0) {
            return None;
        }
        let mut bytes = [0; 16];
        match read(self.terminal.as_fd(), &mut bytes) {
            Ok(length @ 1..) => key(bytes.get(..length).unwrap_or_default()),
            // The terminal is gone.
            _ => Some(Key::Quit),
        }
    }

    /// Restores the terminal's modes while another thread still waits for a key.
    pub(crate) fn release(&self) {
        // A terminal that has gone away needs nothing.
        let _ = self.terminal.set_attributes(&self.before);
    }

    /// Returns columns and lines.
    pub(crate) fn window(&self) -> Option<(u16, u16)> {
        self.terminal.window().ok().map(|window| (window.columns, window.rows))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.release();
    }
}

fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        b" " => Some(Key::Pause),
        b"q" | b"Q" | b"\x03" => Some(Key::Quit),
        b"\x1b[C" | b"\x1bOC" => Some(Key::Forward),
        b"\x1b[D" | b"\x1bOD" => Some(Key::Back),
        b"i" | b"I" => Some(Key::Info),
        b"+" => Some(Key::Faster),
        b"-" => Some(Key::Slower),
        _ => None,
    }
}
