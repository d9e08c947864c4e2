//! Processes that carry a mark: a variable in the environment with which they were executed (proc_pid_environ(5)). A
//! process can remove its own mark, so a mark proves that a process belongs to something; a missing mark proves
//! nothing.

use std::fs;
use std::io::Read;

use crate::descendants::{Living, send};
use crate::process::Pid;
use crate::procfs;

/// The maximum size of an environment that is read, in bytes; by default the kernel allows this much for one exec.
const MAX_ENVIRONMENT: u64 = 2 << 20;

/// A variable and its value.
#[derive(Debug, Clone)]
pub struct Mark {
    name: &'static str,
    value: String,
}

impl Mark {
    /// Creates the mark: the variable `name` with this value.
    pub fn new(name: &'static str, value: &str) -> Self {
        Self { name, value: value.to_owned() }
    }

    /// Returns whether a process was executed with the mark.
    pub fn is_on(&self, pid: Pid) -> bool {
        self.value_on(pid).is_some_and(|found| found == self.value.as_bytes())
    }

    /// Sends SIGKILL to every process that carries the mark and is `meant`. Returns their number.
    pub fn kill(&self, meant: &dyn Fn(Pid) -> bool) -> usize {
        let bearers = self.living(&|one| one.pid != Pid::own() && meant(one.pid)).into_iter();
        bearers.filter(|one| send(*one, libc::SIGKILL).is_ok()).count()
    }

    /// Returns every process that carries the mark and is `meant`. Any user can give a mark to their own processes.
    pub fn bearers(&self, meant: &dyn Fn(Pid) -> bool) -> Vec<Pid> {
        self.living(&|one| meant(one.pid)).into_iter().map(|one| one.pid).collect()
    }

    /// Returns every process that carries the mark and is `meant`, with its start time.
    pub(crate) fn living(&self, meant: &dyn Fn(Living) -> bool) -> Vec<Living> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::new));
        let living = pids.filter_map(|pid| Some(Living { pid, started: procfs::stat(pid).ok()?.started }));
        living.filter(|one| meant(*one) && self.is_on(one.pid)).collect()
    }

    fn value_on(&self, pid: Pid) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        procfs::open(pid, "environ").ok()?.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
        let entries = bytes.split(|byte| *byte == 0);
        let value = |entry: &[u8]| entry.strip_prefix(self.name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
        entries.into_iter().find_map(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_carries_the_mark_with_which_it_was_executed() {
        let mark = Mark::new("SYS_MARKED_TEST", "one");
        let run = |value: &str| {
            let child = Command::new("sleep").arg("60").env("SYS_MARKED_TEST", value).spawn().unwrap();
            (Pid::new(i32::try_from(child.id()).unwrap()).unwrap(), child)
        };
        let ((ours, mut first), (other, mut second)) = (run("one"), run("one more"));
        // The kernel shows the environment a moment after exec.
        let shown = |pid: Pid| std::fs::read(format!("/proc/{}/environ", pid.raw())).is_ok_and(|text| !text.is_empty());
        while !shown(ours) || !shown(other) {
            std::thread::yield_now();
        }
        assert!(mark.is_on(ours) && !mark.is_on(other));
        assert_eq!(mark.bearers(&|_| true), [ours]);
        assert_eq!(mark.bearers(&|pid| pid != ours), []);
        assert_eq!(mark.kill(&|_| false), 0);
        assert_eq!(mark.kill(&|_| true), 1);
        first.wait().unwrap();
        assert!(mark.bearers(&|_| true).is_empty() && second.try_wait().unwrap().is_none());
        second.kill().unwrap();
        second.wait().unwrap();
    }
}
