//! What the relay and the monitor say to each other: packets of a fixed size over a socket pair of our own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::outcome::CommandEnd;
use sys::exec::ExecError;
use sys::poll::{read, write};
use sys::process::{Usage, WaitEvent};

/// A tag and five numbers.
const SIZE: usize = 6 * 8;

/// Whether the command shall own its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It may read and set modes.
    Foreground,
    /// It is stopped when it tries.
    Background,
}

/// From the relay to the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Send the command's process group a signal.
    Signal(i32),
    /// Let the stopped command go on.
    Continue(Place),
    /// SIGTERM to every descendant.
    Terminate,
    /// SIGKILL to every descendant.
    Kill,
    /// Stop every descendant, and tell of no stops.
    Freeze,
    /// Let them go on.
    Thaw,
}

/// From the monitor to the relay.
#[derive(Debug, Clone, Copy)]
pub(super) enum Report {
    /// The command was stopped by this signal.
    Stopped(i32),
    /// The command has ended.
    Ended(CommandEnd),
    /// It never began.
    Failed(ExecError),
}

/// Sends an order.
pub(super) fn send_order(socket: &OwnedFd, order: Order) -> io::Result<()> {
    let numbers = match order {
        Order::Signal(signal) => [1, i64::from(signal), 0, 0, 0, 0],
        Order::Continue(Place::Foreground) => [2, 1, 0, 0, 0, 0],
        Order::Continue(Place::Background) => [2, 0, 0, 0, 0, 0],
        Order::Terminate => [3, 0, 0, 0, 0, 0],
        Order::Kill => [4, 0, 0, 0, 0, 0],
        Order::Freeze => [5, 0, 0, 0, 0, 0],
        Order::Thaw => [6, 0, 0, 0, 0, 0],
    };
    send(socket, numbers)
}

/// Receives an order; `None` when the relay is gone.
pub(super) fn receive_order(socket: &OwnedFd) -> io::Result<Option<Order>> {
    Ok(match receive(socket)? {
        Some([1, signal, ..]) => Some(Order::Signal(small(signal)?)),
        Some([2, 1, ..]) => Some(Order::Continue(Place::Foreground)),
        Some([2, 0, ..]) => Some(Order::Continue(Place::Background)),
        Some([3, ..]) => Some(Order::Terminate),
        Some([4, ..]) => Some(Order::Kill),
        Some([5, ..]) => Some(Order::Freeze),
        Some([6, ..]) => Some(Order::Thaw),
        Some(_) => return Err(garbled()),
        None => None,
    })
}

/// Sends a report.
pub(super) fn send_report(socket: &OwnedFd, report: Report) -> io::Result<()> {
    let numbers = match report {
        Report::Stopped(signal) => [1, i64::from(signal), 0, 0, 0, 0],
        Report::Ended(CommandEnd { event: WaitEvent::Signaled { signal, core }, usage }) => {
            ended(2, signal, i64::from(core), &usage)
        }
        Report::Ended(CommandEnd { event: WaitEvent::Exited(code), usage }) => ended(3, code, 0, &usage),
        Report::Ended(_) => return Err(garbled()),
        Report::Failed(error) => {
            let [a, b, c, d, e] = error.to_bytes();
            [4, i64::from_le_bytes([a, b, c, d, e, 0, 0, 0]), 0, 0, 0, 0]
        }
    };
    send(socket, numbers)
}

/// Receives a report; `None` when the monitor is gone.
pub(super) fn receive_report(socket: &OwnedFd) -> io::Result<Option<Report>> {
    let end = |event, user: i64, system: i64, rss: i64| {
        let time = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        let usage = Usage { user: time(user), system: time(system), max_rss_kib: u64::try_from(rss).unwrap_or(0) };
        Report::Ended(CommandEnd { event, usage })
    };
    Ok(match receive(socket)? {
        Some([1, signal, ..]) => Some(Report::Stopped(small(signal)?)),
        Some([2, signal, core, user, system, rss]) => {
            Some(end(WaitEvent::Signaled { signal: small(signal)?, core: core == 1 }, user, system, rss))
        }
        Some([3, code, _, user, system, rss]) => Some(end(WaitEvent::Exited(small(code)?), user, system, rss)),
        Some([4, error, ..]) => {
            let [a, b, c, d, e, ..] = error.to_le_bytes();
            Some(Report::Failed(ExecError::from_bytes([a, b, c, d, e]).ok_or_else(garbled)?))
        }
        Some(_) => return Err(garbled()),
        None => None,
    })
}

fn ended(tag: i64, number: i32, core: i64, usage: &Usage) -> [i64; 6] {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let rss = i64::try_from(usage.max_rss_kib).unwrap_or(i64::MAX);
    [tag, i64::from(number), core, micros(usage.user), micros(usage.system), rss]
}

fn send(socket: &OwnedFd, numbers: [i64; 6]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(SIZE);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    write(socket.as_fd(), &bytes).map(drop)
}

fn receive(socket: &OwnedFd) -> io::Result<Option<[i64; 6]>> {
    let mut bytes = [0; SIZE];
    let length = match read(socket.as_fd(), &mut bytes) {
        // The other side went away with an order of ours unread. The kernel says that first and once (unix(7)); its last
        // words still lie behind it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => read(socket.as_fd(), &mut bytes)?,
        result => result?,
    };
    match length {
        0 => Ok(None),
        SIZE => {
            let mut numbers = [0; 6];
            for (number, chunk) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
                *number = i64::from_le_bytes(chunk.try_into().unwrap_or_default());
            }
            Ok(Some(numbers))
        }
        _ => Err(garbled()),
    }
}

fn small(number: i64) -> io::Result<i32> {
    i32::try_from(number).map_err(|_| garbled())
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a garbled message inside the session")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_arrives_though_an_order_was_never_read() {
        let (ours, theirs) = sys::poll::socket_pair().unwrap();
        send_order(&ours, Order::Kill).unwrap();
        send_report(&theirs, Report::Stopped(20)).unwrap();
        drop(theirs);
        assert!(matches!(receive_report(&ours).unwrap(), Some(Report::Stopped(20))));
        assert!(receive_report(&ours).unwrap().is_none());
    }

    #[test]
    fn orders_and_reports_arrive_as_they_were_sent() {
        let (ours, theirs) = sys::poll::socket_pair().unwrap();
        for order in [
            Order::Signal(15),
            Order::Continue(Place::Foreground),
            Order::Continue(Place::Background),
            Order::Terminate,
            Order::Kill,
            Order::Freeze,
            Order::Thaw,
        ] {
            send_order(&ours, order).unwrap();
            assert_eq!(receive_order(&theirs).unwrap(), Some(order));
        }
        let usage = Usage { user: Duration::from_micros(7), system: Duration::from_micros(8), max_rss_kib: 9 };
        let event = WaitEvent::Signaled { signal: 9, core: true };
        send_report(&theirs, Report::Ended(CommandEnd { event, usage })).unwrap();
        match receive_report(&ours).unwrap() {
            Some(Report::Ended(end)) => assert_eq!((end.event, end.usage), (event, usage)),
            other => panic!("{other:?}"),
        }
        drop(ours);
        assert_eq!(receive_order(&theirs).unwrap(), None);
    }
}
