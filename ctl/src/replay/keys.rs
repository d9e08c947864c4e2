//! The keys that an auditor presses while a recording plays, on a terminal that is set right again afterwards.

use std::os::fd::AsFd;
use std::time::Duration;

use sys::poll::{PollEntry, poll, read};
use sys::terminal::{Attributes, Terminal};

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Space: stop, or go on.
    Pause,
    /// q or ^C.
    Quit,
    /// An arrow to the right.
    Forward,
    /// An arrow to the left.
    Back,
    /// +
    Faster,
    /// -
    Slower,
}

/// The terminal, raw as long as this lives.
pub(crate) struct Keys {
    terminal: Terminal,
    before: Attributes,
}

impl Keys {
    /// Takes the controlling terminal, when there is one and we are in its foreground.
    pub(crate) fn take() -> Option<Self> {
        let terminal = Terminal::controlling().ok().filter(Terminal::foreground)?;
        let before = terminal.attributes().ok()?;
        terminal.set_attributes(&before.raw()).ok()?;
        Some(Self { terminal, before })
    }

    /// Waits for a key, for ever with `None`.
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

    /// Sets the terminal right, while another thread still waits for a key.
    pub(crate) fn release(&self) {
        // A terminal that is gone needs nothing.
        let _ = self.terminal.set_attributes(&self.before);
    }

    /// Columns and lines.
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
        b"+" => Some(Key::Faster),
        b"-" => Some(Key::Slower),
        _ => None,
    }
}
