//! A session that another program, such as sshd or su, has opened: watched and ended from outside. The program reports over a
//! socket when it closes the session; when it dies without that, what it has left behind is ended. A program that serves only this
//! session and does not close it in time is ended too.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::closing::{Closing, Leave};
use super::ending::{Act, Enforcer};
use super::freeze::Hold;
use super::hold::{Purpose, RunHandles};
use super::outcome::ended_by;
use super::progress::Progress;
use super::run_groups::PARENT;
use super::watch::{EndReason, Watch};
use super::watchdog::Watchdog;
use crate::authorized::environment::RUN_VARIABLE;
use crate::programs::ours;
use jit_core::escape::Word;
use jit_core::evidence::record;
use jit_core::names::RunId;
use jit_core::places::JIT_SUDO;
use sys::cgroup::Cgroup;
use sys::foreign_processes::{ForeignProcesses, ForeignProgram};
use sys::marked::Mark;
use sys::poll::{PollEntry, poll, read};
use sys::process::Pid;
use sys::signals::{SIGCONT, SIGHUP, SIGKILL, SIGTERM, SignalQueue};

/// The interval between two checks of a program whose socket is closed, and of one that does not end though its session was ended.
const GLANCE: Duration = Duration::from_millis(250);

/// How many checks at the beginning look for logind moving the session to its own scope: about ten seconds.
const LOOKS: u32 = 40;

/// How long a message on a terminal needs to reach a remote user: the sshd process that relays it is among those that are stopped
/// or ended next.
const CARRIAGE: Duration = Duration::from_millis(100);

/// The interval between two checks of processes that are being killed, and the number of checks.
const ROUND: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 100;

/// How long supervisors of runs in the session have to record how these ended, before they are killed.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);

/// The program that opens a session.
pub struct Program<'a> {
    /// The process.
    pub pid: Pid,
    /// The uid of the user who holds the grant.
    pub holder: u32,
    /// The uid under which the session runs.
    pub run_as: u32,
    /// The terminal, where the program names one.
    pub terminal: Option<&'a OsStr>,
    /// Whether the program has another open session now.
    pub is_shared: &'a dyn Fn() -> bool,
}

/// A session of another program.
pub struct Hosted<'a> {
    foreign_processes: ForeignProcesses,
    is_shared: &'a dyn Fn() -> bool,
    /// Reports to the watchdog, which kills the group of the session when this process makes no progress.
    progress: Progress,
}

impl<'a> Hosted<'a> {
    /// Creates the session of `run`: what `program` starts for it from now on.
    ///
    /// # Errors
    /// Fails when there is no such process.
    pub fn found(run: &RunId, program: &Program<'a>) -> io::Result<Self> {
        let Program { pid, holder, run_as, terminal, is_shared } = *program;
        let shared = is_shared();
        let group = Cgroup::create_for(PARENT, run.as_str(), pid);
        let host = ForeignProgram { pid, holder, run_as, terminal, mark: Mark::new(RUN_VARIABLE, run.as_str()) };
        let foreign_processes = ForeignProcesses::of(host, group.ok(), ours(), shared)?;
        Ok(Self { foreign_processes, is_shared, progress: Progress::default() })
    }

    fn handles(&self) -> RunHandles<'_> {
        RunHandles::of(self.foreign_processes.group(), None)
    }

    /// Reports to the watchdog. Called before each look at the processes, which any user can make wait for ever.
    fn report(&self) {
        self.progress.report(self.handles());
    }

    /// Watches the session until the program closes it on `line`, or dies; `grace` is the time between SIGTERM and SIGKILL.
    pub fn supervise(&self, line: BorrowedFd<'_>, watch: &mut dyn Watch, grace: Duration) -> record::RunOutcome {
        let begun = Instant::now();
        let mut enforcer = Enforcer::new(watch, grace, None);
        if !self.foreign_processes.can_be_held() {
            enforcer.cannot_hold();
        }
        let ear = HostLine { line, call: SignalQueue::open(&[SIGHUP]).ok() };
        if !self.handles().is_empty() {
            match Watchdog::start(self.handles()) {
                Ok(watchdog) => self.progress.tell(watchdog),
                Err(error) => enforcer.unwatched(&error),
            }
        }
        enforcer.begun(None);
        enforcer.watched();
        let mut closing = Closing::new(grace);
        let closed = self.until_closed(&ear, &mut enforcer, &mut closing);
        if !closed {
            let left = enforcer.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.clear_up(left.unwrap_or(if enforcer.runs() { grace } else { Duration::ZERO }));
        }
        if enforcer.ending().is_some() || !closed {
            self.end_programs();
        }
        let detail = match (closed, closing.is_over) {
            (true, _) => None,
            (false, true) => Some("the program that opened the session did not close it and was killed"),
            (false, false) => Some("the program that opened the session ended without closing it"),
        };
        let detail = detail.map(Word::from);
        record::RunOutcome {
            duration_us: u64::try_from(begun.elapsed().as_micros()).ok(),
            detail,
            ..record::RunOutcome::unknown(ended_by(enforcer.ending()))
        }
    }

    /// Returns the processes that a closed session has left behind, as far as its control group knows.
    pub fn left(&self) -> Vec<Pid> {
        self.foreign_processes.leave()
    }

    /// Watches these processes until none is left, or ends them when the watch demands it. Returns why they were ended, if they
    /// were.
    pub fn outwatch(&self, watch: &mut dyn Watch, grace: Duration) -> Option<EndReason> {
        let is_gone = || {
            self.report();
            self.foreign_processes.keep_up();
            self.foreign_processes.count().is_ok_and(|count| count == 0)
        };
        let act = |act: &Act, enforcer: &mut Enforcer<'_>| {
            let _ = self.act(act, enforcer); // how many there are is asked below
        };
        let ending = Enforcer::new(watch, grace, None).outwatch(&act, &is_gone);
        if ending.is_some() {
            self.end_programs();
        }
        ending
    }

    /// Ends all processes that are left.
    pub fn end(&self, grace: Duration) {
        self.clear_up(grace);
        self.end_programs();
    }

    /// Stops watching the session.
    pub fn part(self) {
        self.progress.relieve();
        self.foreign_processes.part();
    }

    /// Waits until the program has closed the session and what had to end has ended. Returns false when the program died without
    /// closing it.
    fn until_closed(&self, ear: &HostLine<'_>, enforcer: &mut Enforcer<'_>, closing: &mut Closing) -> bool {
        let mut state = Line::Open;
        let mut looks = LOOKS;
        let mut seated = false;
        let mut is_told = false;
        loop {
            self.report();
            self.foreign_processes.keep_up();
            if looks > 0 || !self.foreign_processes.host_is_theirs() || (self.is_shared)() {
                looks = looks.saturating_sub(1);
                self.foreign_processes.look((self.is_shared)());
            }
            let silent = self.foreign_processes.silent();
            if silent > 0 && !std::mem::replace(&mut is_told, true) {
                enforcer.silent(silent);
            }
            if state == Line::Closed {
                // No user is left who could wait for it to be thawed.
                enforcer.give_up();
            }
            let step = enforcer.step(Instant::now());
            if step.act.is_none() && enforcer.is_frozen() {
                seated = self.keep_frozen(enforcer, seated);
            }
            let left = step.act.map_or(usize::MAX, |act| self.act(&act, enforcer));
            // When no process is left to kill, the program has not noticed yet.
            let patience = if left == 0 { GLANCE } else { step.patience.unwrap_or(GLANCE) };
            let patience = match enforcer.ending() {
                Some(_) if state != Line::Closed => {
                    patience.min(self.take_leave(closing, enforcer.pace(Instant::now())))
                }
                Some(_) => patience.min(enforcer.pace(Instant::now())),
                None if state == Line::Closed => patience.min(ROUND),
                None => patience,
            };
            match state {
                Line::Lost if !self.foreign_processes.host_lives() => return false,
                Line::Closed if enforcer.runs() || self.foreign_processes.count().is_ok_and(|count| count == 0) => {
                    return true;
                }
                Line::Open | Line::Lost | Line::Closed => state = ear.listen(state, patience),
            }
        }
    }

    /// Applies an action. For a kill, returns how many processes were signalled; otherwise a number that says nothing.
    fn act(&self, act: &Act, enforcer: &mut Enforcer<'_>) -> usize {
        match act {
            Act::Say(words) => self.tell(words),
            Act::Freeze => self.freeze(enforcer),
            Act::Thaw => self.thaw(),
            Act::Terminate => self.terminate(),
            Act::Kill => return self.kill(),
        }
        usize::MAX
    }

    /// Freezes the session; without a control group by SIGSTOP, see [`Hold`].
    fn freeze(&self, enforcer: &mut Enforcer<'_>) {
        self.progress.did(Some(Purpose::Freeze), self.handles());
        let is_held = self.foreign_processes.freeze().is_ok();
        // The next look tries again.
        let awake = if is_held { 0 } else { self.foreign_processes.stop().unwrap_or(0) };
        enforcer.froze(Hold { is_held, awake });
    }

    /// Freezes what the program has started since. A frozen process does not notice that its terminal is hung up, and su(1) waits
    /// for it: so the session is given up when none of its processes has a terminal any more. Returns whether one has.
    fn keep_frozen(&self, enforcer: &mut Enforcer<'_>, seated: bool) -> bool {
        self.freeze(enforcer);
        let sits = self.foreign_processes.have_terminal().unwrap_or(seated);
        if seated && !sits {
            enforcer.give_up();
        }
        sits
    }

    /// While the session is being ended, asks a program that serves it alone to end, and kills it when it does not. Returns how
    /// long to wait until the next check; `pace` where it does not end.
    fn take_leave(&self, closing: &mut Closing, pace: Duration) -> Duration {
        if !self.foreign_processes.host_is_theirs() {
            return GLANCE;
        }
        let is_empty = self.foreign_processes.count().is_ok_and(|count| count == 0);
        match closing.next(is_empty, Instant::now()) {
            Leave::Wait => {}
            Leave::Ask => self.foreign_processes.signal_host(SIGTERM),
            Leave::Kill => self.foreign_processes.signal_host(SIGKILL),
        }
        pace
    }

    /// Waits until the supervisors of runs in the session have seen that their commands ended and end themselves; a command that
    /// one was about to start is ended too. A supervisor that still waits for a user's answer gets none and is killed.
    fn end_programs(&self) {
        let deadline = Instant::now() + RECORDED_WITHIN;
        while self.foreign_processes.count_programs().is_ok_and(|count| count > 0) {
            self.report();
            if Instant::now() > deadline {
                let _ = self.foreign_processes.kill_programs(); // the other processes are gone
                return;
            }
            if self.foreign_processes.count().is_ok_and(|count| count > 0) {
                self.kill();
            }
            std::thread::sleep(ROUND);
        }
    }

    fn tell(&self, words: &str) {
        self.foreign_processes.tell(&format!("jit-sudo: {words}"));
        std::thread::sleep(CARRIAGE);
    }

    fn thaw(&self) {
        self.progress.thawed();
        let _ = self.foreign_processes.thaw(); // without a group they were stopped by a signal
        self.signal(SIGCONT);
        self.foreign_processes.wake_host();
    }

    /// Sends SIGTERM, then lets the processes continue: a stopped process cannot react.
    fn terminate(&self) {
        self.progress.did(Some(Purpose::Terminate), self.handles());
        if self.foreign_processes.are_frozen() {
            self.kill(); // thawed, they would run until the end of the grace period
            return;
        }
        self.signal(SIGTERM);
        self.thaw();
    }

    fn kill(&self) -> usize {
        self.progress.did(Some(Purpose::Kill), self.handles());
        let left = self.signal(SIGKILL);
        self.foreign_processes.wake_host();
        left
    }

    fn signal(&self, number: i32) -> usize {
        self.foreign_processes.signal(number, JIT_SUDO).unwrap_or(usize::MAX)
    }

    /// Ends all processes; without a grace period none of them continues before it is killed.
    fn clear_up(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if !grace.is_zero() {
            self.terminate();
        }
        while self.foreign_processes.count().is_ok_and(|count| count > 0) && Instant::now() < deadline {
            self.report();
            std::thread::sleep(ROUND);
        }
        for _ in 0..ROUNDS {
            if self.kill() == 0 {
                return;
            }
            std::thread::sleep(ROUND);
        }
    }
}

/// The state of the session, as the program reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Not closed.
    Open,
    /// The program has closed the session, and waits until that was recorded.
    Closed,
    /// The socket is closed: most likely the program has died. Some programs close every file descriptor that they do not know;
    /// these have the broker signal the end.
    Lost,
}

/// Where the reports of a program arrive.
struct HostLine<'a> {
    line: BorrowedFd<'a>,
    /// SIGHUP, by which the broker reports that a program whose socket is lost has closed the session.
    call: Option<SignalQueue>,
}

impl HostLine<'_> {
    fn listen(&self, state: Line, patience: Duration) -> Line {
        let line = PollEntry::reading(self.line);
        let call = self.call.as_ref().map(|call| PollEntry::reading(call.as_fd()));
        let (mut entries, patience) = match state {
            Line::Open => (Some(line).into_iter().chain(call).collect::<Vec<_>>(), patience),
            Line::Lost => (call.into_iter().collect(), patience.min(GLANCE)),
            Line::Closed => (Vec::new(), patience),
        };
        let _ = poll(&mut entries, Some(patience)); // an error shows as a socket that cannot be read
        if self.call.as_ref().is_some_and(|call| call.next_event().is_ok_and(|event| event.is_some())) {
            return Line::Closed;
        }
        let is_heard = entries.first().is_some_and(|entry| entry.ready_read || entry.hangup);
        match state {
            Line::Open if is_heard => match read(self.line, &mut [0]) {
                Ok(count) if count > 0 => Line::Closed,
                Ok(_) | Err(_) => Line::Lost,
            },
            Line::Open | Line::Lost | Line::Closed => state,
        }
    }
}
