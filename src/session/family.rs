//! Everything that a command has begotten: stopped, continued and ended together. It is found in two ways, because each
//! alone can be left: as the members of a control group of its own (PAM modules may move a process elsewhere), and as
//! the descendants of this process, a subreaper.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::watch::Wards;
use sys::cgroup::{self, Cgroup};
use sys::process::{self, Pid, Waiting, descendants, kill_descendants, signal_descendants, wait_any};
use sys::procfs;
use sys::sanitize::Inherited;
use sys::signals::{SIGCONT, SIGSTOP, SIGTERM};

/// The group below which every run has one of its own.
pub(super) const PARENT: &str = "jit-sudo";

/// The group below it in which supervisors and enforcers live, away from the session that they end.
pub const SUPERVISORS: &str = "supervisors";

/// Our own programs go on where everything is frozen: who stands still while it writes, or waits for its turn, holds up everybody
/// on the host. What they beget does not.
pub(super) const PROGRAMS: [&str; 5] =
    ["jit-sudo", "jit-sudo-broker", "jit-sudo-enforcer", "jit-sudo-hooks", "jit-sudo-shrink"];

/// Between two looks at processes that are about to end.
const ROUND: Duration = Duration::from_millis(20);

/// How many rounds of SIGKILL: what is forked between two of them is caught by the next.
const KILL_ROUNDS: u32 = 100;

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
    /// Whose descendants they are; this process where there is none.
    of: Option<Pid>,
    /// Descendants that are none of them: the carrier, and the enforcer.
    spared: RefCell<Vec<Spared>>,
    /// The group is somebody else's to remove, or was removed.
    is_removed: Cell<bool>,
    /// Whether a process runs a program of ours.
    ours: Ours,
}

/// Whether a process runs a program of ours.
pub type Ours = Rc<dyn Fn(Pid) -> bool>;

impl Family {
    /// For the run of this id; without a group of its own where there are none, or where we may not make one.
    pub fn found(run: &str) -> Self {
        Self::new(Cgroup::create(PARENT, run).ok(), None, Rc::new(is_our_own))
    }

    /// That of a run that another process supervises, whose descendants they are; `ours` says which of them run a program of
    /// ours.
    pub(super) fn of(supervisor: Pid, group: Option<&Path>, ours: Ours) -> Self {
        Self::new(group.and_then(|path| Cgroup::open(PARENT, path).ok()), Some(supervisor), ours)
    }

    fn new(group: Option<Cgroup>, of: Option<Pid>, ours: Ours) -> Self {
        Self { group, of, spared: RefCell::default(), is_removed: Cell::new(false), ours }
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
    }

    /// Whether any of them is left behind, as far as the group knows: one that is empty is removed.
    pub(super) fn leaves_somebody(&self) -> bool {
        let left = self.group.as_ref().is_some_and(|group| !group.remove_if_empty());
        self.is_removed.set(!left);
        left
    }

    /// Whether any of them lives.
    pub(super) fn lives(&self) -> bool {
        self.group.as_ref().is_some_and(Cgroup::is_populated)
            || descendants(self.root()).is_ok_and(|found| found.into_iter().any(|pid| self.is_meant(pid) && runs(pid)))
    }

    /// Those in the group.
    pub(super) fn members(&self) -> Vec<Pid> {
        self.group.as_ref().map(Cgroup::members).unwrap_or_default()
    }

    /// Stops all of them but our own programs until [`Self::thaw`]: unseen by their parents within the group, by SIGSTOP outside
    /// of it.
    pub(super) fn freeze(&self) {
        self.of_group(Cgroup::freeze);
        for pid in self.members() {
            if (self.ours)(pid) {
                let _ = cgroup::take_out(pid, PARENT, SUPERVISORS); // it may have ended
            }
        }
        self.signal(SIGSTOP, &|pid| self.is_outside(pid) && !(self.ours)(pid));
    }

    /// Lets all of them go on.
    pub(super) fn thaw(&self) {
        self.of_group(Cgroup::thaw);
        self.signal(SIGCONT, &|pid| self.is_outside(pid));
    }

    /// SIGTERM to all of them; a frozen or stopped process cannot obey, so they go on. Those in the group stand still while they
    /// are counted, so that none is begotten meanwhile.
    pub(super) fn terminate(&self) {
        self.of_group(Cgroup::freeze);
        let members = self.members();
        for signal in [SIGTERM, SIGCONT] {
            for pid in &members {
                let _ = process::kill(*pid, signal); // it may have ended
            }
        }
        self.of_group(Cgroup::thaw);
        self.signal(SIGTERM, &|pid| !members.contains(&pid));
        self.signal(SIGCONT, &|pid| !members.contains(&pid));
    }

    /// SIGKILL to all of them; in the group they die at once, so that no fork escapes.
    pub(super) fn kill(&self) {
        self.of_group(Cgroup::kill);
        let _ = kill_descendants(self.root(), &|pid| self.is_meant(pid)); // the next round sees to what could not be seen
    }

    /// After the command itself has ended: what it left behind has until `deadline`, then it is killed.
    pub(super) fn end_leftovers(&self, deadline: Instant) {
        while self.is_left() && Instant::now() < deadline {
            std::thread::sleep(ROUND);
        }
        for _ in 0..KILL_ROUNDS {
            if !self.is_left() {
                return;
            }
            self.kill();
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

/// Has another of our own processes stand where we do: what ends its session does not reach it there.
pub(super) fn settle_beside(pid: Pid) {
    let _ = cgroup::take_out(pid, PARENT, SUPERVISORS); // as in `stand_apart`
}

/// It has not ended, though nobody may have buried it.
fn runs(pid: Pid) -> bool {
    procfs::stat(pid).is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}

/// For a process that may look at what others execute.
pub fn is_our_own(pid: Pid) -> bool {
    procfs::runs_as_root(pid, &PROGRAMS)
}

/// The run is over, or never began.
impl Drop for Family {
    fn drop(&mut self) {
        if !self.is_removed.get() {
            self.group.take().into_iter().for_each(Cgroup::remove);
        }
    }
}
