//! The recording of one session: begins when the command does, and says what it means for the session when nothing more
//! can be recorded. Where the file lies is not known here.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use super::ending::Enforcer;
use super::launch::LaunchError;
use crate::audit::recorded::Recorded;
use crate::escape::command_line;
use crate::policy::{Record, RecordingMode};
use crate::recording::{Environment, Header, Limits, Recorder, RecordingError, Seal};
use sys::terminal::WindowSize;

/// What a session without a terminal looks like to a player.
const NO_WINDOW: WindowSize = WindowSize { rows: 24, columns: 80, width: 0, height: 0 };

/// The recording of one session, if it is to be recorded at all.
pub struct Tape<'a> {
    record: Record,
    with_input: bool,
    mode: RecordingMode,
    limits: Limits,
    header: Header,
    file: &'a dyn Fn() -> io::Result<File>,
    recorder: Option<Recorder>,
}

impl<'a> Tape<'a> {
    /// For the run that was recorded, as its role and `mode` say. `file` makes the file of the recording when it is sure
    /// that there is something to record.
    pub fn of(
        recorded: &Recorded,
        mode: RecordingMode,
        limits: Limits,
        file: &'a dyn Fn() -> io::Result<File>,
    ) -> Self {
        let authorized = recorded.authorized();
        let recording = &authorized.role().recording;
        Self {
            record: recording.record,
            with_input: recording.input,
            mode,
            limits,
            header: header(recorded),
            file,
            recorder: None,
        }
    }

    /// The seal of what was recorded, for the `end` record; `None` when nothing was. The alert for an error of the last
    /// writing is the caller's.
    pub fn finish(self) -> Option<(Seal, Result<(), RecordingError>)> {
        self.recorder.map(Recorder::finish)
    }

    /// Whether terminals are recorded.
    pub(super) fn takes_terminals(&self) -> bool {
        self.record != Record::None
    }

    /// Whether what goes to pipes and files is recorded as well.
    pub(super) fn takes_all(&self) -> bool {
        self.record == Record::All
    }

    /// Begins, where a session with this window, or without one, is recorded at all.
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
        let begun = (self.file)()
            .map_err(RecordingError::from)
            .and_then(|file| Recorder::begin(file, &self.header, self.limits, Instant::now()));
        match (begun, self.mode) {
            (Ok(recorder), _) => self.recorder = Some(recorder),
            (Err(error), RecordingMode::Strict) => return Err(LaunchError::Unrecorded(error)),
            (Err(error), RecordingMode::BestEffort) => enforcer.unrecorded(&error, self.mode),
        }
        Ok(())
    }

    /// What the command showed.
    pub(super) fn output(&mut self, bytes: &[u8], enforcer: &mut Enforcer<'_>) {
        if !bytes.is_empty() {
            self.take(enforcer, |recorder| recorder.output(Instant::now(), bytes));
        }
    }

    /// What the command wrote to something else than its terminal, as a terminal would show it: a line's end is CR LF.
    pub(super) fn stream(&mut self, bytes: &[u8], enforcer: &mut Enforcer<'_>) {
        if self.recorder.is_some() {
            let mut shown = Vec::with_capacity(bytes.len() + bytes.len() / 16);
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                match line.split_last() {
                    // Written when the command's terminal made it so itself.
                    Some((b'\n', [.., b'\r'])) => shown.extend_from_slice(line),
                    Some((b'\n', text)) => {
                        shown.extend_from_slice(text);
                        shown.extend_from_slice(b"\r\n");
                    }
                    _ => shown.extend_from_slice(line),
                }
            }
            self.output(&shown, enforcer);
        }
    }

    /// Whether what is typed is recorded.
    pub(super) fn takes_input(&self) -> bool {
        self.with_input && self.recorder.is_some()
    }

    /// What was typed; the caller has seen that the terminal shows it.
    pub(super) fn input(&mut self, bytes: &[u8], enforcer: &mut Enforcer<'_>) {
        if !bytes.is_empty() {
            self.take(enforcer, |recorder| recorder.input(Instant::now(), bytes));
        }
    }

    /// The window's new size.
    pub(super) fn resize(&mut self, window: WindowSize, enforcer: &mut Enforcer<'_>) {
        self.take(enforcer, |recorder| recorder.resize(Instant::now(), window.columns, window.rows));
    }

    /// What we said to the person at the terminal.
    pub(super) fn mark(&mut self, words: &str, enforcer: &mut Enforcer<'_>) {
        self.take(enforcer, |recorder| recorder.mark(Instant::now(), words));
    }

    /// Writes what has waited long enough, and shortens `patience` to the next time.
    pub(super) fn tend(&mut self, patience: Option<Duration>, enforcer: &mut Enforcer<'_>) -> Option<Duration> {
        let now = Instant::now();
        self.take(enforcer, |recorder| recorder.tend(now));
        match self.recorder.as_ref().and_then(|recorder| recorder.patience(now)) {
            Some(due) => Some(patience.map_or(due, |patience| patience.min(due))),
            None => patience,
        }
    }

    fn take(&mut self, enforcer: &mut Enforcer<'_>, act: impl FnOnce(&mut Recorder) -> Result<(), RecordingError>) {
        if let Some(Err(error)) = self.recorder.as_mut().map(act) {
            enforcer.unrecorded(&error, self.mode);
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
