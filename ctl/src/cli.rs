//! The words of jitctl. Whoever holds a [`Cli`] holds checked ids, names, durations and times.

mod audit;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_sudo::escape::Word;
use jit_sudo::names::{IdPrefix, InvalidName, RoleName, UserName};

use crate::complete::{self, CompletionWords};
use crate::extend::ExtendWords;
use crate::replay::{ReplayWords, WatchWords};
use crate::screen::Format;
use crate::sessions::SessionVerb;
use crate::when;

pub(crate) use audit::{
    AuditExportWords, AuditListWords, AuditPruneWords, AuditSearchWords, AuditShowWords, AuditVerb, AuditVerifyWords,
    ExportFormat, Which,
};

const AFTER_HELP: &str = "\
Durations are written 30s, 15m, 1h, 1h30m or 7d. IDs may be shortened to their first characters.
Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 still pending when the wait ended,
4 warnings (doctor).
The manual is jitctl(8); the fields of --json are described in docs/json.md.";

/// Ask for, decide on, look at and end the grants of jit-sudo.
#[derive(Debug, Parser)]
#[command(name = "jitctl", bin_name = "jitctl", version, disable_help_subcommand = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// Reads the words typed; the first is the program's name.
    pub(crate) fn parse_words(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }

    /// How the answer is wanted.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }
}

/// How the answer is wanted, from words that are no valid call.
pub(crate) fn format_wanted(arguments: &[OsString]) -> Format {
    let mut words = arguments.iter().skip(1).take_while(|word| *word != "--");
    if words.any(|word| word == "--json") { Format::Json } else { Format::Text }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the roles you may activate, and on what terms
    Roles,
    /// Tell whether a command may run now, and if not, what would help
    Why(WhyWords),
    /// Ask for a grant
    Request(RequestWords),
    /// List pending requests that you made or may decide
    Requests(ListWords),
    /// Show everything about one request or grant
    Show(ShowWords),
    /// Approve a pending request, perhaps narrowed
    Approve(ApproveWords),
    /// Submit an approval that was signed elsewhere
    Import(ImportWords),
    /// Deny a pending request
    Deny(DenyWords),
    /// Take your own pending request back
    Cancel(IdWords),
    /// List active and scheduled grants
    Grants(ListWords),
    /// Give your own grant back, or all of them
    Release(ReleaseWords),
    /// End grants of others at once, running commands included
    Revoke(RevokeWords),
    /// Ask for more time for your own grant and what runs under it
    Extend(ExtendWords),
    /// Check, show or test the policy
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Read and verify the audit journal
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Make or show the host's key, or accept the state of this host
    #[command(subcommand)]
    Key(KeyVerb),
    /// Print the completion script of a shell
    Completion(CompletionWords),
    /// Review broken glass, unused eligibility, and who may ask for a role
    Review(ReviewWords),
    /// Play the recording of a session, or export it
    Replay(ReplayWords),
    /// Watch a session while it runs
    Watch(WatchWords),
    /// List running sessions; freeze, thaw or end one
    #[command(subcommand)]
    Session(SessionVerb),
    /// Tell what is wrong with this host, and the command that mends it
    Doctor,
    /// Do what nobody waits for: close lost runs, compress recordings, remove what is older than `keep` (root)
    Sweep,
}

/// `why`
#[derive(Debug, Args)]
pub(crate) struct WhyWords {
    /// As whom the command would run: a name or #UID [default: what the role says, else root]
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// Ask on behalf of this user (root and readers of the audit)
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) for_user: Option<UserName>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}

/// `request`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["role", "command"]).required(true).multiple(true))]
pub(crate) struct RequestWords {
    /// Which role [default: found by the command]
    #[arg(long, value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::roles))]
    pub(crate) role: Option<RoleName>,
    /// For how long, from the activation on [default: the role's maximum]
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<u64>,
    /// Not before this time: "14:30", "tomorrow 09:00", "2026-07-01 09:00", "+2h" (local time) or RFC 3339
    #[arg(long = "at", value_name = "TIME", value_parser = when::parse_start, allow_hyphen_values = true)]
    pub(crate) start: Option<i64>,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Option<Word>,
    /// The ticket, where the role demands one
    #[arg(long, value_name = "TICKET", value_parser = word())]
    pub(crate) ticket: Option<Word>,
    /// For one run only
    #[arg(long)]
    pub(crate) one_shot: bool,
    /// Wait for the decision, at most this long [default: until the request's deadline]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = when::parse_duration)]
    pub(crate) wait: Option<Option<u64>>,
    /// As whom the command will run: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// Print the request as a text, to be approved on another machine
    #[arg(long, conflicts_with = "wait")]
    pub(crate) print: bool,
    /// At once and without approvers, in an emergency: everybody is alerted, and an approver reviews it
    #[arg(long)]
    pub(crate) break_glass: bool,
    /// The command the grant is wanted for
    #[arg(value_name = "COMMAND", trailing_var_arg = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}

/// `requests` and `grants`
#[derive(Debug, Args)]
pub(crate) struct ListWords {
    /// Also those that are over
    #[arg(long)]
    pub(crate) all: bool,
}

/// Verbs that need nothing but an id
#[derive(Debug, Args)]
pub(crate) struct IdWords {
    /// Its id or the beginning of it
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, add = ArgValueCandidates::new(complete::undecidable))]
    pub(crate) id: IdPrefix,
}

/// One of this host's requests, or a text on standard input
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its id.
    Here(IdPrefix),
    /// `-`
    Text,
}

impl Place {
    fn parse(text: &str) -> Result<Self, InvalidName> {
        if text == "-" { Ok(Self::Text) } else { IdPrefix::parse(text).map(Self::Here) }
    }
}

/// `show`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("papers").args(["print", "export"]))]
pub(crate) struct ShowWords {
    /// Its id or the beginning of it, or - for a text of another host on standard input
    #[arg(value_name = "ID", value_parser = Place::parse, add = ArgValueCandidates::new(complete::everything))]
    pub(crate) place: Place,
    /// Print the request as a text, to be approved on another machine
    #[arg(long)]
    pub(crate) print: bool,
    /// Write request, approvals and grant with their signatures into this new directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) export: Option<PathBuf>,
}

/// `import`
#[derive(Debug, Args)]
pub(crate) struct ImportWords {
    /// Files that hold the approval and its signature, read one after the other [default: standard input]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `approve`
#[derive(Debug, Args)]
pub(crate) struct ApproveWords {
    /// Which request, or - for the text of one on standard input
    #[arg(value_name = "ID", value_parser = Place::parse, add = ArgValueCandidates::new(complete::decidable))]
    pub(crate) place: Place,
    /// For at most this long
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<u64>,
    /// For one run only
    #[arg(long)]
    pub(crate) one_shot: bool,
    /// For the very command and binary only
    #[arg(long)]
    pub(crate) exact: bool,
    /// Kept with the approval
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) comment: Option<Word>,
    /// Sign with this key: a private key, or a public one whose private half an agent or a security key holds
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Your name on the host, where it is another one than here
    #[arg(long = "as", value_name = "NAME", value_parser = UserName::parse)]
    pub(crate) approver: Option<UserName>,
    /// Print the approval's exact bytes, to be signed with ssh-keygen
    #[arg(long, conflicts_with = "key")]
    pub(crate) unsigned: bool,
}

/// `deny`
#[derive(Debug, Args)]
pub(crate) struct DenyWords {
    /// Which request
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, add = ArgValueCandidates::new(complete::decidable))]
    pub(crate) id: IdPrefix,
    /// Shown to the requester
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
}

/// `release`
#[derive(Debug, Args)]
pub(crate) struct ReleaseWords {
    /// Which grant [default: all your active ones]
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) id: Option<IdPrefix>,
}

/// `revoke`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["id", "user", "all"]).required(true))]
pub(crate) struct RevokeWords {
    /// Which grant
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) id: Option<IdPrefix>,
    /// Every grant of this user
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// Every grant on this host
    #[arg(long)]
    pub(crate) all: bool,
    /// Kept in the record and shown to the holder
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
}

/// `review`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("matter").args(["id", "unused", "recertify"]))]
#[command(group = ArgGroup::new("verdict").args(["confirm", "remove"]).requires("recertify").requires("comment"))]
pub(crate) struct ReviewWords {
    /// The break-glass grant that you have looked at [default: list those that wait for it]
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, requires = "comment", add = ArgValueCandidates::new(complete::debts))]
    pub(crate) id: Option<IdPrefix>,
    /// List eligibility that was not used for so long
    #[arg(long, value_name = "DURATION", value_parser = when::parse_duration)]
    pub(crate) unused: Option<u64>,
    /// List who may ask for what and who stands for it; with --confirm or --remove, answer for it
    #[arg(long, value_name = "ROLE", num_args = 0..=1, value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::assigned_roles))]
    pub(crate) recertify: Option<Option<RoleName>>,
    /// Only this assignment: a user, or %group as the policy writes it [default: all of the role but your own]
    #[arg(long = "user", value_name = "USER", requires = "verdict")]
    pub(crate) holder: Option<String>,
    /// It shall stay
    #[arg(long)]
    pub(crate) confirm: bool,
    /// It should be removed from the policy
    #[arg(long)]
    pub(crate) remove: bool,
    /// What you found; kept in the record
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) comment: Option<Word>,
}

/// Below `policy`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Check the installed policy, or files before they are installed
    Check(PolicyCheckWords),
    /// Show the policy in force, or one role of it, with every default filled in
    Show(PolicyShowWords),
    /// Tell what the policy says of a command, or compare it with a file of expected answers
    Test(PolicyTestWords),
    /// Make a policy of a sudoers, and tell by file and line what cannot be carried over
    Import(PolicyImportWords),
}

/// `policy check`
#[derive(Debug, Args)]
pub(crate) struct PolicyCheckWords {
    /// Files that make one policy together, in this order [default: the installed policy]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `policy import`
#[derive(Debug, Args)]
pub(crate) struct PolicyImportWords {
    /// The sudoers; what it includes is read too
    #[arg(value_name = "FILE", default_value = "/etc/sudoers")]
    pub(crate) file: PathBuf,
    /// People have to activate what they stand for in the sudoers; only root has it
    #[arg(long)]
    pub(crate) eligible: bool,
}

/// `policy show`
#[derive(Debug, Args)]
pub(crate) struct PolicyShowWords {
    /// Only this role
    #[arg(value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::policy_roles))]
    pub(crate) role: Option<RoleName>,
}

/// `policy test`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["file", "command"]).required(true))]
pub(crate) struct PolicyTestWords {
    /// A TOML file of [[case]] tables: user, command, expect = "standing", "eligible:ROLE" or "denied"; run_as, run_as_group, groups, host
    #[arg(value_name = "FILE", conflicts_with_all = ["user", "run_as"])]
    pub(crate) file: Option<PathBuf>,
    /// Test these files, which make one policy in this order, and not the installed one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// Who would run it [default: you]
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// As whom it would run: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}

/// Below `key`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make the host's key and the database where there are none (root)
    Init,
    /// Show the host's public key
    Show,
    /// State that the database, identity and clock of this host are right as they stand; ends every open grant (root)
    Accept(KeyAcceptWords),
}

/// `key accept`
#[derive(Debug, Args)]
pub(crate) struct KeyAcceptWords {
    /// Kept in the record
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
}

pub(crate) fn word() -> impl TypedValueParser<Value = Word> {
    OsStringValueParser::new().map(Word::from)
}

#[cfg(test)]
mod tests;
