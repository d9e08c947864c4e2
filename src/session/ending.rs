//! When a command is warned, frozen and ended: the watch says what the grant allows, and here it becomes steps that both
//! kinds of session take.

use std::time::{Duration, Instant};

use super::freeze::{Freeze, Hold};
use super::watch::{Ending, EnforcedRun, Verdict, Watch};
use jit_core::policy::RecordingMode;
use sys::process::{Pid, Waiting, wait};

/// Between two looks at processes that are being killed.
const ROUND: Duration = Duration::from_millis(20);

/// Between two looks at what was left behind, which nobody may tell of.
const GLANCE: Duration = Duration::from_millis(250);

/// A command that has run for so long is worth a process that ends it in time.
const LASTING: Duration = Duration::from_millis(50);

/// How long behind its deadline the enforcer may kill before we do.
const SLACK: Duration = Duration::from_millis(500);

/// How many words the watch may still have to say when the command has ended.
const LAST_LOOKS: u32 = 8;

/// Between two tries to start the process that ends the run.
const AGAIN: Duration = Duration::from_secs(1);

/// What is told of a job that does not stop.
const CANNOT_STOP: &str = "there is no room for the process that would end this job in time, so it is stopped later";

/// What is told of a command that was woken too often.
const WOKEN: &str = "somebody lets it go on while it is frozen, so it is ended";

/// Watches the grant of a running command and says what to do to it.
pub(super) struct Enforcer<'a> {
    watch: &'a mut dyn Watch,
    grace: Duration,
    /// For how long the command may run, and until when that is.
    limit: Option<Duration>,
    over: Option<Instant>,
    state: State,
    freeze: Freeze,
    /// No control group holds what is frozen.
    is_loose: bool,
    /// Said and done at the next step: nothing may run unrecorded.
    unrecorded: Option<Unrecorded>,
    /// What runs, and since when; nothing where it is not ours to hand over.
    running: Option<(Instant, EnforcedRun)>,
    delegate: Delegate,
    /// When one was last started, or lost.
    tried: Option<Instant>,
    /// The delegate was lost, and nobody knows what it has done of what it had to do.
    is_undone: bool,
    /// Words of the watch that are still to be told.
    unsaid: Option<String>,
}

/// The process that ends the run in our place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delegate {
    /// Not worth starting yet, or it could not be started, or it was killed.
    None,
    /// It does all that the watch demands; we only speak.
    Acts(Pid),
}

/// What is still to be done about a session that must be recorded and cannot be.
enum Unrecorded {
    Say(String),
    End,
}

enum State {
    Runs,
    /// Until the watch says something else.
    Frozen,
    /// The caller does not want to wait for a frozen command any longer.
    GivenUp,
    CommandStreams(Ending, Instant),
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
        Self {
            watch,
            grace,
            limit,
            over: None,
            state: State::Runs,
            freeze: Freeze::default(),
            is_loose: false,
            unrecorded: None,
            running: None,
            delegate: Delegate::None,
            tried: None,
            is_undone: false,
            unsaid: None,
        }
    }

    /// The time between SIGTERM and SIGKILL.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// Why the command was ended, if it was.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.state {
            State::CommandStreams(ending, _) => Some(ending),
            State::Runs | State::Frozen | State::GivenUp => None,
        }
    }

    /// When the grace period is over, once the command is being ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::CommandStreams(_, since) => Some(since + self.grace),
            State::Runs | State::Frozen | State::GivenUp => None,
        }
    }

    /// The command was stopped by us: it neither gets signals nor are its stops those of a job.
    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.state, State::Frozen)
    }

    /// There is no control group that could hold what is frozen.
    pub(super) fn cannot_hold(&mut self) {
        self.is_loose = true;
        self.watch.cannot_freeze();
    }

    /// It was frozen as was wanted, and this came of it.
    pub(super) fn froze(&mut self, hold: Hold) {
        if !hold.is_held {
            self.cannot_hold();
        }
        if self.freeze.is_woken_again(hold) && self.is_frozen() {
            self.give_up();
            self.unsaid = Some(WOKEN.to_owned());
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

    /// Says that the command has been started; `wards` are handed over when it lasts.
    pub(super) fn begun(&mut self, enforced_run: Option<EnforcedRun>) {
        let now = Instant::now();
        self.over = self.limit.map(|limit| now + limit);
        if enforced_run.as_ref().is_some_and(|enforced_run| enforced_run.group.is_none()) {
            self.cannot_hold();
        }
        self.running = enforced_run.map(|enforced_run| (now, enforced_run));
        self.watch.begun();
    }

    /// Gives the run to the enforcer, unless that was done before: from now on this process may stop, wait and die. The process,
    /// when it was begotten now.
    pub(super) fn hand_over(&mut self) -> Option<Pid> {
        let (Delegate::None, Some((_, enforced_run))) = (self.delegate, &self.running) else { return None };
        let limit = self.over.map(|over| over.saturating_duration_since(Instant::now()));
        let enforcer = self.watch.hand_over(&EnforcedRun { limit, ..enforced_run.clone() });
        self.delegate = enforcer.map_or(Delegate::None, Delegate::Acts);
        self.tried = Some(Instant::now());
        enforcer
    }

    /// The command has stopped, and who waits for it must not: nobody would be there to end it.
    pub(super) fn cannot_stop(&mut self) {
        self.unsaid = Some(CANNOT_STOP.to_owned());
    }

    /// Whether another process ends the run.
    pub(super) fn is_handed_over(&mut self) -> bool {
        if let Delegate::Acts(enforcer) = self.delegate
            && !matches!(wait(enforcer, Waiting::EndNow), Ok(None))
        {
            self.delegate = Delegate::None;
            self.tried = Some(Instant::now());
            self.watch.taken_back();
            self.freeze = Freeze::default();
            self.is_undone = true;
        }
        matches!(self.delegate, Delegate::Acts(_))
    }

    /// Whether the command is being ended or frozen, by us or the enforcer: one that stops now is no job that a shell could
    /// continue.
    pub(super) fn interferes(&mut self) -> bool {
        let handed_over = self.is_handed_over();
        match self.state {
            State::CommandStreams(..) | State::Frozen => true,
            State::Runs | State::GivenUp => handed_over && !matches!(self.settled_verdict(), Verdict::Run),
        }
    }

    /// The command has ended: by whom, where the enforcer was quicker than our own look at the grant.
    pub(super) fn command_ended(&mut self) {
        if !matches!(self.state, State::Runs | State::Frozen) || !self.is_handed_over() {
            return;
        }
        match self.settled_verdict() {
            Verdict::End(ending) => self.state = State::CommandStreams(ending, Instant::now()),
            // It does not end by itself, and what is held is not woken.
            Verdict::Freeze(ending) if self.is_frozen() && self.is_loose => {
                self.unsaid = Some(WOKEN.to_owned());
                self.state = State::CommandStreams(ending, Instant::now());
            }
            Verdict::Freeze(_) | Verdict::Run | Verdict::Say(_) => {}
        }
    }

    /// Watches what something finished has left behind, and does to it what the watch wants by `act`, until it `is_gone`; why it
    /// was ended, if it was. Nobody of it is told anything.
    pub(super) fn outwatch(mut self, act: &dyn Fn(&Act, &mut Self), is_gone: &dyn Fn() -> bool) -> Option<Ending> {
        self.begun(None);
        loop {
            let step = self.step(Instant::now());
            if let Some(wanted) = step.act.filter(|wanted| !matches!(wanted, Act::Say(_))) {
                act(&wanted, &mut self);
            }
            if is_gone() {
                return self.ending();
            }
            let patience = step.patience.unwrap_or(GLANCE).min(GLANCE);
            std::thread::sleep(if self.ending().is_some() { ROUND } else { patience });
        }
    }

    /// What is still to be told to the person at the terminal.
    pub(super) fn last_words(&mut self) -> Option<String> {
        self.unsaid.take()
    }

    /// The verdict, with its words kept for later.
    fn settled_verdict(&mut self) -> Verdict {
        // The enforcer may have seen what nobody was told of yet.
        self.watch.look_again();
        for _ in 0..LAST_LOOKS {
            match self.watch.verdict() {
                Verdict::Say(words) => self.unsaid = Some(words),
                verdict => return verdict,
            }
        }
        Verdict::Run
    }

    /// The session cannot be recorded any more: others are told, and where the policy is strict the command must end.
    pub(super) fn unrecorded(&mut self, why: &str, mode: RecordingMode) {
        self.watch.unrecorded(why);
        if mode == RecordingMode::Strict {
            self.unrecorded = Some(Unrecorded::Say(format!("{why}, so the command is ended")));
        }
    }

    /// Looks at the grant. What the enforcer does is not ours to do, unless it should have been done long ago.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let wait = self.lasts_from().map(|due| due.saturating_duration_since(now));
        let step = self.next(now);
        let patience = step.patience.into_iter().chain(wait.filter(|wait| !wait.is_zero())).min();
        Step { patience, ..step }
    }

    /// Whether the command has run for so long that it is worth an enforcer, and none was tried a moment ago.
    pub(super) fn lasts(&self) -> bool {
        self.lasts_from().is_some_and(|due| due <= Instant::now())
    }

    /// From when on; nothing where it has an enforcer.
    fn lasts_from(&self) -> Option<Instant> {
        let (begun, _) = self.running.as_ref().filter(|_| self.delegate == Delegate::None)?;
        let again = self.tried.map(|tried| tried + AGAIN);
        Some(again.map_or(*begun + LASTING, |again| again.max(*begun + LASTING)))
    }

    fn next(&mut self, now: Instant) -> Step {
        if let Some(words) = self.unsaid.take() {
            return Step::act(Act::Say(words), Duration::ZERO);
        }
        let handed_over = self.is_handed_over();
        let is_undone = std::mem::take(&mut self.is_undone);
        if let Some(deadline) = self.deadline() {
            if is_undone && now < deadline {
                return Step::act(Act::Terminate, deadline - now);
            }
            let deadline = if handed_over { deadline + SLACK } else { deadline };
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
            let step = self.end(Ending::TimeLimit, now);
            return self.unless_handed_over(step);
        }
        let step = self.look(now);
        let patience = step.patience.into_iter().chain(left).min();
        Step { patience, ..step }
    }

    fn look(&mut self, now: Instant) -> Step {
        match (&self.state, self.watch.verdict()) {
            (_, Verdict::Say(words)) => Step::act(Act::Say(words), Duration::ZERO),
            (_, Verdict::End(ending)) => {
                let step = self.end(ending, now);
                self.unless_handed_over(step)
            }
            (State::Frozen, Verdict::Run) => {
                self.state = State::Runs;
                let step = Step { act: Some(Act::Thaw), ..Step::wait(self.watch.patience()) };
                self.unless_handed_over(step)
            }
            (State::GivenUp, Verdict::Run) => self.end(Ending::Expiry, now),
            (State::GivenUp, Verdict::Freeze(ending)) => self.end(ending, now),
            (State::Runs, Verdict::Freeze(_)) => {
                self.state = State::Frozen;
                self.freeze = Freeze::default();
                self.keep_frozen(now)
            }
            (State::Frozen, Verdict::Freeze(_)) => self.keep_frozen(now),
            (State::Runs | State::CommandStreams(..), Verdict::Run)
            | (State::CommandStreams(..), Verdict::Freeze(_)) => Step::wait(self.watch.patience()),
        }
    }

    fn keep_frozen(&mut self, now: Instant) -> Step {
        if let Delegate::Acts(_) = self.delegate {
            return Step::wait(self.watch.patience());
        }
        let act = self.freeze.is_due(now).then_some(Act::Freeze);
        Step { act, patience: self.watch.patience().into_iter().chain([self.freeze.patience(now)]).min() }
    }

    fn unless_handed_over(&self, step: Step) -> Step {
        if let Delegate::Acts(_) = self.delegate { Step { act: None, ..step } } else { step }
    }

    fn end(&mut self, ending: Ending, now: Instant) -> Step {
        self.state = State::CommandStreams(ending, now);
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
        let error = "the recording has reached its limit of 1 KiB";
        let mut watch = Script(vec![Verdict::Run, Verdict::Run]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        enforcer.unrecorded(error, RecordingMode::BestEffort);
        assert_eq!(enforcer.step(now).act, None);
        enforcer.unrecorded(error, RecordingMode::Strict);
        assert!(matches!(enforcer.step(now).act, Some(Act::Say(words)) if words.contains("its limit of 1 KiB")));
        assert_eq!(enforcer.step(now), Step::act(Act::Terminate, GRACE));
        assert_eq!(enforcer.ending(), Some(Ending::Unrecorded));
    }

    #[test]
    fn a_frozen_command_is_frozen_for_as_long_as_it_should_be_and_thawed_once() {
        let script = [Verdict::Run, Verdict::Run, FREEZE, FREEZE, FREEZE, Verdict::Say("x".into())];
        let mut watch = Script(script.to_vec());
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        let now = Instant::now();
        assert_eq!(enforcer.step(now), Step::act(Act::Say("x".into()), Duration::ZERO));
        assert_eq!(enforcer.step(now).act, Some(Act::Freeze));
        enforcer.froze(Hold { is_held: true, awake: 3 });
        assert_eq!(enforcer.step(now).act, None);
        assert!(enforcer.is_frozen());
        assert_eq!(enforcer.step(now + Duration::from_secs(1)).act, Some(Act::Freeze));
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
    fn a_frozen_command_that_is_woken_again_and_again_ends() {
        let mut watch = Script(vec![Verdict::Freeze(Ending::Kill); 9]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
        let mut now = Instant::now();
        let mut count = 0;
        while enforcer.step(now).act == Some(Act::Freeze) {
            enforcer.froze(Hold { is_held: false, awake: 1 });
            now += Duration::from_secs(1);
            count += 1;
        }
        assert_eq!(count, 6);
        assert_eq!(enforcer.step(now).act, Some(Act::Terminate));
        assert_eq!(enforcer.ending(), Some(Ending::Kill));
    }

    #[test]
    fn a_time_limit_ends_what_nothing_else_would() {
        let limit = Duration::from_secs(60);
        let mut watch = Script(vec![Verdict::Run]);
        let mut enforcer = Enforcer::new(&mut watch, GRACE, Some(limit));
        enforcer.begun(None);
        let now = Instant::now();
        assert_eq!(enforcer.step(now), Step::wait(GLANCE));
        assert_eq!(enforcer.step(now + limit), Step::act(Act::Terminate, GRACE));
        assert_eq!(enforcer.ending(), Some(Ending::TimeLimit));
    }
}
