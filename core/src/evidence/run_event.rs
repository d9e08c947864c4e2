//! The records of runs: their start and end, refusals, and alerts. This module touches no database and no sink.

use sha2::{Digest as _, Sha256};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::budget::{REFUSED_SENTENCE, REFUSED_WORDS};
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::grant::HostDescriptor;
use crate::names::{GrantId, RoleName, RunId};

/// A command is about to run. It starts only when this record is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The id of this run, 12 characters.
    pub run: RunId,
    /// The caller's real uid.
    pub uid: u32,
    /// The caller's name.
    pub user: Word,
    /// The caller's real gid.
    pub gid: u32,
    /// The caller's supplementary groups.
    pub groups: Vec<u32>,
    /// The controlling terminal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// The working directory of the command.
    pub cwd: Word,
    /// The process that supervises the command.
    pub pid: i32,
    /// The run-as user of the command.
    pub run_as: Word,
    /// Its uid.
    pub run_as_uid: u32,
    /// Its gid.
    pub run_as_gid: u32,
    /// Its supplementary groups.
    pub run_as_groups: Vec<u32>,
    /// The initial file mode creation mask; for a session that another program opened, that of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The command and its arguments.
    pub argv: Vec<Word>,
    /// The program's name as the caller typed it, if it differs from the first argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<Word>,
    /// The environment of the command, in its order.
    pub environment: Vec<Variable>,
    /// The canonical path of the program, whatever name was used.
    pub path: Word,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// The role that permits it; absent for root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// How the caller got the permission.
    pub assignment: Assignment,
    /// The grant that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// How the caller was authenticated.
    pub authenticated: Authentication,
    /// The PAM service that authenticated the caller for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_service: Option<Word>,
    /// How many of its prompts were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_answers: Option<u32>,
    /// For an edit: the command line of the editor, which runs as the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editor: Option<Vec<Word>>,
    /// For a session that another program opened: its PAM service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Word>,
    /// For such a session: the host that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Word>,
    /// The digest of the policy that applied; an earlier `policy` record contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The digest of what its role permits, in the present policy; the text of the role is stored under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_digest: Option<Digest>,
    /// The digest with which that policy's records identify the role: it covers the whole role, as it applied to this
    /// decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
    /// The digest of the exact bytes of the grant that permitted it: it covers all its terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_sha256: Option<Digest>,
}

/// How a caller is permitted to run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assignment {
    /// An activated grant.
    Grant,
    /// A standing assignment of the role.
    Standing,
    /// The caller is root.
    Root,
}

/// How a caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// PAM asked for a password for this run.
    Password,
    /// PAM authenticated the caller for this run without asking.
    Unasked,
    /// PAM authenticated the caller recently, in this terminal and session.
    Cache,
    /// The role requires no authentication.
    None,
}

/// One variable of the command's environment: its value, or a keyed digest of it (see [`crate::evidence::redact`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// The name, always complete.
    pub name: Word,
    /// The value, unless its name is on the list of secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Word>,
    /// HMAC-SHA256 of a secret value under the journal's redaction key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A command, or its supervisor, has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The run.
    pub run: RunId,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant, as in `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// How it ended.
    #[serde(flatten)]
    pub ending: RunOutcome,
}

/// How a run ended. Either `exit` or `signal` is present; neither for a lost run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// 1 when it left a core dump, else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<u32>,
    /// What ended it.
    pub ended_by: EndedBy,
    /// From `start` to the end, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// CPU time in user mode, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_us: Option<u64>,
    /// CPU time in the kernel, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_us: Option<u64>,
    /// Peak resident set, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rss_kib: Option<u64>,
    /// Details, such as why it could not be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Word>,
    /// When the grant expired, µs, for a command that was allowed to finish after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Timestamp>,
    /// The last grant under which it continued, if that is not the one under which it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_by: Option<GrantId>,
    /// SHA-256 of its recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Digest>,
    /// The size of the recording in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_bytes: Option<u64>,
}

impl RunOutcome {
    /// Returns an ending without details.
    pub fn unknown(ended_by: EndedBy) -> Self {
        Self {
            exit: None,
            signal: None,
            core: None,
            ended_by,
            duration_us: None,
            user_us: None,
            system_us: None,
            max_rss_kib: None,
            detail: None,
            expired: None,
            extended_by: None,
            recording: None,
            recording_bytes: None,
        }
    }
}

/// What ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// The command ended by itself, or another process killed it.
    Itself,
    /// The grant expired, and jit-sudo ended the run.
    Expiry,
    /// The grant was revoked, and jit-sudo ended the run.
    Revocation,
    /// The grant was released, and jit-sudo ended the run.
    Release,
    /// It reached its time limit, and jit-sudo ended it.
    TimeLimit,
    /// The supervisor received a signal to terminate, and passed it on.
    Signal,
    /// It was recorded but could not be executed; `detail` contains the reason.
    NotExecuted,
    /// The supervisor disappeared; how the command ended is unknown.
    Lost,
    /// The policy requires a recording, and it could no longer be written.
    Unrecorded,
    /// A user ended this session.
    Kill,
}

/// A command was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The caller's real uid.
    pub uid: u32,
    /// The caller's name.
    pub user: Word,
    /// The controlling terminal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// The caller's working directory, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Word>,
    /// The command as typed.
    pub argv: Vec<Word>,
    /// The run-as user, as typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// A stable code for programs.
    pub code: String,
    /// The message to the caller.
    pub sentence: Word,
    /// The original `argv`, if it was truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_argv: Option<Whole>,
    /// The original `sentence`, if it was truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_sentence: Option<Whole>,
    /// The original `run_as`, if it was truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_run_as: Option<Whole>,
}

/// Length and digest of texts that are too long to be stored, each followed by a NUL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// Their length.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Digest,
}

impl Whole {
    fn of<'a>(words: impl IntoIterator<Item = &'a Word>) -> Self {
        let (mut bytes, mut digest) = (0_u64, Sha256::new());
        for word in words {
            digest.update(word.as_bytes());
            digest.update([0]);
            bytes = bytes.saturating_add(u64::try_from(word.as_bytes().len()).unwrap_or(u64::MAX)).saturating_add(1);
        }
        Self { bytes, sha256: Digest(digest.finalize().into()) }
    }
}

impl Reject {
    /// Returns the record as it is stored: texts of unlimited length are truncated, with their length and digest beside
    /// them.
    pub fn bounded(mut self) -> Self {
        let argv = cut(&self.argv, REFUSED_WORDS);
        if argv != self.argv {
            self.whole_argv = Some(Whole::of(&self.argv));
            self.argv = argv;
        }
        let sentence = self.sentence.beginning(REFUSED_SENTENCE);
        if sentence != self.sentence {
            self.whole_sentence = Some(Whole::of([&self.sentence]));
            self.sentence = sentence;
        }
        if let Some(run_as) = &mut self.run_as {
            let short = run_as.beginning(REFUSED_SENTENCE);
            if short != *run_as {
                self.whole_run_as = Some(Whole::of([&*run_as]));
                *run_as = short;
            }
        }
        self
    }
}

/// Returns the first of `words`, the last one perhaps truncated, so that all have at most `most` bytes as written.
pub fn cut(words: &[Word], most: usize) -> Vec<Word> {
    let mut left = most;
    let mut kept = Vec::new();
    for word in words {
        let part = word.beginning(left);
        let whole = part == *word;
        left = left.saturating_sub(part.written_length()).saturating_sub(3); // quotes and comma
        kept.push(part);
        if !whole || left == 0 {
            break;
        }
    }
    kept
}

/// An alert for the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// A stable code for programs.
    pub code: String,
    /// What happened.
    pub sentence: Word,
    /// The uid of the user that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The name of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Word>,
    /// The run that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The grant that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The host from this record on, if its identity has changed or was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<HostDescriptor>,
}

impl Alert {
    /// Creates an alert that names no user, run or grant.
    pub fn new(code: &str, sentence: impl Into<Word>) -> Self {
        let (code, sentence) = (code.to_owned(), sentence.into());
        Self { code, sentence, uid: None, user: None, run: None, grant: None, identity: None }
    }

    /// Names the user that it concerns.
    #[must_use]
    pub fn about(self, uid: u32, user: Word) -> Self {
        Self { uid: Some(uid), user: Some(user), ..self }
    }
}
