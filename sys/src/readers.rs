//! The parsers of texts that the kernel creates from other users' processes, each as one function: only for the fuzz
//! targets in `fuzz/`. [`crate::procfs::parse_stat`] is public itself.

use std::path::PathBuf;

use crate::{cgroup, foreign_processes, interpreter, machine, procfs, terminal};

/// Parses `/proc/self/loginuid`.
pub fn login_uid(text: &str) -> Option<u32> {
    procfs::parse_login_uid(text)
}

/// Parses `/proc/PID/status`.
pub fn status(bytes: &[u8]) -> Option<procfs::ProcessStatus> {
    procfs::parse_status(bytes)
}

/// Returns whether a line of `/proc/self/mounts` is a /proc that hides processes.
pub fn is_hiding(mount: &str) -> bool {
    procfs::is_hiding(mount)
}

/// Parses `/proc/PID/cgroup`.
pub fn membership(bytes: &[u8]) -> Option<PathBuf> {
    cgroup::parse_membership(bytes)
}

/// Parses `/etc/machine-id`.
pub fn machine_id(bytes: &[u8]) -> Option<String> {
    machine::parse_machine_id(bytes)
}

/// Returns the interpreter from the beginning of a script.
pub fn interpreter(start: &[u8]) -> Option<PathBuf> {
    interpreter::named_in(start)
}

/// Returns the number of sockets in a table, read as `/proc/PID/net/tcp` and as `/proc/PID/net/unix`.
pub fn sockets(table: &str) -> (usize, usize) {
    foreign_processes::sockets_in(table)
}

/// Decodes a terminal's number in `/proc/PID/stat` to the form that stat(2) uses.
pub fn terminal(encoded: u32) -> u64 {
    terminal::decode_device(encoded)
}
