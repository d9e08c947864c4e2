//! Starts the compressor of finished recordings, a program of its own.

use jit_core::names::RunId;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Shorter recordings do not become smaller by compression; in bytes.
pub const WORTH: u64 = 16 << 10;

/// Starts `program` for a run, and does not wait for it.
pub fn start(program: &Path, run: &RunId) {
    // A recording that is not compressed is larger, but complete.
    let _ = command(program, run).spawn();
}

/// Starts `program` for a run and waits for it. Returns whether it succeeded.
pub fn finish(program: &Path, run: &RunId) -> bool {
    command(program, run).status().is_ok_and(|status| status.success())
}

fn command(program: &Path, run: &RunId) -> std::process::Command {
    let null = std::process::Stdio::null;
    let mut command = std::process::Command::new(program);
    command.arg(run.as_str()).env_clear().current_dir("/").stdin(null()).stdout(null()).stderr(null());
    // In a group of its own from the start, so that it goes on when the terminal of the session is hung up.
    command.process_group(0);
    command
}
