//! The control groups of runs and of the processes that supervise them.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::programs::OURS;
use jit_core::budget::SETTLED;
use jit_core::places::JIT_SUDO;
use sys::cgroup::{self, Cgroup};
use sys::process::{self, Pid};
use sys::sanitize::Inherited;

/// The parent control group of all runs' groups.
pub(super) const PARENT: &str = "jit-sudo";

/// The name of the groups below [`PARENT`] that hold supervisors and enforcers, outside the session that they end: one for each
/// user, with its own share, and one for our programs from runs without a supervisor.
pub(super) const SUPERVISORS: &str = "supervisors";

/// The name of the groups below [`PARENT`], one for each user, with the processes that keep descriptors of the caller. Some may
/// never end, and must not use up the groups of [`SUPERVISORS`]. In a group of the caller's own the caller could kill them too early.
const KEEPERS: &str = "keepers";

/// The user for whom this process works; root until it is known.
static USER: AtomicU32 = AtomicU32::new(0);

fn share() -> String {
    cgroup::share(SUPERVISORS, USER.load(Ordering::Relaxed))
}

/// Moves this process out of a control group that an ordinary user could freeze or kill. Call it before the process opens the
/// database or supervises a command. Processes that run as the caller are later started in the group that was left.
pub fn stand_apart(inherited: &mut Inherited) -> &Inherited {
    // Our programs are recognized by their files and names. jit-sudo has another name if it was started through a link.
    if !OURS.iter().any(|program| process::name_for(program) == process::own_name()) {
        process::set_name(JIT_SUDO);
    }
    // When this fails, as on a host without control groups, the caller can delay us. That is no reason to deny the command.
    USER.store(inherited.identity.uid(), Ordering::Relaxed);
    inherited.group = cgroup::leave_foreign(PARENT, &share(), SETTLED).ok().flatten().map(Rc::new);
    inherited
}

/// Moves this process, which outlives its caller, out of the caller's session permanently, into a group of at most `most` processes
/// and threads.
pub fn stand_alone(name: &str, most: u32) {
    // Without control groups it stays in the caller's session and may be ended with it.
    let _ = cgroup::settle(PARENT, name, most);
}

/// Moves this process to the group of the supervisors of the user `uid`, for whom it works from now on.
pub fn supervise_for(uid: u32) {
    USER.store(uid, Ordering::Relaxed);
    stand_alone(&share(), SETTLED);
}

/// Returns the group in which to start a process of ours, so that ending the caller's session does not reach it from its first
/// moment on. Returns `None` on a host without control groups.
pub fn refuge() -> Option<Cgroup> {
    cgroup::refuge(PARENT, &share(), SETTLED).ok()
}

/// Returns the group for a process that keeps descriptors of the caller. Returns `None` on a host without control groups.
pub fn keepers() -> Option<Cgroup> {
    cgroup::refuge(PARENT, &cgroup::share(KEEPERS, USER.load(Ordering::Relaxed)), SETTLED).ok()
}

/// Checks whether a run can have a control group of its own here; the error says why not.
pub fn can_found() -> std::io::Result<()> {
    Cgroup::create(PARENT, "trial").map(Cgroup::remove)
}

/// Moves another process of ours to the group of our user's supervisors, where ending its session does not reach it.
pub(super) fn settle_beside(pid: Pid) {
    let _ = cgroup::take_out(pid, PARENT, &share(), SETTLED); // as in `stand_apart`
}

/// Whether the processes of a run are frozen, by whatever: an administrator or the end of the grant. False without a group.
pub fn is_frozen(run: &str) -> bool {
    Cgroup::named(PARENT, run).iter().any(|group| group.is_populated() && group.is_frozen())
}

/// Returns the runs whose supervisors have ended and whose groups still have processes.
pub fn abandoned() -> Vec<String> {
    Cgroup::orphaned(PARENT)
}
