//! The arguments of verbs that state something about a request or grant, optionally signed with a key.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use clap_complete::ArgValueCandidates;
use jit_core::escape::Word;
use jit_core::names::UserName;

use crate::complete;
use crate::typed::{RequestSource, word};

/// The key of whoever states it
#[derive(Debug, Args)]
pub(crate) struct KeyWords {
    /// Sign with this key, as for `approve`; with -, print the signed statement instead of submitting it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Your user name on the host, if it differs from your name on this machine
    #[arg(long = "as", value_name = "NAME", value_parser = UserName::parse, requires = "key")]
    pub(crate) name: Option<UserName>,
}

/// `deny`
#[derive(Debug, Args)]
pub(crate) struct DenyWords {
    /// The id of the request, or - to read the text of a request from standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::decidable))]
    pub(crate) place: RequestSource,
    /// The reason, which is shown to the requester
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
    #[command(flatten)]
    pub(crate) signed: KeyWords,
}

/// `cancel`
#[derive(Debug, Args)]
pub(crate) struct CancelWords {
    /// The id or the beginning of it, or - to read the text of the request from standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::undecidable))]
    pub(crate) place: RequestSource,
    #[command(flatten)]
    pub(crate) signed: KeyWords,
}

/// `release`
#[derive(Debug, Args)]
pub(crate) struct ReleaseWords {
    /// The id of the grant, or - to read the text of its request from standard input [default: all your active grants]
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) place: Option<RequestSource>,
    #[command(flatten)]
    pub(crate) signed: KeyWords,
}

/// `revoke`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["place", "user", "all"]).required(true))]
pub(crate) struct RevokeWords {
    /// The id of the grant, or - to read the text of its request from standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) place: Option<RequestSource>,
    /// End every grant of this user
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// End every grant on this host
    #[arg(long)]
    pub(crate) all: bool,
    /// The reason, which is recorded and shown to the holder
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
    #[command(flatten)]
    pub(crate) signed: KeyWords,
}
