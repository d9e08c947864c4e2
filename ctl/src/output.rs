//! The output of `--json` (docs/json.md): one object whose key names its kind. These types are an interface for programs,
//! so they are separate from the broker's replies, which may change with it.

use jit_core::escape::Word;
use jit_core::names::{GrantId, RunId};
use jit_core::wire::{
    AcceptedInfo, ApprovalDocument, AssignmentInfo, BackupInfo, DebtInfo, DocumentsInfo, Evaluation, Finding, GapInfo,
    GrantInfo, ImportInfo, KeyChangeInfo, KeyInfo, PolicyInfo, PolicyShown, PruneInfo, RecordInfo, RecordPage,
    RecordingInfo, RestoreInfo, RoleInfo, SessionInfo, StatedInfo, StatementDocument, SweepInfo, VerifyInfo, WhyInfo,
};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// The result of a verb. The names of the variants are the keys of the object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// `roles`
    Roles(Vec<RoleInfo>),
    /// `why`
    Why(WhyInfo),
    /// All verbs that return one request or grant.
    Grant(Box<GrantInfo>),
    /// `requests`
    Requests(Vec<GrantInfo>),
    /// `grants`
    Grants(Vec<GrantInfo>),
    /// `release` and `revoke`: the grants that were ended.
    Ended(Vec<GrantId>),
    /// `key accept`
    Accepted(AcceptedInfo),
    /// `policy check`
    PolicyChecked(PolicyInfo),
    /// `audit list`, `audit search` and `audit show`
    Records(#[serde(serialize_with = "with_objects")] RecordPage),
    /// `audit verify`
    Verified(Box<VerifyInfo>),
    /// `audit export --out`
    Export(ExportInfo),
    /// `audit prove`: the text
    Proof(String),
    /// `audit check-proof`
    Proven(ProvenRecord),
    /// `witness key`: the public key
    WitnessKey(String),
    /// `witness size`
    WitnessSize(u64),
    /// `witness cosign`
    Cosigned(Vec<Cosigned>),
    /// `audit prune`
    Pruned(PruneInfo),
    /// `backup`
    BackedUp(BackupInfo),
    /// `restore`
    Restored(RestoreInfo),
    /// `key init` and `key show`
    HostKey(KeyInfo),
    /// `key rotate` and `key retire`
    KeyChanged(Box<KeyChangeInfo>),
    /// `policy show`
    Policy(Box<PolicyShown>),
    /// `policy test`
    Evaluation(Box<Evaluation>),
    /// `policy test --file`
    Expectations(Expectations),
    /// `show --print` and `show --export`
    Documents(Box<DocumentsInfo>),
    /// `approve --key` of a request of this host
    Imported(ImportInfo),
    /// `approve --key` of a request from elsewhere
    Approval(ApprovalDocument),
    /// `import` of a statement
    Stated(StatedInfo),
    /// A statement about a request from elsewhere
    Statement(StatementDocument),
    /// `review`
    Debts(Vec<DebtInfo>),
    /// `review --unused` and `review --recertify`
    Assignments(Vec<AssignmentInfo>),
    /// `replay` and `watch`
    Recording(RecordingInfo),
    /// `replay --search`
    Found(Vec<RecordingHit>),
    /// `session`
    Sessions(Vec<SessionInfo>),
    /// `policy import`
    PolicyImported(ImportedPolicy),
    /// `doctor`
    Findings(Vec<Finding>),
    /// `sweep`
    Swept(SweepInfo),
}

impl Output {
    /// A request or grant.
    pub(crate) fn grant(info: GrantInfo) -> Self {
        Self::Grant(Box::new(info))
    }
}

/// A record as it is printed: its exact bytes, and the same as an object.
#[derive(Serialize)]
struct ShownRecord<'a> {
    #[serde(flatten)]
    info: &'a RecordInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Value>,
}

/// Adds to each record of a page its object, so that its fields can be queried without parsing a string. Bytes that are no object
/// have none.
fn with_objects<S: Serializer>(page: &RecordPage, serializer: S) -> Result<S::Ok, S::Error> {
    let object = |info: &RecordInfo| serde_json::from_str::<Value>(&info.body).ok().filter(Value::is_object);
    let records: Vec<_> = page.records.iter().map(|info| ShownRecord { info, record: object(info) }).collect();
    let mut shown = serializer.serialize_struct("RecordPage", 3)?;
    shown.serialize_field("records", &records)?;
    shown.serialize_field("more", &page.more)?;
    shown.serialize_field("looked_at", &page.looked_at)?;
    shown.end()
}

/// A policy converted from a sudoers file.
#[derive(Debug, Clone, Serialize)]
pub struct ImportedPolicy {
    /// The policy in TOML.
    pub policy: String,
    /// The number of roles.
    pub roles: usize,
    /// What could not be converted: `FILE:LINE: what`.
    pub left_out: Vec<String>,
    /// What the policy allows or does in addition to sudo: `FILE:LINE: what`.
    pub wider: Vec<String>,
    /// What changes no answer: `FILE:LINE: what`.
    pub notes: Vec<String>,
    /// With `--untrusted`, the files and directories that sudo would not read, and why.
    pub untrusted: Vec<String>,
}

/// The result of testing a file of expected answers.
#[derive(Debug, Clone, Serialize)]
pub struct Expectations {
    /// The number of cases.
    pub cases: usize,
    /// The cases with another answer.
    pub differences: Vec<Difference>,
}

/// A case with another answer than expected.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The file, and the number of the case in it, from 1: `expected.toml, case 3`.
    pub place: String,
    /// The user, the run-as user and the command.
    pub question: String,
    /// The answer in the file.
    pub expected: String,
    /// The policy's answer.
    pub found: String,
    /// The reason.
    pub because: String,
}

/// The result of an export; made by jitctl.
#[derive(Debug, Clone, Serialize)]
pub struct ExportInfo {
    /// The number of records.
    pub records: u64,
    /// The first record of the next export.
    pub next: u64,
    /// The file that was written.
    pub file: Word,
    /// With `--salvage`, the records that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapInfo>,
    /// With `--salvage`, whether the end of the journal could not be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_end: bool,
}

/// A line of a recording that contains the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingHit {
    /// The run that was recorded.
    pub run: RunId,
    /// The user of the run.
    pub user: Word,
    /// When the run began.
    pub since: i64,
    /// When the line was shown, in milliseconds from the beginning of the recording.
    pub at_ms: u64,
    /// The line as plain text.
    pub line: Word,
}

/// A record that a proof shows to be in a journal.
#[derive(Debug, Serialize)]
pub struct ProvenRecord {
    /// The number of records before it.
    pub index: u64,
    /// The number of signed records.
    pub size: u64,
    /// When each witness cosigned them, in seconds since 1970.
    pub cosigned: Vec<u64>,
    /// The exact bytes of the record.
    pub record: String,
}

/// A cosignature.
#[derive(Debug, Serialize)]
pub struct Cosigned {
    /// The number of records.
    pub size: u64,
    /// The line of the note.
    pub signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_printed_as_bytes_and_as_an_object() {
        let info = |body: &str| RecordInfo { seq: 7, body: body.to_owned(), hash: "ab".to_owned() };
        let records = vec![info(r#"{"kind":"start","uid":1001,"time":18446744073709551615}"#), info("[1]"), info("{")];
        let printed = serde_json::to_value(Output::Records(RecordPage { records, more: true, looked_at: 9 })).unwrap();
        let page = &printed["records"];
        assert_eq!(page["records"][0]["record"]["kind"], "start");
        assert_eq!(page["records"][0]["record"]["time"], u64::MAX);
        assert_eq!(page["records"][0]["body"], r#"{"kind":"start","uid":1001,"time":18446744073709551615}"#);
        assert!(page["records"][1].get("record").is_none() && page["records"][2].get("record").is_none());
        assert_eq!((&page["more"], &page["looked_at"]), (&Value::Bool(true), &Value::from(9)));
    }
}
