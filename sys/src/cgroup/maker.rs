//! Who created a group: its name contains the process.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::tree::membership;
use crate::process::{self, Pid};
use crate::procfs;

/// The process of root that created a group, or that a group is for: its pid alone may belong to another process by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maker {
    pub(super) pid: Pid,
    /// The start time of the creator, in clock ticks since boot.
    pub(super) started: u64,
    /// Where pid and start time are its, see [`process::namespaces`].
    namespace: Option<u64>,
}

impl Maker {
    pub(super) fn this_process() -> io::Result<Self> {
        let pid = Pid::own();
        Self::of(pid)
    }

    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, started: process::process_start(pid)?, namespace: process::namespaces()? })
    }

    /// Whether the pid means this process here too.
    pub(super) fn is_within_reach(self) -> bool {
        process::is_within_reach(self.namespace)
    }

    /// Returns whether the process has ended. One whose state cannot be read counts as running while its pid exists, and one of
    /// another namespace always does.
    pub(super) fn has_ended(self) -> bool {
        if !self.is_within_reach() {
            return false;
        }
        if procfs::status(self.pid).is_ok_and(|status| status.is_dead()) {
            return true;
        }
        match process::process_start(self.pid) {
            Ok(started) => started != self.started,
            // Another process: of an ordinary user, or one that does not answer, as none of ours does.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::TimedOut) => true,
            Err(_) => process::kill(self.pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)),
        }
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)?;
        self.namespace.map_or(Ok(()), |namespace| write!(f, "-{namespace}"))
    }
}

impl FromStr for Maker {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let parsed = text.split_once('-').and_then(|(pid, started)| {
            let (started, namespace) = match started.split_once('-') {
                Some((started, namespace)) => (started, Some(namespace.parse().ok()?)),
                None => (started, None),
            };
            Some(Self { pid: pid.parse().ok().and_then(Pid::new)?, started: started.parse().ok()?, namespace })
        });
        parsed.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Splits the name of a group from its creator.
pub(super) fn made(name: &str) -> Option<(&str, Maker)> {
    let (called, maker) = name.rsplit_once('.')?;
    Some((called, maker.parse().ok()?))
}

/// Returns the process that created the group of ours that `pid` is in, if it still runs.
pub(crate) fn maker_of_group_of(pid: Pid) -> Option<Pid> {
    let path = membership(&pid.to_string()).ok()?;
    let (_, maker) = path.file_name()?.to_str().and_then(made)?;
    (maker.is_within_reach() && !maker.has_ended()).then_some(maker.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Waiting, exit_now, fork, wait};

    #[test]
    fn a_reused_pid_or_a_zombie_is_not_the_creator() {
        let maker = Maker::this_process().unwrap();
        let other = Maker { started: maker.started + 1, ..maker };
        assert!(!maker.has_ended() && other.has_ended());
        let elsewhere = Maker { namespace: Some(7), ..other };
        assert!(!elsewhere.has_ended() && !elsewhere.is_within_reach());
        assert_eq!(made(&format!("a.{elsewhere}")), Some(("a", elsewhere)));
        assert_eq!(made(&format!("a.b.{maker}")), Some(("a.b", maker)));
        for name in ["supervisors", "a.17", "a.0-5", "a.17-", "a.-5", "17-5"] {
            assert_eq!(made(name), None, "{name}");
        }
        let child = fork(|| exit_now(0)).unwrap();
        let dead = Maker::of(child).unwrap();
        while !procfs::status(child).unwrap().has_ended() {
            std::thread::yield_now();
        }
        assert!(dead.has_ended(), "it has not been reaped");
        wait(child, Waiting::ForEnd).unwrap();
        assert!(dead.has_ended());
    }
}
