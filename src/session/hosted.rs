//! A session that another program has opened, such as sshd or su: watched and ended from outside. The program tells on a
//! line when it closes the session; when it dies without that, what it has left behind is ended.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::ending::{Act, Enforcer};
use super::family::{PARENT, PROGRAMS};
use super::outcome::ended_by;
use super::watch::{Ending, Watch};
use crate::audit::record;
use crate::escape::Word;
use sys::cgroup::Cgroup;
use sys::guests::Guests;
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

/// A session of another program.
pub struct Hosted {
    guests: Guests,
}

impl Hosted {
    /// The session of `run`: what `host` begets from now on. Who asks for it sits at `terminal`, as far as `host` says.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn found(run: &str, host: Pid, terminal: Option<&OsStr>) -> io::Result<Self> {
        let guests = Guests::of(host, Cgroup::create_for(PARENT, run, host).ok(), &PROGRAMS)?;
        Ok(Self {
            guests: match terminal {
                Some(terminal) => guests.seated_at(terminal),
                None => guests,
            },
        })
    }

    /// Watches it until the program closes it on `line`, or dies; `grace` is the time between SIGTERM and SIGKILL.
    pub fn supervise(self, line: BorrowedFd<'_>, watch: &mut dyn Watch, grace: Duration) -> record::Ending {
        let begun = Instant::now();
        let mut enforcer = Enforcer::new(watch, grace, None);
        let ear = Ear { line, call: SignalQueue::open(&[SIGHUP]).ok() };
        enforcer.begun(None);
        let closed = self.until_closed(&ear, &mut enforcer);
        if !closed {
            self.clear_up(grace);
        }
        let detail = (!closed).then(|| Word::from("the program that opened the session ended without closing it"));
        self.guests.part();
        record::Ending {
            duration_us: u64::try_from(begun.elapsed().as_micros()).ok(),
            detail,
            ..record::Ending::unknown(ended_by(enforcer.ending()))
        }
    }

    /// Until the program has closed the session, and what had to end has ended; false when it died before it closed it.
    fn until_closed(&self, ear: &Ear<'_>, enforcer: &mut Enforcer<'_>) -> bool {
        let mut state = Line::Open;
        let mut looks = LOOKS;
        let mut seated = false;
        loop {
            if looks > 0 {
                looks -= 1;
                self.guests.look();
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
            match state {
                Line::Lost if !self.guests.host_lives() => return false,
                Line::Closed if enforcer.runs() || self.guests.count().is_ok_and(|count| count == 0) => return true,
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

    /// Without a group of control nothing can be stopped so that its owner cannot wake it: then it ends where it would run
    /// without a grant, and stops as well as it can where somebody only wants it to stand still.
    fn freeze(&self, enforcer: &mut Enforcer<'_>) {
        let Err(error) = self.guests.freeze() else { return };
        if enforcer.frozen_by() == Some(Ending::Kill) {
            let _ = self.guests.stop(); // the next look tries again
        } else {
            self.tell(&format!("the session cannot be frozen here and is ended: {error}"));
            enforcer.give_up();
        }
    }

    /// What the program has begotten since stands still as well. Whoever is frozen does not hear of a terminal that is hung up,
    /// and su(1) waits for them: so the session is given up when nobody of it is `seated` at one any more. Gives who is now.
    fn keep_frozen(&self, enforcer: &mut Enforcer<'_>, seated: bool) -> bool {
        self.freeze(enforcer);
        let sits = self.guests.have_terminal().unwrap_or(seated);
        if seated && !sits {
            enforcer.give_up();
        }
        sits
    }

    fn tell(&self, words: &str) {
        self.guests.tell(&format!("jit-sudo: {words}"));
        std::thread::sleep(CARRIAGE);
    }

    fn thaw(&self) {
        let _ = self.guests.thaw(); // where there is no group they were stopped
        self.signal(SIGCONT);
        self.guests.wake_host();
    }

    /// A frozen or stopped process cannot obey before it goes on.
    fn terminate(&self) {
        self.signal(SIGTERM);
        self.thaw();
    }

    fn kill(&self) -> usize {
        let left = self.signal(SIGKILL);
        self.guests.wake_host();
        left
    }

    fn signal(&self, number: i32) -> usize {
        self.guests.signal(number).unwrap_or(usize::MAX)
    }

    fn clear_up(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.terminate();
        while self.guests.count().is_ok_and(|count| count > 0) && Instant::now() < deadline {
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
struct Ear<'a> {
    line: BorrowedFd<'a>,
    /// SIGHUP, by which the broker says that a program has closed the session whose line is lost.
    call: Option<SignalQueue>,
}

impl Ear<'_> {
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
