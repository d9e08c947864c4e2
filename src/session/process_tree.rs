//! The processes of a run, which are stopped, continued and ended together. They are found in two ways, because a process can leave
//! either: as members of the run's control group (a PAM module may move a process out of it), and as descendants of this process,
//! which is a subreaper.

mod holding;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::dead::{are_dead, is_dead};
use super::freeze::Hold;
use super::hold::{Held, Purpose};
use super::known::{Known, Spared, tell_to_end};
use super::progress::Progress;
use super::run_groups::{PARENT, settle_beside};
use super::watch::EnforcedRun;
use crate::programs::{self, Ours};
use jit_core::places::JIT_SUDO;
use sys::cgroup::Cgroup;
use sys::handle::ProcessHandle;
use sys::process::{
    self, Earlier, Pid, Waiting, bury_the_dead, children_of, descendants, has_children, kill_descendants,
    signal_descendants,
};
use sys::procfs::{StatusFile, is_awake, lives};
use sys::signals::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

/// The interval between two checks of processes that are being ended.
const ROUND: Duration = Duration::from_millis(20);

/// The number of SIGKILL rounds. Each round kills what was forked since the one before.
const KILL_ROUNDS: u32 = 100;

/// After this many rounds (a second) our own programs are killed too: the processes they supervise are gone by then.
const PATIENT_ROUNDS: u32 = 50;

/// A run that was held for this long before it could be asked to end has had its grace period: a user delays that, and would choose when
/// it goes on.
const DELAYED: Duration = Duration::from_secs(2);

/// The number of orphans that are reaped before a supervisor turns to its other duties.
const REAPED_AT_ONCE: u32 = 1000;

/// The number of rounds of moving processes into or out of the group. Each round moves what was forked since the one before.
const TAKING_ROUNDS: u32 = 16;

/// The processes of one run.
pub struct ProcessTree {
    group: Option<Cgroup>,
    /// The id of the run, in its supervisor.
    run: String,
    /// The status of the supervisor, opened before the command exists: nothing is looked up between its start and that of the watchdog.
    status: Option<StatusFile>,
    /// When the watchdog is to be started; `None` when it was, or is not needed.
    watched_from: Cell<Option<Instant>>,
    /// Whether this process is the supervisor: all its descendants may belong to the run.
    is_own: bool,
    /// The process that started the command and adopts its orphans, where that is not this process.
    parent: Cell<Option<Known>>,
    /// The process that was started to execute the command, even when it has not done so yet. Nothing else about it is stored: its
    /// user can delay each reader of its start time.
    command: Cell<Option<Pid>>,
    /// The same process, without a group.
    command_handle: OnceCell<ProcessHandle>,
    /// What was done to the processes.
    progress: Progress,
    /// Descendants that do not belong to the run: the relay process and the enforcer.
    spared: RefCell<Vec<Spared>>,
    /// Descendants that the caller had before the run.
    earlier: RefCell<Earlier>,
    /// Another process removes the group, or it was removed.
    is_removed: Cell<bool>,
    /// Our own programs go on when everything is frozen: one that is stopped while it writes, or while it waits for a lock, blocks
    /// every user of the host. When everything is ended, they end by themselves once the processes they supervise have ended. Their
    /// descendants are not spared.
    ours: Rc<dyn Ours>,
    /// Programs of ours that were moved out of the group.
    taken_out: RefCell<HashSet<Pid>>,
}

impl ProcessTree {
    /// Creates the tree of the run with this id. It has no group where there are no control groups or we may not create one.
    pub fn found(run: &str) -> Self {
        let mut process_tree = Self::new(Cgroup::create(PARENT, run).ok(), true, Rc::new(programs::ours()));
        run.clone_into(&mut process_tree.run);
        process_tree.status = StatusFile::open(Pid::own()).ok();
        process_tree.spare_earlier(Earlier::of_this_process());
        process_tree
    }

    /// Opens the tree of a run that another process supervises; its processes descend from `parent`. This process and its session
    /// may also descend from it and do not belong to the run. `ours` tells which processes run our programs.
    pub(super) fn of(parent: Known, command: Option<Pid>, group: Option<&Path>, ours: Rc<dyn Ours>) -> Self {
        let process_tree = Self::new(group.and_then(|path| Cgroup::open(PARENT, path).ok()), false, ours);
        process_tree.parent.set(Some(parent));
        process_tree.command.set(command);
        process_tree.spare_session(Pid::own());
        process_tree
    }

    fn new(group: Option<Cgroup>, is_own: bool, ours: Rc<dyn Ours>) -> Self {
        Self {
            group,
            run: String::new(),
            status: None,
            watched_from: Cell::new(None),
            is_own,
            parent: Cell::new(None),
            command: Cell::new(None),
            command_handle: OnceCell::new(),
            progress: Progress::default(),
            spared: RefCell::default(),
            earlier: RefCell::default(),
            is_removed: Cell::new(false),
            ours,
            taken_out: RefCell::default(),
        }
    }

    /// Returns the group in which the command is started.
    pub(super) fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    /// Records that `child`, a child of ours that does not belong to the run, has started the command.
    pub(super) fn descends_from(&self, child: Pid) {
        // A child that has ended by now has adopted no process.
        if let Ok(who) = Known::of(child) {
            self.parent.set(Some(who));
            self.spared.borrow_mut().push(Spared { who, session: false });
        }
    }

    /// Records which process was started to execute the command. It is a child of ours, or of the monitor or subreaper.
    pub(super) fn begins_with(&self, command: Pid) {
        self.command.set(Some(command));
        self.open_command(command);
    }

    /// Returns the process that was started to execute the command, once it is known.
    pub(super) fn command(&self) -> Option<Pid> {
        self.command.get()
    }

    /// Returns what the enforcer has to know. The processes descend from `parent`, as does `relay_process`, which does not belong
    /// to the run.
    pub(super) fn enforced_run(&self, parent: Pid, relay_process: Option<Pid>, grace: Duration) -> EnforcedRun {
        let group = self.group.as_ref().map(|group| group.path().to_owned());
        let (earlier, programs) = (self.earlier.borrow().clone(), self.ours.known());
        EnforcedRun {
            parent,
            command: None,
            relay_process,
            earlier,
            group,
            grace,
            limit: None,
            programs,
            watchdog: None,
        }
    }

    /// Looks whether files of our programs were replaced. Call it several times a second.
    pub(super) fn keep_up(&self) {
        self.progress.report(self.handles());
        self.ours.keep_up();
    }

    /// Reaps the orphans of the command `command` that this process has adopted and that have ended. Each other child is reaped by
    /// the code that waits for it. Returns whether more may be left, so that the caller is not kept here by a command that makes
    /// orphans all the time.
    pub(super) fn reap_orphans(&self, command: Pid) -> bool {
        for _ in 0..REAPED_AT_ONCE {
            let Some(ended) = process::next_ended() else { return false };
            if ended == command || self.spared.borrow().iter().any(|spared| spared.is(ended)) {
                return false;
            }
            let _ = process::wait(ended, Waiting::EndNow);
        }
        true
    }

    /// Excludes a descendant of ours from the run.
    pub(super) fn spare(&self, pid: Pid) {
        self.add_spared(pid, false);
    }

    /// Excludes every process of a session from the run.
    pub(super) fn spare_session(&self, leader: Pid) {
        self.add_spared(leader, true);
    }

    /// Excludes processes that the caller had before the run, and their descendants.
    pub(super) fn spare_earlier(&self, earlier: Earlier) {
        self.earlier.replace(earlier);
    }

    fn add_spared(&self, pid: Pid, session: bool) {
        if let Ok(who) = Known::of(pid) {
            self.spared.borrow_mut().push(Spared { who, session });
        }
    }

    /// Hands the run over to our child `enforcer`, which does not belong to the run and removes the group.
    pub(super) fn hand_over(&self, enforcer: Pid) {
        self.spare_session(enforcer);
        self.is_removed.set(true);
        self.progress.hand_over();
    }

    /// Whether no process of the group lives; true without a group. A dead process that is kept from ending stays a member.
    pub(super) fn is_empty(&self) -> bool {
        let is_over = |group: &Cgroup| !group.is_populated() || are_dead(&|| group.members(), &is_dead);
        self.group.as_ref().is_none_or(is_over)
    }

    /// Whether processes of the group still live. If none does, the group is removed; one with members that are kept from ending is
    /// left to a later [`Cgroup::create`]. Without a group the processes adopted by the parent are counted.
    pub(super) fn leaves_somebody(&self) -> bool {
        let Some(group) = &self.group else { return self.adopted().next().is_some() };
        if group.remove_leaf() {
            self.is_removed.set(true);
            return false; // in most runs
        }
        let is_empty = self.is_empty();
        self.is_removed.set(is_empty && group.remove_if_empty());
        !is_empty
    }

    /// Returns the live descendants of the process that started the command.
    fn adopted(&self) -> impl Iterator<Item = Pid> {
        let parent = self.parent.get().and_then(Known::pid);
        let found = parent.filter(|parent| has_children(*parent)).and_then(|parent| descendants(parent).ok());
        found.into_iter().flatten().filter(|pid| self.is_meant(*pid) && lives(*pid))
    }

    /// Moves processes that are left after the command has ended, and that were moved elsewhere (PAM modules do that with login
    /// sessions), back into the group. The group identifies them when the process that adopted them is gone.
    pub(super) fn take_back(&self) {
        let Some(group) = &self.group else { return };
        let adopter = self.parent.get().and_then(Known::pid).unwrap_or_else(Pid::own);
        let is_left = |pid: &Pid| self.is_meant(*pid) && lives(*pid);
        let is_nobody = match adopter == Pid::own() {
            true => !bury_the_dead(),
            false => children_of(adopter).is_ok_and(|children| !children.iter().any(is_left)),
        };
        if is_nobody {
            return; // nothing is left, so nothing is searched
        }
        self.ours.look();
        for _ in 0..TAKING_ROUNDS {
            let all = descendants(adopter).unwrap_or_default();
            let is_elsewhere = |pid: &Pid| is_left(pid) && self.is_outside(*pid) && self.ours.run_by(*pid).is_none();
            let elsewhere: Vec<Pid> = all.into_iter().filter(is_elsewhere).collect();
            if elsewhere.is_empty() {
                return;
            }
            for pid in elsewhere {
                let _ = group.adopt(pid); // it may have ended
            }
        }
    }

    /// Whether any process of the run is alive that does not run a program of ours.
    pub(super) fn lives(&self) -> bool {
        self.ours.look();
        let is_left = |pid: Pid| self.is_meant(pid) && self.ours.run_by(pid).is_none() && lives(pid);
        self.group.as_ref().is_some_and(|group| group.is_populated() && group.members().into_iter().any(is_left))
            || self.descendants().into_iter().any(is_left)
    }

    /// Returns our own programs among the processes of the run: those moved out of its group, and supervisors of runs inside it.
    fn programs(&self) -> Vec<Pid> {
        let supervises = |pid: &Pid| self.ours.run_by(*pid) == Some(JIT_SUDO);
        let inside = self.descendants().into_iter().filter(supervises);
        let all: HashSet<Pid> = inside.chain(self.taken_out.borrow().iter().copied()).collect();
        let is_one =
            |pid: &Pid| *pid != Pid::own() && self.is_meant(*pid) && self.ours.run_by(*pid).is_some() && lives(*pid);
        all.into_iter().filter(is_one).collect()
    }

    /// Returns the living members of the group or, without a group, the processes that [`Self::leaves_somebody`] counts.
    pub(super) fn left(&self) -> Vec<Pid> {
        if self.group.is_none() {
            return self.adopted().collect();
        }
        let mut members = self.members();
        members.retain(|pid| !is_dead(*pid));
        members
    }

    fn members(&self) -> Vec<Pid> {
        self.group.as_ref().map(Cgroup::members).unwrap_or_default()
    }

    /// Stops all processes but our own programs until [`Self::thaw`]: members of the group by the freezer, which their parents do
    /// not see; the others by SIGSTOP, which others can undo with SIGCONT.
    pub(super) fn freeze(&self) -> Hold {
        let held = self.hold(Purpose::Freeze);
        let is_held = held.is_frozen;
        self.take_ours_out(held);
        let awake = Cell::new(0);
        let meant = |pid: Pid| {
            let is_meant = (!is_held || self.is_outside(pid)) && self.ours.run_by(pid).is_none();
            awake.set(awake.get() + usize::from(is_meant && is_awake(pid)));
            is_meant
        };
        self.signal(SIGSTOP, &meant);
        Hold { is_held, awake: awake.get() }
    }

    fn take_ours_out(&self, _: Held) {
        self.ours.look();
        // Repeated, because the supervisor of a session inside the run may be moving its programs at the same time.
        for _ in 0..TAKING_ROUNDS {
            let members = self.members().into_iter();
            let own: Vec<Pid> = members.filter(|pid| self.ours.run_by(*pid).is_some()).collect();
            if own.is_empty() {
                return;
            }
            own.iter().copied().for_each(settle_beside);
            self.taken_out.borrow_mut().extend(own);
        }
    }

    /// Lets all processes continue.
    pub(super) fn thaw(&self) {
        let is_held = self.group.as_ref().is_some_and(|group| group.thaw().is_ok());
        self.progress.did(None, self.handles());
        self.signal(SIGCONT, &|pid| !is_held || self.is_outside(pid));
    }

    /// Sends SIGTERM to all processes, and SIGCONT, because a stopped process cannot react. Kills processes that are held frozen:
    /// they would run until the end of the grace period, at a moment that the caller may choose. The group is frozen while its members
    /// are listed, so that none is forked meanwhile. Of our own programs only supervisors get the signals, because they may be
    /// waiting for a user.
    pub(super) fn terminate(&self) {
        if self.group.as_ref().is_some_and(Cgroup::is_set_to_freeze) {
            return self.kill();
        }
        let begun = Instant::now();
        let held = self.hold(Purpose::Terminate);
        self.take_ours_out(held);
        self.kill_unborn(held);
        if begun.elapsed() > DELAYED {
            return self.kill();
        }
        let members = self.members();
        for signal in [SIGTERM, SIGCONT] {
            for pid in &members {
                let _ = process::kill(*pid, signal); // it may have ended
            }
        }
        self.handles().thaw();
        let obeys = |pid| !members.contains(&pid) && self.ours.run_by(pid).is_none_or(|program| program == JIT_SUDO);
        self.signal(SIGTERM, &obeys);
        self.signal(SIGCONT, &obeys);
        // The supervisor may be gone, and with it the line of descent to processes that were moved out of its group.
        self.taken_out
            .borrow()
            .iter()
            .filter(|pid| self.ours.run_by(**pid) == Some(JIT_SUDO))
            .for_each(|pid| tell_to_end(*pid));
    }

    /// Sends SIGKILL to all processes but our own programs. Members of the group die at once, so that no fork escapes. The next
    /// round kills what could not be seen in this one; the caller must make one.
    pub(super) fn kill(&self) {
        let held = self.hold(Purpose::Kill);
        self.take_ours_out(held);
        self.group.iter().for_each(Cgroup::kill);
        self.kill_descendants(&|pid| self.ours.run_by(pid).is_none());
    }

    /// Sends SIGKILL to all processes, our own programs too. For callers that do not check again.
    pub(super) fn kill_all(&self) {
        self.handles().kill();
        self.group.iter().for_each(Cgroup::kill);
        self.kill_descendants(&|_| true);
    }

    /// Waits until `deadline` for the processes that the command left behind to end, then kills them.
    pub(super) fn end_leftovers(&self, deadline: Instant) {
        while self.is_left() && Instant::now() < deadline {
            self.progress.report(self.handles());
            std::thread::sleep(ROUND);
        }
        for round in 0..KILL_ROUNDS {
            let programs = self.programs();
            if !self.is_left() && programs.is_empty() {
                return;
            }
            self.kill();
            if round > PATIENT_ROUNDS {
                for pid in programs {
                    let _ = process::kill(pid, SIGKILL); // it may have ended
                }
            }
            std::thread::sleep(ROUND);
        }
    }

    fn is_left(&self) -> bool {
        let _ = bury_the_dead(); // the processes that are left need not be children
        self.lives()
    }

    /// Returns the process from which the tree descends; `None` when it has ended.
    fn root(&self) -> Option<Pid> {
        if self.is_own { Some(Pid::own()) } else { self.parent.get().and_then(Known::pid) }
    }

    fn descendants(&self) -> Vec<Pid> {
        self.root().and_then(|root| descendants(root).ok()).unwrap_or_default()
    }

    fn kill_descendants(&self, meant: &dyn Fn(Pid) -> bool) {
        // As in `signal`.
        let _ = self.root().map(|root| kill_descendants(root, &|pid| self.is_meant(pid) && meant(pid)));
    }

    fn is_meant(&self, pid: Pid) -> bool {
        !self.spared.borrow().iter().any(|spared| spared.covers(pid)) && !self.earlier.borrow().covers(pid)
    }

    fn signal(&self, number: i32, meant: &dyn Fn(Pid) -> bool) {
        // A process that has ended needs no signal. When /proc cannot be read, the next round tries again.
        let _ = self.root().map(|root| signal_descendants(root, number, &|pid| self.is_meant(pid) && meant(pid)));
    }

    fn is_outside(&self, pid: Pid) -> bool {
        !self.group.as_ref().is_some_and(|group| group.holds(pid))
    }
}

/// The run has ended, or never began.
impl Drop for ProcessTree {
    fn drop(&mut self) {
        // An enforcer that fails does not know whether the run is over, and neither does a process that panics: then the watchdog ends
        // what is left, as soon as nobody else has the run.
        if self.is_own && !std::thread::panicking() {
            self.progress.relieve();
        }
        if !self.is_removed.get() {
            self.group.take().into_iter().for_each(Cgroup::remove);
        }
    }
}
