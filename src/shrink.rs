//! Compresses a finished recording, while nobody waits: a process of its own, and the work itself in a child that has
//! given root up, because what it reads was written by whatever ran.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::host::{HostError, Shelf};
use jit_core::places::STATE;
use sys::exec::Credentials;
use sys::process::{WaitEvent, Waiting, exit_now, fork, wait};
use sys::sanitize::Inherited;
use sys::wall::{Files, Ground, Post, close_all_but, confine};

/// Who reads and writes the bytes: "nobody" (the kernel's overflow id), who owns nothing.
const NOBODY: u32 = 65534;

/// The level of zstd(1) by default.
const LEVEL: i32 = 3;

/// Compresses the recording of the run that the first word names, and returns the exit status. Only for root.
pub fn serve(inherited: &Inherited) -> i32 {
    let run = inherited.arguments.get(1).and_then(|word| word.to_str());
    let (Some(run), 0) = (run, inherited.identity.uid()) else { return 1 };
    i32::from(shrink(run).is_err())
}

fn shrink(run: &str) -> Result<(), HostError> {
    let shelf = Shelf::open()?;
    let Some(from) = shelf.plain(run)? else { return Ok(()) };
    let to = shelf.begin_compressed(run)?;
    let done = compress_apart(&from, &to).and_then(|()| to.sync_all());
    match done {
        Ok(()) => shelf.put_compressed(run),
        Err(error) => {
            shelf.discard_compressed(run)?;
            Err(HostError::System("compress a recording", error))
        }
    }
}

fn compress_apart(from: &File, to: &File) -> io::Result<()> {
    let nobody = Credentials { uid: NOBODY, gid: NOBODY, groups: vec![NOBODY] };
    let worker = fork(|| {
        if nobody.assume().is_err() || close_all_but(&[from.as_fd(), to.as_fd()]).is_err() {
            exit_now(1)
        }
        // A kernel without a part of the wall has the rest, and the worker is nobody all the same.
        let _ = confine(Post::Worker, &[], Files::Below(&[]));
        exit_now(i32::from(compress(from, to).is_err()))
    })?;
    // What is left to do is to put one file in the place of the other.
    let _ = confine(Post::Keeper, &[], Files::Below(&[Ground::Write(Path::new(STATE))])); // as above
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

/// A shorter recording takes no less room compressed, bytes.
pub const WORTH: u64 = 16 << 10;

/// Starts `program` for a run, and does not wait for it.
pub fn start(program: &Path, run: &str) {
    // A recording that is not compressed is larger, and as good.
    let _ = command(program, run).spawn();
}

/// The same, and waits; whether it was done.
pub fn finish(program: &Path, run: &str) -> bool {
    command(program, run).status().is_ok_and(|status| status.success())
}

fn command(program: &Path, run: &str) -> std::process::Command {
    let null = std::process::Stdio::null;
    let mut command = std::process::Command::new(program);
    command.arg(run).env_clear().current_dir("/").stdin(null()).stdout(null()).stderr(null());
    // In a group of its own from the start, so that it goes on when the terminal of the session is hung up.
    command.process_group(0);
    command
}
