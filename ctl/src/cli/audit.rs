//! The arguments of the verbs below `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use jit_core::clock::duration;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::names::{RoleName, UserName};
use jit_core::wire::RecordFilter;

use crate::complete;
use crate::typed::word;
use crate::when;

/// Below `audit`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List records, one per line; without --after, the newest records
    ///
    /// A line shows the number, the local time, the kind, the user and the event. Root and readers of the audit see all
    /// records. Other users see their own records, and the decisions of others about their requests. If you give
    /// several options, only records that match all of them are listed.
    List(AuditListWords),
    /// Show every record of one run or grant, or one record
    ///
    /// The journal stores only a keyed digest of the values of variables with secret names.
    Show(AuditShowWords),
    /// Verify chain, signatures and anchors: of this host's journal, or of an exported file on any machine
    ///
    /// Verifies the hash chain from the first record to the last, the columns of the table of records, and the signed
    /// checkpoints. Compares the chain with the anchor of the host, and with heads that were stored on other machines.
    /// Checks that each policy and role that a run or a grant names has an earlier record. Prints the first bad record.
    /// If the hash of this record is correct, also prints all other bad records.
    ///
    /// Reports each fork: where records were lost by a restore, a deleted database or a power failure, and which of the
    /// lost records have a head in the files of `--anchor`.
    ///
    /// For the journal of this host, compares requests, approvals, grants, reviews and the compiled policy with the
    /// records, and names each row that differs. Objects that were signed with another key are accepted only after
    /// `jitctl key accept`.
    ///
    /// Prints one line for each check, also for those that could not be made. The status is 0 if the journal is intact and
    /// a signed head that was kept elsewhere agrees. It is 5 if nothing is wrong, but no such head was given, or the key
    /// of the host, or the cosignature of each witness that you named: root of the host could then have rewritten the
    /// whole journal. It also stays 5 from the loss of records on, such as by a power failure, until root accepts it with
    /// `jitctl key accept`, and if records follow the retirement of the host. It is 1 if the journal is not intact.
    ///
    /// A head is of this journal if its host id and its key are those of the checkpoints, or of a rotation of the host key
    /// (`jitctl key rotate`): heads by each earlier and each later key count too. A replaced key decides about the records
    /// up to its rotation. Heads by it of more records, and heads by other keys that you give, are only counted, and the
    /// status is 5. Heads by keys that you do not give are left out.
    ///
    /// It changes nothing. Root and readers of the audit may verify this host. Any user may verify a file. A file must
    /// begin with the first record, with the first record that was not pruned, or with the record of `--from`. It must
    /// end with a checkpoint, as every export does.
    Verify(AuditVerifyWords),
    /// Prove that one record is in the journal, or that the journal has only grown (root and readers)
    ///
    /// Writes a text of a few lines. With SEQ it contains the record, the hashes that lead from the record to the root of
    /// the tree of all signed records, and the signed note of that tree (C2SP tlog-proof). `jitctl audit check-proof`
    /// checks it on any machine, without the journal. With --consistency it is what `jitctl witness cosign` reads (C2SP
    /// tlog-witness). The host signs the head of the journal first.
    Prove(AuditProveWords),
    /// Check a proof of `jitctl audit prove` on any machine
    ///
    /// Prints the record. The status is 0 only if the host with this key has signed a tree that contains the record, and
    /// each witness that you name has cosigned that tree. It is 5 if you name no witness: whoever has become root of the
    /// host has its key, and can sign a tree with a record that the journal never had.
    CheckProof(AuditCheckProofWords),
    /// List the records that contain a text
    ///
    /// The environments of runs are not searched.
    Search(AuditSearchWords),
    /// Export the records for other programs or for archiving (root and readers)
    ///
    /// Writes to the standard output, or to a new file that only its owner can read. The last message contains the
    /// number for `--from` of the next export.
    Export(AuditExportWords),
    /// Remove old records; the remaining journal can still be verified (root)
    ///
    /// Removes whole segments up to a checkpoint, with the recordings of the runs that ended in them. Removes nothing
    /// from a journal that is not intact.
    ///
    /// A record is old if the boot clock, a confirmed clock or `jitctl key accept` proves its age; the wall clock alone
    /// proves nothing. jitctl prints how many records are kept for that reason.
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
    /// The text; upper and lower case are the same
    #[arg(value_name = "TEXT", value_parser = word())]
    pub(crate) text: Word,
    /// Search the recordings instead of the records, and show the time of each match
    ///
    /// Searches your own recordings. For root and readers of the audit, it searches all recordings. Shows each line
    /// with the text and the `jitctl replay` command that begins there, at most 20 lines per recording. A search by a
    /// reader is recorded once.
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
    /// Only this kind: start, end, reject, request, approval, denial, cancellation, grant, revocation, release, alert, review, prune, backup, reading, intervention, policy, edit, left-running, left-ended, fork, clock, epoch, rotation, retirement
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub(crate) kind: Option<String>,
    /// Only actions of this user
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// Only records that name this role, and records of policy changes that affect this role
    #[arg(long, value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::roles))]
    pub(crate) role: Option<RoleName>,
    /// Only commands whose line contains this text, such as "systemctl restart"
    ///
    /// Single spaces separate the words of the line.
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) command: Option<Word>,
    /// Only records of this host
    #[arg(long, value_name = "NAME", value_parser = word())]
    pub(crate) host: Option<Word>,
    /// Only ends of runs: an exit status, failed, signal, expiry, revocation, release, not-executed, lost or itself
    ///
    /// `failed` matches every exit status except 0, and every signal. `itself` matches a command that jit-sudo did not
    /// end.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub(crate) status: Option<String>,
    /// Not before: "2h" (ago), "14:30", "yesterday 09:00", "2026-07-01", "2026-07-01 09:00" (local time) or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    pub(crate) since: Option<i64>,
    /// Not after this time, in the same format as --since
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    pub(crate) until: Option<i64>,
    /// Only refusals by jit-sudo, and denials of requests
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
    /// Compare with the heads in this file: syslog lines, a JSON file, an anchor, an earlier export, or notes of a witness (may be repeated)
    ///
    /// Heads that the host has signed decide, and a copy of the anchor. Lines of syslog without a signature are compared
    /// too, but any user can write such lines. If they disagree, jitctl reports it, and it changes no result.
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,
    /// Require the cosignature of this witness on a head in a file of --anchor: a key that `jitctl witness key` prints, or a file with it (may be repeated: each of them is required)
    #[arg(long, value_name = "KEY")]
    pub(crate) witness: Vec<String>,
    /// Only checkpoints count whose sealing keys this host key certified: a line "ssh-ed25519 AAAA…", or a file of such lines [default: this host's own]
    ///
    /// If you verify a file without this option, checkpoints by any key count, and the fingerprint of the key is shown. Give
    /// all keys of this host that you have noted, and none of another host.
    #[arg(long, value_name = "KEY")]
    pub(crate) public_key: Option<String>,
    /// This sealing key must have signed the journal: a fingerprint "SHA256:…", or a file with sealing keys (may be repeated)
    ///
    /// Proves that whoever became root later has forged nothing that was recorded before, also without a copy of it
    /// elsewhere. `jitctl key show` prints the fingerprint of the present sealing key; note it on another machine. A
    /// file may be an earlier export, a JSON file or syslog lines of jit-sudo, which contain `epoch` records, or a list
    /// of public keys. An `epoch` record counts only if its certificate leads back to the key of the host or a given
    /// fingerprint, and each one that counts must be in the journal. If root has accepted a restored database or another host key
    /// since, a new line of sealing keys began; the verification fails unless you give a key of this line too.
    #[arg(long, value_name = "KEY")]
    pub(crate) sealing_key: Vec<String>,
    /// The file begins with this record, as in its export
    #[arg(long, value_name = "SEQ", requires = "file", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// Also compare the recordings of this host with their digests in the journal
    ///
    /// Reads the recordings only if the chain is intact. Prints each recording that is missing or altered. The journal
    /// records that you read them.
    #[arg(long, conflicts_with = "file")]
    pub(crate) recordings: bool,
}

/// `audit prove`
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AuditProveWords {
    /// The number of the record
    #[arg(value_name = "SEQ")]
    pub(crate) seq: Option<u64>,
    /// Prove that the journal begins with the records that it had when there were N; 0 for a witness that has none
    #[arg(long, value_name = "N")]
    pub(crate) consistency: Option<u64>,
    /// Print the key of the notes of this host in the form `NAME+ID+KEY`, for other programs
    #[arg(long)]
    pub(crate) note_key: bool,
}

/// `audit check-proof`
#[derive(Debug, Args)]
pub(crate) struct AuditCheckProofWords {
    /// A file of `audit prove`, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The public key of the host: a line "ssh-ed25519 AAAA…", or a file of such lines
    #[arg(long, value_name = "KEY")]
    pub(crate) host_key: String,
    /// Require the cosignature of this witness: a key that `jitctl witness key` prints, or a file with it (may be repeated)
    #[arg(long, value_name = "KEY")]
    pub(crate) witness: Vec<String>,
}

/// `audit export`
#[derive(Debug, Args)]
pub(crate) struct AuditExportWords {
    /// The format: jsonl can be verified, the others are for log systems
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// Begin with this record
    #[arg(long, value_name = "SEQ", default_value_t = 0, hide_default_value = true)]
    pub(crate) from: u64,
    /// Begin with the first record that is not older than this time, in the format of --since of `audit list`
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    pub(crate) since: Option<i64>,
    /// Export what can be read of a damaged journal, and report what cannot (root)
    ///
    /// Reads each record by itself. A record is left out if it cannot be read, or if its bytes do not have the hash that
    /// is stored with it. jitctl prints the numbers of these records and the reasons, and exits with status 1. In the
    /// format jsonl the file has a line for each gap. `jitctl audit verify FILE` refuses such a file at its first gap;
    /// with `--from` it verifies a file with a part of it that has no gap and ends with a checkpoint.
    #[arg(long, conflicts_with = "since")]
    pub(crate) salvage: bool,
    /// Write into this new file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The exact records and checkpoints, one per line
    Jsonl,
    /// Open Cybersecurity Schema Framework 1.8, one event per line
    Ocsf,
    /// Common Event Format, one event per line
    Cef,
    /// A table for spreadsheets (RFC 4180)
    Csv,
}

/// `audit prune`
#[derive(Debug, Args)]
pub(crate) struct AuditPruneWords {
    /// Keep records that are not older than this, such as 400d [default: `keep` in [audit] of the policy]
    #[arg(long, value_name = "DAYS", value_parser = duration::days)]
    pub(crate) keep: Option<Seconds>,
    /// Only show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The kinds of records.
pub(super) const KINDS: [&str; 25] = [
    "start",
    "end",
    "reject",
    "request",
    "approval",
    "denial",
    "cancellation",
    "grant",
    "revocation",
    "release",
    "alert",
    "review",
    "prune",
    "backup",
    "reading",
    "intervention",
    "policy",
    "edit",
    "left-running",
    "left-ended",
    "fork",
    "clock",
    "epoch",
    "rotation",
    "retirement",
];

/// A kind of record.
fn kind(text: &str) -> Result<String, String> {
    let known = KINDS.iter().find(|kind| **kind == text);
    known.map(|kind| (*kind).to_owned()).ok_or_else(|| format!("the kinds are {}", KINDS.join(", ")))
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
