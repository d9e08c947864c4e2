//! What is recorded of runs: their start and end, what was rejected, and alerts.
//! May not: touch a database or a sink.

use sha2::{Digest as _, Sha256};

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::budget::{REFUSED_SENTENCE, REFUSED_WORDS};
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::grant::HostDescriptor;
use crate::names::{GrantId, RoleName};

/// A command is about to run. Nothing runs before this record is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The id of this run, 12 characters.
    pub run: String,
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
    /// As whom the command runs.
    pub run_as: Word,
    /// Its uid.
    pub run_as_uid: u32,
    /// Its gid.
    pub run_as_gid: u32,
    /// Its supplementary groups.
    pub run_as_groups: Vec<u32>,
    /// The file mode creation mask with which it begins; a session that another program opened has that of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The words of the command.
    pub argv: Vec<Word>,
    /// What the caller typed for the program, where that is not the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<Word>,
    /// The environment of the command, in its order.
    pub environment: Vec<Variable>,
    /// The canonical path of the program, whatever name it was found by.
    pub path: Word,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// The role that allows it; absent for root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Through what the caller has the power.
    pub assignment: Assignment,
    /// The grant that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// How the caller proved who they are.
    pub authenticated: Authentication,
    /// For an edit: the words of the editor, which runs as the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editor: Option<Vec<Word>>,
    /// For a session that another program opened: its PAM service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Word>,
    /// From which host, for such a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Word>,
    /// The digest of the policy by which it was judged; an earlier `policy` record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The digest of what its role gives power to, as the policy says it now; its text is kept under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_digest: Option<Digest>,
    /// By which that policy's records tell the role from another: all that it says, as it was read when it decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
    /// Of the exact bytes of the grant under which it was allowed, as they were read: all that it binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_sha256: Option<Digest>,
}

/// Through what a caller has the power to run a command.
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

/// How a caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// PAM asked just now.
    Password,
    /// PAM agreed just now and asked nothing.
    Unasked,
    /// PAM asked not long ago on this terminal and session.
    Cache,
    /// The role asks for none.
    None,
}

/// One variable of the command's environment: its value, or a keyed digest of it (see [`crate::evidence::redact`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Always complete.
    pub name: Word,
    /// The value, unless its name is on the list of secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Word>,
    /// HMAC-SHA256 of a secret value under the journal's redaction key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A command has ended, or its supervisor has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The run.
    pub run: String,
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

/// How a run ended. Exactly one of `exit` and `signal` is there, neither for a lost run.
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
    /// Who or what ended it.
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
    /// More words, such as why it could not be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Word>,
    /// When the grant expired, µs, of a command that was allowed to finish after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Timestamp>,
    /// The last grant under which it went on, when that is not the one it began under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_by: Option<GrantId>,
    /// SHA-256 of its recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Digest>,
    /// How many bytes the recording has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_bytes: Option<u64>,
}

impl RunOutcome {
    /// An ending of which nothing more is known.
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

/// Who or what ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// The command ended by itself, or was killed by somebody else than us.
    Itself,
    /// The grant expired and we ended it.
    Expiry,
    /// The grant was revoked and we ended it.
    Revocation,
    /// The grant was given back and we ended it.
    Release,
    /// It ran as long as it may, and we ended it.
    TimeLimit,
    /// The supervisor was told to end by a signal, and passed it on.
    Signal,
    /// It was recorded but could not be executed; `detail` says why.
    NotExecuted,
    /// The supervisor vanished; nobody knows how the command ended.
    Lost,
    /// The policy demands a recording, and it could not be written any more.
    Unrecorded,
    /// Somebody ended this very session.
    Kill,
}

/// The program said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The caller's real uid.
    pub uid: u32,
    /// The caller's name.
    pub user: Word,
    /// The controlling terminal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// The caller's working directory, when it can be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Word>,
    /// The command as typed.
    pub argv: Vec<Word>,
    /// As whom, as typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// A stable word for programs.
    pub code: String,
    /// What the caller was told.
    pub sentence: Word,
    /// What `argv` was before it was cut; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_argv: Option<Whole>,
    /// The same of `sentence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_sentence: Option<Whole>,
    /// The same of `run_as`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_run_as: Option<Whole>,
}

/// Of words that are too long to be kept: each followed by a NUL, how many bytes they have and their digest.
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
    /// As it is kept: what anybody can make as long as they like is cut, and its length and digest stand beside it.
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

/// The first of `words`, the last of them perhaps in part, so that all have at most `most` bytes as they are written.
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

/// Something that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// A stable word for programs.
    pub code: String,
    /// What happened.
    pub sentence: Word,
    /// Whom it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Word>,
    /// Which run it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Which grant it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The host from here on, where that has changed or was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<HostDescriptor>,
}
