//! Decides when a program that does not close its ended session is asked to end, and when it is killed.

use std::time::{Duration, Instant};

/// How long a program has to close a session without processes before it is asked to end. su(1) and sshd(8) need some ms.
const CLOSES_WITHIN: Duration = Duration::from_millis(400);

/// The state of a program that does not close its session.
pub(super) struct Closing {
    grace: Duration,
    begun: Option<Instant>,
    /// Since when the session has had no process.
    empty: Option<Instant>,
    asked: Option<Instant>,
    /// Whether the program was killed.
    pub(super) is_over: bool,
}

/// What to do to such a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Wait,
    Ask,
    Kill,
}

impl Closing {
    /// `grace` is the time between SIGTERM and SIGKILL.
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, begun: None, empty: None, asked: None, is_over: false }
    }

    /// Returns what is due; `is_empty` says that the session has no process. A program that keeps starting processes is asked after
    /// the grace period.
    pub(super) fn next(&mut self, is_empty: bool, now: Instant) -> Leave {
        let begun = *self.begun.get_or_insert(now);
        self.empty = is_empty.then(|| self.empty.unwrap_or(now));
        if let Some(asked) = self.asked {
            self.is_over |= now >= asked + self.grace;
            return if self.is_over { Leave::Kill } else { Leave::Wait };
        }
        if self.empty.is_some_and(|empty| now >= empty + CLOSES_WITHIN) || now >= begun + self.grace + CLOSES_WITHIN {
            self.asked = Some(now);
            return Leave::Ask;
        }
        Leave::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_close_its_session_is_asked_and_then_killed() {
        let (grace, begun) = (Duration::from_secs(3), Instant::now());
        let mut closing = Closing::new(grace);
        assert_eq!(closing.next(false, begun), Leave::Wait);
        assert_eq!(closing.next(true, begun), Leave::Wait);
        assert_eq!(closing.next(true, begun + CLOSES_WITHIN), Leave::Ask);
        assert_eq!(closing.next(true, begun + CLOSES_WITHIN), Leave::Wait);
        assert!(!closing.is_over);
        assert_eq!(closing.next(false, begun + CLOSES_WITHIN + grace), Leave::Kill);
        assert!(closing.is_over);
    }

    #[test]
    fn a_program_that_keeps_starting_processes_is_asked_too() {
        let (grace, begun) = (Duration::from_secs(3), Instant::now());
        let mut closing = Closing::new(grace);
        for ms in (0..3400).step_by(200) {
            assert_eq!(closing.next(ms % 400 == 0, begun + Duration::from_millis(ms)), Leave::Wait, "{ms}");
        }
        assert_eq!(closing.next(false, begun + grace + CLOSES_WITHIN), Leave::Ask);
    }
}
