//! What reads texts that the kernel makes of other people's processes, each as one function: for the fuzz targets in `fuzz/`, and
//! for nothing else. [`crate::procfs::parse_stat`] is public itself.

use std::path::PathBuf;

use crate::{cgroup, foreign_processes, interpreter, machine, procfs, terminal};

/// `/proc/self/loginuid`
pub fn login_uid(text: &str) -> Option<u32> {
    procfs::parse_login_uid(text)
}

/// A number of the line `Uid:` in `/proc/PID/status`.
pub fn uid_in(status: &str, place: usize) -> Option<u32> {
    procfs::uid_in(status, place)
}

/// Whether a line of `/proc/self/mounts` is a /proc that hides processes.
pub fn is_hiding(mount: &str) -> bool {
    procfs::is_hiding(mount)
}

/// `/proc/PID/cgroup`
pub fn membership(bytes: &[u8]) -> Option<PathBuf> {
    cgroup::parse_membership(bytes)
}

/// `/etc/machine-id`
pub fn machine_id(bytes: &[u8]) -> Option<String> {
    machine::parse_machine_id(bytes)
}

/// The begin of a script.
pub fn interpreter(start: &[u8]) -> Option<PathBuf> {
    interpreter::named_in(start)
}

/// `/proc/PID/net/tcp` and `/proc/PID/net/unix`: how many sockets there are in each.
pub fn sockets(table: &str) -> (usize, usize) {
    foreign_processes::sockets_in(table)
}

/// A terminal's number in `/proc/PID/stat`, as stat(2) has it.
pub fn terminal(encoded: u32) -> u64 {
    terminal::decode_device(encoded)
}
