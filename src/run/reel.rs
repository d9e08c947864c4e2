//! The recording of a run, between the session, which makes it, and the host, which keeps it.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::audit::Digest;
use crate::audit::record::Ending;
use crate::audit::recorded::Recorded;
use crate::budget::Storage;
use crate::names::Person;
use crate::programs::SHRINKER;
use crate::recording::{Blank, Limits, RecordingError};
use crate::run::Scene;
use crate::session::{BlankOf, Tape, Watch};
use crate::shrink::{WORTH, start};

/// A shorter one would show nothing, in bytes.
const SHORTEST: u64 = 4 << 10;

/// Whose budget pays for the recording; nobody's where it is root who runs something.
struct Payer<'s> {
    person: Option<Person>,
    scene: &'s Scene<'s>,
}

impl<'s> Payer<'s> {
    fn of(recorded: &Recorded, scene: &'s Scene<'s>) -> Self {
        let caller = recorded.authorized().elevation().caller();
        Self { person: (caller.uid() != 0).then(|| caller.person().clone()), scene }
    }

    fn storage(&self) -> &'s Storage {
        &self.scene.policy.settings().audit.recording.per_user
    }

    /// How long the recording may become, in bytes.
    fn set_aside(&self, most: u64) -> Result<u64, RecordingError> {
        let Some(person) = &self.person else { return Ok(most) };
        let moment = self.scene.host.clocks().map_err(failed)?;
        let length = self.scene.journal.set_aside(&moment, person, self.storage(), most).map_err(failed)?;
        if length < SHORTEST { Err(RecordingError::Budget) } else { Ok(length) }
    }

    /// The error is a sentence.
    fn give_back(&self, unused: u64) -> Result<(), String> {
        let Some(person) = self.person.as_ref().filter(|_| unused > 0) else { return Ok(()) };
        let moment = self.scene.host.clocks().map_err(|error| error.to_string())?;
        self.scene.journal.give_back(&moment, person, self.storage(), unused).map_err(|error| error.to_string())
    }
}

fn failed(error: impl Display) -> RecordingError {
    RecordingError::System(io::Error::other(error.to_string()))
}

/// Makes the file, once the session is sure that it is recorded.
pub(super) fn blank<'s>(
    recorded: &Recorded,
    scene: &'s Scene<'s>,
) -> impl Fn() -> Result<Blank, RecordingError> + use<'s> {
    let (run, payer) = (recorded.run().to_owned(), Payer::of(recorded, scene));
    move || {
        let settings = scene.policy.settings().audit.recording;
        let length = payer.set_aside(settings.limit)?;
        let file = scene.host.begin_recording(&run).inspect_err(|_| {
            let _ = payer.give_back(length); // else it comes back within a day
        })?;
        Ok(Blank { file, limits: Limits { length, reserve: settings.reserve } })
    }
}

/// What the session records on.
pub(super) fn tape<'b>(recorded: &Recorded, scene: &Scene<'_>, blank: &'b BlankOf<'b>) -> Tape<'b> {
    Tape::of(recorded, scene.policy.settings().audit.recording.mode, blank)
}

/// Puts the recording, where there is one, to the others, and its seal into the end record.
pub(super) fn seal(
    tape: Tape<'_>,
    ending: Ending,
    recorded: &Recorded,
    watch: &mut dyn Watch,
    scene: &Scene<'_>,
) -> Ending {
    let length = tape.length();
    let Some((seal, last)) = tape.finish() else { return ending };
    if let Err(error) = last {
        watch.unrecorded(&error);
    }
    let shelved = scene.host.shelve_recording(recorded.run()).map_err(|error| error.to_string());
    // It stays where it is, and is found there too; its room comes back within a day.
    if let Err(error) = shelved.and(Payer::of(recorded, scene).give_back(length.saturating_sub(seal.bytes))) {
        watch.unrecorded(&error);
    }
    Ending { recording: Some(Digest(seal.sha256)), recording_bytes: Some(seal.bytes), ..ending }
}

/// Has a long recording compressed, once its seal is in the journal.
pub(super) fn shrink(ending: Option<u64>, run: &str) {
    if ending.is_some_and(|bytes| bytes >= WORTH) {
        start(Path::new(SHRINKER), run);
    }
}
