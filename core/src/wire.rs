//! What is said through the door: one [`Ask`] as JSON on stdin, one [`Answer`] as JSON on stdout.
//! These types are shared with jitctl; times are UTC seconds since 1970, durations are seconds, words are escaped
//! texts (see [`crate::escape`]). Fields may be added; none is renamed or removed within a major version.

mod documents;
mod evidence;
mod grants;
mod health;
mod knowledge;
mod membership;
mod policies;
mod recordings;
mod reviews;
mod statements;

use serde::{Deserialize, Serialize};

pub use self::documents::{ApprovalDocument, Document, DocumentsInfo, HostInfo, ImportInfo, RequestDocument};
pub use self::evidence::{
    CheckpointInfo, ComparedInfo, DifferenceInfo, ExportInfo, ExportPage, MarkInfo, PruneInfo, RecordFilter,
    RecordInfo, RecordPage, SignedInfo, VerifyInfo,
};
pub use self::grants::{AcceptedInfo, ApprovalInfo, BoundInfo, EndedInfo, GrantInfo, GrantPage};
pub use self::health::{Finding, Severity, SweepInfo};
pub use self::knowledge::{
    Background, Difference, Evaluation, Expectations, ImportedPolicy, PolicyShown, Precedent, RoleDetails, RoleVerdict,
    SettingsInfo, WhyInfo,
};
pub use self::membership::{Holder, LoginInfo, MembershipInfo, NewSession};
pub use self::policies::{PolicyInfo, RoleInfo, texts};
pub use self::recordings::{FRAME_LIMIT, Frame, RecordingHit, RecordingInfo, RecordingsChecked, SessionInfo};
pub use self::reviews::{AssignmentInfo, DebtInfo};
pub use self::statements::{StatedInfo, StatementDocument};
use crate::escape::Word;
pub use crate::evidence::record::{Act, Purpose};
use crate::names::{GrantId, IdPrefix, RoleName, UserName};

/// The longest request in bytes; a longer one is refused unread.
pub const REQUEST_LIMIT: usize = 4 << 20;

/// One request to the broker. Who asks is never said here: the kernel says it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// The roles that the caller may activate or has standing. Answer: [`Answer::Roles`].
    Roles {},
    /// May a command run now, and if not, what would help? Answer: [`Answer::Why`].
    Why {
        /// Somebody else's question needs root or a reader of the audit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserName>,
        /// What would be run.
        #[serde(flatten)]
        command: CommandWords,
    },
    /// Ask for a grant. Answer: [`Answer::Grant`].
    Request(NewRequest),
    /// Pending requests that the caller made or may decide; with `all`, every state. Answer: [`Answer::Requests`].
    Requests {
        /// Also those that are decided, cancelled or expired.
        #[serde(default)]
        all: bool,
        /// Go on where a part has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<i64>,
    },
    /// One request and its grant. Answer: [`Answer::Grant`].
    Show {
        /// Its id or the beginning of it.
        id: IdPrefix,
    },
    /// Approve a pending request, perhaps narrowed. Answer: [`Answer::Grant`].
    Approve {
        /// Which request.
        id: IdPrefix,
        /// At most this many seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<u64>,
        /// For one run only.
        #[serde(default)]
        one_shot: bool,
        /// For the very command and binary only.
        #[serde(default)]
        exact: bool,
        /// Kept with the approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<Word>,
    },
    /// The exact bytes of a request, its approvals and its grant, with their signatures. Answer: [`Answer::Documents`].
    Documents {
        /// Its id or the beginning of it.
        id: IdPrefix,
    },
    /// Submit an approval that was signed anywhere, by anybody who carries it. Answer: [`Answer::Imported`].
    Import {
        /// Its exact bytes.
        approval: String,
        /// The approver's SSHSIG over them, armored.
        signature: String,
    },
    /// Submit a denial, cancellation, revocation, release or review that was signed anywhere, by anybody who carries it.
    /// Answer: [`Answer::Stated`].
    ImportStatement {
        /// Its exact bytes.
        statement: String,
        /// The SSHSIG over them of who made it, armored.
        signature: String,
    },
    /// Deny a pending request. Answer: [`Answer::Grant`].
    Deny {
        /// Which request.
        id: IdPrefix,
        /// Shown to the requester.
        reason: Word,
    },
    /// Take one's own pending request back. Answer: [`Answer::Grant`].
    Cancel {
        /// Which request.
        id: IdPrefix,
    },
    /// Active and scheduled grants, and others under which a command still runs, of the caller (of everybody for root and
    /// readers). Answer: [`Answer::Grants`].
    Grants {
        /// Also those that have ended.
        #[serde(default)]
        all: bool,
        /// Go on where a part has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<i64>,
    },
    /// Give back one's own grant, or all of them. Answer: [`Answer::Ended`].
    Release {
        /// Which; all active ones of the caller when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<IdPrefix>,
    },
    /// End grants of others: root, and approvers of the grant's role. Answer: [`Answer::Ended`].
    Revoke {
        /// Which ones.
        target: RevokeTarget,
        /// Kept in the record and shown to the holder.
        reason: Word,
    },
    /// Wait until a request is no longer pending. Answer: [`Answer::Grant`] (still pending when the time is up).
    Wait {
        /// Which request.
        id: IdPrefix,
        /// How long at most, in seconds; bounded by the request's own deadline.
        seconds: u64,
    },
    /// Check the installed policy: root and readers. Answer: [`Answer::PolicyChecked`].
    PolicyCheck {},
    /// Records in order of their number. Answer: [`Answer::Records`]. Who is not root or a reader sees their own runs.
    AuditList {
        /// Only records with a greater number.
        #[serde(default)]
        after: u64,
        /// At most this many, from the newest backwards when `newest` is set (but listed oldest first).
        limit: u32,
        /// The last `limit` records instead of the first.
        #[serde(default)]
        newest: bool,
        /// Only this kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// Only what this user did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserName>,
        /// Only records with a smaller number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// Only what fits this besides.
        #[serde(default, skip_serializing_if = "is_default")]
        filter: Box<RecordFilter>,
    },
    /// Every record of one run, or one record by number. Answer: [`Answer::Records`].
    AuditShow {
        /// A run's id (12 characters), a grant's id, or a record's number.
        what: String,
    },
    /// Verify the chain from the first record to the last, its checkpoints and its anchors: root and readers.
    /// Answer: [`Answer::Verified`].
    AuditVerify {
        /// Heads that were kept elsewhere, besides the host's own anchor.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        anchor: Vec<MarkInfo>,
        /// The public keys whose checkpoints count, each as `ssh-ed25519 AAAA…`; the host's own when there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
    },
    /// Records without a gap, with their checkpoints; the head is signed first: root and readers.
    /// Answer: [`Answer::Exported`].
    AuditExport {
        /// Begin with this record.
        #[serde(default)]
        from: u64,
        /// Begin with the first record that is not older.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<i64>,
        /// End with this record, as the first piece of the same export said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<u64>,
    },
    /// Remove old records, whole segments between checkpoints: root only. Answer: [`Answer::Pruned`].
    AuditPrune {
        /// How many seconds records are kept; what the policy says when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u64>,
        /// Only say what would go.
        #[serde(default)]
        dry_run: bool,
    },
    /// Make the host key and the database where there are none: root only. Answer: [`Answer::HostKey`].
    KeyInit {},
    /// The host's public key. Answer: [`Answer::HostKey`].
    KeyShow {},
    /// The policy in force, or one role of it: root and readers. Answer: [`Answer::Policy`].
    PolicyShow {
        /// Only this role.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
    },
    /// What the installed policy says of a command, grants aside: root and readers. Answer: [`Answer::Evaluation`].
    PolicyTest {
        /// Who would run it.
        user: UserName,
        /// What would be run.
        #[serde(flatten)]
        command: CommandWords,
    },
    /// State that the host's database, identity and clock are right as they stand; every open grant ends: root only.
    /// Answer: [`Answer::Ended`].
    KeyAccept {
        /// Kept in the record.
        reason: Word,
    },
    /// Broken glass that nobody has reviewed: everything for root and readers, else what the caller did or may review.
    /// Answer: [`Answer::Debts`].
    ReviewDebts {},
    /// Settle such a debt: approvers of the role, never who broke the glass. Answer: [`Answer::Grant`].
    ReviewSettle {
        /// Which grant.
        id: IdPrefix,
        /// What was found.
        comment: Word,
    },
    /// Eligibility that was not used for so long: root, readers, and approvers for their roles.
    /// Answer: [`Answer::Assignments`].
    ReviewUnused {
        /// Seconds.
        since: u64,
    },
    /// Who may ask for what, and what reviewers said of it: as for [`Ask::ReviewUnused`]. Answer: [`Answer::Assignments`].
    ReviewAssignments {
        /// Only this role.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
    },
    /// Answer for assignments of a role: root, and approvers of the role, never for oneself.
    /// Answer: [`Answer::Assignments`], those of the role.
    ReviewCertify {
        /// Of which role.
        role: RoleName,
        /// Whose assignment: a user, or `%group` as the policy says; all of the role when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<String>,
        /// What is said.
        verdict: Certify,
        /// Why.
        comment: Word,
    },
    /// Ask for more time for one's own grant and whatever runs under it. Answer: [`Answer::Grant`], the new one.
    Extend {
        /// Which grant.
        id: IdPrefix,
        /// Seconds from its end on; the role's maximum when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<u64>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Word>,
    },
    /// The recording of one run: whose run it is, root and readers; to watch it live, also the observers of its role.
    /// Answer: [`Answer::Recording`], and then frames: see [`Frame`].
    Recording {
        /// Which run.
        run: String,
        /// What for; this is recorded where it is somebody else's.
        purpose: Purpose,
    },
    /// All finished recordings that the caller may see. Answer: [`Answer::Recordings`], and then frames.
    Recordings {
        /// What for.
        purpose: Purpose,
        /// Only of runs whose end has a greater number.
        #[serde(default)]
        after: u64,
    },
    /// Sessions that run: the caller's, those they may watch or end, everybody's for root and readers.
    /// Answer: [`Answer::Sessions`].
    Sessions {},
    /// Freeze, thaw or end a session: root, and approvers of its role. Answer: [`Answer::Sessions`], that one.
    Intervene {
        /// Which run.
        run: String,
        /// What to do.
        act: Act,
        /// Kept in the record.
        reason: Word,
    },
    /// What is wrong with this host, also where nothing else can be answered: root only. Answer: [`Answer::Findings`].
    Examine {},
    /// The work that nobody waits for: what was left behind, compression, retention: root only. Answer: [`Answer::Swept`].
    Sweep {},
    /// Does somebody hold a role as a whole at this moment? Anyone about themselves, root about everybody.
    /// Answer: [`Answer::Membership`].
    Membership {
        /// Who; the caller when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<Holder>,
        /// Which role; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
        /// Where a request of theirs is pending, wait for its decision, at most so many seconds.
        #[serde(default)]
        wait: u64,
    },
    /// A session that another program opens for who holds a role. It lasts until that program writes a byte on the line, or
    /// dies: root only. Answer: [`Answer::Session`], and an empty line when its end was recorded.
    OpenSession(NewSession),
    /// Such a session is closed by a program that has lost the line: root only. Answer: [`Answer::Closed`], when its end was
    /// recorded.
    CloseSession {
        /// Its run.
        run: String,
    },
}

fn is_default(filter: &RecordFilter) -> bool {
    *filter == RecordFilter::default()
}

/// What a reviewer says of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certify {
    /// It shall stay.
    Confirm,
    /// It should go.
    Remove,
}

/// The command that a question or a request is about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CommandWords {
    /// As whom; root (or what the role says) when absent. A name or `#uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// -g: the primary group. A name or `#gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<Word>,
    /// -D: the working directory; where the caller is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Word>,
    /// Variables for the command, `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Word>,
    /// The words typed; may be empty in a request for a whole role.
    #[serde(default)]
    pub command: Vec<Word>,
}

/// A request for a grant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Which role; inferred from the command when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Seconds; the role's maximum when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
    /// The ticket that the role demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// For one run only.
    #[serde(default)]
    pub one_shot: bool,
    /// As whom; see [`CommandWords::run_as`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// See [`CommandWords::run_as_group`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<Word>,
    /// See [`CommandWords::directory`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Word>,
    /// See [`CommandWords::environment`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Word>,
    /// The command the grant is wanted for; shown to approvers.
    #[serde(default)]
    pub command: Vec<Word>,
    /// At once and without approvers, in an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

/// Which grants a revocation ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeTarget {
    /// One.
    Id(IdPrefix),
    /// All of one user.
    User(UserName),
    /// Every grant on this host.
    All,
}

/// What the broker prints: exactly one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done; the exit status of the tool is 0.
    Ok(Answer),
    /// Not done, nothing changed.
    Error(Failure),
}

/// A refusal or an error, in the words the user sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word for programs, such as `not-eligible`, `unknown-id`, `not-an-approver`.
    pub code: String,
    /// One line without prefix and full stop.
    pub message: String,
    /// What to type instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// 1 refused or failed, 2 usage.
    pub exit: u8,
}

/// The good answers, one for each kind of question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To `roles`.
    Roles(Vec<RoleInfo>),
    /// To `why`.
    Why(WhyInfo),
    /// To all verbs about one request or grant.
    Grant(Box<GrantInfo>),
    /// To `requests`, the last or only part.
    Requests(Vec<GrantInfo>),
    /// To `requests`, where there is more; jitctl makes one answer of all parts.
    RequestsPart(GrantPage),
    /// To `grants`, the last or only part.
    Grants(Vec<GrantInfo>),
    /// To `grants`, where there is more.
    GrantsPart(GrantPage),
    /// To `release` and `revoke`: what was ended.
    Ended(Vec<GrantId>),
    /// The state of the host is accepted.
    Accepted(AcceptedInfo),
    /// To `policy-check`.
    PolicyChecked(PolicyInfo),
    /// To `audit-list` and `audit-show`.
    Records(RecordPage),
    /// To `audit-verify`.
    Verified(VerifyInfo),
    /// To `audit-export`: one piece.
    Exported(Box<ExportPage>),
    /// What an export wrote; made by jitctl out of many pieces.
    Export(ExportInfo),
    /// To `audit-prune`.
    Pruned(PruneInfo),
    /// To `key-init` and `key-show`.
    HostKey(KeyInfo),
    /// To `policy-show`.
    Policy(Box<PolicyShown>),
    /// To `policy-test`.
    Evaluation(Box<Evaluation>),
    /// What came of a file of expected answers; made by jitctl out of many evaluations.
    Expectations(Expectations),
    /// To `documents`.
    Documents(Box<DocumentsInfo>),
    /// To `import`.
    Imported(ImportInfo),
    /// To nothing: what jitctl itself prints of an approval that was made for another host.
    Approval(ApprovalDocument),
    /// To `import-statement`.
    Stated(StatedInfo),
    /// To nothing: what jitctl itself prints of a statement that was made for another host.
    Statement(StatementDocument),
    /// To `review-debts`.
    Debts(Vec<DebtInfo>),
    /// To `review-unused`, `review-assignments` and `review-certify`.
    Assignments(Vec<AssignmentInfo>),
    /// To `recording`; the recording itself follows.
    Recording(RecordingInfo),
    /// To `recordings`: empty, they follow.
    Recordings(Vec<RecordingInfo>),
    /// Lines of recordings that hold a text; made by jitctl out of all recordings.
    Found(Vec<RecordingHit>),
    /// To `sessions` and `intervene`.
    Sessions(Vec<SessionInfo>),
    /// To nothing: what jitctl itself makes of a sudoers.
    PolicyImported(ImportedPolicy),
    /// To `examine`; jitctl adds what it sees from outside.
    Findings(Vec<Finding>),
    /// To `sweep`.
    Swept(SweepInfo),
    /// To `membership`.
    Membership(MembershipInfo),
    /// To `open-session`.
    Session(LoginInfo),
    /// To `close-session`.
    Closed {},
}

/// The host's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyInfo {
    /// One line in OpenSSH's format.
    pub public_key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// It was made just now.
    pub created: bool,
}

#[cfg(test)]
mod tests;
