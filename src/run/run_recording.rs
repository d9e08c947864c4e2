//! The recording of a run, between the session, which writes it, and the host, which stores it.

use std::cell::Cell;
use std::io;
use std::path::Path;

use crate::audit::recorded::Recorded;
use crate::recording::{Blank, Limits, RecordingError};
use crate::refusal::Refusal;
use crate::run::RunContext;
use crate::session::{BlankOf, SessionRecording, Watch};
use crate::shrink::{WORTH, start};
use jit_core::evidence::Digest;
use jit_core::evidence::record::RunOutcome;
use jit_core::names::{Person, RunId};
use jit_core::places::SHRINKER;
use jit_core::policy::RecordingSettings;

/// The recording of one run: whose budget it uses, and how much was set aside for it.
pub(super) struct RunRecording<'s> {
    run: RunId,
    /// `None` when root is the caller.
    payer: Option<Person>,
    context: &'s RunContext<'s>,
    /// In bytes.
    set_aside: Cell<u64>,
}

impl<'s> RunRecording<'s> {
    pub(super) fn of(recorded: &Recorded, context: &'s RunContext<'s>) -> Self {
        let caller = recorded.authorized().elevation().caller();
        let payer = (caller.uid() != 0).then(|| caller.person().clone());
        Self { run: recorded.run().clone(), payer, context, set_aside: Cell::new(0) }
    }

    fn settings(&self) -> RecordingSettings {
        self.context.policy.settings().audit.recording
    }

    /// Creates the session's recording.
    pub(super) fn session_recording<'b>(&self, recorded: &Recorded, blank: &'b BlankOf<'b>) -> SessionRecording<'b> {
        SessionRecording::of(recorded, self.settings().mode, blank)
    }

    /// Creates the file, once it is certain that the session is recorded.
    pub(super) fn blank(&self) -> Result<Blank, RecordingError> {
        let settings = self.settings();
        let length = match &self.payer {
            Some(person) => self.set_aside(person, settings).map_err(|error| io::Error::other(error.sentence()))?,
            None => settings.limit,
        };
        let file = self.context.host.begin_recording(&self.run)?;
        Ok(Blank { file, limits: Limits { length, reserve: settings.reserve } })
    }

    fn set_aside(&self, person: &Person, settings: RecordingSettings) -> Result<u64, Refusal> {
        let moment = self.context.host.clocks()?;
        let length = self.context.journal.set_aside(&moment, person, &settings.per_user, settings.limit)?;
        self.set_aside.set(length);
        Ok(length)
    }

    /// Returns the unused part to the budget. Where that fails, or this process is killed, it becomes free again with time, like
    /// the used part.
    fn give_back(&self, used: u64) {
        let unused = self.set_aside.take().saturating_sub(used);
        if let (Some(person), 1..) = (&self.payer, unused)
            && let Ok(moment) = self.context.host.clocks()
        {
            let _ = self.context.journal.give_back(&moment, person, &self.settings().per_user, unused);
        }
    }

    /// Moves the recording, if there is one, to the finished ones, and puts its seal into the end record.
    pub(super) fn seal(
        &self,
        session_recording: SessionRecording<'_>,
        ending: RunOutcome,
        watch: &mut dyn Watch,
    ) -> RunOutcome {
        let finished = session_recording.finish();
        self.give_back(finished.as_ref().map_or(0, |(seal, _)| seal.bytes));
        let Some((seal, last)) = finished else { return ending };
        if let Err(error) = last {
            watch.unrecorded(&error);
        }
        if let Err(error) = self.context.host.finish_recording(&self.run) {
            // It stays where it is, and is found there too.
            watch.unrecorded(&error.to_string());
        }
        RunOutcome { recording: Some(Digest(seal.sha256)), recording_bytes: Some(seal.bytes), ..ending }
    }
}

/// Starts the compression of a long recording, after its seal was written to the journal.
pub(super) fn shrink(ending: Option<u64>, run: &RunId) {
    if ending.is_some_and(|bytes| bytes >= WORTH) {
        start(Path::new(SHRINKER), run);
    }
}
