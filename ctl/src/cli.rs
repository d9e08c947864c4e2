//! The arguments of jitctl. A [`Cli`] holds checked ids, names, durations and times.

mod audit;
mod key;
mod policy;
mod statement;
mod witness;

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
use crate::screen::{Format, Width};
use crate::sessions::SessionVerb;
use crate::typed::{RequestSource, word};
use crate::when;

pub(crate) use audit::{
    AuditCheckProofWords, AuditExportWords, AuditListWords, AuditProveWords, AuditPruneWords, AuditSearchWords,
    AuditShowWords, AuditVerb, AuditVerifyWords, ExportFormat, RecordSelection,
};
pub(crate) use key::KeyShowWords;
pub(crate) use policy::{PolicyCheckWords, PolicyImportWords, PolicyShowWords, PolicyTestWords, PolicyVerb};
pub(crate) use statement::{CancelWords, DenyWords, KeyWords, ReleaseWords, RevokeWords};
pub(crate) use witness::{WitnessCosignWords, WitnessKeyWords, WitnessSizeWords, WitnessVerb};

const AFTER_HELP: &str = "\
Durations are written 30s, 15m, 1h, 1h30m or 7d. IDs may be shortened to their first characters.
Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 still pending when the wait ended,
4 warnings (doctor), 5 intact as far as can be told (audit verify).
The manual is jitctl(8); the fields of --json are described in docs/json.md.";

/// Request, approve, show and end grants of jit-sudo.
#[derive(Debug, Parser)]
#[command(name = "jitctl", bin_name = "jitctl", version, disable_help_subcommand = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Print whole lines where a table is wider than the terminal
    #[arg(long, global = true)]
    wide: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// Reads the words typed; the first is the program's name.
    pub(crate) fn parse_words(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }

    /// How long lines may be.
    pub(crate) fn width(&self) -> Width {
        if self.wide { Width::Any } else { Width::OfTerminal }
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
    /// List the roles that you may activate, with their conditions
    ///
    /// Roles for which you have a standing assignment are listed too. For each role you see its run-as users, its
    /// maximum duration, the requirements of an activation, and the commands that it allows. A command that begins with
    /// `!` is excluded; the last matching entry decides.
    Roles,
    /// Show whether a command may run now, and if not, how to get the permission
    ///
    /// Shows the role and the grant that allow the command, or the rule that denies it. Also shows the verdict of each
    /// role, and the command to type. The status is 1 if the command may not run now.
    ///
    /// If you may not search the directory of the command, jitctl does not show whether the command exists, unless you
    /// may run it now.
    Why(WhyWords),
    /// Request a grant
    ///
    /// Give a role, a command, or both; without a role, jitctl finds one that allows the command. Everything after the
    /// first word of the command belongs to the command. A role without approvers is activated at once. Otherwise the
    /// request is pending until enough approvers have approved it, one has denied it, or its deadline has passed.
    ///
    /// You cannot name a command in a directory that you may not search. Request the role without a command instead.
    Request(RequestWords),
    /// List pending requests that you made or may decide
    ///
    /// An asterisk marks those that you may decide.
    Requests(ListWords),
    /// Show everything about one request or grant
    ///
    /// Each word of the command is on a separate line. A word with characters outside ASCII is followed by its bytes,
    /// so that it cannot pass for another word. You also see how often the requester ran the same command before, and
    /// what else the role allows. The requester sees the digest of the program only if they can read the program.
    ///
    /// With `-`, reads the text of a request of another host, and shows it. This works on any machine. If jitctl has
    /// not seen this host before, compare the fingerprint of its key with the output of `jitctl key show` on that host.
    /// From then on jitctl refuses any other key for this host.
    Show(ShowWords),
    /// Approve a pending request, or a narrower form of it
    ///
    /// An approval can make a request narrower, but never wider. If a role requires several approvals, the grant is
    /// their intersection. You cannot approve your own request. If the role has changed since the request was made, you
    /// cannot approve the request. The requester must make a new one.
    ///
    /// If the role requires it (`approval_authentication`, the default for two approvals or more), you are asked for
    /// your password at the terminal, for each approval. Without a terminal such an approval must be signed with a key.
    ///
    /// With `-`, jitctl writes the signed approval to the standard output, and you can send it to the host by any
    /// channel. jitctl signs nothing if it knows another key for the name of the host, as for `show -`.
    Approve(ApproveWords),
    /// Submit an approval, or a denial, revocation or other statement, that was signed elsewhere
    ///
    /// Any user may submit one. The host checks the signature, the keys in `/etc/jit-sudo/approvers` and the policy. It
    /// also checks that the text is for this host, and that the same request is still pending or its grant is still
    /// open. The text may be part of a mail. The exact bytes followed by the signature of ssh-keygen(1) work as well.
    Import(ImportWords),
    /// Deny a pending request
    ///
    /// With `-`, jitctl writes the signed denial to the standard output, for `jitctl import`. The verbs `cancel`,
    /// `release`, `revoke` and `review` do the same.
    Deny(DenyWords),
    /// Withdraw your own pending request
    Cancel(CancelWords),
    /// List active and scheduled grants
    ///
    /// Lists your grants, including ended ones under which a command still runs. Root and readers of the audit see the
    /// grants of all users.
    Grants(ListWords),
    /// End your own grant, or all your grants
    ///
    /// Takes effect at once. Also ends running commands, and grants that extend the released grants.
    Release(ReleaseWords),
    /// End grants of other users at once, with their running commands
    ///
    /// Only root and the approvers of the role may use it. jitctl finds a grant by its records. If the row of a grant
    /// in the database is missing or differs from the records, jitctl ends the grant too, prints the name of the row,
    /// and exits with status 1. With `--user` and `--all`, and if an approver or a reader names a grant that is not
    /// found, jitctl then reads every record of the journal. If a record is missing or was changed since the last `key
    /// accept`, it may have hidden a grant: jitctl prints its number, and exits with status 1.
    Revoke(RevokeWords),
    /// Request more time for your own grant and the commands that run under it
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
    /// Cosign the checkpoints of other hosts, on another machine or as another user
    #[command(subcommand)]
    Witness(WitnessVerb),
    /// Make or show the host's key, or accept the state of this host
    #[command(subcommand)]
    Key(KeyVerb),
    /// Print the completion script of a shell
    ///
    /// The scripts are installed where the shells look for them.
    Completion(CompletionWords),
    /// Review break-glass grants, unused eligibility, and the assignments of roles
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
    /// Space pauses and continues, the arrow keys jump five seconds, + and - change the speed, i shows the position, q
    /// quits. A pipe or a file gets the whole recording at once.
    ///
    /// jitctl shows text and control sequences that draw on the screen. It removes all other control sequences, such as
    /// queries that the terminal answers, window titles, the clipboard, keyboard and mouse modes, the printer and the
    /// bell.
    ///
    /// You may replay your own runs; root and readers of the audit may replay all runs. Access to a recording of another
    /// user is recorded first.
    Replay(ReplayWords),
    /// Watch a session while it runs
    ///
    /// The session must be recorded. You first see its previous output, and then new output with a delay of at most a
    /// second. Press q to quit. The user of the session, root, readers of the audit and the observers of its role may
    /// watch it.
    Watch(WatchWords),
    /// List running sessions; freeze, thaw or end one
    #[command(subcommand)]
    Session(SessionVerb),
    /// Copy the database into a new file, while runs go on (root)
    ///
    /// The file contains requests, grants, the journal and its signatures, but neither recordings nor the key of the
    /// host. Only root can read it. Other users must not be able to write to its directory or to a directory above it.
    /// The file names the last record that it contains; jitctl prints the number and the hash of this record, and the
    /// journal records the backup. jitctl checks the file, and removes it if it has a fault.
    Backup(BackupWords),
    /// Put a backup in the place of the database (root)
    ///
    /// First checks the backup: its pages, its tables, the chain and the signatures of its journal, and that it is a
    /// backup of this host and its key. Works if the database is damaged or missing. The former database is kept; jitctl
    /// prints its name. Afterwards the database counts as an older copy: no grant is given or accepted before
    /// `jitctl key accept`.
    Restore(BackupWords),
    /// Check this host, and show the command that fixes each problem
    ///
    /// Checks everything that jit-sudo needs: programs, PAM services, clock and kernel for all users; policy, state
    /// directory, database, free space, key, anchor, log sinks, control groups and hooks for root. It changes nothing.
    Doctor,
    /// Do background work: verify the journal, close lost runs, compress recordings, remove records older than `keep`
    /// (root)
    ///
    /// A run is lost if its supervisor was killed. The space that ends of grants and sessions have used on a full disk
    /// (`/var/lib/jit-sudo/reserve`, jit-sudo(8)) is reserved again when there is room. `keep` is in `[audit]` of
    /// jit-sudo-policy(5); without it nothing is removed. If the journal is not intact, sweep records an alert. If it is
    /// not intact or the clock is in doubt, no record is removed. In both cases sweep does the other tasks, prints the
    /// reason, and exits with status 1. Run sweep from a timer.
    Sweep,
}

/// `why`
#[derive(Debug, Args)]
pub(crate) struct WhyWords {
    /// The run-as user: a name or #UID [default: the user of the role, else root]
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The primary group: a name or #GID
    #[arg(short = 'g', value_name = "GROUP", value_parser = word())]
    pub(crate) run_as_group: Option<Word>,
    /// The working directory [default: the current directory]
    #[arg(short = 'D', value_name = "DIRECTORY", value_parser = word())]
    pub(crate) directory: Option<Word>,
    /// Show the answer for this user (root and readers of the audit)
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
    /// The role [default: a role that allows the command]
    #[arg(long, value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::roles))]
    pub(crate) role: Option<RoleName>,
    /// The duration of the grant, counted from its activation [default: the role's maximum]
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
    /// Allow only one run
    #[arg(long)]
    pub(crate) one_shot: bool,
    /// Wait for the decision, at most this long [default: until the request's deadline]
    ///
    /// On a terminal, jitctl shows a countdown. An interrupt (^C) ends the wait; the request stays pending.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = when::parse_duration, group = "then")]
    pub(crate) wait: Option<Option<Seconds>>,
    /// The run-as user: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The primary group: a name or #GID
    #[arg(short = 'g', value_name = "GROUP", value_parser = word())]
    pub(crate) run_as_group: Option<Word>,
    /// The working directory [default: the current directory]
    #[arg(short = 'D', value_name = "DIRECTORY", value_parser = word())]
    pub(crate) directory: Option<Word>,
    /// Print the request as a text, for approval on another machine
    #[arg(long, group = "then")]
    pub(crate) print: bool,
    /// Activate the role at once and without approval, in an emergency; an approver must review this later
    ///
    /// The role must have `break_glass`. The activation causes an alert. Until an approver has reviewed it, you cannot
    /// use break-glass again.
    #[arg(long)]
    pub(crate) break_glass: bool,
    /// The command for which you request the grant, with variables (NAME=VALUE) before it
    #[arg(value_name = "COMMAND", trailing_var_arg = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}

/// `requests` and `grants`
#[derive(Debug, Args)]
pub(crate) struct ListWords {
    /// Also list those that have ended
    ///
    /// Searches only the newest 200 requests.
    #[arg(long)]
    pub(crate) all: bool,
}

/// `show`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("documents").args(["print", "export"]))]
pub(crate) struct ShowWords {
    /// The id or the beginning of it, or - to read the text of a request of another host from standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::everything))]
    pub(crate) place: RequestSource,
    /// Print the request as a text, to be approved on another machine
    ///
    /// The text contains the digest of the program. If the requester cannot read the program, jitctl prints the text
    /// only for an approver.
    #[arg(long)]
    pub(crate) print: bool,
    /// Write request, approvals and grant with their signatures into this new directory
    ///
    /// The files contain the exact bytes. jitctl also prints commands of ssh-keygen(1), sha256sum(1) and jq(1) that
    /// verify the files on any machine. The files are genuine only if all commands succeed.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) export: Option<PathBuf>,
}

/// `import`
#[derive(Debug, Args)]
pub(crate) struct ImportWords {
    /// Files with the text and its signature, which are read one after the other [default: standard input]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `approve`
#[derive(Debug, Args)]
pub(crate) struct ApproveWords {
    /// The id of the request, or - to read the text of a request from standard input
    #[arg(value_name = "ID", value_parser = RequestSource::parse, add = ArgValueCandidates::new(complete::decidable))]
    pub(crate) place: RequestSource,
    /// The maximum duration
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Seconds>,
    /// Allow only one run
    #[arg(long)]
    pub(crate) one_shot: bool,
    /// Only for exactly the command and program of the request
    #[arg(long)]
    pub(crate) exact: bool,
    /// A comment, which is stored with the approval
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) comment: Option<Word>,
    /// Sign with this key: the file of a private key, or of a public key whose private key is in an agent or a security
    /// key
    ///
    /// jitctl runs ssh-keygen(1) to sign.
    #[arg(long, value_name = "FILE", group = "signature")]
    pub(crate) key: Option<PathBuf>,
    /// Your user name on the host, if it differs from your name on this machine
    #[arg(long = "as", value_name = "NAME", value_parser = UserName::parse)]
    pub(crate) approver: Option<UserName>,
    /// Print the approval's exact bytes, to be signed with ssh-keygen
    ///
    /// Sign them with `ssh-keygen -Y sign -f KEY -n jit-sudo/approval/v1 FILE`. Then give the bytes, followed by the
    /// signature, to `jitctl import`.
    #[arg(long, group = "signature")]
    pub(crate) unsigned: bool,
}

/// `review`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("matter").args(["id", "unused", "recertify"]))]
#[command(group = ArgGroup::new("verdict").args(["confirm", "remove"]).requires("recertify").requires("comment"))]
pub(crate) struct ReviewWords {
    /// The id of the break-glass grant that you review [default: list the break-glass grants that need a review]
    #[arg(value_name = "ID", value_parser = RequestSource::parse, requires = "comment", add = ArgValueCandidates::new(complete::debts))]
    pub(crate) id: Option<RequestSource>,
    /// List eligibility that was not used for at least this time
    ///
    /// Prints one line for each user and each group that the policy names. Root and readers of the audit see all roles.
    /// Approvers see the roles whose requests they approve.
    #[arg(long, value_name = "DURATION", value_parser = when::parse_duration)]
    pub(crate) unused: Option<Seconds>,
    /// List the assignments of all roles or one role; with --confirm or --remove, record your review
    ///
    /// Shows when each assignment was last used, and the last review of it. An approver of the role, or root, may
    /// review all its assignments except their own. With `--user` the review is about one assignment only. The user may
    /// also be a member of a group that the policy names.
    #[arg(long, value_name = "ROLE", num_args = 0..=1, value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::assigned_roles))]
    pub(crate) recertify: Option<Option<RoleName>>,
    /// Review only this assignment: a user, or a group as %group in the policy [default: all of the role except your
    /// own]
    #[arg(long = "user", value_name = "USER", requires = "verdict")]
    pub(crate) holder: Option<String>,
    /// The assignment should remain
    #[arg(long)]
    pub(crate) confirm: bool,
    /// The assignment should be removed from the policy
    #[arg(long)]
    pub(crate) remove: bool,
    /// Your comment, which is recorded
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) comment: Option<Word>,
    #[command(flatten)]
    pub(crate) signed: KeyWords,
}

/// `backup` and `restore`
#[derive(Debug, Args)]
pub(crate) struct BackupWords {
    /// The file of the backup
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Below `key`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Create the host's key and the database if they do not exist (root)
    ///
    /// If the database was lost, the new one goes on behind the numbers of the lost records, and an alert names the last
    /// known one. No grant is created or accepted until root uses `key accept`.
    Init,
    /// Show the host's public key
    ///
    /// The host signs every grant with the private key that belongs to it.
    Show(KeyShowWords),
    /// Accept the database, identity and clock of this host as correct; ends every grant and denies every request
    /// (root)
    ///
    /// Commands that run under a grant end with the grant, including those that may finish after its expiry.
    ///
    /// Use it after an older copy of the database was restored. Until you use it, no grant is created or accepted. Also
    /// use it after the clock was ahead for some time and was corrected. Until you use it, grants end at the next boot,
    /// and nothing is pruned.
    ///
    /// For a pruning, it also confirms the times of the records of earlier boots. Use it if the clock is right and records
    /// are kept because nothing proves how long the host was off.
    ///
    /// If the bytes of a grant cannot be read, jitctl ends the grant through its request. If the request cannot be read
    /// either, jitctl prints its id, does not change it, and exits with status 1. Such a grant allows no command.
    Accept(KeyAcceptWords),
    /// Replace the host's key by a new one; ends every grant and denies every request (root)
    ///
    /// A record contains the old and the new public key, and is signed with both. It goes to all log sinks, so that a
    /// verification with the old public key also accepts what the new key signs. The sealing keys do not change.
    ///
    /// Commands that run under a grant end with the grant. If any grant or request would end, jitctl prints how many and
    /// asks on the terminal before it changes anything. Then tell the new public key (`key show`) to everyone who has the
    /// old one.
    ///
    /// If the database was restored, or the journal is not signed, use `key accept` first.
    Rotate(KeyChangeWords),
    /// Remove the host's private key for ever; ends every grant and denies every request (root)
    ///
    /// The last record that the host signs says so. After that, requests, approvals, grants and checkpoints are refused,
    /// and the journal can still be read, exported and verified. Standing assignments keep working: remove their roles
    /// from the policy, or uninstall jit-sudo.
    ///
    /// jitctl asks on the terminal before it changes anything. To use the host again, make another key (`key init`) and
    /// accept it (`key accept`).
    Retire(KeyChangeWords),
}

/// `key accept`
#[derive(Debug, Args)]
pub(crate) struct KeyAcceptWords {
    /// The reason, which is recorded
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
}

/// `key rotate` and `key retire`
#[derive(Debug, Args)]
pub(crate) struct KeyChangeWords {
    /// The reason, which is recorded
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Word,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests;
