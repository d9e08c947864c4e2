//! The files of recordings: `recordings/RUN.cast` while its writer, which holds a lock on it, writes it, and in
//! `recordings/done` afterwards, possibly compressed. Only root has access, as to all files of jit-sudo.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use super::{Host, HostError};
use jit_core::names::RunId;
use jit_core::places::STATE;
use sys::trusted::{TrustError, TrustedDirectory};

pub(super) const RECORDINGS: &str = "recordings";
pub(super) const DONE: &str = "done";

/// How often a recording is looked up again that is moved meanwhile.
const LOOKS: u32 = 3;

/// A recording, open for reading.
#[derive(Debug)]
pub struct StoredRecording {
    /// The file, positioned at its start.
    pub file: File,
    /// Whether it is still being written.
    pub stage: Stage,
    /// How it is stored.
    pub encoding: Encoding,
}

/// The stage of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The session runs, or was lost a moment ago.
    Live,
    /// The recording is complete.
    Done,
}

/// The encoding of a stored recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Plain, as it was written.
    Plain,
    /// Compressed (RFC 8878).
    Zstd,
}

impl Host {
    /// Creates the file for the recording of `run`, locked by this process. The one that writes it locks it too.
    pub fn begin_recording(&self, run: &RunId) -> io::Result<File> {
        let file = live(&self.state).and_then(|live| live.begin(&plain(run))).map_err(unwrapped)?;
        sys::lock::hold(&file)?;
        Ok(file)
    }

    /// Syncs a complete recording, and moves it to `recordings/done`. The sync comes before the `end` record with its digest: after a
    /// power failure, a recording with another content would look as if it had been changed.
    pub fn finish_recording(&self, run: &RunId) -> Result<(), HostError> {
        let live = live(&self.state)?;
        if let Some(file) = open(&live, plain(run))? {
            file.sync_data().map_err(|error| HostError::System("sync the recording", error))?;
        }
        let done = live.private_directory(DONE.as_ref())?;
        Ok(live.hand_over(&plain(run), &done, &plain(run))?)
    }

    /// Returns the recording of `run`; `None` where there is none.
    pub fn recording(&self, run: &RunId) -> Result<Option<StoredRecording>, HostError> {
        let Some(live) = present(self.state.directory(RECORDINGS.as_ref()))? else { return Ok(None) };
        for _ in 0..LOOKS {
            if let Some(file) = open(&live, plain(run))? {
                // Without the lock the writer has ended; the process that moves the file comes later, or never.
                let stage = if is_written(&file)? { Stage::Live } else { Stage::Done };
                return Ok(Some(StoredRecording { file, stage, encoding: Encoding::Plain }));
            }
            let Some(done) = present(live.directory(DONE.as_ref()))? else { continue };
            for (name, encoding) in [(plain(run), Encoding::Plain), (compressed(run), Encoding::Zstd)] {
                if let Some(file) = open(&done, name)? {
                    return Ok(Some(StoredRecording { file, stage: Stage::Done, encoding }));
                }
            }
        }
        Ok(None)
    }

    /// Removes the complete recording of `run`; returns whether there was one.
    pub fn discard_recording(&self, run: &RunId) -> Result<bool, HostError> {
        let Some(live) = present(self.state.directory(RECORDINGS.as_ref()))? else { return Ok(false) };
        let Some(done) = present(live.directory(DONE.as_ref()))? else { return Ok(false) };
        let mut found = false;
        for name in [plain(run), compressed(run), unfinished(run)] {
            found |= present(done.remove(&name))?.is_some();
        }
        Ok(found)
    }
}

/// The complete recordings, for the process that compresses them: without the database.
pub struct FinishedRecordings {
    done: TrustedDirectory,
}

impl FinishedRecordings {
    /// Opens the complete recordings of this host.
    pub fn open() -> Result<Self, HostError> {
        let state = TrustedDirectory::open(Path::new(STATE))?;
        state.private()?;
        Ok(Self { done: state.directory(RECORDINGS.as_ref())?.directory(DONE.as_ref())? })
    }

    /// Returns a recording that is not compressed yet.
    pub fn plain(&self, run: &RunId) -> Result<Option<File>, HostError> {
        open(&self.done, plain(run))
    }

    /// Creates the file for the compressed recording; replaces one that a killed compressor left behind.
    pub fn begin_compressed(&self, run: &RunId) -> Result<File, HostError> {
        self.discard_compressed(run)?;
        Ok(self.done.begin(&unfinished(run))?)
    }

    /// Replaces the recording by the compressed one, in an order that leaves at least one at any time.
    pub fn put_compressed(&self, run: &RunId) -> Result<(), HostError> {
        self.done.hand_over(&unfinished(run), &self.done, &compressed(run))?;
        self.remove(plain(run))
    }

    /// Removes an incomplete compressed recording.
    pub fn discard_compressed(&self, run: &RunId) -> Result<(), HostError> {
        self.remove(unfinished(run))
    }

    fn remove(&self, name: OsString) -> Result<(), HostError> {
        present(self.done.remove(&name)).map(drop)
    }
}

/// Whether the writer of a recording lives.
pub fn is_written(file: &File) -> Result<bool, HostError> {
    sys::lock::is_held(file).map_err(|error| HostError::System("look at a recording", error))
}

fn live(state: &TrustedDirectory) -> Result<TrustedDirectory, TrustError> {
    state.private_directory(RECORDINGS.as_ref())
}

fn open(directory: &TrustedDirectory, name: OsString) -> Result<Option<File>, HostError> {
    Ok(present(directory.file(&name))?.map(sys::trusted::TrustedFile::into_file))
}

pub(super) fn present<T>(found: Result<T, TrustError>) -> Result<Option<T>, HostError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(TrustError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn plain(run: &RunId) -> OsString {
    OsString::from(format!("{run}.cast"))
}

fn compressed(run: &RunId) -> OsString {
    OsString::from(format!("{run}.cast.zst"))
}

fn unfinished(run: &RunId) -> OsString {
    OsString::from(format!(".{run}.zst"))
}

fn unwrapped(error: TrustError) -> io::Error {
    match error {
        TrustError::Io { error, .. } => error,
        error => io::Error::other(error.to_string()),
    }
}
