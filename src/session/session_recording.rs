//! The recording of one session: begins when the command does, and decides what a failure to record means for the session. It does
//! not know where the file is.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use super::ending::Enforcer;
use super::launch_error::LaunchError;
use crate::audit::recorded::Recorded;
use crate::recording::{Blank, Environment, Header, Recorder, RecordingError, Seal};
use jit_core::escape::command_line;
use jit_core::policy::{Record, RecordingMode};
use sys::terminal::WindowSize;

/// The window size recorded for a session without a terminal.
const NO_WINDOW: WindowSize = WindowSize { rows: 24, columns: 80, width: 0, height: 0 };

/// Creates the file that a recording is written to.
pub type BlankOf<'a> = dyn Fn() -> Result<Blank, RecordingError> + 'a;

/// The recording of one session, if the session is recorded.
pub struct SessionRecording<'a> {
    record: Record,
    with_input: bool,
    mode: RecordingMode,
    header: Header,
    blank: &'a BlankOf<'a>,
    state: State,
    /// Why nothing is recorded any more, until that was reported.
    failure: Option<RecordingError>,
}

/// Which process writes the recording.
enum State {
    /// No process: nothing is recorded.
    Nothing,
    /// This process.
    Here(Recorder),
    /// The relay process, to this file.
    Elsewhere(File),
    /// The recording is complete; the text is the error of its last write.
    Sealed(Seal, Option<String>),
}

impl<'a> SessionRecording<'a> {
    /// Creates the recording of a run as its role and `mode` say. Calls `blank` when it is certain that the session is recorded.
    pub fn of(recorded: &Recorded, mode: RecordingMode, blank: &'a BlankOf<'a>) -> Self {
        let authorized = recorded.authorized();
        let recording = &authorized.role().recording;
        Self {
            record: recording.record,
            with_input: recording.input,
            mode,
            header: header(recorded),
            blank,
            state: State::Nothing,
            failure: None,
        }
    }

    /// Returns the seal of the recording for the `end` record; `None` when nothing was recorded. The caller alerts an error of the
    /// last write.
    pub fn finish(self) -> Option<(Seal, Result<(), String>)> {
        match self.state {
            State::Nothing => None,
            State::Here(recorder) => {
                let (seal, last) = recorder.finish();
                Some((seal, last.map_err(|error| error.to_string())))
            }
            State::Elsewhere(file) => {
                let killed =
                    "the process that recorded the session was killed, so the recording is incomplete".to_owned();
                Seal::of(&file).ok().map(|seal| (seal, Err(killed)))
            }
            State::Sealed(seal, why) => Some((seal, why.map_or(Ok(()), Err))),
        }
    }

    /// In the supervisor: from now on a process that was forked from this one records.
    pub(super) fn hand_over(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Here(recorder) => State::Elsewhere(recorder.into_file()),
            state => state,
        };
    }

    /// In the supervisor: the relay process has sealed the recording.
    pub(super) fn sealed(&mut self, seal: Seal, why: Option<String>) {
        if matches!(self.state, State::Elsewhere(_)) {
            self.state = State::Sealed(seal, why);
        }
    }

    /// In the relay process: shows others that the recording has a writer.
    pub(super) fn hold(&self) {
        if let State::Here(recorder) = &self.state {
            recorder.hold();
        }
    }

    /// In the relay process: writes what is left and seals the recording.
    pub(super) fn seal(&mut self) -> (Option<Seal>, Option<String>) {
        let State::Here(recorder) = std::mem::replace(&mut self.state, State::Nothing) else { return (None, None) };
        let (seal, last) = recorder.finish();
        (Some(seal), last.err().map(|error| error.to_string()))
    }

    /// Returns what a failure to record means for the session.
    pub(super) fn mode(&self) -> RecordingMode {
        self.mode
    }

    /// Returns, once, why nothing is recorded any more.
    pub(super) fn failure(&mut self) -> Option<RecordingError> {
        self.failure.take()
    }

    /// Returns the file that this process writes.
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Here(recorder) => Some(recorder.as_fd()),
            State::Nothing | State::Elsewhere(_) | State::Sealed(..) => None,
        }
    }

    /// Whether terminals are recorded.
    pub(super) fn takes_terminals(&self) -> bool {
        self.record != Record::None
    }

    /// Whether output to pipes and files is recorded too.
    pub(super) fn takes_all(&self) -> bool {
        self.record == Record::All
    }

    /// Begins the recording, if a session with this window, or without one, is recorded.
    pub(super) fn begin(&mut self, window: Option<WindowSize>, enforcer: &mut Enforcer<'_>) -> Result<(), LaunchError> {
        let wanted = match self.record {
            Record::None => false,
            Record::Tty => window.is_some(),
            Record::All => true,
        };
        if !wanted {
            return Ok(());
        }
        let window = window.filter(|window| window.rows > 0 && window.columns > 0).unwrap_or(NO_WINDOW);
        (self.header.width, self.header.height) = (window.columns, window.rows);
        let begun = (self.blank)().and_then(|blank| Recorder::begin(blank, &self.header, Instant::now()));
        match (begun, self.mode) {
            (Ok(recorder), _) => self.state = State::Here(recorder),
            (Err(error), RecordingMode::Strict) => return Err(LaunchError::Unrecorded(error)),
            (Err(error), RecordingMode::BestEffort) => enforcer.unrecorded(&error.to_string(), self.mode),
        }
        Ok(())
    }

    /// Records what the command showed.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.take(|recorder| recorder.output(Instant::now(), bytes));
        }
    }

    /// Records what the command wrote to something other than its terminal, as a terminal would show it: lines end with CR LF.
    pub(super) fn stream(&mut self, bytes: &[u8]) {
        if self.file().is_some() {
            let mut shown = Vec::with_capacity(bytes.len() + bytes.len() / 16);
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                match line.split_last() {
                    // Written while the command's terminal added the CR itself.
                    Some((b'\n', [.., b'\r'])) => shown.extend_from_slice(line),
                    Some((b'\n', text)) => {
                        shown.extend_from_slice(text);
                        shown.extend_from_slice(b"\r\n");
                    }
                    _ => shown.extend_from_slice(line),
                }
            }
            self.output(&shown);
        }
    }

    /// Whether input is recorded.
    pub(super) fn takes_input(&self) -> bool {
        self.with_input && self.file().is_some()
    }

    /// Records input; the caller has checked that the terminal echoes it.
    pub(super) fn input(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.take(|recorder| recorder.input(Instant::now(), bytes));
        }
    }

    /// Records the window's new size.
    pub(super) fn resize(&mut self, window: WindowSize) {
        self.take(|recorder| recorder.resize(Instant::now(), window.columns, window.rows));
    }

    /// Records a message of ours to the person at the terminal.
    pub(super) fn mark(&mut self, words: &str) {
        self.take(|recorder| recorder.mark(Instant::now(), words));
    }

    /// Writes what has waited long enough, and shortens `patience` to the next time.
    pub(super) fn tend(&mut self, patience: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        self.take(|recorder| recorder.tend(now));
        let due = match &self.state {
            State::Here(recorder) => recorder.patience(now),
            State::Nothing | State::Elsewhere(_) | State::Sealed(..) => None,
        };
        match due {
            Some(due) => Some(patience.map_or(due, |patience| patience.min(due))),
            None => patience,
        }
    }

    fn take(&mut self, act: impl FnOnce(&mut Recorder) -> Result<(), RecordingError>) {
        if let State::Here(recorder) = &mut self.state
            && let Err(error) = act(recorder)
        {
            self.failure = Some(error);
        }
    }
}

fn header(recorded: &Recorded) -> Header {
    let elevation = recorded.authorized().elevation();
    let command = command_line(recorded.authorized().plan().argv().words());
    let (caller, run_as) = (elevation.caller(), elevation.run_as());
    let variable = |name: &str| {
        let value = |entry: &OsStr| {
            let bytes = entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        recorded.environment().entries().iter().find_map(|entry| value(entry))
    };
    Header {
        version: 2,
        width: NO_WINDOW.columns,
        height: NO_WINDOW.rows,
        timestamp: recorded.time().seconds(),
        title: format!("{}: {} as {} on {}", recorded.run(), caller.name(), run_as.name(), caller.host()),
        command,
        env: Environment { term: variable("TERM"), shell: variable("SHELL") },
    }
}
