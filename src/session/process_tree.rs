//! Everything that a command has begotten: stopped, continued and ended together. It is found in two ways, because each
//! alone can be left: as the members of a control group of its own (PAM modules may move a process elsewhere), and as
//! the descendants of this process, a subreaper.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::freeze::Hold;
use super::guard::Guard;
use super::watch::EnforcedRun;
use crate::authorized::environment::RUN_VARIABLE;
use crate::programs::{self, Ours};
use jit_core::budget::SETTLED;
use jit_core::places::JIT_SUDO;
use sys::cgroup::{self, Cgroup};
use sys::marked::Mark;
use sys::process::{
    self, Pid, bury_the_dead, children_of, descendants, has_children, kill_descendants, signal_descendants,
};
use sys::procfs::{is_awake, lives, real_uid};
use sys::sanitize::Inherited;
use sys::signals::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

/// The group below which every run has one of its own.
pub(super) const PARENT: &str = "jit-sudo";

/// The groups below it in which supervisors and enforcers live, away from the session that they end: one for each user, with a
/// share of its own, and one for what is left of runs that nobody supervises any more.
const SUPERVISORS: &str = "supervisors";

/// For whom this process works; root until it is known.
static USER: AtomicU32 = AtomicU32::new(0);

fn share() -> String {
    cgroup::share(SUPERVISORS, USER.load(Ordering::Relaxed))
}

/// Between two looks at processes that are about to end.
const ROUND: Duration = Duration::from_millis(20);

/// How many rounds of SIGKILL: what is forked between two of them is caught by the next.
const KILL_ROUNDS: u32 = 100;

/// After how many of them our own programs are killed as well, for which there is nothing left to look after by then: a second.
const PATIENT_ROUNDS: u32 = 50;

/// How many rounds of taking processes back or out: what they beget meanwhile is taken by the next.
const TAKING_ROUNDS: u32 = 16;

/// Takes this process out of a control group that an ordinary user could freeze or kill, while it holds the database or
/// watches a command. To be called before either. What runs as the caller is born in the group that was left.
pub fn stand_apart(inherited: &mut Inherited) {
    // Where that cannot be done the caller can hold us up, as on a host without control groups: nothing to refuse for.
    USER.store(inherited.identity.uid(), Ordering::Relaxed);
    inherited.group = cgroup::leave_foreign(PARENT, &share(), SETTLED).ok().flatten().map(Rc::new);
}

/// Takes this process, which goes on when its caller has gone, out of the caller's session for good, to a group of at most `most`
/// processes and threads.
pub fn stand_alone(name: &str, most: u32) {
    // Without control groups it is a process as any other, which its caller's session may take along.
    let _ = cgroup::settle(PARENT, name, most);
}

/// The same, to where the supervisors of a user's runs live; this process works for them from now on.
pub fn supervise_for(uid: u32) {
    USER.store(uid, Ordering::Relaxed);
    stand_alone(&share(), SETTLED);
}

/// Where that is, for a process of ours to be born there: what ends the caller's session does not reach it, from its first moment
/// on. None where there are no control groups.
pub fn refuge() -> Option<Cgroup> {
    cgroup::refuge(PARENT, &share(), SETTLED).ok()
}

/// Whether a run can have a control group of its own here; the error says why not.
pub fn can_found() -> std::io::Result<()> {
    Cgroup::create(PARENT, "trial").map(Cgroup::remove)
}

/// A process with when it began, in clock ticks since boot: its number may become another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pid: i32,
    began: u64,
}

impl Known {
    /// One that lives now.
    ///
    /// # Errors
    /// When it does not.
    pub fn of(pid: Pid) -> std::io::Result<Self> {
        Ok(Self { pid: pid.raw(), began: process::process_start(pid)? })
    }

    /// Readable when it has ended; nothing where it has, and on a kernel that has no such descriptors.
    pub fn line(self) -> Option<OwnedFd> {
        // Opened first, so that the number cannot become another's between the two.
        let line = Pid::new(self.pid).and_then(|pid| process::open_process(pid).ok());
        line.filter(|_| self.pid().is_some_and(lives))
    }

    /// Its number, as long as that is its own.
    pub fn pid(self) -> Option<Pid> {
        Pid::new(self.pid).filter(|pid| process::process_start(*pid).is_ok_and(|began| began == self.began))
    }
}

/// A process of ours.
#[derive(Debug, Clone, Copy)]
struct Spared {
    who: Known,
    /// And whatever else is in its session.
    session: bool,
}

impl Spared {
    fn covers(&self, pid: Pid) -> bool {
        let leads = |leader: Pid| self.session && process::session_of(pid) == Some(leader);
        self.who.pid().is_some_and(|own| own == pid || leads(own))
    }
}

/// The processes of one run.
pub struct ProcessTree {
    group: Option<Cgroup>,
    /// Ends them when this process is killed, until the enforcer does.
    guard: RefCell<Option<Guard>>,
    /// This process supervises them: all that descends from it may be theirs.
    is_own: bool,
    /// Who begot the command and adopts its orphans, where this is not us.
    parent: Cell<Option<Known>>,
    /// Descendants that are none of them: the relay process, and the enforcer.
    spared: RefCell<Vec<Spared>>,
    /// The group is somebody else's to remove, or was removed.
    is_removed: Cell<bool>,
    /// Our own go on where everything is frozen: who stands still while it writes, or waits for its turn, holds up everybody on the
    /// host. Where everything ends, they end by themselves when what they look after has. What they beget is spared nothing.
    ours: Rc<dyn Ours>,
    /// Those that were taken out of the group.
    taken_out: RefCell<HashSet<Pid>>,
}

impl ProcessTree {
    /// For the run of this id; without a group of its own where there are none, or where we may not make one.
    pub fn found(run: &str) -> Self {
        Self::new(Cgroup::create(PARENT, run).ok(), true, Rc::new(programs::ours()))
    }

    /// That of a run that another process supervises; they descend from `parent`. This process and those of its session may do so, and
    /// are none of them. `ours` tells which of them run programs of ours.
    pub(super) fn of(parent: Known, group: Option<&Path>, ours: Rc<dyn Ours>) -> Self {
        let process_tree = Self::new(group.and_then(|path| Cgroup::open(PARENT, path).ok()), false, ours);
        process_tree.parent.set(Some(parent));
        process_tree.spare_session(Pid::own());
        process_tree
    }

    fn new(group: Option<Cgroup>, is_own: bool, ours: Rc<dyn Ours>) -> Self {
        Self {
            group,
            guard: RefCell::default(),
            is_own,
            parent: Cell::new(None),
            spared: RefCell::default(),
            is_removed: Cell::new(false),
            ours,
            taken_out: RefCell::default(),
        }
    }

    /// Where the command is to be born.
    pub(super) fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    /// A child of ours has begotten the command, and is none of them.
    pub(super) fn descends_from(&self, child: Pid) {
        // One that is gone by now has adopted nobody.
        if let Ok(who) = Known::of(child) {
            self.parent.set(Some(who));
            self.spared.borrow_mut().push(Spared { who, session: false });
        }
    }

    /// What the enforcer has to know of them; they descend from `parent`, as may a `relay_process` that is none of them.
    pub(super) fn enforced_run(&self, parent: Pid, relay_process: Option<Pid>, grace: Duration) -> EnforcedRun {
        let group = self.group.as_ref().map(|group| group.path().to_owned());
        EnforcedRun { parent, relay_process, group, grace, limit: None }
    }

    /// Has another process end them, the run of this id, when this one is killed before [`Self::hand_over`]. Where they have no group
    /// their keeper does it.
    pub(super) fn post_guard(&self, run: &str) -> std::io::Result<()> {
        if self.group.is_none() {
            return Ok(());
        }
        let (group, own) = (self.group.as_ref().map(Cgroup::path), Known::of(Pid::own())?);
        let guard = Guard::post(refuge().as_ref(), || {
            let process_tree = Self::of(own, group, Rc::new(programs::ours()));
            process_tree.terminate();
            process_tree.end_leftovers(Instant::now());
            let _ = end_lost(run); // the record is for whoever closes the run
        })?;
        self.spare(guard.pid());
        let _ = self.guard.borrow_mut().insert(guard);
        Ok(())
    }

    /// Buries the guard where it has ended.
    pub(super) fn bury_guard(&self) {
        let has_ended = self.guard.borrow().as_ref().is_some_and(Guard::has_ended);
        if has_ended {
            let _ = self.guard.take();
        }
    }

    fn relieve_guard(&self) {
        self.guard.borrow().iter().for_each(Guard::relieve);
    }

    /// A descendant of ours is none of them.
    pub(super) fn spare(&self, pid: Pid) {
        self.add_spared(pid, false);
    }

    /// Nor is any process of its session.
    pub(super) fn spare_session(&self, leader: Pid) {
        self.add_spared(leader, true);
    }

    fn add_spared(&self, pid: Pid, session: bool) {
        if let Ok(who) = Known::of(pid) {
            self.spared.borrow_mut().push(Spared { who, session });
        }
    }

    /// A child of ours looks after them from now on: it is none of them, and the group is its own to remove.
    pub(super) fn hand_over(&self, enforcer: Pid) {
        self.spare_session(enforcer);
        self.is_removed.set(true);
        self.relieve_guard();
    }

    /// Whether nobody is left, as far as the group knows.
    pub(super) fn is_empty(&self) -> bool {
        self.group.as_ref().is_none_or(|group| !group.is_populated())
    }

    /// Whether any of them is left behind, as far as the group knows: one that is empty is removed. Without a group the process knows
    /// that has adopted them.
    pub(super) fn leaves_somebody(&self) -> bool {
        let Some(group) = &self.group else { return self.adopted().next().is_some() };
        let left = !group.remove_if_empty();
        self.is_removed.set(!left);
        left
    }

    /// Those who descend from who begot the command, and live.
    fn adopted(&self) -> impl Iterator<Item = Pid> {
        let parent = self.parent.get().and_then(Known::pid);
        let found = parent.filter(|parent| has_children(*parent)).and_then(|parent| descendants(parent).ok());
        found.into_iter().flatten().filter(|pid| self.is_meant(*pid) && lives(*pid))
    }

    /// The command has ended: whoever is left and was moved elsewhere, as PAM modules do with a login session, is taken back into the
    /// group, by which they are known when whoever adopts the command's orphans is gone.
    pub(super) fn take_back(&self) {
        let Some(group) = &self.group else { return };
        let adopter = self.parent.get().and_then(Known::pid).unwrap_or_else(Pid::own);
        let is_left = |pid: &Pid| self.is_meant(*pid) && lives(*pid);
        let is_nobody = match adopter == Pid::own() {
            true => !bury_the_dead(),
            false => children_of(adopter).is_ok_and(|children| !children.iter().any(is_left)),
        };
        if is_nobody {
            return; // where nobody is left none is looked for
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

    /// Whether any of them lives that is no program of ours.
    pub(super) fn lives(&self) -> bool {
        self.ours.look();
        let is_left = |pid: Pid| self.is_meant(pid) && self.ours.run_by(pid).is_none() && lives(pid);
        self.group.as_ref().is_some_and(|group| group.is_populated() && group.members().into_iter().any(is_left))
            || self.descendants().into_iter().any(is_left)
    }

    /// Programs of ours that were begotten by the run: they came out of its group, or supervise a run inside of it.
    fn programs(&self) -> Vec<Pid> {
        let supervises = |pid: &Pid| self.ours.run_by(*pid) == Some(JIT_SUDO);
        let inside = self.descendants().into_iter().filter(supervises);
        let all: HashSet<Pid> = inside.chain(self.taken_out.borrow().iter().copied()).collect();
        let is_one =
            |pid: &Pid| *pid != Pid::own() && self.is_meant(*pid) && self.ours.run_by(*pid).is_some() && lives(*pid);
        all.into_iter().filter(is_one).collect()
    }

    /// Those in the group, or, without one, those whom [`Self::leaves_somebody`] tells of.
    pub(super) fn left(&self) -> Vec<Pid> {
        if self.group.is_some() { self.members() } else { self.adopted().collect() }
    }

    fn members(&self) -> Vec<Pid> {
        self.group.as_ref().map(Cgroup::members).unwrap_or_default()
    }

    /// Stops all of them but our own programs until [`Self::thaw`]: unseen by their parents within the group, by SIGSTOP outside
    /// of it, from which others may wake them.
    pub(super) fn freeze(&self) -> Hold {
        let is_held = self.group.as_ref().is_some_and(|group| group.freeze().is_ok());
        self.take_ours_out();
        let awake = Cell::new(0);
        let meant = |pid: Pid| {
            let is_meant = (!is_held || self.is_outside(pid)) && self.ours.run_by(pid).is_none();
            awake.set(awake.get() + usize::from(is_meant && is_awake(pid)));
            is_meant
        };
        self.signal(SIGSTOP, &meant);
        Hold { is_held, awake: awake.get() }
    }

    fn take_ours_out(&self) {
        self.ours.look();
        // Again, as whoever watches a session inside of the run may be moving its programs at this very moment.
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

    /// Lets all of them go on.
    pub(super) fn thaw(&self) {
        let is_held = self.group.as_ref().is_some_and(|group| group.thaw().is_ok());
        self.signal(SIGCONT, &|pid| !is_held || self.is_outside(pid));
    }

    /// SIGTERM to all of them; a frozen or stopped process cannot obey, so they go on. Those in the group stand still while they
    /// are counted, so that none is begotten meanwhile. Of our own programs only a supervisor obeys, who may be waiting for somebody.
    pub(super) fn terminate(&self) {
        self.take_ours_out();
        self.of_group(Cgroup::freeze);
        let members = self.members();
        for signal in [SIGTERM, SIGCONT] {
            for pid in &members {
                let _ = process::kill(*pid, signal); // it may have ended
            }
        }
        self.of_group(Cgroup::thaw);
        let obeys = |pid| !members.contains(&pid) && self.ours.run_by(pid).is_none_or(|program| program == JIT_SUDO);
        self.signal(SIGTERM, &obeys);
        self.signal(SIGCONT, &obeys);
        // Who supervised the run may be gone, and with it the descent of those that were in its group.
        self.taken_out
            .borrow()
            .iter()
            .filter(|pid| self.ours.run_by(**pid) == Some(JIT_SUDO))
            .for_each(|pid| tell_to_end(*pid));
    }

    /// SIGKILL to all of them but our own programs; in the group they die at once, so that no fork escapes. What could not be seen
    /// is seen to in the next round, which there has to be.
    pub(super) fn kill(&self) {
        self.take_ours_out();
        self.group.iter().for_each(Cgroup::kill);
        self.kill_descendants(&|pid| self.ours.run_by(pid).is_none());
    }

    /// SIGKILL to all of them whoever they are, where nobody will look again.
    pub(super) fn kill_all(&self) {
        self.group.iter().for_each(Cgroup::kill);
        self.kill_descendants(&|_| true);
    }

    /// After the command itself has ended: what it left behind has until `deadline`, then it is killed.
    pub(super) fn end_leftovers(&self, deadline: Instant) {
        while self.is_left() && Instant::now() < deadline {
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
        let _ = bury_the_dead(); // who is left may be no child
        self.lives()
    }

    /// From whom they descend; nobody where that has ended.
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
        !self.spared.borrow().iter().any(|spared| spared.covers(pid))
    }

    fn signal(&self, number: i32, meant: &dyn Fn(Pid) -> bool) {
        // A process that is gone by now needs no signal, and /proc that cannot be read is tried again in the next round.
        let _ = self.root().map(|root| signal_descendants(root, number, &|pid| self.is_meant(pid) && meant(pid)));
    }

    fn of_group(&self, act: fn(&Cgroup) -> std::io::Result<()>) {
        // An older kernel has no cgroup.kill, and a group may be gone: the descendants are always seen to as well.
        let _ = self.group.as_ref().map(act);
    }

    fn is_outside(&self, pid: Pid) -> bool {
        !self.group.as_ref().is_some_and(|group| group.holds(pid))
    }
}

/// A supervisor ends its run; one that has not begun it never does.
fn tell_to_end(supervisor: Pid) {
    for signal in [SIGTERM, SIGCONT] {
        let _ = process::kill(supervisor, signal); // it may have ended
    }
}

/// Has another of our own processes stand where those of our user do: what ends its session does not reach it there.
pub(super) fn settle_beside(pid: Pid) {
    let _ = cgroup::take_out(pid, PARENT, &share(), SETTLED); // as in `stand_apart`
}

/// Ends what is left of a run that nobody supervises any more, in its group and by the run that its processes were told; gives how
/// many there were.
pub fn end_lost(run: &str) -> usize {
    let (ours, mark) = (programs::ours(), Mark::new(RUN_VARIABLE, run));
    ours.look();
    // Looked for first: whoever leads a login session of its own is known by its mark alone, and what it has begotten by that session.
    let led: Vec<Cgroup> = mark.bearers().into_iter().filter_map(Cgroup::of_session_led_by).collect();
    let made = Cgroup::named(PARENT, run);
    let mut ended = 0;
    for group in made.iter().chain(&led) {
        let (own, others): (Vec<Pid>, Vec<Pid>) =
            group.members().into_iter().partition(|pid| ours.run_by(*pid).is_some());
        for pid in own {
            // Whoever closes the run of another has nothing to give away for that.
            let _ = cgroup::take_out(pid, PARENT, SUPERVISORS, SETTLED);
            if ours.run_by(pid) == Some(JIT_SUDO) {
                tell_to_end(pid);
            }
        }
        ended += others.len();
        end_group(group);
    }
    for group in made {
        let _ = group.remove_if_empty(); // else a later run removes it
    }
    ended + mark.kill(&|pid| lives(pid) && ours.run_by(pid).is_none())
}

/// Takes the login sessions that those who were told this run lead, such as su, back into the run's group; gives how many processes.
/// Anybody can tell a program of theirs the id of a run, so its real user has to be the run's, or root.
pub fn take_sessions_back(run: &str, run_as: u32) -> usize {
    let Some(group) = Cgroup::named(PARENT, run).into_iter().next() else { return 0 };
    let bearers = Mark::new(RUN_VARIABLE, run).bearers();
    let theirs = |pid: &Pid| real_uid(*pid).is_some_and(|uid| uid == run_as || uid == 0);
    let members =
        bearers.into_iter().filter(theirs).filter_map(Cgroup::of_session_led_by).flat_map(|session| session.members());
    let ours = programs::ours();
    ours.look();
    members.filter(|pid| ours.run_by(*pid).is_none() && group.adopt(*pid).is_ok()).count()
}

/// The runs whose supervisors have ended, and in whose groups somebody lives.
pub fn abandoned() -> Vec<String> {
    Cgroup::orphaned(PARENT)
}

fn end_group(group: &Cgroup) {
    for _ in 0..KILL_ROUNDS {
        group.kill();
        if !group.is_populated() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The run is over, or never began.
impl Drop for ProcessTree {
    fn drop(&mut self) {
        // Where a fault of ours unwinds, nobody has seen what became of them.
        if !std::thread::panicking() {
            self.relieve_guard();
        }
        if !self.is_removed.get() {
            self.group.take().into_iter().for_each(Cgroup::remove);
        }
    }
}
