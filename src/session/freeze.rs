//! What is frozen stays frozen: it is looked at again for as long as it should be. A control group holds whoever is in it; who was only
//! stopped by a signal goes on by a signal of somebody else's, which within one session takes no rights (kill(2)).

use std::time::{Duration, Instant};

/// Between two looks at what a control group holds: something may have left it.
const HELD_LOOK: Duration = Duration::from_secs(1);

/// Between two looks at what was only stopped, and so how long it runs when somebody wakes it.
const LOOSE_LOOK: Duration = Duration::from_millis(50);

/// In how many looks somebody may be awake again. A shell continues its job when it is told to, and means nothing by it.
const WAKES: u32 = 4;

/// What came of freezing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// A control group holds them.
    pub(super) is_held: bool,
    /// How many were awake until they were stopped now.
    pub(super) awake: usize,
}

/// The care for something frozen.
#[derive(Debug, Default)]
pub(super) struct Freeze {
    /// When to look again; nothing before the first time.
    again: Option<Instant>,
    is_held: bool,
    was_stopped: bool,
    woken: u32,
}

impl Freeze {
    /// Whether it is time to freeze it, again or for the first time.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.again.is_none_or(|again| now >= again);
        if is_due {
            self.again = Some(now + if self.is_held { HELD_LOOK } else { LOOSE_LOOK });
        }
        is_due
    }

    /// How long until then.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        self.again.map_or(Duration::ZERO, |again| again.saturating_duration_since(now))
    }

    /// It was done. Whether somebody wakes it too often for it to be called frozen.
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
    fn what_nobody_holds_is_looked_at_often_and_may_be_woken_a_few_times() {
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
    fn what_a_group_holds_is_looked_at_less_often() {
        let (mut freeze, now) = (Freeze::default(), Instant::now());
        assert!(freeze.is_due(now) && !freeze.is_woken_again(Hold { is_held: true, awake: 0 }));
        assert!(freeze.is_due(now + LOOSE_LOOK));
        assert_eq!(freeze.patience(now + LOOSE_LOOK), HELD_LOOK);
    }
}
