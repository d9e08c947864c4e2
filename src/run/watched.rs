//! The run that is watched, and the power under which it runs.

use crate::audit::journal::Written;
use jit_core::escape::Word;
use jit_core::grant::GrantTerms;
use jit_core::names::RunId;
use jit_core::policy::Role;

/// What is watched: a run, or a session that another program has opened.
pub(crate) struct Watched {
    /// The grant under which it began, followed by its extensions; empty with a standing assignment.
    pub(crate) grants: Vec<GrantTerms>,
    /// The role through which it runs.
    pub(crate) role: Role,
    /// The uid of its user.
    pub(crate) uid: u32,
    /// The name of its user.
    pub(crate) user: Word,
    /// The id of the run.
    pub(crate) run: RunId,
    /// What its user's messages call it.
    pub(crate) what: Supervised,
    /// The start record, until it was sent to the log sinks.
    pub(crate) unsent: Option<Written>,
}

/// What the grant allows to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervised {
    /// A command, which gets ^C through us.
    Command,
    /// A session of another program.
    Session,
}

impl Supervised {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Command => "the command",
            Self::Session => "the session",
        }
    }

    /// Returns how its user ends it while it is frozen. Not every program notices that a user leaves its session.
    pub(super) fn way_out(self) -> &'static str {
        match self {
            Self::Command => "; ^C ends it",
            Self::Session => "",
        }
    }
}
