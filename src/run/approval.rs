//! Waits for approvers: with a countdown on a terminal, woken by the bell. ^C leaves the request pending.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::activation::wait_beside;
use crate::console::{self, Console};
use crate::host::HostError;
use crate::refusal::Refusal;
use crate::run::RunContext;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::GrantId;
use sys::process::stop_self;
use sys::signals::{Event, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SignalQueue};

/// How often the countdown is updated.
const TICK: Duration = Duration::from_secs(1);

/// Waits at most for `limit`, or until a signal arrives. Returns the state that the request has then.
pub(super) fn await_approval(
    id: &GrantId,
    approvers: &[String],
    limit: Seconds,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<RequestState, Refusal> {
    let names = approvers.join(" or ");
    console.say(&console::line(format_args!("request {id} waits for the approval of {names} (^C leaves it pending)")));
    let interrupts = SignalQueue::open(&[SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP])
        .map_err(|error| HostError::System("receive signals", error))?;
    let uid = context.inherited.identity.uid();
    let countdown = Countdown { visible: std::io::stderr().is_terminal() };
    let deadline = Instant::now() + Duration::from(limit);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        countdown.show(left, console);
        let state = wait_beside(context.host, uid, id, left.min(TICK), Some(interrupts.as_fd()))?;
        let interrupted = match interrupts.next_event() {
            // Stopped here, where no transaction is open, this process blocks no other.
            Ok(Some(Event { signal: SIGTSTP, .. })) => {
                let _ = context.host.database().at_rest(|| stop_self(SIGTSTP));
                false
            }
            event => event.is_ok_and(|event| event.is_some()),
        };
        if state != RequestState::Pending || left.is_zero() || interrupted {
            countdown.clear(console);
            return Ok(state);
        }
    }
}

/// A line on standard error that is overwritten each second.
struct Countdown {
    visible: bool,
}

impl Countdown {
    fn show(&self, left: Duration, console: &mut Console) {
        if self.visible {
            console.say(&format!("\r\x1b[K{} left", spell(Seconds::rounded_up(left))));
        }
    }

    fn clear(&self, console: &mut Console) {
        if self.visible {
            console.say("\r\x1b[K");
        }
    }
}
