//! Everything that a command has begotten: stopped, continued and ended together. It is found in two ways, because each
//! alone can be left: as the members of a control group of its own (PAM modules may move a process elsewhere), and as
//! the descendants of this process, a subreaper.

use std::rc::Rc;
use std::time::{Duration, Instant};

use sys::cgroup::{self, Cgroup};
use sys::process::{Pid, Waiting, kill_descendants, signal_descendants, wait_any};
use sys::procfs;
use sys::sanitize::Inherited;
use sys::signals::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

/// The group below which every run has one of its own.
pub(super) const PARENT: &str = "jit-sudo";

/// The group below it in which supervisors live that may not stay where they were.
const SUPERVISORS: &str = "supervisors";

/// Our own programs go on where everything is frozen: who stands still while it writes, or waits for its turn, holds up everybody
/// on the host. What they beget does not.
pub(super) const PROGRAMS: [&str; 4] = ["jit-sudo", "jit-sudo-broker", "jit-sudo-hooks", "jit-sudo-shrink"];

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

/// The processes of one run. Acts on them from the process that is the subreaper; elsewhere on the group alone.
pub struct Family {
    group: Option<Cgroup>,
}

impl Family {
    /// For the run of this id; without a group of its own where there are none, or where we may not make one.
    pub fn found(run: &str) -> Self {
        Self { group: Cgroup::create(PARENT, run).ok() }
    }

    /// Where the command is to be born.
    pub(super) fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    /// Stops all of them but our own programs until [`Self::thaw`]: unseen by their parents within the group, by SIGSTOP outside
    /// of it.
    pub(super) fn freeze(&self) {
        self.of_group(Cgroup::freeze);
        for pid in self.group.as_ref().map(Cgroup::members).unwrap_or_default() {
            if is_our_own(pid) {
                let _ = cgroup::take_out(pid, PARENT, SUPERVISORS); // it may have ended
            }
        }
        signal(SIGSTOP, &|pid| self.is_outside(pid) && !is_our_own(pid));
    }

    /// Lets all of them go on.
    pub(super) fn thaw(&self) {
        self.of_group(Cgroup::thaw);
        signal(SIGCONT, &|pid| self.is_outside(pid));
    }

    /// SIGTERM to all of them; a frozen or stopped process cannot obey, so they go on.
    pub(super) fn terminate(&self) {
        signal(SIGTERM, &|_| true);
        self.of_group(Cgroup::thaw);
        signal(SIGCONT, &|_| true);
    }

    /// SIGKILL to all of them; in the group they die at once, so that no fork escapes.
    pub(super) fn kill(&self) {
        self.of_group(Cgroup::kill);
        let _ = kill_descendants(Pid::own(), SIGKILL); // the next round sees to what could not be seen
    }

    /// After the command itself has ended: what it left behind has until `deadline`, then it is killed.
    pub(super) fn end_leftovers(&self, deadline: Instant) {
        while has_children() && Instant::now() < deadline {
            std::thread::sleep(ROUND);
        }
        for _ in 0..KILL_ROUNDS {
            if !has_children() {
                return;
            }
            self.kill();
            std::thread::sleep(ROUND);
        }
    }

    fn of_group(&self, act: fn(&Cgroup) -> std::io::Result<()>) {
        // An older kernel has no cgroup.kill, and a group may be gone: the descendants are always seen to as well.
        let _ = self.group.as_ref().map(act);
    }

    fn is_outside(&self, pid: Pid) -> bool {
        !self.group.as_ref().is_some_and(|group| group.holds(pid))
    }
}

fn is_our_own(pid: Pid) -> bool {
    procfs::runs_as_root(pid, &PROGRAMS)
}

/// The run is over, or never began. A group in which daemons of the command stay is left to them.
impl Drop for Family {
    fn drop(&mut self) {
        self.group.take().into_iter().for_each(Cgroup::remove);
    }
}

fn signal(number: i32, meant: &dyn Fn(Pid) -> bool) {
    // A process that is gone by now needs no signal, and /proc that cannot be read is tried again in the next round.
    let _ = signal_descendants(Pid::own(), number, meant);
}

/// Buries those that have ended; false when no child is left.
fn has_children() -> bool {
    loop {
        match wait_any(Waiting::EndNow) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false, // ECHILD
        }
    }
}
