//! The messages between the supervisor of a session and its relay process or subreaper: packets over a socket pair, each of six
//! numbers and optionally a text.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::outcome::CommandEnd;
use crate::recording::Seal;
use sys::exec::ExecError;
use sys::poll::{read, write};
use sys::process::{Pid, Usage, WaitEvent};

/// A tag and five numbers.
const SIZE: usize = 6 * 8;

/// The longest text in bytes; longer ones are cut.
const TEXT: usize = 1024;

type Numbers = [i64; 6];

/// Whether the command is in the foreground of its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobPosition {
    /// It may read from the terminal and set its modes.
    Foreground,
    /// It is stopped when it tries.
    Background,
}

/// From the supervisor to the relay process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Send the command a signal. The sender had seen this many stops of the command. A monitor signals the command's process
    /// group.
    Signal(i32, u32),
    /// Continue the stopped command.
    Continue(JobPosition),
    /// Set both terminals for a command in this position, and relay. In the foreground the keys of the caller's terminal go to the
    /// command unchanged; in the background another program has the caller's terminal.
    Attach(JobPosition),
    /// Relay again, with both terminals as they are set now.
    Relay,
    /// Give the command's terminal the size of the caller's.
    Fit,
    /// Set the caller's terminal as it was before the run, if it is ours, and report when that is done.
    Restore {
        /// Whether it is ours: our process group is in its foreground.
        restores: bool,
    },
    /// Show a message to the person at the terminal.
    Say(String),
    /// Relay what has been written to the terminal, report when that is done, and relay nothing more until the terminals are set
    /// again.
    Rest,
    /// Do not wait any longer for slow readers.
    Enough,
    /// The run has ended: relay what is left, restore the caller's terminal, seal the recording, and end.
    Finish {
        /// As in [`Order::Restore`].
        restores: bool,
    },
}

/// From the relay process, or the subreaper, to the supervisor.
#[derive(Debug, Clone)]
pub(super) enum Report {
    /// The command was started.
    Begun(Pid),
    /// The command was stopped by this signal.
    Stopped(i32),
    /// The command has ended.
    Ended(CommandEnd),
    /// The command could not be started.
    Failed(ExecError),
    /// The caller's terminal is gone.
    HungUp,
    /// The user typed ^C.
    Interrupt,
    /// The session is not recorded any more, for this reason.
    Unrecorded(String),
    /// Everything written so far is on the terminal.
    Rested,
    /// The caller's terminal is set as it was.
    Restored,
    /// Everything is relayed. The recording, if there is one, has this seal; the text is the error of its last write.
    Finished(Option<Seal>, Option<String>),
}

/// Sends an order.
pub(super) fn send_order(socket: &OwnedFd, order: &Order) -> io::Result<()> {
    let (numbers, text) = match order {
        Order::Signal(signal, stops) => ([1, i64::from(*signal), i64::from(*stops), 0, 0, 0], ""),
        Order::Continue(JobPosition::Foreground) => ([2, 1, 0, 0, 0, 0], ""),
        Order::Continue(JobPosition::Background) => ([2, 0, 0, 0, 0, 0], ""),
        Order::Attach(JobPosition::Foreground) => ([3, 1, 0, 0, 0, 0], ""),
        Order::Attach(JobPosition::Background) => ([3, 0, 0, 0, 0, 0], ""),
        Order::Fit => ([4, 0, 0, 0, 0, 0], ""),
        Order::Say(words) => ([5, 0, 0, 0, 0, 0], words.as_str()),
        Order::Rest => ([6, 0, 0, 0, 0, 0], ""),
        Order::Enough => ([7, 0, 0, 0, 0, 0], ""),
        Order::Finish { restores } => ([8, i64::from(*restores), 0, 0, 0, 0], ""),
        Order::Relay => ([9, 0, 0, 0, 0, 0], ""),
        Order::Restore { restores } => ([10, i64::from(*restores), 0, 0, 0, 0], ""),
    };
    send(socket, numbers, text)
}

/// Receives an order; `None` when the supervisor is gone.
pub(super) fn receive_order(socket: &OwnedFd) -> io::Result<Option<Order>> {
    let Some((numbers, text)) = receive(socket)? else { return Ok(None) };
    Ok(Some(match numbers {
        [1, signal, stops, ..] => Order::Signal(small(signal)?, small(stops)?),
        [2, 1, ..] => Order::Continue(JobPosition::Foreground),
        [2, 0, ..] => Order::Continue(JobPosition::Background),
        [3, 1, ..] => Order::Attach(JobPosition::Foreground),
        [3, 0, ..] => Order::Attach(JobPosition::Background),
        [4, ..] => Order::Fit,
        [5, ..] => Order::Say(text),
        [6, ..] => Order::Rest,
        [7, ..] => Order::Enough,
        [8, restores, ..] => Order::Finish { restores: restores == 1 },
        [9, ..] => Order::Relay,
        [10, restores, ..] => Order::Restore { restores: restores == 1 },
        _ => return Err(garbled()),
    }))
}

/// Sends a report.
pub(super) fn send_report(socket: &OwnedFd, report: &Report) -> io::Result<()> {
    let (numbers, text) = match report {
        Report::Stopped(signal) => ([1, i64::from(*signal), 0, 0, 0, 0], ""),
        Report::Ended(CommandEnd { event: WaitEvent::Signaled { signal, core }, usage }) => {
            (ended(2, *signal, i64::from(*core), usage), "")
        }
        Report::Ended(CommandEnd { event: WaitEvent::Exited(code), usage }) => (ended(3, *code, 0, usage), ""),
        Report::Ended(_) => return Err(garbled()),
        Report::Failed(error) => {
            let [a, b, c, d, e] = error.to_bytes();
            ([4, i64::from_le_bytes([a, b, c, d, e, 0, 0, 0]), 0, 0, 0, 0], "")
        }
        Report::HungUp => ([5, 0, 0, 0, 0, 0], ""),
        Report::Interrupt => ([6, 0, 0, 0, 0, 0], ""),
        Report::Unrecorded(why) => ([7, 0, 0, 0, 0, 0], why.as_str()),
        Report::Rested => ([8, 0, 0, 0, 0, 0], ""),
        Report::Restored => ([11, 0, 0, 0, 0, 0], ""),
        Report::Finished(None, _) => ([9, 0, 0, 0, 0, 0], ""),
        Report::Begun(command) => ([10, i64::from(command.raw()), 0, 0, 0, 0], ""),
        Report::Finished(Some(seal), why) => (sealed(seal), why.as_deref().unwrap_or_default()),
    };
    send(socket, numbers, text)
}

/// Receives a report; `None` when the relay process is gone.
pub(super) fn receive_report(socket: &OwnedFd) -> io::Result<Option<Report>> {
    let end = |event, user: i64, system: i64, rss: i64| {
        let time = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        let usage = Usage { user: time(user), system: time(system), max_rss_kib: u64::try_from(rss).unwrap_or(0) };
        Report::Ended(CommandEnd { event, usage })
    };
    let Some((numbers, text)) = receive(socket)? else { return Ok(None) };
    Ok(Some(match numbers {
        [1, signal, ..] => Report::Stopped(small(signal)?),
        [2, signal, core, user, system, rss] => {
            end(WaitEvent::Signaled { signal: small(signal)?, core: core == 1 }, user, system, rss)
        }
        [3, code, _, user, system, rss] => end(WaitEvent::Exited(small(code)?), user, system, rss),
        [4, error, ..] => {
            let [a, b, c, d, e, ..] = error.to_le_bytes();
            Report::Failed(ExecError::from_bytes([a, b, c, d, e]).ok_or_else(garbled)?)
        }
        [5, ..] => Report::HungUp,
        [6, ..] => Report::Interrupt,
        [7, ..] => Report::Unrecorded(text),
        [8, ..] => Report::Rested,
        [9, ..] => Report::Finished(None, None),
        [10, command, ..] => Report::Begun(Pid::new(small(command)?).ok_or_else(garbled)?),
        [11, ..] => Report::Restored,
        [bytes, digest @ ..] if bytes < 0 => {
            Report::Finished(Some(seal_of(bytes, digest)), (!text.is_empty()).then_some(text))
        }
        _ => return Err(garbled()),
    }))
}

fn ended(tag: i64, number: i32, core: i64, usage: &Usage) -> Numbers {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let rss = i64::try_from(usage.max_rss_kib).unwrap_or(i64::MAX);
    [tag, i64::from(number), core, micros(usage.user), micros(usage.system), rss]
}

/// Packs a seal. The negated length takes the place of the tag.
fn sealed(seal: &Seal) -> Numbers {
    let length = i64::try_from(seal.bytes).unwrap_or(i64::MAX);
    let mut numbers = [-1 - length.min(i64::MAX - 1), 0, 0, 0, 0, 0];
    for (number, chunk) in numbers.iter_mut().skip(1).zip(seal.sha256.chunks_exact(8)) {
        *number = i64::from_le_bytes(chunk.try_into().unwrap_or_default());
    }
    numbers
}

fn seal_of(tag: i64, digest: [i64; 5]) -> Seal {
    let mut sha256 = [0; 32];
    for (chunk, number) in sha256.chunks_exact_mut(8).zip(digest) {
        chunk.copy_from_slice(&number.to_le_bytes());
    }
    Seal { sha256, bytes: u64::try_from(-1 - tag).unwrap_or(0) }
}

fn send(socket: &OwnedFd, numbers: Numbers, text: &str) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(SIZE + text.len());
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(text.as_bytes().get(..TEXT).unwrap_or(text.as_bytes()));
    write(socket.as_fd(), &bytes).map(drop)
}

fn receive(socket: &OwnedFd) -> io::Result<Option<(Numbers, String)>> {
    let mut bytes = [0; SIZE + TEXT];
    let length = match read(socket.as_fd(), &mut bytes) {
        // The other side closed its end with a packet of ours unread. The kernel reports that first and once (unix(7)); its last
        // packets can still be read afterwards.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => read(socket.as_fd(), &mut bytes)?,
        result => result?,
    };
    if length == 0 {
        return Ok(None);
    }
    let (head, text) = bytes.get(..length).and_then(|packet| packet.split_at_checked(SIZE)).ok_or_else(garbled)?;
    let mut numbers = [0; 6];
    for (number, chunk) in numbers.iter_mut().zip(head.chunks_exact(8)) {
        *number = i64::from_le_bytes(chunk.try_into().unwrap_or_default());
    }
    Ok(Some((numbers, String::from_utf8_lossy(text).into_owned())))
}

fn small<T: TryFrom<i64>>(number: i64) -> io::Result<T> {
    T::try_from(number).map_err(|_| garbled())
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
        send_order(&ours, &Order::Rest).unwrap();
        send_report(&theirs, &Report::Stopped(20)).unwrap();
        drop(theirs);
        assert!(matches!(receive_report(&ours).unwrap(), Some(Report::Stopped(20))));
        assert!(receive_report(&ours).unwrap().is_none());
    }

    #[test]
    fn orders_and_reports_arrive_as_they_were_sent() {
        let (ours, theirs) = sys::poll::socket_pair().unwrap();
        for order in [
            Order::Signal(15, 3),
            Order::Continue(JobPosition::Foreground),
            Order::Continue(JobPosition::Background),
            Order::Attach(JobPosition::Foreground),
            Order::Attach(JobPosition::Background),
            Order::Relay,
            Order::Fit,
            Order::Restore { restores: true },
            Order::Restore { restores: false },
            Order::Say("the grant ends".to_owned()),
            Order::Rest,
            Order::Enough,
            Order::Finish { restores: true },
            Order::Finish { restores: false },
        ] {
            send_order(&ours, &order).unwrap();
            assert_eq!(receive_order(&theirs).unwrap(), Some(order));
        }
        let usage = Usage { user: Duration::from_micros(7), system: Duration::from_micros(8), max_rss_kib: 9 };
        let event = WaitEvent::Signaled { signal: 9, core: true };
        send_report(&theirs, &Report::Ended(CommandEnd { event, usage })).unwrap();
        match receive_report(&ours).unwrap() {
            Some(Report::Ended(end)) => assert_eq!((end.event, end.usage), (event, usage)),
            other => panic!("{other:?}"),
        }
        for bytes in [0, 1, u64::from(u32::MAX)] {
            let seal = Seal { sha256: std::array::from_fn(|at| 255 - at as u8), bytes };
            send_report(&theirs, &Report::Finished(Some(seal), Some("full".to_owned()))).unwrap();
            match receive_report(&ours).unwrap() {
                Some(Report::Finished(found, why)) => assert_eq!((found, why.as_deref()), (Some(seal), Some("full"))),
                other => panic!("{other:?}"),
            }
        }
        drop(ours);
        assert_eq!(receive_order(&theirs).unwrap(), None);
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_and_a_short_packet_is_garbled() {
        let (ours, theirs) = sys::poll::socket_pair().unwrap();
        send_report(&theirs, &Report::Unrecorded("ä".repeat(TEXT))).unwrap();
        match receive_report(&ours).unwrap() {
            Some(Report::Unrecorded(why)) => assert_eq!(why.chars().filter(|letter| *letter == 'ä').count(), TEXT / 2),
            other => panic!("{other:?}"),
        }
        write(theirs.as_fd(), b"short").unwrap();
        assert!(receive_report(&ours).is_err());
    }
}
