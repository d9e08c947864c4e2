//! A session that another program has opened, such as sshd or su: watched and ended from outside. The program tells on a
//! line when it closes the session; when it dies without that, what it has left behind is ended.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::ending::{Act, Enforcer};
use super::family::PARENT;
use super::outcome::ended_by;
use super::watch::Watch;
use crate::audit::record;
use crate::escape::Word;
use sys::cgroup::Cgroup;
use sys::guests::Guests;
use sys::poll::{PollEntry, poll, read};
use sys::process::Pid;
use sys::signals::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

/// Between two looks at a program whose line is gone, and at one that does not end though its session was ended.
const GLANCE: Duration = Duration::from_millis(250);

/// How many looks at the beginning show whether logind has taken the session over: some ten seconds.
const LOOKS: u32 = 40;

/// Between two looks at processes that are being killed, and how many looks.
const ROUND: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 100;

/// A session of another program.
pub struct Hosted {
    guests: Guests,
}

impl Hosted {
    /// The session of `run`: what `host` begets from now on.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn found(run: &str, host: Pid) -> io::Result<Self> {
        Ok(Self { guests: Guests::of(host, Cgroup::create(PARENT, run).ok())? })
    }

    /// Watches it until the program closes it on `line`, or dies; `grace` is the time between SIGTERM and SIGKILL.
    pub fn supervise(self, line: BorrowedFd<'_>, watch: &mut dyn Watch, grace: Duration) -> record::Ending {
        let begun = Instant::now();
        let mut enforcer = Enforcer::new(watch, grace, None);
        enforcer.begun();
        let closed = self.until_closed(line, &mut enforcer);
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

    /// False when the program died before it closed the session.
    fn until_closed(&self, line: BorrowedFd<'_>, enforcer: &mut Enforcer<'_>) -> bool {
        let mut is_open = true;
        let mut looks = LOOKS;
        loop {
            if looks > 0 {
                looks -= 1;
                self.guests.look();
            }
            let step = enforcer.step(Instant::now());
            let left = step.act.map_or(usize::MAX, |act| self.act(&act));
            // When nobody is left to kill, the program has not noticed yet.
            let patience = if left == 0 { Some(GLANCE) } else { step.patience };
            if !is_open {
                std::thread::sleep(patience.map_or(GLANCE, |patience| patience.min(GLANCE)));
                if !self.guests.host_lives() {
                    return false;
                }
                continue;
            }
            let mut entries = [PollEntry::reading(line)];
            let _ = poll(&mut entries, patience); // a line that cannot be looked at shows as one that cannot be read
            if entries.iter().any(|entry| entry.ready_read || entry.hangup) {
                if read(line, &mut [0]).is_ok_and(|count| count > 0) {
                    return true;
                }
                is_open = false;
            }
        }
    }

    /// How many were signalled, where that says whether there is more to do.
    fn act(&self, act: &Act) -> usize {
        let signal = |number| self.guests.signal(number).unwrap_or(usize::MAX);
        if matches!(act, Act::Thaw | Act::Terminate) {
            self.guests.wake_host();
        }
        match act {
            Act::Say(words) => {
                self.guests.tell(&format!("jit-sudo: {words}"));
                usize::MAX
            }
            Act::Freeze => signal(SIGSTOP).max(1),
            Act::Thaw => signal(SIGCONT).max(1),
            // A stopped process cannot obey.
            Act::Terminate => signal(SIGTERM).max(signal(SIGCONT)).max(1),
            Act::Kill => signal(SIGKILL),
        }
    }

    fn clear_up(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let mut left = self.act(&Act::Terminate);
        while left > 0 && Instant::now() < deadline {
            std::thread::sleep(ROUND);
            left = self.guests.signal(SIGCONT).unwrap_or(0);
        }
        for _ in 0..ROUNDS {
            if self.act(&Act::Kill) == 0 {
                return;
            }
            std::thread::sleep(ROUND);
        }
    }
}
