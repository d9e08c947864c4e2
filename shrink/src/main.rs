//! jit-sudo-shrink, not set-user-ID, started only by root's own programs: compresses one finished recording in the
//! background. A child that has given root up does the work, because it reads data that arbitrary programs wrote.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use jit_core::names::RunId;
use jit_core::places::STATE;
use jit_sudo::host::{FinishedRecordings, HostError};
use sys::process::{WaitEvent, Waiting, exit_now, fork, wait};
use sys::sandbox::{AllowedPath, Files, Post, become_nobody, close_all_but, confine};
use sys::sanitize::Inherited;

/// The default level of zstd(1).
const LEVEL: i32 = 3;

fn main() {
    let status = match sys::sanitize(c"jit-sudo-shrink") {
        Ok(inherited) => serve(&inherited),
        Err(_) => 1,
    };
    exit_now(status)
}

/// Compresses the recording of the run that the first argument names, and returns the exit status. Only for root.
fn serve(inherited: &Inherited) -> i32 {
    let run = inherited.arguments.get(1).and_then(|word| word.to_str()).map(RunId::stored);
    let (Some(run), 0) = (run, inherited.identity.uid()) else { return 1 };
    i32::from(shrink(&run).is_err())
}

fn shrink(run: &RunId) -> Result<(), HostError> {
    let finished_recordings = FinishedRecordings::open()?;
    let Some(from) = finished_recordings.plain(run)? else { return Ok(()) };
    let to = finished_recordings.begin_compressed(run)?;
    let done = compress_apart(&from, &to).and_then(|()| to.sync_all());
    match done {
        Ok(()) => finished_recordings.put_compressed(run),
        Err(error) => {
            finished_recordings.discard_compressed(run)?;
            Err(HostError::System("compress a recording", error))
        }
    }
}

fn compress_apart(from: &File, to: &File) -> io::Result<()> {
    let worker = fork(|| {
        if become_nobody().is_err() || close_all_but(&[from.as_fd(), to.as_fd()]).is_err() {
            exit_now(1)
        }
        // On a kernel without one part of the sandbox the other parts still apply, and the worker has no privileges in
        // any case.
        let _ = confine(Post::Worker, &[], Files::Below(&[]));
        exit_now(i32::from(compress(from, to).is_err()))
    })?;
    // What remains is to replace one file by the other.
    let _ = confine(Post::Enforcer, &[], Files::Below(&[AllowedPath::Write(Path::new(STATE))])); // as above
    match wait(worker, Waiting::ForEnd)? {
        Some((WaitEvent::Exited(0), _)) => Ok(()),
        _ => Err(io::Error::other("the compressor failed")),
    }
}

fn compress(from: &File, to: &File) -> io::Result<()> {
    let mut encoder = zstd::stream::Encoder::new(to, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut from = from;
    io::copy(&mut from, &mut encoder)?;
    encoder.finish().map(drop)
}
