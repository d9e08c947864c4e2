//! The error of a request.

use std::fmt;

use super::wish::WishError;
use crate::audit::JournalError;
use crate::database::DatabaseError;
use crate::elevation::CommandError;
use crate::host::HostError;
use crate::store::ClosedBy;
use jit_core::budget::{REQUEST_WORDS, Storage};
use jit_core::clock::Timestamp;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::escape::escape;
use jit_core::grant::lifecycle::{GrantEnd, NotExact, RequestState};
use jit_core::names::{GrantId, RoleName};

/// Why no request was made.
#[derive(Debug)]
pub enum ActivationError {
    /// The role requires a reason.
    ReasonMissing(RoleName),
    /// The role requires a ticket that matches this pattern.
    Ticket(RoleName, String),
    /// The duration exceeds the role's maximum; both in seconds.
    TooLong(RoleName, Seconds, Seconds),
    /// The duration is 0.
    NoDuration,
    /// The start is in the past, or after the request's deadline.
    Start(String),
    /// A text is longer than this limit in bytes.
    Words(&'static str, usize),
    /// The requester has this many pending requests.
    TooMany(u32),
    /// The requester has made this many requests within an hour; the next one is possible at this time.
    TooOften(u32, Timestamp),
    /// The command has this many bytes in the request.
    TooLarge(usize),
    /// The requester has used up the storage of one user; there is room again after this many seconds.
    Budget(Storage, u64),
    /// The host's hooks could not be run: this resource limit of the requester cannot be raised here.
    Unheard(&'static str),
    /// The role is granted for exact commands only, and none was named.
    CommandMissing(RoleName),
    /// The role is granted for exact commands only, and the request cannot become a grant for one.
    NotExact(RoleName, NotExact),
    /// The grant that would be extended has ended.
    Ended(GrantId, GrantEnd),
    /// The role is not the one that would be asked for; the grant that would be extended with what it was.
    RoleChanged(RoleName, Option<GrantId>),
    /// The role does not let the caller have the directory, the variables or what executes the program.
    Wish(RoleName, WishError),
    /// The role cannot be activated by break-glass.
    NoBreakGlass(RoleName),
    /// Break-glass was requested with a later start.
    BreakGlassLater,
    /// The requester has used break-glass under this grant, which no approver has reviewed.
    Unreviewed(GrantId),
    /// The command cannot be read.
    Command(CommandError),
    /// The request was decided, but not granted; by whom and why, if a person decided it.
    NotGranted(GrantId, RequestState, Option<ClosedBy>),
    /// The request is gone.
    Lost(GrantId),
    /// The requester has left before the request was stored.
    Left,
    /// Another process was to submit the request and failed, for this reason.
    Elsewhere {
        /// The sentence.
        sentence: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The host.
    Host(HostError),
    /// The journal.
    Journal(JournalError),
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReasonMissing(role) => write!(f, "role {role} requires a reason"),
            Self::Ticket(role, pattern) => write!(f, "role {role} requires a ticket that matches {pattern}"),
            Self::TooLong(role, asked, most) => {
                write!(f, "role {role} is granted for at most {}, not {}", spell(*most), spell(*asked))
            }
            Self::NoDuration => f.write_str("the duration must be longer than 0"),
            Self::Start(cause) => write!(f, "the start {cause}"),
            Self::Words(what, limit) => write!(f, "the {what} is longer than {limit} bytes"),
            Self::TooMany(limit) => write!(f, "you have {limit} pending requests already"),
            Self::TooOften(rate, free) => {
                write!(
                    f,
                    "you have made {rate} requests within an hour; the next one is possible at {}",
                    free.to_the_second()
                )
            }
            Self::TooLarge(bytes) => write!(
                f,
                "the command has {bytes} bytes with its variables, more than the {REQUEST_WORDS} that a request may have; put it \
                 into a script"
            ),
            Self::Budget(storage, seconds) => write!(
                f,
                "you have stored as much as one user may ({storage}); there is room for this request in {}",
                spell(Seconds(*seconds))
            ),
            Self::Unheard(limit) => write!(
                f,
                "your limit of {limit} cannot be raised on this host and would keep its hooks from running, so no request \
                 is made; log in with a higher limit"
            ),
            Self::CommandMissing(role) => {
                write!(f, "role {role} is granted for an exact command only; name it after --")
            }
            Self::NotExact(role, why) => {
                write!(f, "role {role} is granted for an exact command only, and {why}")
            }
            Self::Ended(grant, end) => write!(f, "grant {grant}, which it would extend, was {}", end.as_str()),
            Self::RoleChanged(role, Some(grant)) => {
                write!(f, "role {role} has changed since grant {grant} was given, which is not extended therefore")
            }
            Self::RoleChanged(role, None) => write!(f, "role {role} has changed since this was requested"),
            Self::Wish(role, error) => write!(f, "role {role}: {error}"),
            Self::NoBreakGlass(role) => write!(f, "role {role} cannot be activated by break-glass"),
            Self::BreakGlassLater => f.write_str("break-glass cannot have a later start"),
            Self::Unreviewed(id) => {
                write!(f, "you used break-glass under grant {id}, which no approver has reviewed yet")
            }
            Self::Command(error) => error.fmt(f),
            Self::NotGranted(id, RequestState::Expired, _) => {
                write!(f, "request {id} has expired: no approver has decided it in time")
            }
            Self::NotGranted(id, state, closed) => {
                write!(f, "request {id} was {}", state.as_str())?;
                let Some(closed) = closed else { return Ok(()) };
                write!(f, " by {}", escape(closed.by.as_bytes()))?;
                if closed.reason.is_empty() { Ok(()) } else { write!(f, ": {}", escape(&closed.reason)) }
            }
            Self::Lost(id) => write!(f, "request {id} cannot be read back"),
            Self::Left => f.write_str("the requester does not wait for the request any more"),
            Self::Elsewhere { sentence, .. } => f.write_str(sentence),
            Self::Host(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

impl From<HostError> for ActivationError {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl From<JournalError> for ActivationError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<DatabaseError> for ActivationError {
    fn from(error: DatabaseError) -> Self {
        Self::Journal(error.into())
    }
}

impl From<rusqlite::Error> for ActivationError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Journal(error.into())
    }
}

impl From<serde_json::Error> for ActivationError {
    fn from(error: serde_json::Error) -> Self {
        Self::Journal(error.into())
    }
}
