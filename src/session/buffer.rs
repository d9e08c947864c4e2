//! Bytes that are relayed from one terminal to the other, at most one buffer full.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use sys::poll::{read, write};

const CAPACITY: usize = 64 << 10;

/// How long to wait when a descriptor that was ready would block after all, which is rare.
const PAUSE: Duration = Duration::from_millis(1);

/// A bounded queue of bytes.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Creates an empty buffer.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; CAPACITY].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns how many bytes it holds.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is room to read into.
    pub(super) fn has_room(&self) -> bool {
        self.end < CAPACITY
    }

    /// Discards its bytes.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Reads once from `source`; 0 means end of file. An interrupted read, or one that would block, returns 1.
    pub(super) fn fill(&mut self, source: BorrowedFd<'_>) -> io::Result<usize> {
        match read(source, self.bytes.get_mut(self.end..).unwrap_or_default()) {
            Ok(length) => {
                self.end += length;
                Ok(length)
            }
            Err(error) if is_patience(&error) => Ok(1),
            Err(error) => Err(error),
        }
    }

    /// Appends bytes of our own; returns false when there is no room for all of them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let Some(room) = self.bytes.get_mut(self.end..self.end + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.end += bytes.len();
        true
    }

    /// Returns its bytes.
    pub(super) fn held(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Writes once to `sink`, as much as it takes.
    pub(super) fn empty_into(&mut self, sink: BorrowedFd<'_>) -> io::Result<()> {
        self.empty_some_into(sink, CAPACITY)
    }

    /// Writes once to `sink`, as much as it takes and at most `most` bytes.
    pub(super) fn empty_some_into(&mut self, sink: BorrowedFd<'_>, most: usize) -> io::Result<()> {
        let held = self.held();
        match write(sink, held.get(..most).unwrap_or(held)) {
            Ok(length) => {
                self.start += length;
                if self.is_empty() {
                    self.clear();
                }
                Ok(())
            }
            Err(error) if is_patience(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether to try again. Sleeps when the descriptor would block, so that a wrong report of readiness does not make us spin.
fn is_patience(error: &io::Error) -> bool {
    if error.kind() == io::ErrorKind::WouldBlock {
        std::thread::sleep(PAUSE);
    }
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
