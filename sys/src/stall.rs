//! Limits the wait for a syslog daemon that does not read: it blocks every process that calls syslog(3), as PAM modules
//! do, and libc waits for ever. While the daemon is stuck, a timer interrupts the wait; libc tries once more over a new
//! connection and then gives up.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::time::{Duration, Instant};

use crate::interruption::Timer;
use crate::poll::{PollEntry, poll};

/// The socket that libc's syslog(3) sends to.
const SOCKET: &str = "/dev/log";

/// The maximum time that one send may block; libc makes two of them for one message.
const TICK: Duration = Duration::from_millis(20);

/// A connection that takes less time than this was not blocked.
const WAITED: Duration = Duration::from_millis(15);

/// How long a connection is reused to check the daemon, which may be restarted meanwhile.
const FRESH: Duration = Duration::from_millis(200);

thread_local! {
    /// A connection to the daemon, and when it was made: a run calls PAM several times in a row.
    static LINE: RefCell<Option<(UnixDatagram, Instant)>> = const { RefCell::new(None) };
}

/// Returns a timer that interrupts blocked calls until it is dropped, if syslog is stuck: then another message would
/// block.
pub(crate) fn interruption() -> Option<Timer> {
    if is_stuck() { Timer::start(TICK).ok() } else { None }
}

fn is_stuck() -> bool {
    is_stream_stuck().unwrap_or_else(is_datagram_stuck)
}

/// Returns `None` when the daemon's socket is no stream socket. A connection that the daemon never accepts could block
/// for ever, in connect(2) already. Since every check takes a place in the queue, this function makes libc's own
/// connection, and interrupts that wait.
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
    // SAFETY: without a name the present one stays; no pointer is kept.
    unsafe { libc::openlog(ptr::null(), libc::LOG_NDELAY, 0) };
    drop(interruption);
    Some(begun.elapsed() >= WAITED)
}

fn is_datagram_stuck() -> bool {
    LINE.with_borrow(|line| {
        // A missing daemon blocks no process.
        let Some((socket, _)) = line else { return false };
        poll(&mut [PollEntry::writing(socket.as_fd())], Some(Duration::ZERO)).is_ok_and(|ready| ready == 0)
    })
}
