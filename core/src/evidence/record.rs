//! The events that the journal stores, and the exact bytes of a record (docs/formats.md, "Records"). This module
//! touches no database and no sink.
//!
//! Every text from a user or caller is a [`Word`], so that no record contains a control character. Booleans and
//! floating-point numbers do not occur; an absent value is an absent key.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use super::backup_event::Backup;
pub use super::clock_event::{ClockConfirmed, Confirmation};
pub use super::digest::Digest;
pub use super::edit_event::{Change, Edit};
pub use super::epoch_event::{Certifier, Epoch};
pub use super::fork_event::{Fork, LostHead};
pub use super::grant_event::{
    Approval, Cancellation, Denial, Grant, Limit, Release, Request, Revocation, UncountedApproval,
};
pub use super::key_event::{Retirement, Rotation};
pub use super::policy_event::{CompiledBy, PolicyRecord};
pub use super::prune_event::Prune;
pub use super::review_event::{Review, Verdict};
pub use super::run_event::{
    Alert, Assignment, Authentication, End, EndedBy, Reject, RunOutcome, Start, Variable, Whole, cut,
};
pub use super::session_event::{Act, Intervention, LeftEnded, LeftProcess, LeftRunning, Purpose, RecordingRead};
use crate::clock::{Moment, Timestamp};
use crate::escape::Word;
use crate::names::{GrantId, RunId};

/// The version of the record format that this build writes.
pub const VERSION: u32 = 1;

/// One record: its position in the chain, its time and host, and what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1; only a fork leaves a gap.
    pub seq: u64,
    /// The hash of the previous record; zeros in the first.
    pub prev: Digest,
    /// Wall time, µs since 1970.
    pub time: Timestamp,
    /// Boot clock, µs since the kernel booted.
    pub boot: i64,
    /// The id of the boot; see `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The name of the host.
    pub host: Word,
    /// The version of this format.
    pub version: u32,
    /// `kind` and its keys.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// Creates the record of `event` that follows the record whose hash is `prev`.
    pub fn new(seq: u64, prev: Digest, moment: &Moment, host: &str, event: Event) -> Self {
        Self {
            seq,
            prev,
            time: moment.wall,
            boot: moment.boot.0,
            boot_id: moment.boot_id.clone(),
            host: host.into(),
            version: VERSION,
            event,
        }
    }

    /// Returns the exact bytes: one compact JSON object with sorted keys. They are produced once, and stored and hashed
    /// unchanged.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        // A `Value` stores its keys in a BTreeMap, so they are sorted at every depth.
        serde_json::to_string(&serde_json::to_value(self)?)
    }

    /// Checks that exact bytes have the contents of this kind of record; an unknown kind, which a later version may
    /// have, is not checked. The chain checks position and time. Both together are equivalent to [`Record::decode`],
    /// and faster.
    pub(super) fn is_of(kind: &str, body: &[u8]) -> Result<(), serde_json::Error> {
        fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(), serde_json::Error> {
            parse::<T>(body).map(drop)
        }
        let of_kind: fn(&[u8]) -> Result<(), serde_json::Error> = match kind {
            "start" => read::<Start>,
            // In two passes: serde buffers flattened values.
            "end" => |body| parse::<EndWithoutOutcome<'_>>(body).and_then(|_| read::<RunOutcome>(body)),
            "reject" => read::<Reject>,
            "request" => read::<Request>,
            "approval" => read::<Approval>,
            "denial" => read::<Denial>,
            "cancellation" => read::<Cancellation>,
            "grant" => read::<Grant>,
            "revocation" => read::<Revocation>,
            "release" => read::<Release>,
            "alert" => read::<Alert>,
            "review" => read::<Review>,
            "edit" => read::<Edit>,
            "reading" => read::<RecordingRead>,
            "intervention" => read::<Intervention>,
            "left-running" => read::<LeftRunning>,
            "left-ended" => read::<LeftEnded>,
            "prune" => read::<Prune>,
            "backup" => read::<Backup>,
            "policy" => read::<PolicyRecord>,
            "fork" => read::<Fork>,
            "clock" => read::<ClockConfirmed>,
            "epoch" => read::<Epoch>,
            "rotation" => read::<Rotation>,
            "retirement" => read::<Retirement>,
            _ => return Ok(()),
        };
        of_kind(body)
    }

    /// Decodes exact bytes. Keys that a later minor version added are ignored.
    pub fn decode(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

/// Parses some keys of exact bytes. A record is UTF-8; that is checked once for all its texts.
pub(super) fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_str(std::str::from_utf8(body).map_err(serde::de::Error::custom)?)
}

/// What happened; the variant's name is the `kind` of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A command is about to run.
    Start(Box<Start>),
    /// The command has ended.
    End(Box<End>),
    /// A command was rejected.
    Reject(Box<Reject>),
    /// A user requested a grant.
    Request(Box<Request>),
    /// An approver approved a request.
    Approval(Box<Approval>),
    /// An approver denied a request.
    Denial(Box<Denial>),
    /// The requester cancelled the request.
    Cancellation(Box<Cancellation>),
    /// A grant was signed.
    Grant(Box<Grant>),
    /// Another user revoked a grant.
    Revocation(Box<Revocation>),
    /// The holder released a grant.
    Release(Box<Release>),
    /// An alert for the administrator.
    Alert(Box<Alert>),
    /// A user reviewed a break-glass activation or an assignment.
    Review(Box<Review>),
    /// A file is about to be edited.
    Edit(Box<Edit>),
    /// A user read another user's recording.
    Reading(Box<RecordingRead>),
    /// A user froze, thawed or ended a session.
    Intervention(Box<Intervention>),
    /// A command has ended, but processes that it started have not.
    LeftRunning(Box<LeftRunning>),
    /// These processes have ended too.
    LeftEnded(Box<LeftEnded>),
    /// Old records were removed.
    Prune(Box<Prune>),
    /// The database was copied into a file.
    Backup(Box<Backup>),
    /// A new policy was compiled.
    Policy(Box<PolicyRecord>),
    /// Records were lost, and the journal goes on behind their numbers.
    Fork(Box<Fork>),
    /// The clock of this boot was confirmed.
    Clock(ClockConfirmed),
    /// An epoch begins: another key signs the checkpoints from here on.
    Epoch(Box<Epoch>),
    /// The host key was replaced.
    Rotation(Box<Rotation>),
    /// The host key was removed for ever.
    Retirement(Box<Retirement>),
}

/// An `end` without the outcome of the run.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only read")]
struct EndWithoutOutcome<'b> {
    #[serde(borrow)]
    run: Cow<'b, str>,
    start: u64,
    uid: u32,
    #[serde(default)]
    grant: Option<GrantId>,
}

/// The keys of an event by which records are searched; the journal copies them to columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys<'a> {
    /// The name of the kind.
    pub kind: &'static str,
    /// The user who did it.
    pub uid: Option<u32>,
    /// The run.
    pub run: Option<&'a str>,
    /// The grant or request.
    pub grant: Option<&'a str>,
}

impl Event {
    /// Returns the search keys.
    pub fn keys(&self) -> Keys<'_> {
        let (kind, uid, run, grant) = match self {
            Self::Start(e) => ("start", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str)),
            Self::End(e) => ("end", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str)),
            Self::Reject(e) => ("reject", Some(e.uid), None, None),
            Self::Request(e) => ("request", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Approval(e) => ("approval", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Denial(e) => ("denial", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Cancellation(e) => ("cancellation", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Grant(e) => ("grant", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Revocation(e) => ("revocation", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Release(e) => ("release", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Alert(e) => {
                ("alert", e.uid, e.run.as_ref().map(RunId::as_str), e.grant.as_ref().map(GrantId::as_str))
            }
            Self::Prune(e) => ("prune", Some(e.uid), None, None),
            Self::Backup(e) => ("backup", Some(e.uid), None, None),
            // The first user to run under the new policy did nothing, and may not be permitted to see all of the
            // record.
            Self::Policy(_) => ("policy", None, None, None),
            Self::Fork(_) => ("fork", None, None, None),
            Self::Clock(_) => ("clock", None, None, None),
            Self::Epoch(_) => ("epoch", None, None, None),
            Self::Rotation(e) => ("rotation", Some(e.uid), None, None),
            Self::Retirement(e) => ("retirement", Some(e.uid), None, None),
            Self::Review(e) => ("review", Some(e.uid), None, e.grant.as_ref().map(GrantId::as_str)),
            Self::Edit(e) => ("edit", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str)),
            Self::Reading(e) => ("reading", Some(e.uid), e.run.as_ref().map(RunId::as_str), None),
            Self::LeftRunning(e) => {
                ("left-running", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str))
            }
            Self::LeftEnded(e) => {
                ("left-ended", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str))
            }
            Self::Intervention(e) => {
                ("intervention", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str))
            }
        };
        Keys { kind, uid, run, grant }
    }

    /// Returns the stable code of an alert or a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Alert(alert) => Some(&alert.code),
            Self::Reject(reject) => Some(&reject.code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::samples;

    #[test]
    fn every_kind_is_valid_and_invalid_without_one_of_its_keys() {
        for (seq, event) in (1..).zip(samples::events().into_iter().chain(samples::key_life())) {
            let kind = event.keys().kind;
            let body = Record::new(seq, Digest::ZERO, &samples::moment(1), "web1", event).encode().unwrap();
            assert!(is_one(kind, body.as_bytes()), "{body}");
            for key in ["boot_id", "uid"] {
                let Some(other) = without(&body, key) else { continue };
                let decoded = Record::decode(&other).is_ok();
                assert_eq!(is_one(kind, other.as_bytes()), decoded, "{other}");
            }
        }
    }

    /// Returns the record without this top-level key.
    fn without(body: &str, key: &str) -> Option<String> {
        let mut record: serde_json::Map<String, Value> = serde_json::from_str(body).unwrap();
        record.remove(key).map(|_| Value::from(record).to_string())
    }

    fn is_one(kind: &str, body: &[u8]) -> bool {
        crate::evidence::chain::stands(body) && Record::is_of(kind, body).is_ok()
    }

    /// Run with `cargo test -p jit-sudo-core --lib what_it_takes_to_read -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints figures"]
    fn what_it_takes_to_read_a_record() {
        for (seq, event) in (1..).zip(samples::events()) {
            let kind = event.keys().kind;
            let body = Record::new(seq, Digest::ZERO, &samples::moment(1), "web1", event).encode().unwrap();
            let took = |read: &dyn Fn()| {
                let began = std::time::Instant::now();
                (0..20_000).for_each(|_| read());
                began.elapsed().as_nanos() / 20_000
            };
            let quick = took(&|| Record::is_of(kind, body.as_bytes()).unwrap());
            let whole = took(&|| drop(Record::decode(&body).unwrap()));
            println!("{kind}: {quick} ns, decoded {whole} ns");
        }
    }

    #[test]
    fn every_kind_survives_the_round_trip() {
        for event in samples::events().into_iter().chain(samples::key_life()) {
            let record = Record::new(7, Digest([5; 32]), &samples::moment(1), "web1", event);
            let body = record.encode().unwrap();
            assert_eq!(Record::decode(&body).unwrap(), record);
            assert_eq!(Record::decode(&body).unwrap().encode().unwrap(), body);
        }
    }

    #[test]
    fn records_are_canonical() {
        for (_, body, _) in samples::chain(15) {
            assert!(!body.contains(|c: char| c.is_control() || c == '\u{202e}'), "{body}");
            assert_canonical(&serde_json::from_str(&body).unwrap());
            let kind = Record::decode(&body).unwrap();
            assert!(body.contains(&format!("\"kind\":\"{}\"", kind.event.keys().kind)));
        }
    }

    #[test]
    fn the_bytes_of_a_record_are_fixed() {
        let event = Event::Release(Box::new(Release {
            grant: samples::grant(),
            uid: 1000,
            user: "al\"ice\\\n".into(),
            role: samples::role(),
            key: None,
            sha256: None,
        }));
        let body = Record::new(1, Digest::ZERO, &samples::moment(0), "web1", event).encode().unwrap();
        let zeros = "0".repeat(64);
        assert_eq!(
            body,
            format!(
                "{{\"boot\":0,\"boot_id\":\"0d5e0b7c-1f0a-4c1e-9d50-1a2b3c4d5e6f\",\"grant\":\"7r1eg3w07r\",\
                 \"host\":\"web1\",\"kind\":\"release\",\"prev\":\"{zeros}\",\"role\":\"web-ops\",\"seq\":1,\
                 \"time\":1800000000000000,\"uid\":1000,\"user\":\"al\\\"ice\\\\\\\\\\\\x0a\",\"version\":1}}"
            )
        );
    }

    #[test]
    fn keys_of_a_later_version_are_ignored() {
        let (_, body, _) = samples::chain(1).remove(0);
        let extended = body.replacen("{\"argv\"", "{\"added\":{\"x\":[1]},\"argv\"", 1);
        assert_eq!(Record::decode(&extended).unwrap(), Record::decode(&body).unwrap());
    }

    #[test]
    fn other_bytes_are_not_decoded_as_a_record() {
        for body in ["", "{}", "[]", "null", "{\"kind\":\"start\"}", &"[".repeat(100_000)] {
            assert!(Record::decode(body).is_err());
        }
    }

    fn assert_canonical(value: &Value) {
        match value {
            Value::String(_) => {}
            Value::Number(number) => assert!(number.is_i64() || number.is_u64(), "{number}"),
            Value::Array(items) => items.iter().for_each(assert_canonical),
            Value::Object(object) => {
                let keys: Vec<_> = object.keys().collect();
                assert!(keys.is_sorted(), "{keys:?}");
                object.values().for_each(assert_canonical);
            }
            Value::Bool(_) | Value::Null => panic!("{value}"),
        }
    }
}
