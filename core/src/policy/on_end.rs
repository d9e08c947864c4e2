//! What happens to a running command, and to processes that it left running, when the permission ends.

use serde::{Deserialize, Serialize};

/// What happens to processes that a finished command left running when its grant expires; a revocation always ends
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftovers {
    /// They are ended.
    #[default]
    End,
    /// They continue: for roles that start daemons without a service manager.
    Keep,
}

/// What happens to a running command, and to processes that it left running, when the user who started it may no longer
/// have the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemoval {
    /// They are ended.
    #[default]
    End,
    /// The command may run to its end, or to that of its grant.
    Finish,
}

/// What happens to a running command when its grant expires; a revocation always ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// It is ended.
    #[default]
    Terminate,
    /// It is frozen until the grant is extended.
    Freeze,
    /// It may run to its end.
    Finish,
}

impl Leftovers {
    /// Returns the stricter of two: the one that ends the processes.
    pub(super) fn narrower(self, other: Self) -> Self {
        if self == Self::Keep { other } else { self }
    }

    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "end" => Ok(Self::End),
            "keep" => Ok(Self::Keep),
            _ => Err("must be \"end\" or \"keep\""),
        }
    }
}

impl OnRemoval {
    /// Returns the stricter of two: the one that ends the command.
    pub(super) fn narrower(self, other: Self) -> Self {
        if self == Self::Finish { other } else { self }
    }

    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "end" => Ok(Self::End),
            "finish" => Ok(Self::Finish),
            _ => Err("must be \"end\" or \"finish\""),
        }
    }
}

impl OnExpiry {
    /// Returns the stricter of two: the one that ends a command sooner.
    pub(super) fn narrower(self, other: Self) -> Self {
        [Self::Terminate, Self::Freeze].into_iter().find(|one| *one == self || *one == other).unwrap_or(Self::Finish)
    }

    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "terminate" => Ok(Self::Terminate),
            "freeze" => Ok(Self::Freeze),
            "finish" => Ok(Self::Finish),
            _ => Err("must be \"terminate\", \"freeze\" or \"finish\""),
        }
    }
}
