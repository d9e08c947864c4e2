//! Processes that carry a mark: a variable in the environment with which they were executed (proc_pid_environ(5)). A
//! process can remove its own mark, so a mark proves that a process belongs to something; a missing mark proves
//! nothing.

use std::collections::HashSet;
use std::fs;

use crate::descendants::{Living, signal_if};
use crate::process::Pid;
use crate::procfs;
use crate::procfs::locked::reader;

/// A variable and its value.
#[derive(Debug, Clone)]
pub struct Mark {
    name: &'static str,
    value: String,
}

/// The result of a search or a kill by a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MarkedProcesses<T> {
    /// The processes that carry the mark.
    pub found: T,
    /// How many processes did not let their environment be read in time. They count as not marked.
    pub silent: usize,
}

impl Mark {
    /// Creates the mark: the variable `name` with this value.
    pub fn new(name: &'static str, value: &str) -> Self {
        Self { name, value: value.to_owned() }
    }

    /// Sends SIGKILL to every process that carries the mark, has started at `since` or later (in clock ticks since boot)
    /// and is `meant`. Returns their number.
    pub fn kill(&self, since: u64, meant: &dyn Fn(Pid) -> bool) -> MarkedProcesses<usize> {
        let MarkedProcesses { found, silent } = self.living(since, &|pid| pid != Pid::own() && meant(pid));
        // Read again, when no other process can be meant.
        let is_one = |pid| self.among(since, vec![pid]).found == [pid] && meant(pid);
        let kill = |one: &Living| signal_if(one.pid, libc::SIGKILL, &|| one.lives() && is_one(one.pid)).is_ok();
        MarkedProcesses { found: found.iter().filter(|one| kill(one)).count(), silent }
    }

    /// Returns every process that carries the mark, has started at `since` or later and is `meant`. Any user can give a
    /// mark to their own processes, and can delay the reader: `meant` should leave few of them.
    pub fn processes(&self, since: u64, meant: &dyn Fn(Pid) -> bool) -> MarkedProcesses<Vec<Pid>> {
        let MarkedProcesses { found, silent } = self.living(since, meant);
        MarkedProcesses { found: found.into_iter().map(|one| one.pid).collect(), silent }
    }

    /// Returns the same processes as [`Self::processes`].
    pub(crate) fn living(&self, since: u64, meant: &dyn Fn(Pid) -> bool) -> MarkedProcesses<Vec<Living>> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::new));
        let living = pids.filter(|pid| procfs::lives(*pid) && meant(*pid)).filter_map(Living::at);
        let asked: Vec<Living> = living.collect();
        let MarkedProcesses { found, silent } = self.among(since, asked.iter().map(|one| one.pid).collect());
        let found: HashSet<Pid> = found.into_iter().collect();
        // The mark was read from the process that was meant only if that one still lives.
        let found = asked.into_iter().filter(|one| found.contains(&one.pid) && one.lives()).collect();
        MarkedProcesses { found, silent }
    }

    /// Returns which of these processes carry the mark with one of these other values.
    pub(crate) fn otherwise(&self, values: &[String], ones: Vec<Pid>) -> HashSet<Pid> {
        reader::marked_with(self.name, values, ones)
    }

    /// Returns which of these processes carry the mark, and have started at `since` or later.
    fn among(&self, since: u64, ones: Vec<Pid>) -> MarkedProcesses<Vec<Pid>> {
        let (found, silent) = reader::marked(self.name, &self.value, since, ones);
        MarkedProcesses { found, silent }
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
        let bearers = |meant: &dyn Fn(Pid) -> bool| mark.processes(0, meant).found;
        assert_eq!(bearers(&|_| true), [ours]);
        assert_eq!(bearers(&|pid| pid != ours), []);
        assert_eq!(bearers(&|pid| pid == other), []);
        assert_eq!(mark.kill(0, &|_| false).found, 0);
        assert_eq!(mark.kill(0, &|_| true).found, 1);
        first.wait().unwrap();
        assert!(bearers(&|_| true).is_empty() && second.try_wait().unwrap().is_none());
        second.kill().unwrap();
        second.wait().unwrap();
    }
}
