//! Where recordings lie: `recordings/RUN.cast` while it is written, under a lock that its writer holds, and in
//! `recordings/done` from its end on. Root's alone, like everything of ours.

use std::ffi::OsString;
use std::fs::File;
use std::io;

use super::{Host, HostError};
use sys::trusted::{TrustError, TrustedDirectory};

const RECORDINGS: &str = "recordings";
const DONE: &str = "done";

/// How often a recording is looked for that moves while we look.
const LOOKS: u32 = 3;

/// A recording, open for reading.
#[derive(Debug)]
pub struct StoredRecording {
    /// At its beginning.
    pub file: File,
    /// Whether it is still being written.
    pub stage: Stage,
}

/// How far a recording has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its session runs, or was lost a moment ago.
    Live,
    /// Complete.
    Done,
}

impl Host {
    /// A new file for the recording of `run`, locked until its last descriptor is closed.
    pub fn begin_recording(&self, run: &str) -> io::Result<File> {
        let file = self.recordings().and_then(|live| live.begin(&cast(run))).map_err(plain)?;
        sys::lock::claim(&file)?;
        Ok(file)
    }

    /// Puts a complete recording to the others.
    pub fn shelve_recording(&self, run: &str) -> Result<(), HostError> {
        let live = self.recordings()?;
        let done = live.private_directory(DONE.as_ref())?;
        Ok(live.hand_over(&cast(run), &done, &cast(run))?)
    }

    /// The recording of `run`; `None` where there is none.
    pub fn recording(&self, run: &str) -> Result<Option<StoredRecording>, HostError> {
        let live = match self.state.directory(RECORDINGS.as_ref()) {
            Ok(live) => live,
            Err(TrustError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        for _ in 0..LOOKS {
            if let Some(file) = open(&live, run)? {
                // Without the lock its writer has ended, and whoever shelves it comes later or never.
                let stage = if is_written(&file)? { Stage::Live } else { Stage::Done };
                return Ok(Some(StoredRecording { file, stage }));
            }
            let done = match live.directory(DONE.as_ref()) {
                Ok(done) => open(&done, run)?,
                Err(TrustError::Missing { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            if let Some(file) = done {
                return Ok(Some(StoredRecording { file, stage: Stage::Done }));
            }
        }
        Ok(None)
    }

    fn recordings(&self) -> Result<TrustedDirectory, TrustError> {
        self.state.private_directory(RECORDINGS.as_ref())
    }
}

/// True while the writer of a recording holds its lock.
pub fn is_written(file: &File) -> Result<bool, HostError> {
    sys::lock::is_claimed(file).map_err(|error| HostError::System("look at a recording", error))
}

fn open(directory: &TrustedDirectory, run: &str) -> Result<Option<File>, HostError> {
    match directory.file(&cast(run)) {
        Ok(file) => Ok(Some(file.into_file())),
        Err(TrustError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn cast(run: &str) -> OsString {
    OsString::from(format!("{run}.cast"))
}

fn plain(error: TrustError) -> io::Error {
    match error {
        TrustError::Io { error, .. } => error,
        error => io::Error::other(error.to_string()),
    }
}
