//! A syslog daemon that does not read stalls everybody who calls syslog(3): PAM modules do, and libc waits for ever. While
//! the daemon is stuck, a timer interrupts the wait; libc tries once more over a new connection and then lets it be.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::time::{Duration, Instant};

use crate::interruption::Timer;
use crate::poll::{PollEntry, poll};

/// Where libc's syslog(3) sends.
const SOCKET: &str = "/dev/log";

/// How long one send may wait; libc makes two of them for one message.
const TICK: Duration = Duration::from_millis(20);

/// Whoever connects in less has not waited.
const WAITED: Duration = Duration::from_millis(15);

/// How long a connection tells of the daemon: another one may be there later.
const FRESH: Duration = Duration::from_millis(200);

thread_local! {
    /// A connection to the daemon, and since when: a run calls PAM several times in a row.
    static LINE: RefCell<Option<(UnixDatagram, Instant)>> = const { RefCell::new(None) };
}

/// While syslog is stuck, what interrupts who waits for it every now and then, until it is dropped; one message more would wait.
pub(crate) fn interruption() -> Option<Timer> {
    if is_stuck() { Timer::start(TICK).ok() } else { None }
}

fn is_stuck() -> bool {
    is_stream_stuck().unwrap_or_else(is_datagram_stuck)
}

/// `None` where the daemon takes no connections. One that is never taken could wait for ever, in connect(2) already; and as
/// every look at the queue takes a place in it, libc's own connection is made here, while its wait is interrupted.
fn is_stream_stuck() -> Option<bool> {
    if LINE.with_borrow(|line| line.as_ref().is_some_and(|(_, since)| since.elapsed() <= FRESH)) {
        return None;
    }
    let refused = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET).map(|()| socket));
    let refused = match refused {
        Ok(socket) => {
            LINE.set(Some((socket, Instant::now())));
            return None;
        }
        Err(error) => error,
    };
    LINE.set(None);
    if refused.raw_os_error() != Some(libc::EPROTOTYPE) {
        return None;
    }
    let begun = Instant::now();
    let interruption = Timer::start(TICK);
    // SAFETY: without a name the one in force stays; no pointer is kept.
    unsafe { libc::openlog(ptr::null(), libc::LOG_NDELAY, 0) };
    drop(interruption);
    Some(begun.elapsed() >= WAITED)
}

fn is_datagram_stuck() -> bool {
    LINE.with_borrow(|line| {
        // A daemon that is not there at all makes nobody wait.
        let Some((socket, _)) = line else { return false };
        poll(&mut [PollEntry::writing(socket.as_fd())], Some(Duration::ZERO)).is_ok_and(|ready| ready == 0)
    })
}
