//! How a program is parted from that does not close its session when that has ended: asked, and then killed.

use std::time::{Duration, Instant};

/// How long a program has to close a session of which nobody is left, before it is asked to end. su(1) and sshd(8) need some ms.
const CLOSES_WITHIN: Duration = Duration::from_millis(400);

/// How a program is parted from that does not close its session.
pub(super) struct Closing {
    grace: Duration,
    begun: Option<Instant>,
    /// Since when nobody is left of the session.
    empty: Option<Instant>,
    asked: Option<Instant>,
    /// It was killed.
    pub(super) is_over: bool,
}

/// What is done to such a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Wait,
    Ask,
    Kill,
}

impl Closing {
    /// `grace` is the time between asking and killing.
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, begun: None, empty: None, asked: None, is_over: false }
    }

    /// What is due, when `is_empty` says that nobody is left. A program that begets more and more is asked after the grace period.
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
    fn a_program_that_closes_nothing_is_asked_and_then_made_to_end() {
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
    fn a_program_that_begets_more_and_more_is_asked_all_the_same() {
        let (grace, begun) = (Duration::from_secs(3), Instant::now());
        let mut closing = Closing::new(grace);
        for ms in (0..3400).step_by(200) {
            assert_eq!(closing.next(ms % 400 == 0, begun + Duration::from_millis(ms)), Leave::Wait, "{ms}");
        }
        assert_eq!(closing.next(false, begun + grace + CLOSES_WITHIN), Leave::Ask);
    }
}
