//! The JSON output for programs.

use jit_core::names::GrantId;
use jit_core::wire::{
    AcceptedInfo, ApprovalInfo, AuditList, AuditPrune, AuditVerify, DifferenceInfo, EndedInfo, Grants, KeyAccept,
    KeyInfo, KeyShow, PolicyCheck, PolicyInfo, PolicyShow, PolicyTest, PruneInfo, Recording, Release, Requests,
    ReviewAssignments, ReviewDebts, Roles, Sessions, VerifyInfo, Why,
};
use jitctl::output::Output;
use serde_json::Value;

use crate::fixtures::{
    assignment, background, debt, evaluation, expectations, grant, page, policy, recording, role, session, why,
};
use crate::support::{Answer, Scripted, active, listed, pending};

#[test]
fn json_is_one_object_on_one_line_for_every_answer() {
    let id = GrantId::parse("0123456789").unwrap();
    let key = KeyInfo {
        public_key: "ssh-ed25519 AAAA".into(),
        fingerprint: "SHA256:x".into(),
        created: true,
        epoch: None,
        sealing_key: None,
        former_keys: Vec::new(),
        rotations: Vec::new(),
    };
    let checked = PolicyInfo { files: vec!["/p".into()], roles: 1, rules: 2, warnings: vec!["w".into()] };
    let verified = VerifyInfo { intact: true, records: 2, head: "ab".into(), ..VerifyInfo::default() };
    let pruned = PruneInfo { records: 5, recordings: 1, through: 7, before: 9, done: true, held: 0 };
    let answers: Vec<(&[&str], Answer, &str)> = vec![
        (&["roles"], Answer::to::<Roles>(vec![role()]), "roles"),
        (&["why", "ls"], Answer::to::<Why>(why(true)), "why"),
        (&["show", "0"], grant(pending()), "grant"),
        (&["requests"], Answer::to::<Requests>(listed(vec![pending()])), "requests"),
        (&["grants"], Answer::to::<Grants>(listed(vec![active()])), "grants"),
        (&["release"], Answer::to::<Release>(vec![id]), "ended"),
        (&["policy", "check"], Answer::to::<PolicyCheck>(checked), "policy-checked"),
        (&["audit", "list"], Answer::to::<AuditList>(page()), "records"),
        (&["audit", "show", "r1"], Answer::to::<AuditList>(page()), "records"),
        (&["audit", "verify"], Answer::to::<AuditVerify>(verified), "verified"),
        (&["audit", "search", "x"], Answer::to::<AuditList>(page()), "records"),
        (&["audit", "prune", "--keep", "400d"], Answer::to::<AuditPrune>(pruned), "pruned"),
        (&["policy", "show"], Answer::to::<PolicyShow>(policy()), "policy"),
        (&["policy", "test", "--user", "alice", "--", "ls"], Answer::to::<PolicyTest>(evaluation()), "evaluation"),
        (&["key", "accept", "--reason", "x"], Answer::to::<KeyAccept>(accepted()), "accepted"),
        (&["key", "init"], Answer::to::<KeyShow>(key), "host-key"),
        (&["session", "list"], Answer::to::<Sessions>(vec![session()]), "sessions"),
        (&["session", "kill", "run000000001", "--reason", "x"], Answer::to::<Sessions>(vec![]), "sessions"),
        (&["replay", "run000000001"], Answer::to::<Recording>(recording()), "recording"),
        (&["review"], Answer::to::<ReviewDebts>(vec![debt()]), "debts"),
        (&["review", "--unused", "90d"], Answer::to::<ReviewAssignments>(vec![assignment()]), "assignments"),
        (&["review", "--recertify", "web-ops"], Answer::to::<ReviewAssignments>(vec![]), "assignments"),
        (&["review", "0", "--comment", "x"], grant(active()), "grant"),
    ];
    for (words, answer, name) in answers {
        let expected = answer.shown();
        let mut words = words.to_vec();
        words.insert(0, "--json");
        let called = Scripted::answering(answer).call(&words);
        // A verification without a head from elsewhere is not complete.
        let status = if name == "verified" { 5 } else { 0 };
        assert_eq!((called.status, called.stderr.as_str()), (status, ""), "{words:?}");
        assert_eq!(called.stdout.lines().count(), 1, "{words:?}");
        let mut said: Value = serde_json::from_str(&called.stdout).unwrap();
        without_parsed_records(&mut said);
        assert_eq!(said, expected);
        assert!(said.get(name).is_some(), "{words:?}");
    }
}

/// Removes the objects that repeat the bytes of records, which must say the same.
fn without_parsed_records(said: &mut Value) {
    let Some(records) = said.pointer_mut("/records/records").and_then(Value::as_array_mut) else { return };
    for record in records {
        let parsed = record.as_object_mut().unwrap().remove("record").unwrap();
        let body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        assert_eq!(parsed, body);
    }
}

/// Collects every key of every object in `value`. docs/formats.md describes those of a record.
fn keys(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            if key != "record" {
                keys(value, found);
            }
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

fn accepted() -> AcceptedInfo {
    AcceptedInfo { grants: vec![], requests: vec![], damaged: vec![] }
}

#[test]
fn every_field_of_every_answer_is_documented() {
    let mut info = active();
    info.ticket = Some("OPS-1".into());
    info.ended = Some(EndedInfo { by: "bob".into(), at: 0, reason: "x".into(), key: None });
    info.approvals = vec![ApprovalInfo {
        approver: info.requester.clone(),
        at: 0,
        duration: Some(jit_core::clock::duration::Seconds(1)),
        one_shot: true,
        exact: true,
        comment: Some("x".into()),
        key: Some("SHA256:abc".into()),
        counts: true,
    }];
    info.background = Some(background());
    let mut ticketed = role();
    ticketed.ticket = Some("x".into());
    let mut verdict = why(true);
    verdict.grant = Some(GrantId::parse("0123456789").unwrap());
    let answers = [
        Output::Roles(vec![ticketed]),
        Output::Why(verdict),
        Output::Grant(Box::new(info.clone())),
        Output::Requests(vec![]),
        Output::Grants(vec![info]),
        Output::Ended(vec![]),
        Output::Accepted(accepted()),
        Output::PolicyChecked(PolicyInfo { files: vec![], roles: 1, rules: 2, warnings: vec![] }),
        Output::Records(page()),
        Output::Verified(Box::new(VerifyInfo {
            intact: false,
            records: 2,
            head: "x".into(),
            first_bad: Some("x".into()),
            compared: Some(Box::default()),
            differences: vec![DifferenceInfo { table: "granted".into(), id: "x".into(), what: "x".into() }],
            ..VerifyInfo::default()
        })),
        Output::HostKey(KeyInfo {
            public_key: "x".into(),
            fingerprint: "x".into(),
            created: true,
            epoch: None,
            sealing_key: None,
            former_keys: Vec::new(),
            rotations: Vec::new(),
        }),
        Output::Policy(Box::new(policy())),
        Output::Evaluation(Box::new(evaluation())),
        Output::Expectations(expectations()),
        Output::Recording(recording()),
        Output::Sessions(vec![session()]),
        Output::Debts(vec![debt()]),
        Output::Assignments(vec![assignment()]),
    ];
    let mut found = std::collections::BTreeSet::new();
    for answer in answers {
        keys(&serde_json::to_value(answer).unwrap(), &mut found);
    }
    let refused = Scripted::refusing("no", Some("x"), 1).call(&["roles", "--json"]);
    keys(&serde_json::from_str(&refused.stdout).unwrap(), &mut found);
    let manual = include_str!("../../../docs/json.md");
    let missing: Vec<&String> = found.iter().filter(|key| !manual.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/json.md does not describe {missing:?}");
}
