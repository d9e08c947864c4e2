//! The words of jitctl. Whoever holds a [`Cli`] holds checked ids, names, durations and times.

mod audit;
mod policy;
mod statement;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_core::escape::Word;
use jit_core::names::{IdPrefix, InvalidName, RoleName, UserName};

use crate::complete::{self, CompletionWords};
use crate::extend::ExtendWords;
use crate::replay::{ReplayWords, WatchWords};
use crate::screen::Format;
use crate::sessions::SessionVerb;
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
    ///
    /// Those that you have standing are listed too. It tells as whom they run commands, for how long at most, what an
    /// activation needs, and which commands they allow. A command that begins with `!` is excluded; the last entry
    /// that matches decides.
    Roles,
    /// Tell whether a command may run now, and if not, what would help
    ///
    /// It tells through which role and grant, or which rule said no, what each role says of it and what to type. The
    /// status is 1 when it may not run now.
    ///
    /// Of a command in a directory that you may not look into it tells nothing, unless you may run it now.
    Why(WhyWords),
    /// Ask for a grant
    ///
    /// Either a role or the command must be given; the role is found by the command when it is not named. Everything
    /// after the first word of the command belongs to the command. A role that needs no approver is activated at
    /// once; otherwise the request is pending until enough approvers have approved it, until one denies it, or until
    /// its deadline.
    ///
    /// A command in a directory that you may not look into cannot be named: ask for the role alone.
    Request(RequestWords),
    /// List pending requests that you made or may decide
    ///
    /// The latter are marked with an asterisk.
    Requests(ListWords),
    /// Show everything about one request or grant
    ///
    /// Each word of the command stands on a line of its own, and a word with characters outside ASCII is shown a
    /// second time byte by byte, so that nothing can look like something else. It also tells how often the requester
    /// ran this very command before, and what else the role would allow. The digest of the program is shown to the
    /// requester only if they could read the program.
    ///
    /// With `-` a text of another host is shown, on any machine. Of a host that is new here, compare the fingerprint of the
    /// key with what `jitctl key show` prints there; after that its key is known, and another one is refused.
    Show(ShowWords),
    /// Approve a pending request, perhaps narrowed
    ///
    /// An approval never widens what was asked for, and where several approvals are needed the grant is the
    /// intersection of all. Nobody decides on their own request.
    ///
    /// Where the role demands it (`approval_authentication`, the default for two approvals or more), your password is
    /// asked for at the terminal, for each approval anew. Without a terminal such an approval is refused, unless it is
    /// signed with a key.
    ///
    /// With `-` the approval goes to the standard output, to be sent back by any channel. The host has to be the one that is
    /// known by its name here, as for `show -`.
    Approve(ApproveWords),
    /// Submit an approval, or a denial, revocation or other statement, that was signed elsewhere
    ///
    /// Anybody may do that: the host checks the signature, the keys of `/etc/jit-sudo/approvers`, the policy, its own
    /// identity, and that the very request is still pending, or its grant still open. The text may stand inside a mail; the exact bytes with
    /// the signature of ssh-keygen(1) behind them serve as well.
    Import(ImportWords),
    /// Deny a pending request
    ///
    /// With `-` the signed denial goes to the standard output, for `jitctl import`; so it is with `cancel`, `release`,
    /// `revoke` and `review`.
    Deny(DenyWords),
    /// Take your own pending request back
    Cancel(CancelWords),
    /// List active and scheduled grants
    ///
    /// Yours, and those that are over while a command still runs under them; for root and readers of the audit those
    /// of everybody.
    Grants(ListWords),
    /// Give your own grant back, or all of them
    ///
    /// It takes effect at once, with what extends them, and ends running commands too.
    Release(ReleaseWords),
    /// End grants of others at once, running commands included
    ///
    /// For root and the approvers of the role.
    Revoke(RevokeWords),
    /// Ask for more time for your own grant and what runs under it
    ///
    /// It is a request of its own that refers to your grant and carries everything of it but its end. The role's
    /// rules hold as for any request: its maximum, a reason, and approval where it needs one. The extension begins
    /// where the grant ends, or with the approval where that comes later. Commands that run under the grant go on
    /// under the extension, and frozen ones are thawed.
    ///
    /// A grant can be extended while it is active, or while a command still runs under it. An extension of a grant
    /// for one run serves that run only.
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
    /// Review broken glass, unused eligibility, and who may ask for a role
    ///
    /// Without options it lists the break-glass grants that no approver has reviewed; those that you may review are
    /// marked with an asterisk. With an ID and a comment the review is done, and who broke the glass may do so again.
    /// Nobody reviews their own break-glass or their own assignment. Where an approval of the role needs a password, so does
    /// the review of a break-glass.
    ///
    /// The answers are records; the policy itself is root's to change.
    Review(ReviewWords),
    /// Play the recording of a session, or export it
    ///
    /// Space stops and goes on, the arrows jump five seconds, + and - change the speed, q leaves. Into a pipe or file
    /// it goes all at once.
    ///
    /// What the command sent to its terminal is shown as far as it draws. What would act on your terminal is left
    /// out: questions that it answers, titles, the clipboard, modes of keyboard and mouse, the printer, the bell.
    ///
    /// Everybody may replay their own runs; root and readers of the audit everybody's. Each time that somebody is
    /// given a recording of somebody else, this is recorded before.
    Replay(ReplayWords),
    /// Watch a session while it runs
    ///
    /// It must be one that is recorded. What it showed so far is shown at once, and then what comes, at most a second
    /// late. q leaves. For yourself, root, readers of the audit and the observers of its role.
    Watch(WatchWords),
    /// List running sessions; freeze, thaw or end one
    #[command(subcommand)]
    Session(SessionVerb),
    /// Tell what is wrong with this host, and the command that mends it
    ///
    /// It looks at everything that jit-sudo needs: programs, PAM services, clock and kernel for everybody; policy,
    /// state directory, database, free space, key, anchor, log sinks, control groups and hooks for root. It changes
    /// nothing.
    Doctor,
    /// Do what nobody waits for: close lost runs, compress recordings, remove what is older than `keep` (root)
    ///
    /// Runs are lost whose supervisor was killed. `keep` is in `[audit]` of jit-sudo-policy(5); without it nothing is
    /// removed. Where nothing may be removed, because the journal is not intact or the clock is in doubt, it does the
    /// rest, says so, and exits with status 1. For a timer.
    Sweep,
}

/// `why`
#[derive(Debug, Args)]
pub(crate) struct WhyWords {
    /// As whom the command would run: a name or #UID [default: what the role says, else root]
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// With which primary group: a name or #GID
    #[arg(short = 'g', value_name = "GROUP", value_parser = word())]
    pub(crate) run_as_group: Option<Word>,
    /// In which directory [default: this one]
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
    ///
    /// Approvers see it, and the journal keeps it.
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Option<Word>,
    /// The ticket, where the role demands one
    #[arg(long, value_name = "TICKET", value_parser = word())]
    pub(crate) ticket: Option<Word>,
    /// For one run only
    #[arg(long)]
    pub(crate) one_shot: bool,
    /// Wait for the decision, at most this long [default: until the request's deadline]
    ///
    /// On a terminal a countdown is shown. An interrupt (^C) ends the wait, and the request stays pending.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = when::parse_duration, group = "then")]
    pub(crate) wait: Option<Option<u64>>,
    /// As whom the command will run: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// With which primary group: a name or #GID
    #[arg(short = 'g', value_name = "GROUP", value_parser = word())]
    pub(crate) run_as_group: Option<Word>,
    /// In which directory [default: this one]
    #[arg(short = 'D', value_name = "DIRECTORY", value_parser = word())]
    pub(crate) directory: Option<Word>,
    /// Print the request as a text, to be approved on another machine
    #[arg(long, group = "then")]
    pub(crate) print: bool,
    /// At once and without approvers, in an emergency: everybody is alerted, and an approver reviews it
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

/// One of this host's requests, or the text of one on standard input
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestSource {
    /// By its id.
    Here(IdPrefix),
    /// `-`
    Text,
}

impl RequestSource {
    fn parse(text: &str) -> Result<Self, InvalidName> {
        if text == "-" { Ok(Self::Text) } else { IdPrefix::parse(text).map(Self::Here) }
    }
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
    pub(crate) unused: Option<u64>,
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
    /// This is needed after an older copy of the database was restored: until then no grant is given or accepted. It
    /// helps after the clock stood in the future for a while: until then the journal counts from there, and nothing is
    /// pruned. A grant whose bytes cannot be read is ended as its request tells. What cannot be read at all is named
    /// and left as it is; it serves nothing, and the status is 1.
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
