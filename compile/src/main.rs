//! jit-sudo-compile, started only by root's own programs and not set-user-ID: reads the text of the policy files from standard
//! input, and writes the compiled policy, or its error, to standard output. It drops root privileges before it reads anything.
//! May not: open a file, start a program, communicate with other processes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use jit_core::policy::compiled::{STILL_PRIVILEGED, TEXTS_LIMIT, answer};
use sys::limits::{Limit, Limits};
use sys::process::{end_within, exit_now};
use sys::sandbox::{Files, Post, become_nobody, close_all_but, confine};
use sys::sanitize::Inherited;

/// The longest request in bytes: JSON doubles some characters.
const REQUEST_LIMIT: u64 = 2 * TEXTS_LIMIT as u64 + (1 << 20);

/// The limit of the address space in bytes: a base, and an amount per byte of the request.
const MEMORY: u64 = 256 << 20;
const MEMORY_PER_BYTE: u64 = 64;

/// The limit of processor time and elapsed time in seconds: a base, and an amount per MiB of the request.
const SECONDS: u64 = 20;
const SECONDS_PER_MIB: u64 = 2;

fn main() {
    let status = match sys::sanitize(c"jit-sudo-compile") {
        Ok(inherited) => serve(&inherited),
        Err(_) => 1,
    };
    exit_now(status)
}

/// Answers one request, and returns the exit status. Fails unless root started the program.
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
    let own = Limits::current()?;
    let mut limits = own.clone();
    let memory = MEMORY + MEMORY_PER_BYTE * length;
    for (name, most) in [("as", memory), ("cpu", seconds), ("fsize", 0), ("core", 0), ("nproc", 0)] {
        // Not above the present hard limit: without CAP_SYS_RESOURCE it cannot be raised.
        let most = limits.named(name).map_or(most, |has| has.hard.min(most));
        limits.set(name, Limit { soft: most, hard: most })?;
    }
    end_within(Duration::from_secs(seconds))?;
    limits.apply(&own)?;
    become_nobody().map_err(|error| io::Error::other(error.to_string()))?;
    close_all_but(&[])?;
    // If the kernel lacks a part of the sandbox, the other parts apply, and the process has no privileges in any case.
    let _ = confine(Post::Worker, &[], Files::Below(&[]));
    Ok(())
}
