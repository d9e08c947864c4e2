//! Verbs and options that are named in the design and do not work yet: each is a clear refusal, none is silent.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::speech::Trouble;

/// Whatever follows a verb that is refused anyway.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

/// Top-level verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum LaterVerb {
    #[command(hide = true)]
    #[command(hide = true)]
    Doctor(Anything),
}

impl LaterVerb {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Doctor(_) => "doctor",
        }
    }
}

/// The refusal of `jitctl {family}{verb}`.
pub(crate) fn refuse(family: &str, verb: &str) -> Trouble {
    Trouble::NotSupported(format!("{family}{verb}"))
}
