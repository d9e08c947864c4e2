//! Streams of a recorded command that are not its own terminal: they are relayed through us, so that they can be recorded. Where they are
//! not recorded, the command has the caller's own streams.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::buffer::Buffer;
use super::session_recording::SessionRecording;
use sys::poll::{Blocking, PollEntry, is_writable, pipe, poll, reopen_pipe_for_writing, set_blocking};
use sys::pty::Pty;
use sys::signals::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SignalQueue};
use sys::terminal::{Attributes, WindowSize, is_terminal, window};

/// A sink that is no pipe is the caller's own descriptor, which we may not make non-blocking: it gets this many bytes at once.
const PIECE: usize = 4096;

/// How many bytes are still relayed after the command has ended: more than a pipe holds.
const LAST_WORDS: usize = 1 << 20;

/// Our ends of the command's standard output and error.
pub(super) struct CopiedStreams(Vec<CopiedStream>);

/// The command's ends, for fds 1 and 2, where they are copied.
pub(super) type CommandStreams = [Option<OwnedFd>; 2];

/// Borrows the command's end of a copied stream, if there is one.
pub(super) fn end_of(end: &Option<OwnedFd>) -> Option<BorrowedFd<'_>> {
    end.as_ref().map(AsFd::as_fd)
}

/// Duplicates the ends for a child of ours.
pub(super) fn cloned(ends: &CommandStreams) -> io::Result<CommandStreams> {
    let [output, error] = ends;
    let one = |end: &Option<OwnedFd>| end.as_ref().map(OwnedFd::try_clone).transpose();
    Ok([one(output)?, one(error)?])
}

struct CopiedStream {
    /// `None` when the command's side is closed.
    source: Option<OwnedFd>,
    sink: Sink,
    /// The sink opened again, if it is a pipe: another writer of the caller's then never makes us wait.
    own: Option<OwnedFd>,
    held: Buffer,
}

#[derive(Clone, Copy)]
enum Sink {
    Output,
    Error,
}

impl Sink {
    fn with<T>(self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Output => act(io::stdout().as_fd()),
            Self::Error => act(io::stderr().as_fd()),
        }
    }
}

impl CopiedStreams {
    /// Creates a copied stream for each of output and error that is not `on_terminal` of the session and is to be recorded: all of
    /// them where the policy records all, otherwise those that are another terminal. Both share one copied stream when they are the
    /// same file, so that their order is kept. A stream that the caller could not write to is left to the command as it is: it
    /// gains no access through us, and there is nothing to record. In place of another terminal the command gets a terminal, which
    /// belongs to `owner`.
    pub(super) fn open(
        session_recording: &SessionRecording<'_>,
        on_terminal: [bool; 2],
        owner: u32,
    ) -> io::Result<(Self, CommandStreams)> {
        let sinks = Sinks::new();
        let [output, error] = [Sink::Output, Sink::Error].map(|sink| sinks.of(sink));
        let is_taken =
            |stream| session_recording.takes_all() || (session_recording.takes_terminals() && is_terminal(stream));
        let [streams_output, streams_error] = [(on_terminal[0], output), (on_terminal[1], error)]
            .map(|(ours, stream)| !ours && is_taken(stream) && is_writable(stream));
        let mut streams = Self(Vec::new());
        let first = if streams_output { Some(streams.stream(Sink::Output, owner)?) } else { None };
        let second = match &first {
            Some(end) if streams_error && same_file(output, error) => Some(end.try_clone()?),
            _ if streams_error => Some(streams.stream(Sink::Error, owner)?),
            _ => None,
        };
        Ok((streams, [first, second]))
    }

    /// Returns our ends.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().filter_map(|stream| stream.source.as_ref()).map(AsFd::as_fd)
    }

    /// In the process that does not relay: closes our ends, so that the command notices when the reader of its output has gone.
    pub(super) fn close(&mut self) {
        self.0.clear();
    }

    /// Returns the sinks that we have opened ourselves.
    pub(super) fn own_sinks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().filter_map(|stream| stream.own.as_ref()).map(AsFd::as_fd)
    }

    /// Returns the size of a terminal among the copied streams.
    pub(super) fn window(&self) -> Option<WindowSize> {
        let sinks = Sinks::new();
        let streams = self.0.iter().map(|stream| sinks.of(stream.sink));
        streams.filter(|stream| is_terminal(*stream)).find_map(|stream| window(stream).ok())
    }

    /// Creates a copied stream and returns the command's end.
    fn stream(&mut self, sink: Sink, owner: u32) -> io::Result<OwnedFd> {
        let (source, end) =
            if sink.with(is_terminal) { sink.with(|sink| terminal_like(sink, owner))? } else { pipe()? };
        set_blocking(source.as_fd(), Blocking::No)?;
        let own = sink.with(reopen_pipe_for_writing).ok();
        self.0.push(CopiedStream { source: Some(source), sink, own, held: Buffer::new() });
        Ok(end)
    }

    /// Whether anything is relayed through us, which may have to wait for its reader.
    pub(super) fn carries(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns what to wait for: one entry for each copied stream that is still open.
    pub(super) fn entries<'t>(&'t self, sinks: &'t Sinks) -> impl Iterator<Item = PollEntry<'t>> {
        self.0.iter().map(|stream| match &stream.source {
            Some(source) if stream.held.is_empty() => PollEntry::reading(source.as_fd()),
            _ => PollEntry::writing(stream.own.as_ref().map_or_else(|| sinks.of(stream.sink), AsFd::as_fd)),
        })
    }

    /// Copies what is `ready`, in the order of the entries that were waited for.
    pub(super) fn carry(&mut self, ready: &[bool], session_recording: &mut SessionRecording<'_>) {
        for (stream, ready) in self.0.iter_mut().zip(ready) {
            if *ready {
                stream.carry(session_recording);
            }
        }
        self.0.retain(|stream| stream.source.is_some() || !stream.held.is_empty());
    }

    /// After the command has ended: copies what it wrote, however slow its readers are, until `is_enough`; but at most
    /// [`LAST_WORDS`] bytes, because a process that the command left behind may write without end.
    pub(super) fn drain(&mut self, session_recording: &mut SessionRecording<'_>, is_enough: &mut dyn FnMut() -> bool) {
        let sinks = Sinks::new();
        let mut carried = 0;
        while !self.0.is_empty() && carried < LAST_WORDS && !is_enough() {
            let mut entries: Vec<PollEntry<'_>> = self.entries(&sinks).collect();
            // With nothing to read this is done. A reader is waited for, checking `is_enough` now and then.
            let reads = entries.iter().all(|entry| entry.read);
            let patience = if reads { Duration::ZERO } else { Duration::from_millis(100) };
            let Ok(count) = poll(&mut entries, Some(patience)) else { return };
            if count == 0 && reads {
                return;
            }
            let ready: Vec<bool> = entries.iter().map(is_ready).collect();
            drop(entries);
            carried += self.0.iter().map(|stream| stream.held.len().min(PIECE)).sum::<usize>();
            self.carry(&ready, session_recording);
        }
    }
}

/// Creates a terminal in place of `sink`, another terminal: programs ask what their output is. It passes all bytes on unchanged, for
/// `sink` to shape them. Returns our side and the command's.
fn terminal_like(sink: BorrowedFd<'_>, owner: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let modes = Attributes::of(sink)?.raw();
    let Pty { leader, follower, .. } = Pty::open(window(sink).unwrap_or_default(), Some(&modes), owner, None)?;
    Ok((leader, follower))
}

impl CopiedStream {
    fn carry(&mut self, session_recording: &mut SessionRecording<'_>) {
        if !self.held.is_empty() {
            let written = match &self.own {
                Some(own) => self.held.empty_some_into(own.as_fd(), PIECE),
                None => self.sink.with(|sink| self.held.empty_some_into(sink, PIECE)),
            };
            if written.is_err() {
                // Nobody reads any more: the command notices as it would without us.
                self.held.clear();
                self.source = None;
            }
        } else if let Some(source) = &self.source {
            if !matches!(self.held.fill(source.as_fd()), Ok(1..)) {
                self.source = None;
            }
            session_recording.stream(self.held.held());
        }
    }
}

/// Our own standard output and error, borrowed for one poll.
pub(super) struct Sinks {
    output: io::Stdout,
    error: io::Stderr,
}

impl Sinks {
    pub(super) fn new() -> Self {
        Self { output: io::stdout(), error: io::stderr() }
    }

    fn of(&self, sink: Sink) -> BorrowedFd<'_> {
        match sink {
            Sink::Output => self.output.as_fd(),
            Sink::Error => self.error.as_fd(),
        }
    }
}

/// Whether an entry is ready, or will never be.
pub(super) fn is_ready(entry: &PollEntry<'_>) -> bool {
    entry.ready_read || entry.ready_write || entry.hangup
}

/// Whether a signal asks us not to wait any longer for a slow reader.
pub(super) fn is_asked_to_end(signals: &SignalQueue) -> bool {
    while let Ok(Some(event)) = signals.next_event() {
        if matches!(event.signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM) {
            return true;
        }
    }
    false
}

fn same_file(left: BorrowedFd<'_>, right: BorrowedFd<'_>) -> bool {
    let place = |fd: BorrowedFd<'_>| {
        let file = File::from(fd.try_clone_to_owned().ok()?).metadata().ok()?;
        Some((file.dev(), file.ino()))
    };
    place(left).is_some_and(|left| place(right) == Some(left))
}
