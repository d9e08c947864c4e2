//! How a command is ended: SIGTERM and SIGCONT to every descendant, a grace period, then SIGKILL until none is left.

use std::time::{Duration, Instant};

use super::watch::{Ending, Watch};
use sys::process::{Pid, Waiting, kill_descendants, wait_any};
use sys::signals::{SIGCONT, SIGKILL, SIGTERM};

/// Between two looks at processes that are about to end.
const ROUND: Duration = Duration::from_millis(20);

/// How many rounds of SIGKILL: what is forked between two of them is caught by the next.
const KILL_ROUNDS: u32 = 100;

/// Watches the grant of a running command and says when to end it.
pub(super) struct Enforcer<'a> {
    watch: &'a mut dyn Watch,
    grace: Duration,
    ending: Option<(Ending, Instant)>,
}

/// What the session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for events, at most so long.
    Wait(Option<Duration>),
    /// Send every descendant SIGTERM, then look again after the grace period.
    Terminate(Duration),
    /// Send every descendant SIGKILL, then look again soon.
    Kill(Duration),
}

impl<'a> Enforcer<'a> {
    /// `grace` is the time between SIGTERM and SIGKILL.
    pub(super) fn new(watch: &'a mut dyn Watch, grace: Duration) -> Self {
        Self { watch, grace, ending: None }
    }

    /// The time between SIGTERM and SIGKILL.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// Why the command was ended, if it was.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.map(|(ending, _)| ending)
    }

    /// When the grace period is over, once the command is being ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ending.map(|(_, since)| since + self.grace)
    }

    /// Says that the command has been started.
    pub(super) fn begun(&mut self) {
        self.watch.begun();
    }

    /// Looks at the grant.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        match self.deadline() {
            Some(deadline) if now < deadline => Step::Wait(Some(deadline - now)),
            Some(_) => Step::Kill(ROUND),
            None => match self.watch.verdict() {
                None => Step::Wait(self.watch.patience()),
                Some(ending) => {
                    self.ending = Some((ending, now));
                    Step::Terminate(self.grace)
                }
            },
        }
    }
}

/// SIGTERM to all that this process has begotten; SIGCONT, because a stopped process cannot obey.
pub(super) fn terminate_descendants() {
    signal_descendants(SIGTERM);
    signal_descendants(SIGCONT);
}

/// SIGKILL to all that this process has begotten.
pub(super) fn kill_all_descendants() {
    signal_descendants(SIGKILL);
}

/// After the command itself has ended: what it left behind has until `deadline`, then it is killed. Needs a subreaper,
/// or orphans are out of reach.
pub(super) fn end_leftovers(deadline: Instant) {
    while has_children() && Instant::now() < deadline {
        std::thread::sleep(ROUND);
    }
    for _ in 0..KILL_ROUNDS {
        if !has_children() {
            return;
        }
        kill_all_descendants();
        std::thread::sleep(ROUND);
    }
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

fn signal_descendants(signal: i32) {
    // A process that is gone by now needs no signal, and /proc that cannot be read is tried again in the next round.
    let _ = kill_descendants(Pid::own(), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(Vec<Option<Ending>>);

    impl Watch for Script {
        fn verdict(&mut self) -> Option<Ending> {
            self.0.pop().flatten()
        }
        fn patience(&self) -> Option<Duration> {
            Some(Duration::from_millis(250))
        }
    }

    #[test]
    fn a_command_gets_its_grace_and_then_no_mercy() {
        let grace = Duration::from_millis(500);
        let mut watch = Script(vec![Some(Ending::Expiry), None]);
        let mut enforcer = Enforcer::new(&mut watch, grace);
        let start = Instant::now();
        assert_eq!(enforcer.step(start), Step::Wait(Some(Duration::from_millis(250))));
        assert_eq!(enforcer.step(start), Step::Terminate(grace));
        assert_eq!(enforcer.step(start + grace / 2), Step::Wait(Some(grace / 2)));
        assert_eq!(enforcer.step(start + grace), Step::Kill(ROUND));
        assert_eq!(enforcer.ending(), Some(Ending::Expiry));
    }
}
