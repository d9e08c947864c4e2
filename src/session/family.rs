//! Everything that a command has begotten: stopped, continued and ended together. It is found in two ways, because each
//! alone can be left: as the members of a control group of its own (PAM modules may move a process elsewhere), and as
//! the descendants of this process, a subreaper.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frost::Hold;
use super::guard::Guard;
use super::watch::Wards;
use crate::authorized::environment::RUN_VARIABLE;
use crate::programs::{self, JIT_SUDO, Ours};
use sys::cgroup::{self, Cgroup};
use sys::marked::Mark;
use sys::process::{self, Pid, Waiting, children_of, descendants, kill_descendants, signal_descendants, wait_any};
use sys::procfs::{is_awake, lives};
use sys::sanitize::Inherited;
use sys::signals::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

/// The group below which every run has one of its own.
pub(super) const PARENT: &str = "jit-sudo";

/// The group below it in which supervisors and enforcers live, away from the session that they end.
pub const SUPERVISORS: &str = "supervisors";

/// Between two looks at processes that are about to end.
const ROUND: Duration = Duration::from_millis(20);

/// How many rounds of SIGKILL: what is forked between two of them is caught by the next.
const KILL_ROUNDS: u32 = 100;

/// After how many of them our own programs are killed as well, for which there is nothing left to look after by then: a second.
const PATIENT_ROUNDS: u32 = 50;

/// How many rounds of taking processes back: what they beget meanwhile is taken by the next.
const TAKING_ROUNDS: u32 = 16;

/// Takes this process out of a control group that an ordinary user could freeze or kill, while it holds the database or
/// watches a command. To be called before either. What runs as the caller is born in the group that was left.
pub fn stand_apart(inherited: &mut Inherited) {
    // Where that cannot be done the caller can hold us up, as on a host without control groups: nothing to refuse for.
    inherited.group = cgroup::leave_foreign(PARENT, SUPERVISORS).ok().flatten().map(Rc::new);
}

/// Takes this process, which goes on when its caller has gone, out of the caller's session for good.
pub fn stand_alone(name: &str) {
    // Without control groups it is a process as any other, which its caller's session may take along.
    let _ = cgroup::settle(PARENT, name);
}

/// Where that is, for a process of ours to be born there: what ends the caller's session does not reach it, from its first moment
/// on. None where there are no control groups.
pub fn refuge() -> Option<Cgroup> {
    cgroup::refuge(PARENT, SUPERVISORS).ok()
}

/// Whether a run can have a control group of its own here; the error says why not.
pub fn can_found() -> std::io::Result<()> {
    Cgroup::create(PARENT, "trial").map(Cgroup::remove)
}

/// A process of ours, with when it began: its number may become another's.
#[derive(Debug, Clone, Copy)]
struct Spared {
    pid: Pid,
    began: u64,
    /// And whatever else is in its session.
    session: bool,
}

impl Spared {
    fn covers(&self, pid: Pid) -> bool {
        let of_session = || self.session && process::session_of(pid) == Some(self.pid);
        (pid == self.pid || of_session()) && process::process_start(self.pid).is_ok_and(|began| began == self.began)
    }
}

/// The processes of one run.
pub struct Family {
    group: Option<Cgroup>,
    /// Ends them when this process is killed, until the enforcer does.
    guard: RefCell<Option<Guard>>,
    /// Whose descendants they are; this process where there is none.
    of: Option<Pid>,
    /// Descendants that are none of them: the carrier, and the enforcer.
    spared: RefCell<Vec<Spared>>,
    /// The group is somebody else's to remove, or was removed.
    is_removed: Cell<bool>,
    /// Our own go on where everything is frozen: who stands still while it writes, or waits for its turn, holds up everybody on the
    /// host. Where everything ends, they end by themselves when what they look after has. What they beget is spared nothing.
    ours: Rc<dyn Ours>,
    /// Those that were taken out of the group.
    taken_out: RefCell<HashSet<Pid>>,
}

impl Family {
    /// For the run of this id; without a group of its own where there are none, or where we may not make one.
    pub fn found(run: &str) -> Self {
        Self::new(Cgroup::create(PARENT, run).ok(), None, Rc::new(programs::ours()))
    }

    /// That of a run that another process supervises, whose descendants they are; this process and those of its session may be
    /// some, and are none of them. `ours` tells which of them run programs of ours.
    pub(super) fn of(supervisor: Pid, group: Option<&Path>, ours: Rc<dyn Ours>) -> Self {
        let family = Self::new(group.and_then(|path| Cgroup::open(PARENT, path).ok()), Some(supervisor), ours);
        family.spare_session(Pid::own());
        family
    }

    fn new(group: Option<Cgroup>, of: Option<Pid>, ours: Rc<dyn Ours>) -> Self {
        Self {
            group,
            guard: RefCell::default(),
            of,
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

    /// What the enforcer has to know of them; they descend from `parent`, as may a `carrier` that is none of them.
    pub(super) fn wards(&self, parent: Pid, carrier: Option<Pid>, grace: Duration) -> Wards {
        let group = self.group.as_ref().map(|group| group.path().to_owned());
        Wards { parent, carrier, group, grace, limit: None }
    }

    /// Has another process end them, the run of this id, when this one is killed before [`Self::hand_over`]. Where they have no
    /// group they are found as what descends from this process, and by nobody when it is gone.
    pub(super) fn post_guard(&self, run: &str) -> std::io::Result<()> {
        if let Some(group) = &self.group {
            let (group, supervisor) = (group.path(), Pid::own());
            let guard = Guard::post(refuge().as_ref(), || {
                let family = Self::of(supervisor, Some(group), Rc::new(programs::ours()));
                family.terminate();
                family.end_leftovers(Instant::now());
                let _ = end_lost(run); // the record is for whoever closes the run
            })?;
            self.spare(guard.pid());
            let _ = self.guard.borrow_mut().insert(guard);
        }
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
        if let Ok(began) = process::process_start(pid) {
            self.spared.borrow_mut().push(Spared { pid, began, session });
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

    /// Whether any of them is left behind, as far as the group knows: one that is empty is removed.
    pub(super) fn leaves_somebody(&self) -> bool {
        let left = self.group.as_ref().is_some_and(|group| !group.remove_if_empty());
        self.is_removed.set(!left);
        left
    }

    /// The command has ended: whoever is left and was moved elsewhere, as PAM modules do with a login session, is taken back into the
    /// group, by which they are known when `adopter`, the subreaper, is gone.
    pub(super) fn take_back(&self, adopter: Pid) {
        let Some(group) = &self.group else { return };
        let is_left = |pid: &Pid| self.is_meant(*pid) && lives(*pid);
        if children_of(adopter).is_ok_and(|children| !children.iter().any(is_left)) {
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
            || descendants(self.root()).is_ok_and(|found| found.into_iter().any(is_left))
    }

    /// Programs of ours that were begotten by the run: they came out of its group, or supervise a run inside of it.
    fn programs(&self) -> Vec<Pid> {
        let supervises = |pid: &Pid| self.ours.run_by(*pid) == Some(JIT_SUDO);
        let inside = descendants(self.root()).unwrap_or_default().into_iter().filter(supervises);
        let all: HashSet<Pid> = inside.chain(self.taken_out.borrow().iter().copied()).collect();
        let is_one =
            |pid: &Pid| *pid != Pid::own() && self.is_meant(*pid) && self.ours.run_by(*pid).is_some() && lives(*pid);
        all.into_iter().filter(is_one).collect()
    }

    /// Those in the group.
    pub(super) fn members(&self) -> Vec<Pid> {
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
        for pid in self.members().into_iter().filter(|pid| self.ours.run_by(*pid).is_some()) {
            settle_beside(pid);
            let _ = self.taken_out.borrow_mut().insert(pid);
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
        let _ = kill_descendants(self.root(), &|pid| self.is_meant(pid) && self.ours.run_by(pid).is_none());
    }

    /// SIGKILL to all of them whoever they are, where nobody will look again.
    pub(super) fn kill_all(&self) {
        self.group.iter().for_each(Cgroup::kill);
        let _ = kill_descendants(self.root(), &|pid| self.is_meant(pid));
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

    /// Buries our children that have ended.
    fn is_left(&self) -> bool {
        while let Ok(Some(_)) = wait_any(Waiting::EndNow) {}
        self.lives()
    }

    fn root(&self) -> Pid {
        self.of.unwrap_or_else(Pid::own)
    }

    fn is_meant(&self, pid: Pid) -> bool {
        !self.spared.borrow().iter().any(|spared| spared.covers(pid))
    }

    fn signal(&self, number: i32, meant: &dyn Fn(Pid) -> bool) {
        // A process that is gone by now needs no signal, and /proc that cannot be read is tried again in the next round.
        let _ = signal_descendants(self.root(), number, &|pid| self.is_meant(pid) && meant(pid));
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

/// Has another of our own processes stand where we do: what ends its session does not reach it there.
pub(super) fn settle_beside(pid: Pid) {
    let _ = cgroup::take_out(pid, PARENT, SUPERVISORS); // as in `stand_apart`
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
            settle_beside(pid);
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
pub fn take_sessions_back(run: &str) -> usize {
    let Some(group) = Cgroup::named(PARENT, run).into_iter().next() else { return 0 };
    let bearers = Mark::new(RUN_VARIABLE, run).bearers();
    let members = bearers.into_iter().filter_map(Cgroup::of_session_led_by).flat_map(|session| session.members());
    let ours = programs::ours();
    ours.look();
    members.filter(|pid| ours.run_by(*pid).is_none() && group.adopt(*pid).is_ok()).count()
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
impl Drop for Family {
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
