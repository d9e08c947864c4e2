//! The recording of a run, between the session, which makes it, and the host, which keeps it.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::audit::Digest;
use crate::audit::record::Ending;
use crate::audit::recorded::Recorded;
use crate::host::Host;
use crate::programs::SHRINKER;
use crate::recording::Limits;
use crate::run::Scene;
use crate::session::{Tape, Watch};
use crate::shrink::{WORTH, start};

/// Makes the file, once the session is sure that it is recorded.
pub(super) fn file<'h>(recorded: &Recorded, host: &'h Host) -> impl Fn() -> io::Result<File> + use<'h> {
    let run = recorded.run().to_owned();
    move || host.begin_recording(&run)
}

/// What the session records on.
pub(super) fn tape<'f>(recorded: &Recorded, scene: &Scene<'_>, file: &'f dyn Fn() -> io::Result<File>) -> Tape<'f> {
    let settings = scene.policy.settings().audit.recording;
    let limits = Limits { length: settings.limit, reserve: settings.reserve };
    Tape::of(recorded, settings.mode, limits, file)
}

/// Puts the recording, where there is one, to the others, and its seal into the end record.
pub(super) fn seal(tape: Tape<'_>, ending: Ending, recorded: &Recorded, watch: &mut dyn Watch, host: &Host) -> Ending {
    let Some((seal, last)) = tape.finish() else { return ending };
    if let Err(error) = last {
        watch.unrecorded(&error);
    }
    if let Err(error) = host.shelve_recording(recorded.run()) {
        // It stays where it is, and is found there too.
        watch.unrecorded(&error.to_string());
    }
    Ending { recording: Some(Digest(seal.sha256)), recording_bytes: Some(seal.bytes), ..ending }
}

/// Has a long recording compressed, once its seal is in the journal.
pub(super) fn shrink(ending: Option<u64>, run: &str) {
    if ending.is_some_and(|bytes| bytes >= WORTH) {
        start(Path::new(SHRINKER), run);
    }
}
