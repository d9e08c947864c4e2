//! A timer that continues this process when it was stopped (timer_create(2)). SIGSTOP cannot be blocked, so a process on
//! which others depend, and that no other process continues, uses this.

use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

use crate::kernel::check;
use crate::process::Pid;

/// While a value lives, a stop of this process lasts at most the interval: the kernel then sends it SIGCONT, which
/// continues a stopped process even where it is blocked. A [`SignalQueue`](crate::signals::SignalQueue) does not return
/// these signals, and must receive SIGCONT, because the kernel repeats the timer when its signal was read. A child does
/// not inherit the timer.
#[derive(Debug)]
pub struct WakeTimer {
    timer: libc::timer_t,
    owner: Pid,
}

impl WakeTimer {
    /// Starts the timer.
    ///
    /// # Errors
    /// `EAGAIN` when the user has too many pending signals and timers (RLIMIT_SIGPENDING).
    pub fn start(interval: Duration) -> io::Result<Self> {
        Self::sending(libc::SIGCONT, libc::itimerspec { it_interval: span(interval), it_value: span(interval) })
    }

    fn sending(signal: libc::c_int, setting: libc::itimerspec) -> io::Result<Self> {
        // SAFETY: sigevent is plain integers and a pointer, for which zero is valid.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both places live through the call.
        check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) })?;
        let made = Self { timer, owner: Pid::own() };
        // SAFETY: the kernel has just made the timer; the setting lives through the call, and no old one is asked for.
        check(unsafe { libc::timer_settime(made.timer, 0, &raw const setting, ptr::null_mut()) })?;
        Ok(made)
    }
}

/// While a value lives, the kernel kills this process after the time.
#[derive(Debug)]
pub struct EndTimer(#[allow(dead_code, reason = "its drop deletes the timer")] WakeTimer);

impl EndTimer {
    /// Starts the timer.
    ///
    /// # Errors
    /// As [`WakeTimer::start`].
    pub fn start(limit: Duration) -> io::Result<Self> {
        let setting = libc::itimerspec { it_interval: span(Duration::ZERO), it_value: span(limit) };
        WakeTimer::sending(libc::SIGKILL, setting).map(Self)
    }
}

fn span(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos().cast_signed()),
    }
}

impl Drop for WakeTimer {
    fn drop(&mut self) {
        // A child that has a copy of this value may have a timer of its own with the same id.
        if self.owner == Pid::own() {
            // SAFETY: the timer was made by this process and is deleted only here.
            unsafe { libc::timer_delete(self.timer) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::{PollEntry, poll};
    use crate::process::{WaitEvent, Waiting, exit_now, fork, kill, wait};
    use crate::signals::{SIGCONT, SIGSTOP, SignalQueue};
    use std::os::fd::AsFd;

    #[test]
    fn a_stopped_process_with_a_timer_goes_on() {
        let child = fork(|| {
            let signals = SignalQueue::open(&[SIGCONT]).unwrap();
            let timer = WakeTimer::start(Duration::from_millis(20)).unwrap();
            for _ in 0..3 {
                kill(Pid::own(), SIGSTOP).unwrap();
                let _ = poll(&mut [PollEntry::reading(signals.as_fd())], Some(Duration::from_millis(5)));
                if signals.next_event().unwrap().is_some() {
                    exit_now(1); // the timer's signal is no event
                }
            }
            drop(timer);
            kill(Pid::own(), SIGCONT).unwrap();
            exit_now(if signals.next_event().unwrap().is_some() { 0 } else { 2 })
        });
        let child = child.unwrap();
        for _ in 0..500 {
            std::thread::sleep(Duration::from_millis(10));
            if let Some((event, _)) = wait(child, Waiting::EndNow).unwrap() {
                assert_eq!(event, WaitEvent::Exited(0));
                return;
            }
        }
        kill(child, libc::SIGKILL).unwrap();
        let _ = wait(child, Waiting::ForEnd);
        panic!("it stayed stopped");
    }
}
