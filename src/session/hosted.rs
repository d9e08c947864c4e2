//! A session that another program has opened, such as sshd or su: watched and ended from outside. The program tells on a
//! line when it closes the session; when it dies without that, what it has left behind is ended. A program that serves this session
//! alone, and does not close it when it should, is ended too.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::closing::{Closing, Leave};
use super::ending::{Act, Enforcer};
use super::freeze::Hold;
use super::outcome::ended_by;
use super::process_tree::PARENT;
use super::watch::{Ending, Watch};
use crate::authorized::environment::RUN_VARIABLE;
use crate::programs::ours;
use jit_core::escape::Word;
use jit_core::evidence::record;
use jit_core::places::JIT_SUDO;
use sys::cgroup::Cgroup;
use sys::foreign_processes::{ForeignProcesses, ForeignProgram};
use sys::marked::Mark;
use sys::poll::{PollEntry, poll, read};
use sys::process::Pid;
use sys::signals::{SIGCONT, SIGHUP, SIGKILL, SIGTERM, SignalQueue};

/// Between two looks at a program whose line is gone, and at one that does not end though its session was ended.
const GLANCE: Duration = Duration::from_millis(250);

/// How many looks at the beginning show whether logind has taken the session over: some ten seconds.
const LOOKS: u32 = 40;

/// How long a word on a terminal has to reach whoever sits far from it: the process of sshd that carries it is one of those that
/// are stopped or ended next.
const CARRIAGE: Duration = Duration::from_millis(100);

/// Between two looks at processes that are being killed, and how many looks.
const ROUND: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 100;

/// How long supervisors of runs in the session have to record how these ended, before they are killed.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);

/// The program that opens a session.
pub struct Program<'a> {
    /// The process.
    pub pid: Pid,
    /// Whose grant it is.
    pub holder: u32,
    /// As whom they work.
    pub run_as: u32,
    /// Where they sit, as far as the program says.
    pub terminal: Option<&'a OsStr>,
    /// Whether it has opened another session that is open, now.
    pub is_shared: &'a dyn Fn() -> bool,
}

/// A session of another program.
pub struct Hosted<'a> {
    foreign_processes: ForeignProcesses,
    is_shared: &'a dyn Fn() -> bool,
}

impl<'a> Hosted<'a> {
    /// The session of `run`: what `program` begets for it from now on.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn found(run: &str, program: &Program<'a>) -> io::Result<Self> {
        let Program { pid, holder, run_as, terminal, is_shared } = *program;
        let shared = is_shared();
        let group = Cgroup::create_for(PARENT, run, pid);
        let host = ForeignProgram { pid, holder, run_as, terminal, mark: Mark::new(RUN_VARIABLE, run) };
        Ok(Self { foreign_processes: ForeignProcesses::of(host, group.ok(), ours(), shared)?, is_shared })
    }

    /// Watches it until the program closes it on `line`, or dies; `grace` is the time between SIGTERM and SIGKILL.
    pub fn supervise(&self, line: BorrowedFd<'_>, watch: &mut dyn Watch, grace: Duration) -> record::Ending {
        let begun = Instant::now();
        let mut enforcer = Enforcer::new(watch, grace, None);
        if !self.foreign_processes.can_be_held() {
            enforcer.cannot_hold();
        }
        let ear = HostLine { line, call: SignalQueue::open(&[SIGHUP]).ok() };
        enforcer.begun(None);
        let mut closing = Closing::new(grace);
        let closed = self.until_closed(&ear, &mut enforcer, &mut closing);
        if !closed {
            self.clear_up(grace);
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
        record::Ending {
            duration_us: u64::try_from(begun.elapsed().as_micros()).ok(),
            detail,
            ..record::Ending::unknown(ended_by(enforcer.ending()))
        }
    }

    /// Those that a closed session has left behind, as far as its control group knows.
    pub fn left(&self) -> Vec<Pid> {
        self.foreign_processes.leave()
    }

    /// Watches these until nobody of them is left, or the watch wants them ended, which is then done; why, if it was.
    pub fn outwatch(&self, watch: &mut dyn Watch, grace: Duration) -> Option<Ending> {
        let is_gone = || self.foreign_processes.count().is_ok_and(|count| count == 0);
        let act = |act: &Act, enforcer: &mut Enforcer<'_>| {
            let _ = self.act(act, enforcer); // how many there are is asked below
        };
        let ending = Enforcer::new(watch, grace, None).outwatch(&act, &is_gone);
        if ending.is_some() {
            self.end_programs();
        }
        ending
    }

    /// Ends whoever is left.
    pub fn end(&self, grace: Duration) {
        self.clear_up(grace);
        self.end_programs();
    }

    /// Nothing of it is watched any more.
    pub fn part(self) {
        self.foreign_processes.part();
    }

    /// Until the program has closed the session, and what had to end has ended; false when it died before it closed it.
    fn until_closed(&self, ear: &HostLine<'_>, enforcer: &mut Enforcer<'_>, closing: &mut Closing) -> bool {
        let mut state = Line::Open;
        let mut looks = LOOKS;
        let mut seated = false;
        loop {
            if looks > 0 || !self.foreign_processes.host_is_theirs() || (self.is_shared)() {
                looks = looks.saturating_sub(1);
                self.foreign_processes.look((self.is_shared)());
            }
            if state == Line::Closed {
                // Nobody is there any more who could wait for it to be thawed.
                enforcer.give_up();
            }
            let step = enforcer.step(Instant::now());
            if step.act.is_none() && enforcer.is_frozen() {
                seated = self.keep_frozen(enforcer, seated);
            }
            let left = step.act.map_or(usize::MAX, |act| self.act(&act, enforcer));
            // When nobody is left to kill, the program has not noticed yet.
            let patience = if left == 0 { GLANCE } else { step.patience.unwrap_or(GLANCE) };
            let patience = match enforcer.ending() {
                Some(_) if state != Line::Closed => patience.min(self.take_leave(closing)),
                Some(_) | None => patience,
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

    /// How many were signalled, where that says whether there is more to do.
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

    /// Without a group of control it stops as well as it can: see [`Hold`].
    fn freeze(&self, enforcer: &mut Enforcer<'_>) {
        let is_held = self.foreign_processes.freeze().is_ok();
        // The next look tries again.
        let awake = if is_held { 0 } else { self.foreign_processes.stop().unwrap_or(0) };
        enforcer.froze(Hold { is_held, awake });
    }

    /// What the program has begotten since stands still as well. Whoever is frozen does not hear of a terminal that is hung up,
    /// and su(1) waits for them: so the session is given up when nobody of it is `seated` at one any more. Gives who is now.
    fn keep_frozen(&self, enforcer: &mut Enforcer<'_>, seated: bool) -> bool {
        self.freeze(enforcer);
        let sits = self.foreign_processes.have_terminal().unwrap_or(seated);
        if seated && !sits {
            enforcer.give_up();
        }
        sits
    }

    /// The session is being ended: a program that serves it alone and does not close it is asked to end, and then made to. How long
    /// until there may be something to do.
    fn take_leave(&self, closing: &mut Closing) -> Duration {
        if !self.foreign_processes.host_is_theirs() {
            return GLANCE;
        }
        let is_empty = self.foreign_processes.count().is_ok_and(|count| count == 0);
        match closing.next(is_empty, Instant::now()) {
            Leave::Wait => {}
            Leave::Ask => self.foreign_processes.signal_host(SIGTERM),
            Leave::Kill => self.foreign_processes.signal_host(SIGKILL),
        }
        ROUND
    }

    /// The supervisors of runs in the session see that their commands have ended, and end by themselves; one that was about to begin
    /// a command has that ended too. One that is still at a question has nobody left to answer it.
    fn end_programs(&self) {
        let deadline = Instant::now() + RECORDED_WITHIN;
        while self.foreign_processes.count_programs().is_ok_and(|count| count > 0) {
            if Instant::now() > deadline {
                let _ = self.foreign_processes.kill_programs(); // nobody of the others is left
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
        let _ = self.foreign_processes.thaw(); // where there is no group they were stopped
        self.signal(SIGCONT);
        self.foreign_processes.wake_host();
    }

    /// A frozen or stopped process cannot obey before it goes on.
    fn terminate(&self) {
        self.signal(SIGTERM);
        self.thaw();
    }

    fn kill(&self) -> usize {
        let left = self.signal(SIGKILL);
        self.foreign_processes.wake_host();
        left
    }

    fn signal(&self, number: i32) -> usize {
        self.foreign_processes.signal(number, JIT_SUDO).unwrap_or(usize::MAX)
    }

    fn clear_up(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.terminate();
        while self.foreign_processes.count().is_ok_and(|count| count > 0) && Instant::now() < deadline {
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

/// What the program is heard to do with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing yet.
    Open,
    /// It has closed it, and waits until that was recorded.
    Closed,
    /// It cannot be heard any more: most likely it has died. Some programs close every descriptor that they do not know; these
    /// have us called.
    Lost,
}

/// Where a program is heard.
struct HostLine<'a> {
    line: BorrowedFd<'a>,
    /// SIGHUP, by which the broker says that a program has closed the session whose line is lost.
    call: Option<SignalQueue>,
}

impl HostLine<'_> {
    fn listen(&self, state: Line, patience: Duration) -> Line {
        let line = PollEntry::reading(self.line);
        let call = self.call.as_ref().map(|call| PollEntry::reading(call.as_fd()));
        let (mut entries, patience) = match state {
            Line::Open => (Some(line).into_iter().chain(call).collect::<Vec<_>>(), patience),
            Line::Lost => (call.into_iter().collect(), patience.min(GLANCE)),
            Line::Closed => (Vec::new(), patience.min(ROUND)),
        };
        let _ = poll(&mut entries, Some(patience)); // a line that cannot be looked at shows as one that cannot be read
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
