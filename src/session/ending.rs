//! When a command is warned, frozen and ended: the watch says what the grant allows, and here it becomes steps that both
//! kinds of session take.

use std::time::{Duration, Instant};

use super::watch::{Ending, Verdict, Watch};
use crate::policy::RecordingMode;
use crate::recording::RecordingError;

/// Between two looks at processes that are being killed.
const ROUND: Duration = Duration::from_millis(20);

/// Watches the grant of a running command and says what to do to it.
pub(super) struct Enforcer<'a> {
    watch: &'a mut dyn Watch,
    grace: Duration,
    /// For how long the command may run, and until when that is.
    limit: Option<Duration>,
    over: Option<Instant>,
    state: State,
    /// Said and done at the next step: nothing may run unrecorded.
    unrecorded: Option<Unrecorded>,
}

/// What is still to be done about a session that must be recorded and cannot be.
enum Unrecorded {
    Say(String),
    End,
}

enum State {
    Runs,
    /// And would end so, if nobody wants to wait.
    Frozen(Ending),
    /// The caller does not want to wait for a frozen command any longer.
    GivenUp,
    Ends(Ending, Instant),
}

/// What the session does next: perhaps something, then wait for events, at most so long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) act: Option<Act>,
    pub(super) patience: Option<Duration>,
}

/// What is done to the command and all that it has begotten.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing; the person at the terminal is told something.
    Say(String),
    /// Stop all.
    Freeze,
    /// Let all go on.
    Thaw,
    /// SIGTERM to all.
    Terminate,
    /// SIGKILL to all.
    Kill,
}

impl<'a> Enforcer<'a> {
    /// `grace` is the time between SIGTERM and SIGKILL, `limit` that for which the command may run.
    pub(super) fn new(watch: &'a mut dyn Watch, grace: Duration, limit: Option<Duration>) -> Self {
        Self { watch, grace, limit, over: None, state: State::Runs, unrecorded: None }
    }

    /// The time between SIGTERM and SIGKILL.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// Why the command was ended, if it was.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.state {
            State::Ends(ending, _) => Some(ending),
            State::Runs | State::Frozen(_) | State::GivenUp => None,
        }
    }

    /// When the grace period is over, once the command is being ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Ends(_, since) => Some(since + self.grace),
            State::Runs | State::Frozen(_) | State::GivenUp => None,
        }
    }

    /// The command was stopped by us: it neither gets signals nor are its stops those of a job.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen_by().is_some()
    }

    /// The same, and how the command would end.
    pub(super) fn frozen_by(&self) -> Option<Ending> {
        match self.state {
            State::Frozen(ending) => Some(ending),
            State::Runs | State::GivenUp | State::Ends(..) => None,
        }
    }

    /// The command may go on, and does.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Runs)
    }

    /// The caller wants a frozen command to end: it could not obey before it is thawed.
    pub(super) fn give_up(&mut self) {
        if self.is_frozen() {
            self.state = State::GivenUp;
        }
    }

    /// Says that the command has been started.
    pub(super) fn begun(&mut self) {
        self.over = self.limit.map(|limit| Instant::now() + limit);
        self.watch.begun();
    }

    /// The session cannot be recorded any more: others are told, and where the policy is strict the command must end.
    pub(super) fn unrecorded(&mut self, why: &RecordingError, mode: RecordingMode) {
        let why = why.to_string();
        self.watch.unrecorded(&why);
        if mode == RecordingMode::Strict {
            self.unrecorded = Some(Unrecorded::Say(format!("{why}, so the command is ended")));
        }
    }

    /// Looks at the grant.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if let Some(deadline) = self.deadline() {
            return if now < deadline { Step::wait(Some(deadline - now)) } else { Step::act(Act::Kill, ROUND) };
        }
        match self.unrecorded.take() {
            Some(Unrecorded::Say(words)) => {
                self.unrecorded = Some(Unrecorded::End);
                return Step::act(Act::Say(words), Duration::ZERO);
            }
            Some(Unrecorded::End) => return self.end(Ending::Unrecorded, now),
            None => {}
        }
        let left = self.over.map(|over| over.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return self.end(Ending::TimeLimit, now);
        }
        let step = self.look(now);
        let patience = step.patience.into_iter().chain(left).min();
        Step { patience, ..step }
    }

    fn look(&mut self, now: Instant) -> Step {
        match (&self.state, self.watch.verdict()) {
            (_, Verdict::Say(words)) => Step::act(Act::Say(words), Duration::ZERO),
            (_, Verdict::End(ending)) => self.end(ending, now),
            (State::Frozen(_), Verdict::Run) => {
                self.state = State::Runs;
                Step { act: Some(Act::Thaw), ..Step::wait(self.watch.patience()) }
            }
            (State::GivenUp, Verdict::Run) => self.end(Ending::Expiry, now),
            (State::GivenUp, Verdict::Freeze(ending)) => self.end(ending, now),
            (State::Runs, Verdict::Freeze(ending)) => {
                self.state = State::Frozen(ending);
                Step { act: Some(Act::Freeze), ..Step::wait(self.watch.patience()) }
            }
            (State::Runs | State::Ends(..), Verdict::Run)
            | (State::Frozen(_) | State::Ends(..), Verdict::Freeze(_)) => Step::wait(self.watch.patience()),
        }
    }

    fn end(&mut self, ending: Ending, now: Instant) -> Step {
        self.state = State::Ends(ending, now);
        Step::act(Act::Terminate, self.grace)
    }
}

impl Step {
    fn wait(patience: Option<Duration>) -> Self {
        Self { act: None, patience }
    }

    fn act(act: Act, patience: Duration) -> Self {
        Self { act: Some(act), patience: Some(patience) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLANCE: Option<Duration> = Some(Duration::from_millis(250));
    const FREEZE: Verdict = Verdict::Freeze(Ending::Expiry);
    const GRACE: Duration = Duration::from_millis(500);

    /// Its last word is the first verdict.
    struct Script(Vec<Verdict>);

    impl Watch for Script {
        fn verdict(&mut self) -> Verdict {
            self.0.pop().unwrap()
        }
        fn patience(&self) -> Option<Duration> {
            GLANCE
        }
    }

    #[test]
    fn a_command_gets_its_grace_and_then_no_mercy() {
        let mut watch = Script(vec![Verdict::End(Ending::Expiry), Verdict::Run]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        let start = Instant::now();
        assert_eq!(enforcer.step(start), Step::wait(GLANCE));
        assert_eq!(enforcer.step(start), Step::act(Act::Terminate, GRACE));
        assert_eq!(enforcer.step(start + GRACE / 2), Step::wait(Some(GRACE / 2)));
        assert_eq!(enforcer.step(start + GRACE), Step::act(Act::Kill, ROUND));
        assert_eq!(enforcer.ending(), Some(Ending::Expiry));
    }

    #[test]
    fn a_command_that_may_not_go_on_unrecorded_is_ended_after_a_word() {
        let now = Instant::now();
        let error = RecordingError::Length(1024);
        let mut watch = Script(vec![Verdict::Run, Verdict::Run]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        enforcer.unrecorded(&error, RecordingMode::BestEffort);
        assert_eq!(enforcer.step(now).act, None);
        enforcer.unrecorded(&error, RecordingMode::Strict);
        assert!(matches!(enforcer.step(now).act, Some(Act::Say(words)) if words.contains("its limit of 1 KiB")));
        assert_eq!(enforcer.step(now), Step::act(Act::Terminate, GRACE));
        assert_eq!(enforcer.ending(), Some(Ending::Unrecorded));
    }

    #[test]
    fn a_frozen_command_is_frozen_once_and_thawed_once() {
        let script = [Verdict::Run, Verdict::Run, FREEZE, FREEZE, Verdict::Say("x".into())];
        let mut watch = Script(script.to_vec());
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        let now = Instant::now();
        assert_eq!(enforcer.step(now), Step::act(Act::Say("x".into()), Duration::ZERO));
        assert_eq!(enforcer.step(now).act, Some(Act::Freeze));
        assert_eq!(enforcer.step(now).act, None);
        assert!(enforcer.is_frozen());
        assert_eq!(enforcer.step(now).act, Some(Act::Thaw));
        assert_eq!(enforcer.step(now).act, None);
        assert_eq!(enforcer.ending(), None);
    }

    #[test]
    fn a_frozen_command_ends_when_it_is_given_up_or_revoked() {
        let now = Instant::now();
        let mut watch = Script(vec![FREEZE, FREEZE]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        enforcer.give_up();
        let _ = enforcer.step(now);
        enforcer.give_up();
        assert_eq!(enforcer.step(now).act, Some(Act::Terminate));
        assert_eq!(enforcer.ending(), Some(Ending::Expiry));

        let mut watch = Script(vec![Verdict::End(Ending::Revocation), FREEZE]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        let _ = enforcer.step(now);
        assert_eq!(enforcer.step(now).act, Some(Act::Terminate));
        assert_eq!(enforcer.ending(), Some(Ending::Revocation));
    }

    #[test]
    fn a_time_limit_ends_what_nothing_else_would() {
        let limit = Duration::from_secs(60);
        let mut watch = Script(vec![Verdict::Run]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, Some(limit));
        enforcer.begun();
        let now = Instant::now();
        assert_eq!(enforcer.step(now), Step::wait(GLANCE));
        assert_eq!(enforcer.step(now + limit), Step::act(Act::Terminate, GRACE));
        assert_eq!(enforcer.ending(), Some(Ending::TimeLimit));
    }
}
