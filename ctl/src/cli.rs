//! The arguments of jitctl. A [`Cli`] holds checked ids, names, durations and times.

mod audit;
mod policy;
mod statement;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::names::{RoleName, UserName};

use crate::complete::{self, CompletionWords};
use crate::extend::ExtendWords;
use crate::replay::{ReplayWords, WatchWords};
use crate::screen::Format;
use crate::sessions::SessionVerb;
use crate::typed::{RequestSource, word};
use crate::when;

pub(crate) use audit::{
    AuditExportWords, AuditListWords, AuditPruneWords, AuditSearchWords, AuditShowWords, AuditVerb, AuditVerifyWords,
    ExportFormat, RecordSelection,
};
pub(crate) use policy::{PolicyCheckWords, PolicyImportWords, PolicyShowWords, PolicyTestWords, PolicyVerb};
pub(crate) use statement::{CancelWords, DenyWords, KeyWords, ReleaseWords, RevokeWords};

const AFTER_HELP: &str = "\
Durations are written 30s, 15m, 1h, 1h30m or 7d. IDs may be shortened to their first characters.
Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 still pending when the wait ended,
4 warnings (doctor).
The manual is jitctl(8); the fields of --json are described in docs/json.md.";

/// Request, approve, show and end grants of jit-sudo.
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
    /// List the roles that you may activate, and on what terms
    ///
    /// Your standing roles are listed too. For each role you see the users as whom it runs commands, its maximum
    /// duration, what an activation requires, and the commands that it allows. A command that begins with `!` is
    /// excluded; the last matching entry decides.
    Roles,
    /// Tell whether a command may run now, and if not, what would help
    ///
    /// Shows the role and the grant that allow the command, or the rule that denies it; the verdict of each role; and
    /// what to type. The status is 1 if the command may not run now.
    ///
    /// If you may not look into the directory of the command, you learn nothing about it unless you may run it now.
    Why(WhyWords),
    /// Request a grant
    ///
    /// Give a role, a command, or both; without a role, jitctl finds one that allows the command. Everything after the
    /// first word of the command belongs to the command. A role without approvers is activated at once. Otherwise the
    /// request is pending until enough approvers have approved it, one has denied it, or its deadline has passed.
    ///
    /// You cannot name a command in a directory that you may not look into: request the role alone.
    Request(RequestWords),
    /// List pending requests that you made or may decide
    ///
    /// An asterisk marks those that you may decide.
    Requests(ListWords),
    /// Show everything about one request or grant
    ///
    /// Each word of the command has a line of its own. A word with characters outside ASCII is followed by its bytes, so
    /// that it cannot pass for another word. You also see how often the requester ran the same command before, and what
    /// else the role allows. The requester sees the digest of the program only if they can read the program.
    ///
    /// With `-`, shows the text of a request of another host, on any machine. If that host is new here, compare the
    /// fingerprint of its key with the output of `jitctl key show` there. Its key is then known, and another key is refused.
    Show(ShowWords),
    /// Approve a pending request, perhaps narrowed
    ///
    /// An approval can narrow a request and never widens it. If a role requires several approvals, the grant is their
    /// intersection. You cannot approve your own request. If the role has changed since the request was made, the request
    /// cannot be approved and has to be made again.
    ///
    /// If the role requires it (`approval_authentication`, the default for two approvals or more), you are asked for
    /// your password at the terminal, for each approval. Without a terminal such an approval must be signed with a key.
    ///
    /// With `-`, the signed approval is written to the standard output, to be sent back by any channel. The host must be
    /// the one that is known by its name here, as for `show -`.
    Approve(ApproveWords),
    /// Submit an approval, or a denial, revocation or other statement, that was signed elsewhere
    ///
    /// Any user may submit one. The host checks the signature, the keys in `/etc/jit-sudo/approvers`, the policy, its own
    /// identity, and that the same request is still pending or its grant still open. The text may be part of a mail. The
    /// exact bytes followed by the signature of ssh-keygen(1) work as well.
    Import(ImportWords),
    /// Deny a pending request
    ///
    /// With `-`, the signed denial is written to the standard output, for `jitctl import`. The same holds for `cancel`,
    /// `release`, `revoke` and `review`.
    Deny(DenyWords),
    /// Withdraw your own pending request
    Cancel(CancelWords),
    /// List active and scheduled grants
    ///
    /// Lists your grants, including ended ones under which a command still runs. Root and readers of the audit see the
    /// grants of all users.
    Grants(ListWords),
    /// Give back your own grant, or all of them
    ///
    /// Takes effect at once, ends running commands too, and ends grants that extend the released ones.
    Release(ReleaseWords),
    /// End grants of others at once, running commands included
    ///
    /// Only for root and the approvers of the role. A grant is found by its records, also if its row in the database is
    /// missing or says something else; such a row is named, and the status is 1.
    Revoke(RevokeWords),
    /// Ask for more time for your own grant and what runs under it
    ///
    /// Makes a request that refers to your grant and copies everything from it except its end. The rules of the role
    /// apply as for any request: its maximum, a reason, and approval if it requires one. The extension begins when the
    /// grant ends, or when it is approved if that is later. Commands that run under the grant continue under the
    /// extension, and frozen ones are thawed.
    ///
    /// You can extend a grant while it is active or while a command still runs under it. The extension of a grant for
    /// one run is valid for that run only. If the role has changed since the grant was given, request another grant
    /// instead.
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
    ///
    /// The scripts are installed where the shells look for them.
    Completion(CompletionWords),
    /// Review break-glass grants, unused eligibility, and who may request a role
    ///
    /// Without options, lists the break-glass grants that no approver has reviewed; an asterisk marks those that you may
    /// review. With an ID and a comment, records your review; the user may then use break-glass again. You cannot review
    /// your own break-glass grant or your own assignment. If approvals of the role require a password, so does the
    /// review of a break-glass grant.
    ///
    /// Reviews are records; only root changes the policy itself.
    Review(ReviewWords),
    /// Play the recording of a session, or export it
    ///
    /// Space pauses and continues, the arrow keys jump five seconds, + and - change the speed, q quits. A pipe or a file
    /// gets the whole recording at once.
    ///
    /// Sequences that draw are shown. Sequences that would act on your terminal are left out: queries that it answers,
    /// titles, the clipboard, modes of keyboard and mouse, the printer, the bell.
    ///
    /// You may replay your own runs; root and readers of the audit may replay all runs. Access to a recording of another
    /// user is recorded first.
    Replay(ReplayWords),
    /// Watch a session while it runs
    ///
    /// The session must be recorded. You see its output so far at once, and new output at most a second late. q quits.
    /// For the user of the session, root, readers of the audit and the observers of its role.
    Watch(WatchWords),
    /// List running sessions; freeze, thaw or end one
    #[command(subcommand)]
    Session(SessionVerb),
    /// Check this host, and show the command that fixes each fault
    ///
    /// Checks everything that jit-sudo needs: programs, PAM services, clock and kernel for all users; policy, state
    /// directory, database, free space, key, anchor, log sinks, control groups and hooks for root. It changes nothing.
    Doctor,
    /// Do background work: close lost runs, compress recordings, remove records older than `keep` (root)
    ///
    /// A run is lost if its supervisor was killed. `keep` is in `[audit]` of jit-sudo-policy(5); without it nothing is
    /// removed. If nothing may be removed because the journal is not intact or the clock is in doubt, sweep does the
    /// rest, prints the reason, and exits with status 1. Run it from a timer.
    Sweep,
}

/// `why`
#[derive(Debug, Args)]
pub(crate) struct WhyWords {
    /// The user as whom the command would run: a name or #UID [default: the user of the role, else root]
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The primary group: a name or #GID
    #[arg(short = 'g', value_name = "GROUP", value_parser = word())]
    pub(crate) run_as_group: Option<Word>,
    /// The working directory [default: this one]
    #[arg(short = 'D', value_name = "DIRECTORY", value_parser = word())]
    pub(crate) directory: Option<Word>,
    /// Ask on behalf of this user (root and readers of the audit)
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) for_user: Option<UserName>,
    /// The command and its arguments, with variables (NAME=VALUE) before it
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}

/// `request`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["role", "command"]).required(true).multiple(true))]
pub(crate) struct RequestWords {
    /// The role [default: found by the command]
    #[arg(long, value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::roles))]
    pub(crate) role: Option<RoleName>,
    /// The duration, from the activation on [default: the role's maximum]
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Seconds>,
    /// Not before this time: "14:30", "tomorrow 09:00", "2026-07-01 09:00", "+2h" (local time) or RFC 3339
    #[arg(long = "at", value_name = "TIME", value_parser = when::parse_start, allow_hyphen_values = true)]
    pub(crate) start: Option<i64>,
    /// The reason
    ///
    /// Approvers see it, and the journal keeps it.
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Option<Word>,
    /// The ticket, if the role requires one
    #[arg(long, value_name = "TICKET", value_parser = word())]
    pub(crate) ticket: Option<Word>,
    /// For one run only
    #[arg(long)]
    pub(crate) one_shot: bool,
    /// Wait for the decision, at most this long [default: until the request's deadline]
    ///
    /// On a terminal, jitctl shows a countdown. An interrupt (^C) ends the wait; the request stays pending.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = when::parse_duration, group = "then")]
    pub(crate) wait: Option<Option<Seconds>>,
    /// The user as whom the command will run: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The primary group: a name or #GID
    #[arg(short = 'g', value_name = "GROUP", value_parser = word())]
    pub(crate) run_as_group: Option<Word>,
    /// The working directory [default: this one]
    #[arg(short = 'D', value_name = "DIRECTORY", value_parser = word())]
    pub(crate) directory: Option<Word>,
    /// Print the request as a text, for approval on another machine
    #[arg(long, group = "then")]
    pub(crate) print: bool,
    /// Activate at once and without approvers, in an emergency: raises an alert, and an approver reviews it later
    ///
    /// For a role that has `break_glass`. Until an approver has reviewed it, you cannot do it again.
    #[arg(long)]
    pub(crate) break_glass: bool,
    /// The command the grant is wanted for, with variables (NAME=VALUE) before it
    #[arg(value_name = "COMMAND", trailing_var_arg = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}

/// `requests` and `grants`
#[derive(Debug, Args)]
pub(crate) struct ListWords {
    /// Also those that are over
    ///
    /// Looked at are the newest 200 requests.
    #[arg(long)]
    pub(crate) all: bool,
}

/// `show`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("documents").args(["print", "export"]))]
pub(crate) struct ShowWords {
    /// Its id or the beginning of it, or - for a text of another host on standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::everything))]
    pub(crate) place: RequestSource,
    /// Print the request as a text, to be approved on another machine
    ///
    /// The text holds the digest of the program. A requester who cannot read the program does not get it; an approver does.
    #[arg(long)]
    pub(crate) print: bool,
    /// Write request, approvals and grant with their signatures into this new directory
    ///
    /// They are written byte by byte, and the commands of ssh-keygen(1), sha256sum(1) and jq(1) that verify them anywhere are printed: all of them have to hold.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) export: Option<PathBuf>,
}

/// `import`
#[derive(Debug, Args)]
pub(crate) struct ImportWords {
    /// Files that hold the text and its signature, read one after the other [default: standard input]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `approve`
#[derive(Debug, Args)]
pub(crate) struct ApproveWords {
    /// Which request, or - for the text of one on standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::decidable))]
    pub(crate) place: RequestSource,
    /// For at most this long
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Seconds>,
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
    ///
    /// It is ssh-keygen(1) that signs.
    #[arg(long, value_name = "FILE", group = "signature")]
    pub(crate) key: Option<PathBuf>,
    /// Your name on the host, where it is another one than here
    #[arg(long = "as", value_name = "NAME", value_parser = UserName::parse)]
    pub(crate) approver: Option<UserName>,
    /// Print the approval's exact bytes, to be signed with ssh-keygen
    ///
    /// That is `ssh-keygen -Y sign -f KEY -n jit-sudo/approval/v1 FILE`; `jitctl import` takes the bytes with the
    /// signature behind them.
    #[arg(long, group = "signature")]
    pub(crate) unsigned: bool,
}

/// `review`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("matter").args(["id", "unused", "recertify"]))]
#[command(group = ArgGroup::new("verdict").args(["confirm", "remove"]).requires("recertify").requires("comment"))]
pub(crate) struct ReviewWords {
    /// The break-glass grant that you have looked at [default: list those that wait for it]
    #[arg(value_name = "ID", value_parser = RequestSource::parse, requires = "comment", add = ArgValueCandidates::new(complete::debts))]
    pub(crate) id: Option<RequestSource>,
    /// List eligibility that was not used for so long
    ///
    /// Per person where the policy names people, per group where it names groups. For root, readers of the audit and
    /// approvers of a role.
    #[arg(long, value_name = "DURATION", value_parser = when::parse_duration)]
    pub(crate) unused: Option<Seconds>,
    /// List who may ask for what and who stands for it; with --confirm or --remove, answer for it
    ///
    /// It shows when they last did, and what a reviewer said of it. An approver of the role or root answers for its
    /// assignments: for all but their own, or for one `--user` alone, who may also be a member of a group that the
    /// policy names.
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
    #[command(flatten)]
    pub(crate) signed: KeyWords,
}

/// Below `key`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make the host's key and the database where there are none (root)
    Init,
    /// Show the host's public key
    ///
    /// Every grant is signed with its other half.
    Show,
    /// State that the database, identity and clock of this host are right as they stand; ends every grant and denies every request (root)
    ///
    /// Commands that run under a grant end with it, also those that may finish after its expiry. This is needed after
    /// an older copy of the database was restored: until then no grant is given or accepted. It helps after the clock
    /// stood in the future for a while: until then the journal counts from there, and nothing is pruned. A grant whose
    /// bytes cannot be read is ended as its request tells. What cannot be read at all is named and left as it is; it
    /// serves nothing, and the status is 1.
    Accept(KeyAcceptWords),
}

/// `key accept`
#[derive(Debug, Args)]
pub(crate) struct KeyAcceptWords {
    /// Kept in the record
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
}

#[cfg(test)]
mod tests;
