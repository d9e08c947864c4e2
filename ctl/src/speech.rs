//! Every error of jitctl: its message, its hint, its code for programs and its exit status.

use std::io;
use std::process::ExitCode;

use jit_core::wire::Failure;
use serde::Serialize;

use crate::broker::BrokerError;

/// The exit statuses; jitctl uses no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Done = 0,
    /// Refused or failed.
    Refused = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The wait ended and the request is still pending.
    Pending = 3,
    /// `doctor` found nothing worse than warnings.
    Warned = 4,
    /// `audit verify` found the journal intact, and could not compare it with a signed head from elsewhere; or a proof rests on the key
    /// of the host alone.
    NotAllChecked = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A message for stderr and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// A sentence fragment in lower case without full stop.
    pub(crate) message: String,
    /// The command to type.
    pub(crate) hint: Option<String>,
}

impl Notice {
    /// Returns a message without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Returns the message with a hint.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Why a verb failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The broker refused, or gave no answer.
    Broker(BrokerError),
    /// The arguments contradict each other.
    Usage(Notice),
    /// It failed here, without the broker; the first field is the code for programs.
    Local(&'static str, Notice),
}

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

/// The form of an error for programs: `{"error":{…}}`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorObject {
    error: Failure,
}

impl Trouble {
    /// Returns its exit status.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Broker(BrokerError::Refused(failure)) if failure.exit == 2 => Exit::Usage,
            Self::Broker(_) | Self::Local(..) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
        }
    }

    /// Returns the lines for people.
    pub(crate) fn notice(&self) -> Notice {
        match self {
            Self::Broker(BrokerError::Refused(failure)) => {
                Notice { message: failure.message.clone(), hint: failure.hint.clone() }
            }
            Self::Broker(error @ BrokerError::Start { error: cause, .. })
                if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                Notice::new(error.to_string())
                    .with_hint("jit-sudo is not installed completely on this host; see its README")
            }
            Self::Broker(error) => Notice::new(error.to_string()),
            Self::Usage(notice) | Self::Local(_, notice) => notice.clone(),
        }
    }

    /// Returns the object for programs.
    pub(crate) fn object(&self) -> ErrorObject {
        let Notice { message, hint } = self.notice();
        ErrorObject { error: Failure { code: self.code().to_owned(), message, hint, exit: self.exit() as u8 } }
    }

    fn code(&self) -> &str {
        match self {
            Self::Broker(BrokerError::Refused(failure)) => &failure.code,
            Self::Broker(BrokerError::Start { .. }) => "no-broker",
            Self::Broker(BrokerError::TooLongAsked(_)) => "too-long",
            Self::Broker(_) => "broker-failed",
            Self::Usage(_) => "usage",
            Self::Local(code, _) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_exit_statuses_are_used() {
        for (said, exit) in [(0, Exit::Refused), (1, Exit::Refused), (2, Exit::Usage), (77, Exit::Refused)] {
            let failure = Failure { code: "x".into(), message: "x".into(), hint: None, exit: said };
            assert_eq!(Trouble::from(BrokerError::Refused(failure)).exit(), exit);
        }
    }
}
