//! Waits for a decision: the broker blocks on our behalf, a countdown shows the progress, ^C leaves the request pending.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use jit_core::clock::duration::{LONGEST, Seconds};
use jit_core::names::{GrantId, IdPrefix};
use jit_core::wire::{GrantInfo, Wait};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::broker::{Broker, BrokerError};
use crate::screen::Screen;
use crate::speech::{Notice, Trouble};
use crate::surface::Surface;
use crate::when;

/// The longest wait in one request to the broker, in seconds.
const LONGEST_ASK: Duration = Duration::from_secs(60);

/// The minimum interval between requests to a broker that answers "pending" early.
const PACE: Duration = Duration::from_secs(1);

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Until the request expires.
    Deadline,
    /// At most this long, and no longer than the request lives.
    AtMost(Seconds),
}

/// How the wait ended.
#[derive(Debug)]
pub(crate) enum Waited {
    /// The request was decided.
    Decided(GrantInfo),
    /// The time was up; still pending.
    TimeUp(GrantInfo),
    /// The user pressed ^C; still pending.
    Interrupted(GrantInfo),
}

enum Event {
    Answer(Box<Result<GrantInfo, BrokerError>>),
    Interrupt,
}

/// Waits until the request is no longer pending.
pub(crate) fn until_decided(
    info: GrantInfo,
    limit: Limit,
    broker: &Broker,
    screen: &Screen,
) -> Result<Waited, Trouble> {
    let end = Instant::now() + time_left(&info, limit, screen.now);
    let (sender, events) = mpsc::channel();
    let signals = watch_interrupt(sender.clone())?;
    let countdown = Countdown { end, surface: screen.err };
    let waited = rounds(info, &countdown, broker, &sender, &events);
    countdown.clear();
    signals.close();
    waited
}

/// Requester and broker have the same clock, but the broker's answer may take a moment: the broker decides whether the
/// deadline has passed.
fn time_left(info: &GrantInfo, limit: Limit, now: i64) -> Duration {
    let lifetime = Duration::from(Seconds::between(now, info.deadline)).saturating_add(Duration::from_secs(2));
    // An instant far beyond the lifetime of any request may not be representable.
    let lifetime = lifetime.min(10 * Duration::from(LONGEST));
    match limit {
        Limit::Deadline => lifetime,
        Limit::AtMost(longest) => lifetime.min(longest.into()),
    }
}

fn rounds(
    mut info: GrantInfo,
    countdown: &Countdown,
    broker: &Broker,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Waited, Trouble> {
    loop {
        let left = countdown.left();
        if left.is_zero() {
            return Ok(Waited::TimeUp(info));
        }
        let asked = Instant::now();
        ask_beside(&info.id, Seconds(left.min(LONGEST_ASK).as_secs().max(1)), broker, sender)?;
        let answer = match next_event(countdown, events, None) {
            Some(Event::Answer(answer)) => *answer,
            Some(Event::Interrupt) | None => return Ok(Waited::Interrupted(info)),
        };
        // The broker gets ^C too, and may be killed by it before this process sees the signal.
        info = match answer {
            Err(BrokerError::NoAnswer(status) | BrokerError::CutOff(status)) if killed_by_interrupt(status) => {
                return Ok(Waited::Interrupted(info));
            }
            answer => answer?,
        };
        if info.state != "pending" {
            return Ok(Waited::Decided(info));
        }
        let rest = (asked + PACE).saturating_duration_since(Instant::now());
        if let Some(Event::Interrupt) = next_event(countdown, events, Some(rest)) {
            return Ok(Waited::Interrupted(info));
        }
    }
}

fn killed_by_interrupt(status: std::process::ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGINT)
}

fn ask_beside(id: &GrantId, seconds: Seconds, broker: &Broker, sender: &Sender<Event>) -> Result<(), Trouble> {
    let id = IdPrefix::parse(id.as_str()).map_err(|_| BrokerError::Garbled)?;
    let (broker, sender) = (broker.clone(), sender.clone());
    let ask = move || drop(sender.send(Event::Answer(Box::new(broker.ask(&Wait { id, seconds })))));
    thread::Builder::new().spawn(ask).map(drop).map_err(|error| BrokerError::Pipe(error).into())
}

/// Returns the next event, and updates the countdown meanwhile; `None` if there is none within `rest`.
fn next_event(countdown: &Countdown, events: &Receiver<Event>, rest: Option<Duration>) -> Option<Event> {
    let until = rest.map(|rest| Instant::now() + rest);
    loop {
        countdown.show();
        let tick = match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return None,
            Some(left) => left.min(PACE),
            None => PACE,
        };
        match events.recv_timeout(tick) {
            Ok(event) => return Some(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

fn watch_interrupt(sender: Sender<Event>) -> Result<signal_hook::iterator::Handle, Trouble> {
    let failed = |error: io::Error| {
        let cause = sys::plain_words(&error);
        Trouble::Local("no-signals", Notice::new(format!("cannot watch for ^C: {cause}")))
    };
    let mut signals = Signals::new([SIGINT]).map_err(failed)?;
    let handle = signals.handle();
    let watch = move || {
        for _ in signals.forever() {
            drop(sender.send(Event::Interrupt));
        }
    };
    thread::Builder::new().spawn(watch).map_err(failed)?;
    Ok(handle)
}

/// One line on stderr that is overwritten each second, on terminals that support it.
struct Countdown {
    end: Instant,
    surface: Surface,
}

impl Countdown {
    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn show(&self) {
        let left = when::spell(Seconds::rounded_up(self.left()));
        self.write(&format!("\r\x1b[Kwaiting for approval, {left} left (^C leaves the request pending)"));
    }

    fn clear(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if matches!(self.surface, Surface::Plain | Surface::Colour) {
            // If the countdown cannot be shown, the wait continues.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::pending;

    #[test]
    fn the_wait_ends_with_the_request() {
        let mut info = pending();
        info.deadline = 100;
        assert_eq!(time_left(&info, Limit::Deadline, 70).as_secs(), 32);
        assert_eq!(time_left(&info, Limit::AtMost(Seconds(5)), 70).as_secs(), 5);
        assert_eq!(time_left(&info, Limit::AtMost(Seconds(3600)), 70).as_secs(), 32);
        assert_eq!(time_left(&info, Limit::Deadline, 1000).as_secs(), 2);
        info.deadline = i64::MAX;
        assert!(time_left(&info, Limit::Deadline, 0).as_secs() < 1 << 32);
    }
}
