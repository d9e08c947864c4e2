//! A run from outside: the enforcer ends it in time, whatever its supervisor does meanwhile. It touches no terminal, no pipe and
//! no directory of the caller's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ending::{Act, Enforcer};
use super::process_tree::{Known, ProcessTree, settle_beside};
use super::watch::{Ending, Watch};
use crate::programs::Ours;
use sys::poll::{PollEntry, poll};
use sys::process::{self, Pid};
use sys::procfs;
use sys::signals::SIGCONT;

/// Between two looks at processes that are about to end.
const ROUND: Duration = Duration::from_millis(20);

/// Between two looks at a supervisor whose command has ended.
const GLANCE: Duration = Duration::from_millis(250);

/// A run in the custody of the enforcer.
pub struct Custody {
    supervisor: Known,
    /// The monitor or keeper, and the relay process.
    others: Vec<Known>,
    /// Ready when it has ended; nothing where it had before, and on a kernel that has no such descriptors.
    line: Option<OwnedFd>,
    process_tree: ProcessTree,
    /// Takes back whom PAM has moved out of the group; gives how many.
    take_back: Box<dyn Fn() -> usize>,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nobody is left of it.
    Nobody,
    /// Somebody is.
    Somebody,
}

impl Custody {
    /// Of the run that `supervisor` supervises; its command is a descendant of `parent`, and begotten in the control group at `group`.
    /// The processes of ours among them, such as a `relay_process`, are put where nobody but root ends them; `ours` tells which processes
    /// run programs of ours, and `take_back` has those come back whom PAM has moved out of the group.
    pub fn take(
        supervisor: Known,
        parent: Known,
        relay_process: Option<Pid>,
        group: Option<&Path>,
        ours: Rc<dyn Ours>,
        take_back: Box<dyn Fn() -> usize>,
    ) -> Self {
        let line = supervisor.line();
        let others =
            [Some(parent).filter(|parent| *parent != supervisor), relay_process.and_then(|pid| Known::of(pid).ok())];
        let others = others.into_iter().flatten().collect();
        let custody = Self { supervisor, others, line, process_tree: ProcessTree::of(parent, group, ours), take_back };
        if let Some(supervisor) = supervisor.pid() {
            settle_beside(supervisor);
            custody.others.iter().filter_map(|other| other.pid()).for_each(settle_beside);
        }
        let _ = relay_process.map(|relay_process| custody.process_tree.spare(relay_process));
        custody
    }

    /// Watches until the supervisor has ended, and ends the run where the watch says so; why it was ended, if it was.
    pub fn attend(&self, watch: &mut dyn Watch, grace: Duration, limit: Option<Duration>) -> Option<Ending> {
        let mut enforcer = Enforcer::new(watch, grace, limit);
        if self.process_tree.group().is_none() {
            enforcer.cannot_hold();
        }
        enforcer.begun(None);
        loop {
            let step = enforcer.step(Instant::now());
            let over = enforcer.ending().is_some() && !self.process_tree.lives();
            if over {
                self.wake_supervisor();
            }
            // When nobody is left, only the supervisor is waited for, however long a terminal holds it up.
            if !over {
                self.act(step.act.as_ref(), &mut enforcer);
            }
            let patience = match enforcer.ending() {
                None => step.patience,
                Some(_) => Some(if over { GLANCE } else { ROUND }),
            };
            if self.has_ended(patience) {
                return enforcer.ending();
            }
        }
    }

    /// Ends whatever is left, after `grace` with no mercy.
    pub fn end(&self, grace: Duration) {
        self.process_tree.terminate();
        self.process_tree.end_leftovers(Instant::now() + grace);
    }

    /// Whether anybody is left; an empty group is removed.
    pub fn left(&self) -> Left {
        // A session of su that was opened last of all has left the group, and is none.
        if self.process_tree.is_empty() && (self.take_back)() > 0 {
            return Left::Somebody;
        }
        if self.process_tree.leaves_somebody() { Left::Somebody } else { Left::Nobody }
    }

    /// Those who are.
    pub fn members(&self) -> Vec<Pid> {
        self.process_tree.left()
    }

    /// Watches what a finished command has left behind, until nobody is left or the watch wants it ended, which is then done;
    /// why, if it was.
    pub fn outwatch(&self, watch: &mut dyn Watch, grace: Duration) -> Option<Ending> {
        Enforcer::new(watch, grace, None)
            .outwatch(&|act, enforcer| self.act(Some(act), enforcer), &|| self.left() == Left::Nobody)
    }

    fn act(&self, act: Option<&Act>, enforcer: &mut Enforcer<'_>) {
        match act {
            // The supervisor says it.
            None | Some(Act::Say(_)) => {}
            Some(Act::Freeze) => enforcer.froze(self.process_tree.freeze()),
            Some(Act::Thaw) => self.process_tree.thaw(),
            Some(Act::Terminate) => self.process_tree.terminate(),
            Some(Act::Kill) => self.process_tree.kill(),
        }
    }

    /// One that was stopped with its command has to see that it ended, and so have those whom it stopped along with itself, and whoever
    /// tells it; also where it stops only now.
    fn wake_supervisor(&self) {
        let stopped = |pid: &Pid| procfs::stat(*pid).is_ok_and(|stat| stat.state == b'T');
        if let Some(group) = self.supervisor.pid().filter(stopped).and_then(process::process_group) {
            let _ = process::kill_group(group, SIGCONT); // it may have ended
        }
        for pid in self.others.iter().filter_map(|other| other.pid()).filter(stopped) {
            let _ = process::kill(pid, SIGCONT); // as above
        }
    }

    fn has_ended(&self, patience: Option<Duration>) -> bool {
        let Some(line) = &self.line else {
            std::thread::sleep(patience.unwrap_or(ROUND).min(ROUND));
            return !self.supervisor.pid().is_some_and(procfs::lives);
        };
        let mut entries = [PollEntry::reading(line.as_fd())];
        poll(&mut entries, patience).is_ok() && entries.iter().any(|entry| entry.ready_read || entry.hangup)
    }
}
