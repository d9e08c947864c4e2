//! The words below `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use jit_core::clock::duration;
use jit_core::escape::Word;
use jit_core::names::{RoleName, UserName};
use jit_core::wire::RecordFilter;

use super::word;
use crate::complete;
use crate::when;

/// Below `audit`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List records, one a line; without --after the newest ones
    ///
    /// A line holds number, local time, kind, user and what happened. Who is not root or a reader of the audit sees
    /// their own, and what others decided about their requests. Options narrow it, together if several are given.
    List(AuditListWords),
    /// Show every record of one run or grant, or one record
    ///
    /// Values of variables with secret names are stored as a keyed digest and shown as such.
    Show(AuditShowWords),
    /// Verify chain, signatures and anchors: of this host's journal, or of an exported file on any machine
    ///
    /// Verified is the hash chain from the first record to the last, the columns beside it, the signed checkpoints,
    /// and the heads that were kept elsewhere, those of the host's own anchor among them; and that the policy that a run
    /// or a grant names has a record before it, and the role that it names. The first bad record is named, and where its
    /// hash is good, all others. Of this host's journal, requests, approvals, grants, reviews and the compiled policy are then compared with the records, and a
    /// row that differs is named; and what another key than this host's has signed needs root's word since (`jitctl key
    /// accept`). It changes nothing. For root and readers of the audit; for a file, no privilege is needed. Such a file
    /// must begin with the journal, or after what was pruned, or with the record that `--from` says; and it must end
    /// with a checkpoint, as every export does.
    Verify(AuditVerifyWords),
    /// List the records that hold a text in any of their words
    ///
    /// Environments are not looked into.
    Search(AuditSearchWords),
    /// Write the records out, for other programs or for keeping (root and readers)
    ///
    /// They go to the standard output, or into a file that only its owner can read. The last line of what it says
    /// names the number for the next `--from`.
    Export(AuditExportWords),
    /// Remove old records; what stays still verifies (root)
    ///
    /// Whole segments go, up to a checkpoint, with the recordings of the runs that ended in them. Nothing is removed
    /// from a journal that is not intact.
    Prune(AuditPruneWords),
}

/// `audit list`
#[derive(Debug, Args)]
pub(crate) struct AuditListWords {
    #[command(flatten)]
    pub(crate) which: RecordSelection,
}

/// `audit search`
#[derive(Debug, Args)]
pub(crate) struct AuditSearchWords {
    /// What to look for; upper and lower case are the same
    #[arg(value_name = "TEXT", value_parser = word())]
    pub(crate) text: Word,
    /// Look in what recorded sessions showed, and not in records; says where to jump to
    ///
    /// In yours, or for root and readers of the audit everybody's: each line that holds the text, with the `jitctl
    /// replay` that begins there; at most 20 lines of one recording. That readers did so is recorded, once.
    #[arg(long, conflicts_with = "RecordSelection")]
    pub(crate) recordings: bool,
    #[command(flatten)]
    pub(crate) which: RecordSelection,
}

/// Which records are listed
#[derive(Debug, Args)]
pub(crate) struct RecordSelection {
    /// Only records with a greater number, the oldest first
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,
    /// Only records with a smaller number
    #[arg(long, value_name = "SEQ")]
    pub(crate) before: Option<u64>,
    /// At most this many records
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Only this kind: start, end, reject, request, approval, denial, cancellation, grant, revocation, release, alert, review, prune, reading, intervention, policy
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub(crate) kind: Option<String>,
    /// Only what this user did
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// Only records that name this role, or tell of a policy that changed it
    #[arg(long, value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::roles))]
    pub(crate) role: Option<RoleName>,
    /// Only commands whose line holds this text, such as "systemctl restart"
    ///
    /// The words of the line are parted by single spaces.
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) command: Option<Word>,
    /// Only records of this host
    #[arg(long, value_name = "NAME", value_parser = word())]
    pub(crate) host: Option<Word>,
    /// Only ends of runs: an exit status, failed, signal, expiry, revocation, release, not-executed, lost or itself
    ///
    /// `failed` is any status but 0, and signals.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub(crate) status: Option<String>,
    /// Not before: "2h" (ago), "14:30", "yesterday 09:00", "2026-07-01", "2026-07-01 09:00" (local time) or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    pub(crate) since: Option<i64>,
    /// Not after; written like --since
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    pub(crate) until: Option<i64>,
    /// Only what somebody was refused, by the program or by a person
    #[arg(long)]
    pub(crate) denied: bool,
}

impl RecordSelection {
    /// What the broker is asked for besides kind and user.
    pub(crate) fn filter(&self, text: Option<Word>) -> RecordFilter {
        RecordFilter {
            role: self.role.clone(),
            command: self.command.clone(),
            host: self.host.clone(),
            status: self.status.clone(),
            since: self.since,
            until: self.until,
            denied: self.denied,
            text,
        }
    }
}

/// `audit show`
#[derive(Debug, Args)]
pub(crate) struct AuditShowWords {
    /// A run's id, a grant's id or a record's number
    #[arg(value_name = "RUN|ID|SEQ", value_parser = run_or_record, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) what: String,
}

/// `audit verify`
#[derive(Debug, Args)]
pub(crate) struct AuditVerifyWords {
    /// A file of `audit export`, or - for standard input; needs no privilege and no jit-sudo on this machine
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Compare with the heads in this file: syslog lines, a JSON file, an anchor, or an earlier export (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,
    /// Only checkpoints by this key count: a line "ssh-ed25519 AAAA…", or a file of such lines [default: this host's own]
    ///
    /// For a file without it, any key counts, and its fingerprint is shown.
    #[arg(long, value_name = "KEY")]
    pub(crate) public_key: Option<String>,
    /// The file begins with this record, because it was exported so
    #[arg(long, value_name = "SEQ", requires = "file", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// Compare the recordings of this host with their digests in the journal too
    ///
    /// They are read once the chain has proved intact. One that is missing or was altered is named. That they were
    /// read is recorded.
    #[arg(long, conflicts_with = "file")]
    pub(crate) recordings: bool,
}

/// `audit export`
#[derive(Debug, Args)]
pub(crate) struct AuditExportWords {
    /// In which form: jsonl can be verified, the others are for log systems
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// Begin with this record
    #[arg(long, value_name = "SEQ", default_value_t = 0, hide_default_value = true)]
    pub(crate) from: u64,
    /// Begin with the first record that is not older; written like --since of `audit list`
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    pub(crate) since: Option<i64>,
    /// Write into this new file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The exact records and checkpoints, one a line
    Jsonl,
    /// Open Cybersecurity Schema Framework 1.8, one event a line
    Ocsf,
    /// Common Event Format, one event a line
    Cef,
    /// A table for spreadsheets (RFC 4180)
    Csv,
}

/// `audit prune`
#[derive(Debug, Args)]
pub(crate) struct AuditPruneWords {
    /// Keep what is younger, such as 400d [default: `keep` in [audit] of the policy]
    #[arg(long, value_name = "DAYS", value_parser = duration::days)]
    pub(crate) keep: Option<u64>,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A kind of record; checked here for its shape only, so that a newer broker may know more kinds.
fn kind(text: &str) -> Result<String, &'static str> {
    short_word(text).ok_or("a kind is a word such as 'start', 'end' or 'reject'")
}

fn status(text: &str) -> Result<String, &'static str> {
    let number = text.parse::<u8>().ok().map(|number| number.to_string());
    number.or_else(|| short_word(text)).ok_or("write a number, or a word such as 'failed' or 'lost'")
}

fn short_word(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    ((1..=32).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

fn run_or_record(text: &str) -> Result<String, &'static str> {
    if (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write a run's id, a grant's id or a record's number")
    }
}
