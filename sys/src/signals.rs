//! Sets of signals, dispositions, and signals as events for poll.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

pub use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGWINCH,
};

use crate::kernel::{check, check_length, retry};
use crate::process::Pid;

/// The highest signal number of Linux.
const LAST_SIGNAL: i32 = 64;

/// The highest number of a standard signal; those above it are real-time signals.
const LAST_STANDARD: i32 = 31;

/// 32 and 33 belong to libc's threads; libc does not allow blocking them.
const LIBCS_OWN: u64 = 0b11 << 31;

const _: () = assert!(size_of::<libc::sigset_t>() >= 8 && align_of::<libc::sigset_t>() >= 8);

/// The signals by which a terminal, and every process that has it open, stops a process. SIGSTOP cannot be blocked, but
/// an ordinary user cannot send it to a process that is root in all its ids.
pub const STOPS: [i32; 3] = [SIGTSTP, SIGTTIN, SIGTTOU];

/// A set of signal numbers, 1 to 64.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// Every signal.
    pub const ALL: Self = Self(u64::MAX);

    /// Returns the set of `signals`; invalid numbers are ignored.
    pub fn of(signals: &[i32]) -> Self {
        let mut set = Self::EMPTY;
        for signal in signals {
            set.insert(*signal);
        }
        set
    }

    /// Adds a signal; an invalid number is ignored.
    pub fn insert(&mut self, signal: i32) {
        self.0 |= bit(signal);
    }

    /// Removes a signal.
    pub fn remove(&mut self, signal: i32) {
        self.0 &= !bit(signal);
    }

    /// Returns whether the signal is in the set.
    pub fn contains(self, signal: i32) -> bool {
        self.0 & bit(signal) != 0
    }

    /// Returns the signals in ascending order.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        (1..=LAST_SIGNAL).filter(move |signal| self.contains(*signal))
    }

    fn to_raw(self) -> libc::sigset_t {
        // SAFETY: sigset_t is a plain array of integers, for which zero is valid.
        let mut raw: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: libc's set begins with the kernel's, one bit for each of its 64 signals, and is longer and aligned for it.
        unsafe { (&raw mut raw).cast::<u64>().write(self.0 & !LIBCS_OWN) };
        raw
    }

    fn from_raw(raw: &libc::sigset_t) -> Self {
        // SAFETY: as above; the whole set is initialized.
        Self(unsafe { ptr::from_ref(raw).cast::<u64>().read() } & !LIBCS_OWN)
    }
}

/// The action for a signal, as far as it is inherited over exec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// The kernel's default.
    Default,
    /// The signal is ignored.
    Ignore,
}

/// Sets the disposition of a signal and returns the previous one.
///
/// # Errors
/// `EINVAL` for SIGKILL, SIGSTOP, the two that libc reserves, and invalid numbers (sigaction(2)).
pub fn set_disposition(signal: i32, disposition: Disposition) -> io::Result<Disposition> {
    // SAFETY: sigaction is a plain structure of integers and an optional function pointer; zero is valid for all.
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    new.sa_sigaction = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    // SAFETY: as for `new`.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: both structures live through the call, and neither disposition runs code of ours.
    check(unsafe { libc::sigaction(signal, &raw const new, &raw mut old) })?;
    Ok(if old.sa_sigaction == libc::SIG_IGN { Disposition::Ignore } else { Disposition::Default })
}

/// The last signal that was held back; 0 for none.
static HELD_BACK: AtomicI32 = AtomicI32::new(0);

/// Has a signal stored instead of acted upon, until the next exec gives it its default action.
///
/// # Errors
/// As [`set_disposition`].
pub(crate) fn hold_back(signal: i32) -> io::Result<()> {
    extern "C" fn store(signal: libc::c_int) {
        HELD_BACK.store(signal, Ordering::Relaxed);
    }
    // SAFETY: as in `set_disposition`.
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    new.sa_sigaction = store as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the structure lives through the call, and the handler only stores a number.
    check(unsafe { libc::sigaction(signal, &raw const new, ptr::null_mut()) }).map(drop)
}

/// Returns the last signal that [`hold_back`] has held back in this memory since the last call.
pub(crate) fn held_back() -> Option<i32> {
    Some(HELD_BACK.swap(0, Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// Returns every signal whose disposition a process may change.
pub(crate) fn changeable() -> impl Iterator<Item = i32> {
    let changeable = SignalSet(!LIBCS_OWN & !bit(SIGKILL) & !bit(SIGSTOP));
    (1..=LAST_SIGNAL).filter(move |signal| changeable.contains(*signal))
}

/// Replaces the mask of blocked signals and returns the previous one.
pub fn set_mask(blocked: SignalSet) -> io::Result<SignalSet> {
    change_mask(libc::SIG_SETMASK, blocked)
}

/// Blocks additional signals and returns the previous mask.
pub fn block(signals: SignalSet) -> io::Result<SignalSet> {
    change_mask(libc::SIG_BLOCK, signals)
}

/// Unblocks signals and returns the previous mask.
pub fn unblock(signals: SignalSet) -> io::Result<SignalSet> {
    change_mask(libc::SIG_UNBLOCK, signals)
}

/// The signals that end a process by default and that others may send: from a terminal, with kill(2), by a timer or a limit.
const ENDING: [i32; 14] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
];

/// Blocks every signal but SIGKILL that would end this process from outside, until it exits or executes another program. A
/// [`SignalQueue`] still receives them, and restores this mask.
pub fn block_endings() {
    // sigprocmask(2) fails only for arguments that are not ours.
    let _ = block(SignalSet::of(&ENDING));
}

/// Returns the pending signals: those that arrived while blocked.
pub fn pending() -> io::Result<SignalSet> {
    // SAFETY: a zeroed sigset_t is valid and is filled in by the call.
    let mut raw: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `raw` lives through the call.
    check(unsafe { libc::sigpending(&raw mut raw) })?;
    Ok(SignalSet::from_raw(&raw))
}

/// One signal that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its number.
    pub signal: i32,
    /// The sender; for SIGCHLD the child. `None` when the sender is outside our pid namespace or is the kernel.
    pub sender_pid: Option<Pid>,
    /// The sender's real uid; undefined when the kernel sent the signal.
    pub sender_uid: u32,
    /// The kernel generated it (a key on the terminal, a child's end), not kill(2) or a similar call.
    pub from_kernel: bool,
}

/// Signals as a descriptor (signalfd(2)), close-on-exec and non-blocking. Dropping it restores the previous mask.
#[derive(Debug)]
pub struct SignalQueue {
    fd: OwnedFd,
    before: SignalSet,
}

impl SignalQueue {
    /// Blocks the signals and collects them from now on.
    pub fn open(signals: &[i32]) -> io::Result<Self> {
        let set = SignalSet::of(signals);
        let raw = set.to_raw();
        // SAFETY: `raw` lives through the call; -1 requests a new descriptor.
        let fd = check(unsafe { libc::signalfd(-1, &raw const raw, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the kernel has just made the descriptor and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let before = block(set)?;
        Ok(Self { fd, before })
    }

    /// Returns the next signal, or `None` when none is pending.
    pub fn next_event(&self) -> io::Result<Option<Event>> {
        // SAFETY: signalfd_siginfo is plain integers, for which zero is valid.
        let mut info: libc::signalfd_siginfo = unsafe { mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        loop {
            let answer = retry(|| {
                // SAFETY: the buffer is `size` bytes of plain integers and lives through the call.
                check_length(unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) })
            });
            match answer {
                Ok(length) if length == size && is_of_a_wake_timer(&info) => {}
                Ok(length) if length == size => return Ok(Some(event(&info))),
                Ok(_) => return Err(io::Error::other("signalfd gave less than one signal")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the previous mask, which drop restores.
    pub fn mask_before(&self) -> SignalSet {
        self.before
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalQueue {
    fn drop(&mut self) {
        // The kernel accepts a mask that it has returned; errors are ignored.
        let _ = set_mask(self.before);
    }
}

/// Blocks the stop signals of job control while a value of this type lives: any user can type ^Z, and every other
/// process would wait for a stopped holder of a lock. Values may be dropped in any order; signals that were blocked
/// before the first one stay blocked. For one thread.
#[derive(Debug)]
pub struct Unstoppable(PhantomData<*const ()>);

thread_local! {
    /// The number of values, and the signals that the first one has blocked.
    static HELD: Cell<(usize, SignalSet)> = const { Cell::new((0, SignalSet::EMPTY)) };
}

impl Unstoppable {
    /// Blocks the signals.
    ///
    /// # Errors
    /// Those of sigprocmask(2), which do not occur.
    pub fn begin() -> io::Result<Self> {
        let (count, mut taken) = HELD.get();
        if count == 0 {
            let stops = SignalSet::of(&STOPS);
            taken = SignalSet(stops.0 & !block(stops)?.0);
        }
        HELD.set((count + 1, taken));
        Ok(Self(PhantomData))
    }
}

impl Drop for Unstoppable {
    fn drop(&mut self) {
        let (count, taken) = HELD.get();
        HELD.set((count.saturating_sub(1), taken));
        if count == 1 && taken != SignalSet::EMPTY {
            // Blocking them succeeded, so this does too; errors are ignored.
            let _ = unblock(taken);
        }
    }
}

/// Whether a [`WakeTimer`](crate::wake_timer::WakeTimer) sent it: nobody has asked for a continuation.
fn is_of_a_wake_timer(info: &libc::signalfd_siginfo) -> bool {
    info.ssi_signo == SIGCONT.cast_unsigned() && info.ssi_code == libc::SI_TIMER
}

fn event(info: &libc::signalfd_siginfo) -> Event {
    Event {
        signal: i32::try_from(info.ssi_signo).unwrap_or(0),
        sender_pid: i32::try_from(info.ssi_pid).ok().and_then(Pid::new),
        sender_uid: info.ssi_uid,
        from_kernel: info.ssi_code > 0,
    }
}

fn change_mask(how: i32, signals: SignalSet) -> io::Result<SignalSet> {
    let new = signals.to_raw();
    // SAFETY: a zeroed sigset_t is valid and is filled in by the call.
    let mut old: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: both sets live through the call.
    check(unsafe { libc::sigprocmask(how, &raw const new, &raw mut old) })?;
    Ok(SignalSet::from_raw(&old))
}

/// Returns whether it is a real-time signal (signal(7)).
pub(crate) fn is_realtime(signal: i32) -> bool {
    signal > LAST_STANDARD
}

fn bit(signal: i32) -> u64 {
    if (1..=LAST_SIGNAL).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_exactly_the_inserted_signals() {
        let mut set = SignalSet::of(&[libc::SIGINT, libc::SIGTERM, 0, -3, 65, 64]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [2, 15, 64]);
        set.remove(15);
        assert!(!set.contains(15) && set.contains(64) && !set.contains(0));
    }

    #[test]
    fn a_set_round_trips_through_the_kernel_form() {
        let set = SignalSet::of(&[1, 2, 15, 34, 64]);
        assert_eq!(SignalSet::from_raw(&set.to_raw()), set);
        assert_eq!(SignalSet::from_raw(&SignalSet::of(&[32, 33]).to_raw()), SignalSet::EMPTY);
        for signal in (1..=LAST_SIGNAL).filter(|signal| bit(*signal) & LIBCS_OWN == 0) {
            // SAFETY: a valid set, only read.
            let is_member = |set: SignalSet| unsafe { libc::sigismember(&set.to_raw(), signal) };
            assert_eq!((is_member(SignalSet::of(&[signal])), is_member(SignalSet::EMPTY)), (1, 0), "{signal}");
        }
    }

    #[test]
    fn a_signal_to_self_becomes_an_event_with_its_sender() {
        // SIGUSR2 to the thread itself: other tests run in other threads and must not get it.
        let queue = SignalQueue::open(&[libc::SIGUSR2]).unwrap();
        assert_eq!(queue.next_event().unwrap(), None);
        // SAFETY: the calling thread is alive and blocks the signal.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) }, 0);
        let event = queue.next_event().unwrap().unwrap();
        assert_eq!(event.signal, libc::SIGUSR2);
        assert_eq!(event.sender_pid, Some(Pid::own()));
        assert!(!event.from_kernel);
        assert!(set_mask(queue.mask_before()).unwrap().contains(libc::SIGUSR2));
        drop(queue);
        assert!(!set_mask(SignalSet::EMPTY).unwrap().contains(libc::SIGUSR2));
    }

    #[test]
    fn sigkill_cannot_be_ignored() {
        assert!(set_disposition(libc::SIGKILL, Disposition::Ignore).is_err());
        assert_eq!(changeable().count(), 60);
    }
}
