//! Decides when a command is warned, frozen and ended: turns the verdicts of the watch into steps that both kinds of session take.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::freeze::{Freeze, Hold};
use super::watch::{EndReason, EnforcedRun, Verdict, Watch};
use jit_core::policy::RecordingMode;
use sys::process::{Pid, Waiting, wait};
use sys::wake_timer::{EndTimer, WakeTimer};

/// The interval between two checks of processes that are being killed.
const ROUND: Duration = Duration::from_millis(20);

/// For how long after the end of the grace period the checks follow each other so quickly, and the longest interval after that. A
/// process that waits for a file system in the kernel cannot be killed, and may wait for ever.
const QUICK: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(1);

/// The interval between two checks of processes that were left behind, whose end no event reports.
const GLANCE: Duration = Duration::from_millis(250);

/// A command that has run this long gets a process that ends it in time.
const LASTING: Duration = Duration::from_millis(50);

/// How long a stop of a process can last on which alone the end of the run depends. Longer than [`LASTING`], so that the timer
/// hardly ever expires.
pub(super) const WOKEN_AFTER: Duration = Duration::from_millis(100);

/// The kernel kills this process if it makes no progress for this time while no other process would end the run. Longer than a wait
/// for the lock of the database, or for a busy disk.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// How long after its deadline the enforcer may still kill before this process does.
const SLACK: Duration = Duration::from_millis(500);

/// How many messages of the watch are still taken when the command has ended.
const LAST_LOOKS: u32 = 8;

/// The interval between two attempts to start the enforcer process.
const AGAIN: Duration = Duration::from_secs(1);

/// Shown when a job cannot be stopped.
const CANNOT_STOP: &str = "the process that ends this job in time cannot be started yet, so the job is stopped later";

/// Shown when a command was woken too often.
const WOKEN: &str = "another process continues it while it is frozen, so it is ended";

/// Watches the grant of a running command and decides what is done to the command.
pub(super) struct Enforcer<'a> {
    watch: &'a mut dyn Watch,
    grace: Duration,
    /// How long the command may run, and when that time ends.
    limit: Option<Duration>,
    over: Option<Instant>,
    state: State,
    freeze: Freeze,
    /// Whether no control group holds what is frozen.
    is_loose: bool,
    /// Shown and then done at the next step: nothing may run unrecorded.
    unrecorded: Option<Unrecorded>,
    /// What is handed over, and when it started; `None` where there is nothing to hand over.
    running: Option<(Instant, EnforcedRun)>,
    delegate: Delegate,
    /// When an enforcer was last started, or lost.
    tried: Option<Instant>,
    /// The delegate was lost, and it is unknown which of its tasks it has done.
    is_undone: bool,
    /// A message of the watch that is not shown yet.
    unsaid: Option<String>,
    /// Continues this process when it is stopped while no other process would end the run.
    wake_timer: Option<WakeTimer>,
    /// Kills this process, and by that the command, when a command that runs as root stops it faster than it is continued; with the
    /// time since when.
    end_timer: Option<(EndTimer, Instant)>,
    /// Whether the command is ended for a reason that only this process sees.
    ends_alone: bool,
}

/// The process that ends the run in place of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delegate {
    /// Not worth starting yet, failed to start, or was killed.
    None,
    /// Does everything that the watch demands; this process only shows messages.
    Acts(Pid),
}

/// What is still to be done about a session that must be recorded and cannot be.
enum Unrecorded {
    Say(String),
    End,
}

enum State {
    Runs,
    /// Until the watch returns another verdict.
    Frozen,
    /// The caller does not want to wait any longer for a frozen command.
    GivenUp,
    /// What is left at this time is killed.
    Ending(EndReason, Instant),
}

/// What the session does next: an action, if there is one, and how long at most to wait for events afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) act: Option<Act>,
    pub(super) patience: Option<Duration>,
}

/// An action on the command and its descendants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Shows a message to the person at the terminal.
    Say(String),
    /// Stops all processes.
    Freeze,
    /// Lets all processes continue.
    Thaw,
    /// Sends SIGTERM to all processes.
    Terminate,
    /// Sends SIGKILL to all processes.
    Kill,
}

impl<'a> Enforcer<'a> {
    /// `grace` is the time between SIGTERM and SIGKILL, `limit` the time for which the command may run.
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
            ends_alone: false,
            wake_timer: None,
            end_timer: None,
        }
    }

    /// From now on until the run is handed over, and when the enforcer is lost, no stop of this process lasts. Call it before the
    /// command is started, which may stop this process at once, and with SIGCONT in the queue of signals.
    pub(super) fn stay_awake(&mut self) -> io::Result<()> {
        self.wake_timer = Some(WakeTimer::start(WOKEN_AFTER)?);
        self.end_timer = Some((EndTimer::start(DEAD_AFTER)?, Instant::now()));
        Ok(())
    }

    /// The time between SIGTERM and SIGKILL.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// Returns why the command was ended, if it was.
    pub(super) fn ending(&self) -> Option<EndReason> {
        match self.state {
            State::Ending(ending, _) => Some(ending),
            State::Runs | State::Frozen | State::GivenUp => None,
        }
    }

    /// Returns when the grace period ends, once the command is being ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Ending(_, deadline) => Some(deadline),
            State::Runs | State::Frozen | State::GivenUp => None,
        }
    }

    /// Returns how long to wait until the next check of processes that are being ended: longer and longer when they do not end.
    pub(super) fn pace(&self, now: Instant) -> Duration {
        let late = self.deadline().map(|deadline| now.saturating_duration_since(deadline)).unwrap_or_default();
        if late < QUICK { ROUND } else { (late / 20).min(LONGEST) }
    }

    /// Records that this process makes progress.
    fn go_on(&mut self) {
        if self.end_timer.as_ref().is_some_and(|(_, since)| since.elapsed() > AGAIN) {
            self.end_timer = EndTimer::start(DEAD_AFTER).ok().map(|timer| (timer, Instant::now()));
        }
    }

    /// Whether the command was stopped by us: then it gets no signals, and its stops are not those of a job.
    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.state, State::Frozen)
    }

    /// Records that no control group can hold what is frozen.
    pub(super) fn cannot_hold(&mut self) {
        self.is_loose = true;
        self.watch.cannot_freeze();
    }

    /// Records the result of freezing the command.
    pub(super) fn froze(&mut self, hold: Hold) {
        if !hold.is_held {
            self.cannot_hold();
        }
        if self.freeze.is_woken_again(hold) && self.is_frozen() {
            self.give_up();
            self.unsaid = Some(WOKEN.to_owned());
        }
    }

    /// Whether the command may run and does.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Runs)
    }

    /// Ends a frozen command because the caller asks for it.
    pub(super) fn give_up(&mut self) {
        if self.is_frozen() {
            self.state = State::GivenUp;
        }
    }

    /// Records that the command has been started; `enforced_run` is handed over when the command runs for long.
    pub(super) fn begun(&mut self, enforced_run: Option<EnforcedRun>) {
        let now = Instant::now();
        self.over = self.limit.map(|limit| now + limit);
        if enforced_run.as_ref().is_some_and(|enforced_run| enforced_run.group.is_none()) {
            self.cannot_hold();
        }
        self.running = enforced_run.map(|enforced_run| (now, enforced_run));
        self.watch.begun();
    }

    /// Hands the run over to an enforcer, unless that was done before; from then on this process may stop, wait or die. `command`
    /// was started to execute the command; the enforcer reports to `watchdog`. Returns the enforcer when it was started now.
    pub(super) fn hand_over(&mut self, command: Option<Pid>, watchdog: Option<(Pid, Rc<OwnedFd>)>) -> Option<Pid> {
        let (Delegate::None, Some((_, enforced_run))) = (self.delegate, &self.running) else { return None };
        let limit = self.over.map(|over| over.saturating_duration_since(Instant::now()));
        let enforcer = self.watch.hand_over(&EnforcedRun { limit, command, watchdog, ..enforced_run.clone() });
        self.delegate = enforcer.map_or(Delegate::None, Delegate::Acts);
        self.tried = Some(Instant::now());
        if enforcer.is_some() {
            (self.wake_timer, self.end_timer) = (None, None);
        }
        enforcer
    }

    /// Whether another process ended the run when that was checked last.
    pub(super) fn has_delegate(&self) -> bool {
        matches!(self.delegate, Delegate::Acts(_))
    }

    /// Records that the run has a watchdog.
    pub(super) fn watched(&mut self) {
        self.watch.watched();
    }

    /// Records that no watchdog could be started.
    pub(super) fn unwatched(&mut self, why: &io::Error) {
        self.watch.unwatched(why);
    }

    /// Records that the command has stopped and that this process must not stop with it, because no other process would end it.
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
            let _ = self.stay_awake(); // it worked before, and there is another enforcer soon
            self.watch.taken_back();
            self.freeze = Freeze::default();
            self.is_undone = true;
        }
        matches!(self.delegate, Delegate::Acts(_))
    }

    /// Whether the command is being ended or frozen, by this process or the enforcer. One that stops now is no job that a shell
    /// could continue.
    pub(super) fn interferes(&mut self) -> bool {
        let handed_over = self.is_handed_over();
        match self.state {
            State::Ending(..) | State::Frozen => true,
            State::Runs | State::GivenUp => handed_over && !matches!(self.settled_verdict(), Verdict::Run),
        }
    }

    /// Records that the command has ended, and why, where the enforcer acted before this process looked at the grant.
    pub(super) fn command_ended(&mut self) {
        self.end_timer = None; // its reader may be slow
        if !matches!(self.state, State::Runs | State::Frozen) || !self.is_handed_over() {
            return;
        }
        match self.settled_verdict() {
            Verdict::End(ending) => self.state = State::Ending(ending, Instant::now() + self.grace),
            // A frozen command does not end by itself, and a control group would not let another process wake it.
            Verdict::Freeze(ending) if self.is_frozen() && self.is_loose => {
                self.unsaid = Some(WOKEN.to_owned());
                self.state = State::Ending(ending, Instant::now() + self.grace);
            }
            Verdict::Freeze(_) | Verdict::Run | Verdict::Say(_) => {}
        }
    }

    /// Watches the processes that a finished command or session has left behind and applies the watch's verdicts to them with `act`
    /// until `is_gone` returns true. Returns why they were ended, if they were. Shows no messages.
    pub(super) fn outwatch(mut self, act: &dyn Fn(&Act, &mut Self), is_gone: &dyn Fn() -> bool) -> Option<EndReason> {
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
            std::thread::sleep(if self.ending().is_some() { self.pace(Instant::now()) } else { patience });
        }
    }

    /// Returns the message that is still to be shown to the person at the terminal.
    pub(super) fn last_words(&mut self) -> Option<String> {
        self.unsaid.take()
    }

    /// Returns the verdict and keeps a message for later.
    fn settled_verdict(&mut self) -> Verdict {
        // The enforcer may have seen a change of which no message was shown yet.
        self.watch.look_again();
        for _ in 0..LAST_LOOKS {
            match self.watch.verdict() {
                Verdict::Say(words) => self.unsaid = Some(words),
                verdict => return verdict,
            }
        }
        Verdict::Run
    }

    /// Records that the session cannot be recorded any more; in strict mode the command must end.
    pub(super) fn unrecorded(&mut self, why: &str, mode: RecordingMode) {
        self.watch.unrecorded(why);
        if mode == RecordingMode::Strict {
            self.unrecorded = Some(Unrecorded::Say(format!("{why}, so the command is ended")));
        }
    }

    /// Records that processes do not show whether they belong to the session.
    pub(super) fn silent(&mut self, count: usize) {
        self.watch.silent(count);
    }

    /// Looks at the grant. Leaves to the enforcer what it does, unless that is overdue.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        self.go_on();
        let wait = self.lasts_from().map(|due| due.saturating_duration_since(now));
        let step = self.next(now);
        let patience = step.patience.into_iter().chain(wait.filter(|wait| !wait.is_zero())).min();
        Step { patience, ..step }
    }

    /// Whether the command has run long enough for an enforcer, and none was tried a moment ago.
    pub(super) fn lasts(&self) -> bool {
        self.lasts_from().is_some_and(|due| due <= Instant::now())
    }

    /// Returns from when on that holds; `None` when there is an enforcer.
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
            return if now < deadline {
                Step::wait(Some(deadline - now))
            } else {
                Step::act(Act::Kill, self.pace(now))
            };
        }
        match self.unrecorded.take() {
            Some(Unrecorded::Say(words)) => {
                self.unrecorded = Some(Unrecorded::End);
                return Step::act(Act::Say(words), Duration::ZERO);
            }
            Some(Unrecorded::End) => return self.end_alone(EndReason::Unrecorded, now),
            None => {}
        }
        let left = self.over.map(|over| over.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            let step = self.end(EndReason::TimeLimit, now);
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
            (State::GivenUp, Verdict::Run) => self.end_alone(EndReason::Expiry, now),
            (State::GivenUp, Verdict::Freeze(ending)) => self.end_alone(ending, now),
            (State::Runs, Verdict::Freeze(_)) => {
                self.state = State::Frozen;
                self.freeze = Freeze::default();
                self.keep_frozen(now)
            }
            (State::Frozen, Verdict::Freeze(_)) => self.keep_frozen(now),
            (State::Runs | State::Ending(..), Verdict::Run) | (State::Ending(..), Verdict::Freeze(_)) => {
                Step::wait(self.watch.patience())
            }
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

    /// Ends the command for a reason that the enforcer does not see.
    fn end_alone(&mut self, ending: EndReason, now: Instant) -> Step {
        self.ends_alone = true;
        self.end(ending, now)
    }

    /// Whether another process ends the run for the same reason, and is late if this one has to.
    pub(super) fn waits_for_another(&mut self) -> bool {
        !self.ends_alone && self.is_handed_over()
    }

    /// Ends the command. A frozen one gets no grace period: it would have to be thawed to use it, and whoever holds its grant or its
    /// terminal could choose when.
    fn end(&mut self, ending: EndReason, now: Instant) -> Step {
        let is_frozen = matches!(self.state, State::Frozen | State::GivenUp);
        let grace = if is_frozen { Duration::ZERO } else { self.grace };
        self.state = State::Ending(ending, now + grace);
        if is_frozen { Step::act(Act::Kill, ROUND) } else { Step::act(Act::Terminate, grace) }
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
mod tests;
