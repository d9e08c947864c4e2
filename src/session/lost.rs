//! Runs without a supervisor, and supervisors that do not answer: what is left of them is ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hold::RunHandles;
use super::known::{Known, tell_to_end};
use super::run_groups::{PARENT, SUPERVISORS};
use super::watchdog::Watchdog;
use crate::authorized::environment::RUN_VARIABLE;
use crate::programs;
use jit_core::budget::SETTLED;
use jit_core::places::{ENFORCER, JIT_SUDO};
use sys::cgroup::{self, Cgroup};
use sys::marked::Mark;
use sys::process::{self, Pid, children_of};
use sys::procfs::{is_stopped_by_signal, lives, real_uid};
use sys::signals::{SIGCONT, SIGKILL};

/// The number of rounds of killing a group. Each round kills what was forked since the one before.
const KILL_ROUNDS: u32 = 100;

/// The interval between two checks whether a supervisor that was continued goes on.
const GOES_ON_WITHIN: Duration = Duration::from_millis(20);

/// If a supervisor is found stopped this many times in succession, although it was continued each time, it counts as kept from going
/// on. A busy host may need some of them to let it run.
const CONTINUED_IN_VAIN: u32 = 15;

/// Checks for a supervisor that is stopped though its run has no enforcer: it does not stop itself then, and no process would end
/// the run. Continues it; kills it when it is kept from going on, and returns true.
pub fn give_up_stopped(supervisor: Pid) -> bool {
    if !is_stopped_by_signal(supervisor) {
        return false;
    }
    let ours = programs::ours();
    ours.look();
    let Ok(first) = Known::of(supervisor) else { return false };
    let is_stopped = || first.pid().is_some_and(is_stopped_by_signal);
    let is_enforcer = |child: &Pid| ours.run_by(*child) == Some(ENFORCER) && lives(*child);
    let is_alone = || is_stopped() && children_of(supervisor).is_ok_and(|children| !children.iter().any(is_enforcer));
    if !is_alone() || ours.run_by(supervisor) != Some(JIT_SUDO) {
        return false;
    }
    let stays = |_| {
        let _ = process::kill(supervisor, SIGCONT); // it may have ended
        std::thread::sleep(GOES_ON_WITHIN);
        is_alone()
    };
    (0..CONTINUED_IN_VAIN).all(stays) && process::kill(supervisor, SIGKILL).is_ok()
}

/// A run without a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRun {
    /// The id of the run.
    pub run: String,
    /// The user as whom its processes were executed; `None` where that is unknown, or root, who can become any user.
    pub user: Option<u32>,
    /// Its processes have started at this time or later, in clock ticks since boot.
    pub since: u64,
}

impl LostRun {
    /// Whether a process may belong to the run, as far as its user shows. Any user can set the run's id in their environment, and
    /// can delay a process that reads it.
    fn may_have(&self, pid: Pid) -> bool {
        real_uid(pid).is_some_and(|uid| uid == 0 || self.user.is_none_or(|user| user == uid))
    }
}

/// What was ended of a lost run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// The number of its processes.
    pub processes: usize,
    /// How many processes did not show in time whether they belong to it. They were not ended.
    pub silent: usize,
}

/// Ends what is left of a run without a supervisor: the members of its group, and the processes that have the run's id in their
/// environment. Takes limited time, whatever other processes do.
pub fn end_lost(lost: &LostRun) -> Ended {
    let (ours, mark) = (programs::ours(), Mark::new(RUN_VARIABLE, &lost.run));
    let made = Cgroup::named(PARENT, &lost.run);
    // Held before anything is looked at, which may take for ever: the watchdogs then kill what is held.
    for group in &made {
        let _ = group.freeze(); // it may be gone
    }
    let start = |group| Watchdog::start(RunHandles::of(Some(group), None)).ok();
    let watchdogs: Vec<Watchdog> = made.iter().filter(|group| group.is_populated()).filter_map(start).collect();
    let report = || watchdogs.iter().for_each(|watchdog| watchdog.report(true));
    report();
    for group in &made {
        take_ours_out_of(group, &ours);
    }
    report();
    // Searched before anything is killed: the leader of a login session is known only by the id in its environment, and its
    // descendants only by that session.
    let leads = |pid| lost.may_have(pid) && Cgroup::of_session_led_by(pid).is_some();
    let leaders = mark.processes(lost.since, &leads);
    let led: Vec<Cgroup> = leaders.found.into_iter().filter_map(Cgroup::of_session_led_by).collect();
    let mut ended = 0;
    report();
    for group in made.iter().chain(&led) {
        ended += take_ours_out_of(group, &ours);
        end_group(group);
    }
    let is_of_another = |pid| match made.is_empty() {
        true => Cgroup::is_in_one(PARENT, pid),
        false => made.iter().all(|group| group.is_of_another(pid)),
    };
    let killed = mark
        .kill(lost.since, &|pid| lost.may_have(pid) && !is_of_another(pid) && lives(pid) && ours.run_by(pid).is_none());
    watchdogs.into_iter().for_each(Watchdog::stop);
    for group in made {
        let _ = group.remove_if_empty(); // otherwise a later run removes it
    }
    Ended { processes: ended + killed.found, silent: leaders.silent.max(killed.silent) }
}

/// Freezes and kills what is in the groups of a run, our own programs too. Looks up nothing but groups. Returns whether there was
/// anything.
pub fn end_group_of(run: &str) -> bool {
    let mut made = Cgroup::named(PARENT, run);
    made.retain(Cgroup::is_populated);
    for _ in 0..KILL_ROUNDS {
        made.iter().for_each(|group| RunHandles::of(Some(group), None).kill());
        if !made.iter().any(Cgroup::is_populated) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    !made.is_empty()
}

/// Moves our own programs out of the group of a lost run, and tells the supervisors among them to end. Returns the number of the
/// other processes.
fn take_ours_out_of(group: &Cgroup, ours: &sys::programs::Programs) -> usize {
    let mut others = 0;
    for pid in group.members() {
        let Some(program) = ours.run_by(pid) else {
            others += 1;
            continue;
        };
        // The process that closes a run of another user does not put that run's programs into the share of its own user.
        let _ = cgroup::take_out(pid, PARENT, SUPERVISORS, SETTLED);
        if program == JIT_SUDO {
            tell_to_end(pid);
        }
    }
    others
}

/// Moves login sessions, such as those of su, whose leaders have the run's id in their environment, back into the run's group.
/// Returns how many processes were moved. Any user can set that variable, so the leader's real uid must be `run_as` or root, and it
/// must have started at `since` or later.
pub fn take_sessions_back(run: &str, run_as: u32, since: u64) -> usize {
    let Some(group) = Cgroup::named(PARENT, run).into_iter().next() else { return 0 };
    // The environment is read last, of the few leaders.
    let theirs = |pid: Pid| {
        real_uid(pid).is_some_and(|uid| uid == run_as || uid == 0) && Cgroup::of_session_led_by(pid).is_some()
    };
    let marked = Mark::new(RUN_VARIABLE, run).processes(since, &theirs).found;
    let members = marked.into_iter().filter_map(Cgroup::of_session_led_by).flat_map(|session| session.members());
    let ours = programs::ours();
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
