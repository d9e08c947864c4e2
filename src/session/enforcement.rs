//! A run seen from the enforcer, which ends it in time, whatever its supervisor does meanwhile. It uses no terminal, pipe or
//! directory of the caller.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ending::{Act, Enforcer};
use super::known::Known;
use super::process_tree::ProcessTree;
use super::run_groups::settle_beside;
use super::watch::{EndReason, Watch};
use crate::programs::Ours;
use sys::poll::{PollEntry, poll};
use sys::process::{self, Earlier, Pid};
use sys::procfs::{self, StatusFile};
use sys::signals::SIGCONT;

/// The interval between two checks of processes that are being ended.
const ROUND: Duration = Duration::from_millis(20);

/// The interval between two checks of a supervisor whose command has ended.
const GLANCE: Duration = Duration::from_millis(250);

/// The longest interval between two checks whether the supervisor was killed and is kept from ending.
const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// A run that the enforcer watches.
pub struct Enforcement {
    supervisor: Known,
    /// The monitor or subreaper, and the relay process.
    others: Vec<Known>,
    /// The supervisor's pidfd; `None` when it had ended before, and on kernels without pidfds.
    line: Option<OwnedFd>,
    /// The supervisor's status; `None` when it had ended before.
    status: Option<StatusFile>,
    process_tree: ProcessTree,
    /// Moves processes that PAM has moved out of the group back into it; returns how many.
    take_back: Box<dyn Fn() -> usize>,
}

/// What is left of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// No process.
    Nobody,
    /// At least one process.
    Somebody,
}

/// A run that its supervisor hands over.
pub struct Taken<'a> {
    /// Supervises the run.
    pub supervisor: Known,
    /// The processes of the run descend from it.
    pub parent: Known,
    /// Was started, in the control group, to execute the command.
    pub command: Option<Pid>,
    /// Relays the bytes of the run.
    pub relay_process: Option<Pid>,
    /// The control group.
    pub group: Option<&'a Path>,
    /// The watchdog of the run, and the socket on which to report to it.
    pub watchdog: Option<(Pid, OwnedFd)>,
}

impl Enforcement {
    /// Takes over a run. Our own processes among its descendants, such as the relay process, are moved to where only root can end
    /// them. `ours` tells which processes run our programs; `take_back` moves processes that PAM has moved out of the group back into it.
    pub fn take(run: Taken<'_>, ours: Rc<dyn Ours>, take_back: Box<dyn Fn() -> usize>) -> Self {
        let Taken { supervisor, parent, command, relay_process, group, watchdog } = run;
        let process_tree = ProcessTree::of(parent, command, group, ours);
        let (watchdog, line) = watchdog.unzip();
        process_tree.take_watchdog(line);
        let _ = watchdog.map(|watchdog| process_tree.spare(watchdog));
        let line = supervisor.line();
        // Opened before the check, as the pidfd.
        let opened = supervisor.pid().and_then(|pid| StatusFile::open(pid).ok());
        let status = opened.filter(|_| supervisor.pid().is_some());
        // Asked now, because in its sandbox this process can ask no process who it is that it has not asked before.
        let _ = parent.pid();
        let others =
            [Some(parent).filter(|parent| *parent != supervisor), relay_process.and_then(|pid| Known::of(pid).ok())];
        let others = others.into_iter().flatten().collect();
        let enforcement = Self { supervisor, others, line, status, process_tree, take_back };
        if let Some(supervisor) = supervisor.pid() {
            settle_beside(supervisor);
            enforcement.others.iter().filter_map(|other| other.pid()).for_each(settle_beside);
        }
        let _ = relay_process.map(|relay_process| enforcement.process_tree.spare(relay_process));
        enforcement
    }

    /// Leaves these processes alone: the caller had them before.
    pub fn spare_earlier(&self, earlier: Earlier) {
        self.process_tree.spare_earlier(earlier);
    }

    /// Lets the watchdog end, because no process of the run is left.
    pub fn relieve_watchdog(&self) {
        self.process_tree.relieve_watchdog();
    }

    /// Watches until the supervisor has ended, and ends the run when the watch says so. Returns why it was ended, if it was.
    pub fn attend(&self, watch: &mut dyn Watch, grace: Duration, limit: Option<Duration>) -> Option<EndReason> {
        let mut enforcer = Enforcer::new(watch, grace, limit);
        if self.process_tree.group().is_none() {
            enforcer.cannot_hold();
        }
        enforcer.begun(None);
        loop {
            self.process_tree.keep_up();
            let step = enforcer.step(Instant::now());
            let over = enforcer.ending().is_some() && !self.process_tree.lives();
            if over {
                self.wake_supervisor();
            }
            // When no process is left, only the supervisor is waited for, however long a terminal delays it.
            if !over {
                self.act(step.act.as_ref(), &mut enforcer);
            }
            let patience = match enforcer.ending() {
                None => step.patience,
                Some(_) => Some(if over { GLANCE } else { enforcer.pace(Instant::now()) }),
            };
            if self.has_ended(patience) {
                return enforcer.ending();
            }
        }
    }

    /// Ends all processes that are left; those that are left after `grace` are killed.
    pub fn end(&self, grace: Duration) {
        self.process_tree.terminate();
        self.process_tree.end_leftovers(Instant::now() + grace);
    }

    /// Returns whether any living process is left; an empty group is removed.
    pub fn left(&self) -> Left {
        self.process_tree.keep_up();
        // A session of su that was opened last has left the group, in which no process lives then.
        if self.process_tree.is_empty() && (self.take_back)() > 0 {
            return Left::Somebody;
        }
        if self.process_tree.leaves_somebody() { Left::Somebody } else { Left::Nobody }
    }

    /// Returns the living processes that are left.
    pub fn members(&self) -> Vec<Pid> {
        self.process_tree.left()
    }

    /// Watches the processes that a finished command has left behind until none is left, or ends them when the watch demands it.
    /// Returns why they were ended, if they were.
    pub fn outwatch(&self, watch: &mut dyn Watch, grace: Duration) -> Option<EndReason> {
        Enforcer::new(watch, grace, None)
            .outwatch(&|act, enforcer| self.act(Some(act), enforcer), &|| self.left() == Left::Nobody)
    }

    fn act(&self, act: Option<&Act>, enforcer: &mut Enforcer<'_>) {
        match act {
            // The supervisor shows it.
            None | Some(Act::Say(_)) => {}
            Some(Act::Freeze) => enforcer.froze(self.process_tree.freeze()),
            Some(Act::Thaw) => self.process_tree.thaw(),
            Some(Act::Terminate) => self.process_tree.terminate(),
            Some(Act::Kill) => self.process_tree.kill(),
        }
    }

    /// Wakes a stopped supervisor, so that it sees that its command has ended; also the processes that it stopped with itself, and
    /// the ones that report to it. Called repeatedly, because it may stop only now.
    fn wake_supervisor(&self) {
        let stopped = |pid: &Pid| procfs::is_stopped_by_signal(*pid);
        if let Some(supervisor) = self.supervisor.pid().filter(stopped) {
            let _ = process::process_group(supervisor).map(|group| process::kill_group(group, SIGCONT)); // it may have ended
            let _ = process::kill(supervisor, SIGCONT); // the group may be that of another session
        }
        for pid in self.others.iter().filter_map(|other| other.pid()).filter(stopped) {
            let _ = process::kill(pid, SIGCONT); // as above
        }
    }

    fn has_ended(&self, patience: Option<Duration>) -> bool {
        let Some(line) = &self.line else {
            std::thread::sleep(patience.unwrap_or(ROUND).min(ROUND));
            return !self.supervisor_lives();
        };
        let mut entries = [PollEntry::reading(line.as_fd())];
        let patience = patience.map_or(DEAD_WITHIN, |patience| patience.min(DEAD_WITHIN));
        let is_over =
            poll(&mut entries, Some(patience)).is_ok() && entries.iter().any(|entry| entry.ready_read || entry.hangup);
        // The pidfd of a supervisor that is kept from ending tells nothing.
        is_over || !self.supervisor_lives()
    }

    /// Looks up nothing, because this happens all the time.
    fn supervisor_lives(&self) -> bool {
        self.status.as_ref().is_some_and(StatusFile::lives)
    }
}
