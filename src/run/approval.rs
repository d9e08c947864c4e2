//! Waiting for approvers: with a countdown where somebody looks on, woken by the bell. ^C leaves the request as it is.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::activation::{ActivationError, wait_beside};
use crate::clock::duration::spell;
use crate::grant::lifecycle::RequestState;
use crate::host::HostError;
use crate::names::GrantId;
use crate::policy::Role;
use crate::refusal::Refusal;
use crate::run::Scene;
use crate::run::offer::{approvers, say};
use sys::signals::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SignalQueue};

/// How often the countdown is written anew.
const TICK: Duration = Duration::from_secs(1);

/// A pending request.
pub(super) struct Approval<'a> {
    pub(super) id: GrantId,
    pub(super) role: &'a Role,
    /// How long to wait, in seconds; `None` for not at all.
    pub(super) limit: Option<u64>,
}

impl Approval<'_> {
    /// Returns when there is a grant.
    pub(super) fn await_it(self, scene: &Scene<'_>) -> Result<(), Refusal> {
        let approvers = approvers(self.role);
        let pending = || Refusal::Pending(self.id.to_string(), approvers.clone());
        let limit = Duration::from_secs(self.limit.ok_or_else(pending)?);
        say(&format!(
            "jit-sudo: request {} waits for the approval of {} (^C leaves it pending)\n",
            self.id,
            approvers.join(" or ")
        ));
        let interrupts = SignalQueue::open(&[SIGINT, SIGQUIT, SIGTERM, SIGHUP])
            .map_err(|error| HostError::System("receive signals", error))?;
        let countdown = Countdown { visible: std::io::stderr().is_terminal() };
        let deadline = Instant::now() + limit;
        let state = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            countdown.show(left);
            let state = wait_beside(scene.host, &self.id, left.min(TICK), Some(interrupts.as_fd()))?;
            let interrupted = interrupts.next_event().is_ok_and(|event| event.is_some());
            if state != RequestState::Pending || left.is_zero() || interrupted {
                break state;
            }
        };
        countdown.clear();
        match state {
            RequestState::Approved => Ok(()),
            RequestState::Pending => Err(pending()),
            RequestState::Denied | RequestState::Cancelled | RequestState::Expired => {
                Err(Refusal::Activation(ActivationError::NotGranted(self.id, state)))
            }
        }
    }
}

/// One line on standard error that is written over each second.
struct Countdown {
    visible: bool,
}

impl Countdown {
    fn show(&self, left: Duration) {
        if self.visible {
            // Rounded up, so that the last second is shown as 1s.
            say(&format!("\r\x1b[K{} left", spell(left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))));
        }
    }

    fn clear(&self) {
        if self.visible {
            say("\r\x1b[K");
        }
    }
}
