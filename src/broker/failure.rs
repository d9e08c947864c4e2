//! Errors of the rooms as answers of the broker.

use std::fmt::Display;

use crate::activation::ActivationError;
use crate::audit::JournalError;
use crate::database::DatabaseError;
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

/// A refused question; nothing was changed.
pub(crate) struct Refused {
    /// As everybody may hear it.
    pub(crate) failure: Failure,
    /// The message in the words of the policy.
    words: Option<PolicyWords>,
}

/// Stored terms that are none.
const DAMAGED: &str = "damaged";

/// Terms that this version does not understand.
const OTHER_VERSION: &str = "other-version";

/// A refusal with a stable code.
pub(crate) fn refused(code: &str, message: impl Display) -> Refused {
    let failure = Failure { code: code.to_owned(), message: message.to_string(), hint: None, exit: 1 };
    Refused { failure, words: None }
}

/// What is wrong with the policy, for whoever has just asked: to ask again is no cure.
pub(super) fn unchecked(error: HostError) -> Refused {
    let is_of_policy = error.is_of_policy();
    let refused = Refused::from(error);
    if is_of_policy { refused.hint("correct the file, then: jitctl policy check") } else { refused }
}

/// About a command in a place where the caller may not look: whether it is there is not said.
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
    /// With the words to type.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    /// Whether a row of the database cannot be read.
    pub(crate) fn is_damage(&self) -> bool {
        [DAMAGED, OTHER_VERSION].contains(&self.failure.code.as_str())
    }

    /// The answer for somebody who may read the policy, or for anybody else.
    pub(crate) fn told_to(self, reader: Option<&PolicyReader>) -> Failure {
        let Self { words, failure } = self;
        let hint = failure.hint.map(|hint| hint_for(reader, &hint).to_owned());
        let message = words.zip(reader).map(|(words, reader)| words.told_to(reader).to_owned());
        Failure { message: message.unwrap_or(failure.message), hint, ..failure }
    }

    /// Nothing that the caller may see begins with `prefix`.
    pub(crate) fn unknown_id(prefix: &IdPrefix) -> Self {
        refused("unknown-id", format!("there is no request or grant {prefix}"))
            .hint("jitctl requests --all, jitctl grants --all")
    }

    /// More than one does: these, or more than anybody would read.
    pub(crate) fn ambiguous_id(prefix: &IdPrefix, ids: &[String]) -> Self {
        let ids = if ids.is_empty() { String::new() } else { format!(": {}", ids.join(", ")) };
        refused("ambiguous-id", format!("{prefix} fits several{ids}")).hint("type more of the id")
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let mut answer = refused(refusal.code(), refusal.sentence());
        answer.failure.hint = refusal.hint();
        Self { words: refusal.words(), ..answer }
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
