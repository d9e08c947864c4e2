//! jit-sudo-compile, not set-user-ID, started by root's own programs alone: reads the texts of the policy's files on standard
//! input, and writes the policy in the form in which it is stored, or the error in them, on standard output. It gives root up before
//! it reads anything.
//! May not: open a file, start a program, talk to anybody else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use jit_core::policy::compiled::{STILL_PRIVILEGED, TEXTS_LIMIT, answer};
use sys::exec::Credentials;
use sys::limits::{Limit, Limits};
use sys::process::{end_within, exit_now};
use sys::sandbox::{Files, Post, close_all_but, confine};
use sys::sanitize::Inherited;

/// As whom it works: "nobody" (the kernel's overflow id), who owns nothing.
const NOBODY: u32 = 65534;

/// The longest request in bytes: JSON doubles some characters.
const REQUEST_LIMIT: u64 = 2 * TEXTS_LIMIT as u64 + (1 << 20);

/// Address space in bytes: for any policy, and for each byte of a request.
const MEMORY: u64 = 256 << 20;
const MEMORY_PER_BYTE: u64 = 64;

/// Processor time and time: for any policy, and for each MiB of a request.
const SECONDS: u64 = 20;
const SECONDS_PER_MIB: u64 = 2;

fn main() {
    let status = match sys::sanitize(c"jit-sudo-compile") {
        Ok(inherited) => serve(&inherited),
        Err(_) => 1,
    };
    exit_now(status)
}

/// Answers one request, and returns the exit status. Only for root.
fn serve(inherited: &Inherited) -> i32 {
    if inherited.identity.uid() != 0 {
        return 1;
    }
    if give_root_up().is_err() {
        return STILL_PRIVILEGED;
    }
    let mut request = Vec::new();
    if io::stdin().take(REQUEST_LIMIT).read_to_end(&mut request).is_err() {
        return 1;
    }
    let Some(answer) = answer(&request) else { return 1 };
    let mut out = io::stdout();
    i32::from(out.write_all(&answer).and_then(|()| out.flush()).is_err())
}

fn give_root_up() -> io::Result<()> {
    let length = File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()?.len().min(REQUEST_LIMIT);
    let seconds = SECONDS + SECONDS_PER_MIB * (length >> 20);
    let mut limits = Limits::current()?;
    let memory = MEMORY + MEMORY_PER_BYTE * length;
    for (name, most) in [("as", memory), ("cpu", seconds), ("fsize", 0), ("core", 0), ("nproc", 0)] {
        // Not above what it has: without CAP_SYS_RESOURCE it could not be raised.
        let most = limits.named(name).map_or(most, |has| has.hard.min(most));
        limits.set(name, Limit { soft: most, hard: most })?;
    }
    end_within(Duration::from_secs(seconds))?;
    limits.apply()?;
    Credentials { uid: NOBODY, gid: NOBODY, groups: vec![NOBODY] }
        .assume()
        .map_err(|error| io::Error::other(error.to_string()))?;
    close_all_but(&[])?;
    // A kernel without a part of the sandbox has the rest, and this process is nobody all the same.
    let _ = confine(Post::Worker, &[], Files::Below(&[]));
    Ok(())
}
