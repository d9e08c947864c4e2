//! Submits the request of a caller whose command jit-sudo runs, in a process of its own: the process that talks to the caller does
//! not need the host's private key, and never reads it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Activation, ActivationError, Wanted, request_terms, submit};
use crate::elevation::Caller;
use crate::host::{Host, HostError};
use crate::programs::{Attention, ask_enforcer};
use crate::session::refuge;
use jit_core::clock::Now;
use jit_core::evidence::record::Digest;
use jit_core::grant::RequestTerms;
use jit_core::grant::lifecycle::RequestState;

/// The prefix of the order to submit a request.
const SUBMIT: &[u8] = b"submit ";

/// How long to wait for an answer: a writer of the database waits up to 10 seconds for its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// The order: the terms, complete and checked, and the policy by which they were judged.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    terms: RequestTerms,
    policy: Option<Digest>,
}

/// The result of a submission.
pub type Outcome = Result<Activation, Refused>;

/// Why the request was not submitted.
#[derive(Serialize, Deserialize)]
pub struct Refused {
    /// The sentence, for the requester.
    pub sentence: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Like [`super::request`], in another process. Where `attention` ends the wait, the request is made only if it was complete by
/// then.
pub fn request_apart(
    host: &Host,
    caller: &Caller,
    wanted: &Wanted<'_>,
    now: &Now,
    attention: &Attention<'_>,
) -> Result<Activation, ActivationError> {
    let terms = request_terms(caller, wanted, &host.record_public_identity()?.host, now)?;
    let order = Submission { terms, policy: wanted.role.policy.map(Digest) };
    let order_bytes = [SUBMIT, &serde_json::to_vec(&order)?].concat();
    let answer = ask_enforcer(&order_bytes, refuge().as_ref(), PATIENCE, attention);
    let outcome = answer.and_then(|answer| {
        serde_json::from_slice::<Outcome>(&answer).map_err(|_| io::Error::other("there is no answer"))
    });
    match outcome {
        Ok(outcome) => outcome.map_err(|Refused { sentence, hint }| ActivationError::Elsewhere { sentence, hint }),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(ActivationError::Left),
        // The request may have been stored all the same.
        Err(error) => match host.store().request(&order.terms.id, now.seconds()).map(|request| request.state) {
            Ok(RequestState::Approved) => Ok(Activation::Granted(order.terms.id)),
            Ok(RequestState::Pending) => Ok(Activation::Pending(order.terms.id)),
            Ok(_) | Err(_) => Err(HostError::System("have the request submitted by jit-sudo-enforcer", error).into()),
        },
    }
}

impl Submission {
    /// Parses an order.
    pub fn in_order(words: &[u8]) -> Option<Self> {
        serde_json::from_slice(words.strip_prefix(SUBMIT)?).ok()
    }

    /// Submits the request if the policy is still the one by which it was judged, and if `is_awaited` returns true at the end: a
    /// caller who has left gets no grant.
    pub fn carry_out(&self, host: &Host, is_awaited: impl Fn() -> bool) -> Result<Activation, ActivationError> {
        let policy = host.last_policy()?;
        let role = policy.role(&self.terms.role).map_err(HostError::from)?;
        let role = role.filter(|role| role.digest == self.terms.role_digest && role.policy.map(Digest) == self.policy);
        let role = role.ok_or(crate::audit::JournalError::OtherPolicy)?;
        submit(host, &policy, &role, &self.terms, &host.record_identity()?, &host.now()?, is_awaited)
    }
}
