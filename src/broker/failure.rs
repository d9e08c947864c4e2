//! Converts errors of other modules into answers of the broker.

use std::fmt::Display;

use crate::activation::ActivationError;
use crate::audit::JournalError;
use crate::database::{DatabaseError, Unwritten};
use crate::elevation::{CallerError, CommandError, Elevation, RunAsError};
use crate::host::HostError;
use crate::judge::JudgeError;
use crate::policy_index::IndexError;
use crate::refusal::{Refusal, UNNAMED, hint_for};
use crate::store::FindError;
use jit_core::escape::Word;
use jit_core::names::{IdPrefix, InvalidName};
use jit_core::policy::{PolicyReader, PolicyWords};
use jit_core::wire::Failure;

/// A rejected question; it has changed nothing.
pub(crate) struct Refused {
    /// The answer for any caller.
    pub(crate) failure: Failure,
    /// The message with text of the policy, for callers who may read it.
    words: Option<PolicyWords>,
    /// Whether it failed because something could not be stored, and why.
    pub(super) unwritten: Option<Unwritten>,
}

/// The code for stored terms that cannot be parsed.
pub(super) const DAMAGED: &str = "damaged";

/// The code for terms that this version does not understand.
const OTHER_VERSION: &str = "other-version";

/// Returns an error with a stable code.
pub(crate) fn refused(code: &str, message: impl Display) -> Refused {
    let failure = Failure { code: code.to_owned(), message: message.to_string(), hint: None, exit: 1 };
    Refused { failure, words: None, unwritten: None }
}

/// Returns an error of the policy for a caller who checks the policy. The hint is to correct the file, because checking again does
/// not help.
pub(super) fn unchecked(error: HostError) -> Refused {
    let is_of_policy = error.is_of_policy();
    let refused = Refused::from(error);
    if is_of_policy { refused.hint("correct the file, then: jitctl policy check") } else { refused }
}

/// Returns the error for a command in a directory that the caller may not search. It does not reveal whether the file exists.
pub(crate) fn unsaid(elevation: &Elevation) -> Refused {
    let words = elevation.command().refused_words();
    unsaid_of(words.first().unwrap_or(&Word::default()))
}

fn unsaid_of(path: &Word) -> Refused {
    refused(
        "not-allowed",
        format!("you may not look into the directory of {path}, so it is not reported whether it exists"),
    )
    .hint(UNNAMED)
}

impl Refused {
    /// Adds a hint: what to type.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    /// Returns whether the error is a database row that cannot be read.
    pub(crate) fn is_damage(&self) -> bool {
        [DAMAGED, OTHER_VERSION].contains(&self.failure.code.as_str())
    }

    /// Returns the answer: with text of the policy if `reader` proves that the caller may read it.
    pub(crate) fn told_to(self, reader: Option<&PolicyReader>) -> Failure {
        let Self { words, failure, unwritten: _ } = self;
        let hint = failure.hint.map(|hint| hint_for(reader, &hint).to_owned());
        let message = words.zip(reader).map(|(words, reader)| words.told_to(reader).to_owned());
        Failure { message: message.unwrap_or(failure.message), hint, ..failure }
    }

    /// Returns the error for a prefix that matches nothing that the caller may see.
    pub(crate) fn unknown_id(prefix: &IdPrefix) -> Self {
        refused("unknown-id", format!("there is no request or grant {prefix}"))
            .hint("jitctl requests --all, jitctl grants --all")
    }

    /// Returns the error for a prefix that matches several: `ids`, which is empty if there are too many to list.
    pub(crate) fn ambiguous_id(prefix: &IdPrefix, ids: &[String]) -> Self {
        let ids = if ids.is_empty() { String::new() } else { format!(": {}", ids.join(", ")) };
        refused("ambiguous-id", format!("{prefix} fits several{ids}")).hint("type more of the id")
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let mut answer = refused(refusal.code(), refusal.sentence());
        answer.failure.hint = refusal.hint();
        Self { words: refusal.words(), unwritten: refusal.unwritten(), ..answer }
    }
}

macro_rules! through_refusal {
    ($($error:ty),*) => {
        $(impl From<$error> for Refused {
            fn from(error: $error) -> Self {
                Refusal::from(error).into()
            }
        })*
    };
}
through_refusal!(HostError, CallerError, ActivationError, JournalError, rusqlite::Error, JudgeError);

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        HostError::from(error).into()
    }
}

impl From<IndexError> for Refused {
    fn from(error: IndexError) -> Self {
        HostError::from(error).into()
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Hidden(hidden) => unsaid_of(&Word::from(hidden.path().as_os_str())),
            error => refused("command-not-found", error),
        }
    }
}

impl From<RunAsError> for Refused {
    fn from(error: RunAsError) -> Self {
        refused("unknown-run-as", error)
    }
}

impl From<InvalidName> for Refused {
    fn from(error: InvalidName) -> Self {
        refused("invalid-name", error)
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        JournalError::from(error).into()
    }
}

impl From<FindError> for Refused {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Database(error) => error.into(),
            FindError::Damaged(what) => refused(DAMAGED, format!("the database holds damaged terms: {what}")),
            FindError::Terms(id, fault) => refused(OTHER_VERSION, format!("request {id} cannot be used: {fault}")),
            FindError::Unknown => refused("unknown-id", "there is no such request or grant"),
        }
    }
}
