//! Lists all recordings, for the periodic sweep: the finished ones and the abandoned ones.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::recordings::{DONE, RECORDINGS, present};
use super::{Encoding, Host, HostError, is_written};
use jit_core::clock::Timestamp;
use jit_core::names::RunId;

/// A recording without a writer may be so young that its writer has not locked it yet, µs.
const YOUNG_US: i64 = 60_000_000;

/// A finished recording.
#[derive(Debug, Clone)]
pub struct FinishedRecording {
    /// The run that it belongs to.
    pub run: RunId,
    /// How it is stored.
    pub encoding: Encoding,
    /// Its size as it is stored.
    pub bytes: u64,
    /// The time of the last write.
    pub finished: Timestamp,
    name: OsString,
}

impl Host {
    /// Returns the finished recordings, in no order.
    pub fn finished_recordings(&self) -> Result<Vec<FinishedRecording>, HostError> {
        let Some(live) = present(self.state.directory(RECORDINGS.as_ref()))? else { return Ok(Vec::new()) };
        let Some(done) = present(live.directory(DONE.as_ref()))? else { return Ok(Vec::new()) };
        list(done.path())
    }

    /// Returns the runs whose recording has no writer any more, and which are not `running`.
    pub fn abandoned_recordings(&self, running: &dyn Fn(&RunId) -> bool) -> Result<Vec<RunId>, HostError> {
        let Some(live) = present(self.state.directory(RECORDINGS.as_ref()))? else { return Ok(Vec::new()) };
        let old = Timestamp(self.clocks()?.wall.0.saturating_sub(YOUNG_US));
        let mut found = Vec::new();
        for recording in list(live.path())? {
            let candidate =
                recording.encoding == Encoding::Plain && recording.finished < old && !running(&recording.run);
            if candidate
                && let Some(file) = present(live.file(&recording.name))?
                && !is_written(&file.into_file())?
            {
                found.push(recording.run);
            }
        }
        Ok(found)
    }
}

/// Lists the recordings in a directory that only root can write.
fn list(directory: &Path) -> Result<Vec<FinishedRecording>, HostError> {
    let failed = |error| HostError::System("list the recordings", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some((run, encoding)) = name.to_str().and_then(named) else { continue };
        // A file that is moved or removed meanwhile is not an error.
        let Ok(metadata) = entry.metadata() else { continue };
        let finished = Timestamp::from_seconds(metadata.mtime());
        let run = RunId::stored(run);
        found.push(FinishedRecording { run, encoding, bytes: metadata.size(), finished, name });
    }
    Ok(found)
}

/// Returns the run and the encoding of a recording from the name of its file.
fn named(name: &str) -> Option<(&str, Encoding)> {
    let plain = || Some((name.strip_suffix(".cast")?, Encoding::Plain));
    let packed = || Some((name.strip_suffix(".cast.zst")?, Encoding::Zstd));
    packed().or_else(plain).filter(|(run, _)| !run.is_empty() && !run.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_recordings_are_accepted() {
        assert_eq!(named("0123456789ab.cast"), Some(("0123456789ab", Encoding::Plain)));
        assert_eq!(named("0123456789ab.cast.zst"), Some(("0123456789ab", Encoding::Zstd)));
        for name in ["done", ".0123456789ab.zst", ".cast", ".cast.zst", "x.zst", ""] {
            assert_eq!(named(name), None, "{name}");
        }
    }
}
