//! Keeps frozen processes frozen by checking them regularly. A control group holds its members; a process that was only stopped by
//! a signal can be continued by a signal of another user's process: within one session SIGCONT needs no permission (kill(2)).

use std::time::{Duration, Instant};

/// The interval between two checks of a frozen control group: a process may have left it.
const HELD_LOOK: Duration = Duration::from_secs(1);

/// The interval between two checks of processes that were only stopped, and so how long they run when they are woken.
const LOOSE_LOOK: Duration = Duration::from_millis(50);

/// In how many checks a process may be awake again. A shell may continue its job without any bad intent.
const WAKES: u32 = 4;

/// The result of freezing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// Whether a control group holds the processes.
    pub(super) is_held: bool,
    /// How many were awake until they were stopped now.
    pub(super) awake: usize,
}

/// The state of something frozen.
#[derive(Debug, Default)]
pub(super) struct Freeze {
    /// When to check again; `None` before the first time.
    again: Option<Instant>,
    is_held: bool,
    was_stopped: bool,
    woken: u32,
}

impl Freeze {
    /// Whether it is time to freeze, again or for the first time.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.again.is_none_or(|again| now >= again);
        if is_due {
            self.again = Some(now + if self.is_held { HELD_LOOK } else { LOOSE_LOOK });
        }
        is_due
    }

    /// Returns how long until then.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        self.again.map_or(Duration::ZERO, |again| again.saturating_duration_since(now))
    }

    /// Records that it was frozen. Returns whether it is woken too often to count as frozen.
    pub(super) fn is_woken_again(&mut self, hold: Hold) -> bool {
        self.is_held = hold.is_held;
        let is_woken = std::mem::replace(&mut self.was_stopped, true) && hold.awake > 0;
        self.woken += u32::from(is_woken);
        self.woken > WAKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopped_processes_are_checked_often_and_may_be_woken_a_few_times() {
        let (mut freeze, now) = (Freeze::default(), Instant::now());
        assert!(freeze.is_due(now) && !freeze.is_due(now));
        assert!(!freeze.is_woken_again(Hold { is_held: false, awake: 7 }), "all were, the first time");
        assert_eq!(freeze.patience(now), LOOSE_LOOK);
        assert!(freeze.is_due(now + LOOSE_LOOK));
        for _ in 0..WAKES {
            assert!(!freeze.is_woken_again(Hold { is_held: false, awake: 1 }));
            assert!(!freeze.is_woken_again(Hold { is_held: false, awake: 0 }));
        }
        assert!(freeze.is_woken_again(Hold { is_held: false, awake: 1 }));
    }

    #[test]
    fn a_frozen_group_is_checked_less_often() {
        let (mut freeze, now) = (Freeze::default(), Instant::now());
        assert!(freeze.is_due(now) && !freeze.is_woken_again(Hold { is_held: true, awake: 0 }));
        assert!(freeze.is_due(now + LOOSE_LOOK));
        assert_eq!(freeze.patience(now + LOOSE_LOOK), HELD_LOOK);
    }
}
