//! Which supervisors live. A pid means something in its pid namespace only (pid_namespaces(7)), and a start time in its time namespace
//! (time_namespaces(7)), so a supervisor outside of the first ones holds a lock, which every namespace sees.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::{Host, HostError};
use crate::audit::{Process, Supervisor};
use jit_core::clock::Moment;
use jit_core::places::STATE;
use sys::lock;
use sys::process::{Pid, signal_if};
use sys::procfs::lives_since;

/// The file with the locks.
pub(super) const SUPERVISORS: &str = "live-supervisors";

impl Host {
    /// Returns this process as the supervisor of a run. Outside of the first namespaces it shows from now on that it lives.
    ///
    /// # Errors
    /// As [`Process::own`]; [`HostError::Supervisors`] when the file for the lock cannot be opened or locked.
    pub fn supervisor(&self) -> Result<Process, HostError> {
        let process = Process::own().map_err(|error| HostError::System("read /proc", error))?;
        if let Some(namespace) = process.namespace {
            supervisors()
                .and_then(|file| lock::show(file, place(namespace, process)))
                .map_err(HostError::Supervisors)?;
        }
        Ok(process)
    }
}

/// Whether a supervisor lives. One of the first namespaces, seen from others, counts as alive: it has no lock.
pub(super) fn is_alive(supervisor: &Supervisor, moment: &Moment) -> bool {
    let process = supervisor.process;
    let lives = || match process.namespace {
        _ if process.is_within_reach() => Pid::new(process.pid).is_some_and(|pid| lives_since(pid, process.start)),
        Some(namespace) => {
            supervisors().and_then(|file| lock::is_shared(file, place(namespace, process))).unwrap_or(true)
        }
        None => true,
    };
    supervisor.boot_id == moment.boot_id && lives()
}

/// Sends a signal to the supervisor of a run, and never to a later process with its pid.
///
/// # Errors
/// `ESRCH` when it has ended; `NotFound` when its pid means another process here.
pub(crate) fn signal_supervisor(supervisor: &Supervisor, signal: i32, moment: &Moment) -> io::Result<()> {
    let pid = supervisor.process.pid_within_reach().ok_or(io::ErrorKind::NotFound)?;
    signal_if(pid, signal, &|| is_alive(supervisor, moment))
}

/// Opens the file once: to close it would release the lock of this process.
fn supervisors() -> io::Result<&'static File> {
    static OPEN: OnceLock<File> = OnceLock::new();
    if let Some(file) = OPEN.get() {
        return Ok(file);
    }
    let file = lock::open(&Path::new(STATE).join(SUPERVISORS))?;
    Ok(OPEN.get_or_init(|| file))
}

/// Returns the byte that a supervisor locks. Two that share one are both alive until both have ended.
fn place(namespace: u64, process: Process) -> i64 {
    let place = ((namespace ^ namespace >> 32) & 0xfff_ffff) << 35 | process.start & 0x7_ffff_ffff;
    i64::try_from(place).unwrap_or(i64::MAX)
}
