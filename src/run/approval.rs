//! Waits for approvers: with a countdown on a terminal, woken by the bell. ^C leaves the request pending.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::activation::wait_beside;
use crate::console::{self, Console};
use crate::refusal::{Left, LeftAt, Refusal};
use crate::run::RunContext;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::GrantId;
use sys::terminal::{Held, Wish};

/// How often the countdown is updated.
const TICK: Duration = Duration::from_secs(1);

/// Waits at most for `limit`, with the terminal held. Returns the state that the request has then.
///
/// # Errors
/// Fails with [`Refusal::Left`] when the user leaves.
pub(super) fn await_approval(
    id: &GrantId,
    approvers: &[String],
    limit: Seconds,
    held: &Held<'_>,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<RequestState, Refusal> {
    let names = approvers.join(" or ");
    console.say(&console::line(format_args!("request {id} waits for the approval of {names} (^C leaves it pending)")));
    let uid = context.inherited.identity.uid();
    let mut countdown = Countdown { visible: std::io::stderr().is_terminal(), is_shown: false };
    let deadline = Instant::now() + Duration::from(limit);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if held.is_ours() {
            countdown.show(left, console);
        }
        let state = wait_beside(context.host, uid, id, left.min(TICK), Some(held.signals()))?;
        match held.wish() {
            Ok(Some(Wish::End(signal))) => {
                countdown.clear(console);
                return Err(Refusal::Left(Left { signal: Some(signal), at: LeftAt::Wait(id.clone()) }));
            }
            // Stopped here, where no transaction is open, this process blocks no other.
            Ok(Some(Wish::Stop(signal))) => {
                countdown.clear(console);
                let _ = context.host.database().at_rest(|| held.stop(signal));
                continue;
            }
            Ok(None) | Err(_) => {} // a terminal that is gone sends SIGHUP
        }
        if state != RequestState::Pending || left.is_zero() {
            countdown.clear(console);
            return Ok(state);
        }
    }
}

/// A line on standard error that is overwritten each second.
struct Countdown {
    visible: bool,
    is_shown: bool,
}

impl Countdown {
    fn show(&mut self, left: Duration, console: &mut Console) {
        if self.visible {
            console.say(&format!("\r\x1b[K{} left", spell(Seconds::rounded_up(left))));
            self.is_shown = true;
        }
    }

    /// Removes the line, unless a shell writes there now.
    fn clear(&mut self, console: &mut Console) {
        if std::mem::take(&mut self.is_shown) {
            console.say("\r\x1b[K");
        }
    }
}
