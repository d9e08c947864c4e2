//! Cases that the random journals of tests/installed/journals.rs do not have: rows of version 1, prunings by earlier
//! versions, and very many grants.

use std::time::Instant;

use super::*;
use crate::grant::sshsig::Namespace;
use crate::grant::{HostDescriptor, HostKey};

const ALICE: i64 = 1000;
const HOST: &str = "2f6b8b2a8098b5defedfa273779497696481e7735ddaee8f7004c9f068f23d4b";

fn request(id: &str) -> String {
    format!(
        r#"{{"argv":[],"created":100,"deadline":900,"duration":60,"exact":0,"host":"{HOST}","id":"{id}","one_shot":0,"program":"","reason":"","role":"ops","run_as":"root","start":0,"ticket":"","uid":{ALICE},"user":"alice","version":1}}"#
    )
}

fn grant(id: &str) -> String {
    let request = crate::escape::hex(&names::digest_of(request(id).as_bytes()));
    format!(
        r#"{{"approvals":[],"approvers":[],"argv":[],"boot_deadline":1,"boot_id":"b","exact":0,"expires":160,"host":"{HOST}","id":"{id}","issued":100,"one_shot":0,"program":"","request":"{request}","role":"ops","run_as":"root","starts":100,"uid":{ALICE},"user":"alice","version":1}}"#
    )
}

fn sha(text: &str) -> String {
    crate::escape::hex(&names::digest_of(text.as_bytes()))
}

/// The records of requests that were granted at once, each one second after the previous one.
struct Story {
    power: Power,
    seq: u64,
    /// The minimum of the latest time, µs.
    high: i64,
}

impl Story {
    fn new(pruned: Option<u64>) -> Self {
        Self { power: Power::new(pruned), seq: pruned.unwrap_or(0), high: 0 }
    }

    fn record(&mut self, kind: &str, id: Option<&str>, body: &str) {
        self.tried(kind, id, 100, body).unwrap();
    }

    /// Adds a record at another second, and returns the result of the verification.
    fn tried(&mut self, kind: &str, id: Option<&str>, second: i64, body: &str) -> Result<(), String> {
        self.seq += 1;
        let at = second * 1_000_000;
        let run = ["start", "end", "edit", "left-running", "left-ended"].contains(&kind).then_some("run000000001");
        let copies = Copies { kind, uid: Some(ALICE), run, grant: id, at, high: at.max(self.high) };
        self.power.record(self.seq, &copies, body.as_bytes()).map_err(|bad| bad.to_string())
    }

    fn granted(&mut self, id: &str) {
        self.record(
            "request",
            Some(id),
            &format!(r#"{{"sha256":"{}","user":"alice","uid":{ALICE}}}"#, sha(&request(id))),
        );
        let terms = r#""role":"ops","run_as":"root","limits":[],"starts":100000000,"expires":160000000"#;
        let digest = sha(&grant(id));
        let body = format!(r#"{{"sha256":"{digest}","user":"alice","uid":{ALICE},{terms}}}"#);
        self.record("grant", Some(id), &body);
    }

    fn revoked(&mut self, id: &str) {
        self.record("revocation", Some(id), r#"{"reason":"enough","user":"bob","uid":1001}"#);
    }

    /// Adds every row correctly, except for the end of each grant.
    fn rows(&mut self, ids: &[&str], key: &HostKey, ended: Option<&str>) {
        let none = EndColumns { by: None, at: None, words: None };
        for (rowid, id) in (1..).zip(ids) {
            let body = request(id);
            self.power.request(&RequestRow {
                rowid,
                id,
                uid: ALICE,
                role: "ops",
                state: "approved",
                created: 100,
                deadline: 900,
                needed: 0,
                body: body.as_bytes(),
                ended: none,
                extends: None,
            });
        }
        self.power.end_of_requests();
        self.power.end_of_approvals();
        for (rowid, id) in (1..).zip(ids) {
            let (body, request) = (grant(id), request(id));
            self.power.grant(&GrantRow {
                rowid,
                id,
                uid: ALICE,
                role: "ops",
                starts: 100,
                expires: 160,
                body: body.as_bytes(),
                signature: &key.sign(Namespace::Grant, body.as_bytes()),
                ended,
                end: if ended.is_some() {
                    EndColumns { by: Some("bob"), at: Some(100), words: Some(b"enough") }
                } else {
                    none
                },
                request: Some(request.as_bytes()),
            });
        }
        self.power.end_of_grants();
        self.power.end_of_debts();
        self.power.end_of_roles();
        self.power.end_of_statements();
    }
}

fn key() -> HostKey {
    HostKey::from_seed([7; 32])
}

fn sentences(differences: &Differences) -> Vec<String> {
    differences.found.iter().map(ToString::to_string).collect()
}

#[test]
fn rows_of_the_first_version_are_compared_by_their_digests() {
    let mut story = Story::new(None);
    story.granted("0000000001");
    story.granted("0000000002");
    story.rows(&["0000000001", "0000000002"], &key(), None);
    let compared = story.power.end().unwrap();
    assert_eq!((compared.requests, compared.grants, compared.older), (2, 2, 0));
}

#[test]
fn a_reopened_grant_is_reported_with_the_user_who_ended_it() {
    let mut story = Story::new(None);
    story.granted("0000000001");
    story.revoked("0000000001");
    story.rows(&["0000000001"], &key(), None);
    assert_eq!(
        sentences(&story.power.end().unwrap_err()),
        [
            "grant 0000000001 (table granted): the database says active, the journal says revoked by bob at 1970-01-01T00:01:40Z"
        ]
    );
}

#[test]
fn a_run_after_the_end_of_its_grant_is_reported() {
    let mut story = Story::new(None);
    story.granted("0000000001");
    story.revoked("0000000001");
    let said = story.tried("start", Some("0000000001"), 100, &start("ops")).unwrap_err();
    assert_eq!(said, "record 4 is the start of a run of 0000000001: it may not follow record 3, which ended it");
}

fn start(role: &str) -> String {
    let zeros = "0".repeat(64);
    format!(
        r#"{{"argv":["/usr/bin/id"],"boot":1,"boot_id":"b","cwd":"/","path":"/usr/bin/id","role":"{role}","run_as":"root","run_as_gid":0,"run_as_groups":[0],"run_as_uid":0,"sha256":"{zeros}","user":"alice"}}"#
    )
}

#[test]
fn a_run_must_match_the_user_role_and_validity_of_its_grant() {
    let id = Some("0000000001");
    let said = |role: &str, second| {
        let mut story = Story::new(None);
        story.granted("0000000001");
        story.tried("start", id, second, &start(role))
    };
    assert_eq!((said("ops", 100), said("ops", 159)), (Ok(()), Ok(())));
    let under = "record 3 is the start of a run under grant 0000000001 of record 2: ";
    assert_eq!(said("ops", 160), Err(format!("{under}it ended at 1970-01-01T00:02:40Z")));
    assert_eq!(said("ops", 99), Err(format!("{under}it starts at 1970-01-01T00:01:40Z")));
    assert_eq!(said("free", 100), Err(format!("{under}it was given for another role")));
    let mut story = Story::new(None);
    story.granted("0000000001");
    let said = story.tried("start", id, 100, &start("ops").replace("alice", "bob"));
    assert_eq!(said, Err(format!("{under}it was given to another user")));
}

#[test]
fn nothing_gives_power_while_the_database_is_an_older_copy() {
    let alert = |story: &mut Story, code: &str| story.record("alert", None, &format!(r#"{{"code":"{code}"}}"#));
    let mut story = Story::new(None);
    story.granted("0000000001");
    alert(&mut story, "database-older");
    let mut other = Story::new(None);
    let said = story.tried("start", Some("0000000001"), 100, &start("ops")).unwrap_err();
    assert_eq!(
        said,
        "record 4 is the start of a run of 0000000001, but according to record 3 the database was an older copy then"
    );
    alert(&mut other, "database-older");
    alert(&mut other, "state-accepted");
    other.granted("0000000001");
}

#[test]
fn nothing_gives_power_on_a_retired_host_until_root_accepts_another_key() {
    let mut story = Story::new(None);
    story.granted("0000000001");
    story.record("retirement", None, "{}");
    let said = story.tried("start", Some("0000000001"), 100, &start("ops")).unwrap_err();
    assert_eq!(
        said,
        "record 4 is the start of a run of 0000000001, but according to record 3 the host was retired then"
    );
    let mut other = Story::new(None);
    other.record("retirement", None, "{}");
    other.record("alert", None, r#"{"code":"state-accepted"}"#);
    other.granted("0000000001");
}

#[test]
fn a_denied_or_expired_request_is_neither_approved_nor_granted() {
    let id = Some("0000000001");
    let words = r#"{"reason":"no","user":"bob","uid":1001}"#;
    let asked =
        format!(r#"{{"deadline":900000000,"sha256":"{}","user":"alice","uid":{ALICE}}}"#, sha(&request("0000000001")));
    let digest = sha("x");
    let approval = format!(r#"{{"sha256":"{digest}","user":"bob","uid":1001}}"#);
    let mut story = Story::new(None);
    story.record("request", id, &asked);
    assert_eq!(
        story.tried("approval", id, 900, &approval),
        Err("record 2 is an approval of 0000000001, but according to record 1 it had expired by then".to_owned())
    );
    // By the latest time so far, even if the clock was set back since.
    let mut story = Story::new(None);
    story.record("request", id, &asked);
    story.high = 900_000_000;
    assert!(
        story
            .tried("approval", id, 100, &approval)
            .unwrap_err()
            .ends_with("according to record 1 it had expired by then")
    );
    // Acts that take power away have no deadline.
    for kind in ["denial", "cancellation"] {
        let mut story = Story::new(None);
        story.record("request", id, &asked);
        story.tried(kind, id, 900, words).unwrap();
    }
    for (kind, what) in [("approval", "an approval"), ("grant", "the grant"), ("cancellation", "the cancellation")] {
        let mut story = Story::new(None);
        story.record("request", id, &asked);
        story.record("denial", id, words);
        let said = story.tried(kind, id, 100, &approval).unwrap_err();
        let wrong =
            format!("record 3 is {what} of 0000000001: it may not follow record 2, which denied or cancelled it");
        assert_eq!(said, wrong);
        // The record counts even though it is wrong: the next one follows it.
        assert_eq!(story.tried("revocation", id, 100, words).is_ok(), kind == "grant");
    }
}

#[test]
fn only_rows_before_a_pruning_may_lack_their_record() {
    let prune = |counts: &str| format!(r#"{{"through":9,"uid":0,"user":"root"{counts}}}"#);
    // An earlier version did not count them: all before the first row with a record.
    for (counts, ids, good) in [
        ("", ["0000000001", "0000000002"], true),
        ("", ["0000000002", "0000000001"], false),
        (r#","requests":1,"grants":1"#, ["0000000001", "0000000002"], true),
        (r#","requests":0,"grants":0"#, ["0000000001", "0000000002"], false),
        (r#","requests":2,"grants":2"#, ["0000000001", "0000000002"], false),
    ] {
        let mut story = Story::new(Some(9));
        story.tried("prune", None, 900, &prune(counts)).unwrap();
        story.granted("0000000002");
        story.rows(&ids, &key(), None);
        let found = story.power.end();
        assert_eq!(found.is_ok(), good, "{counts} {ids:?}: {found:?}");
        if let Ok(compared) = found {
            assert_eq!((compared.older, compared.older_open), (1, 1));
        }
    }
    // Records that could still be used were not pruned.
    for (pruned_at, ended, good) in [(160, None, true), (159, None, false), (159, Some("revoked"), true)] {
        let mut story = Story::new(Some(9));
        story.tried("prune", None, pruned_at, &prune(r#","requests":1,"grants":1"#)).unwrap();
        story.rows(&["0000000001"], &key(), ended);
        assert_eq!(story.power.end().is_ok(), good, "{pruned_at} {ended:?}");
    }
}

#[test]
fn counts_of_pruned_runs_may_be_as_late_as_the_latest_pruned_run() {
    let differs = |prune: &str, last: i64| {
        let mut story = Story::new(Some(9));
        story.record("prune", None, &format!(r#"{{"through":9,"before":500{prune}}}"#));
        story.power.precedent(&PrecedentRow { uid: ALICE, command: &[1; 32], runs: 3, last });
        story.power.end().is_err()
    };
    // The clock was once ahead, and root has accepted since that it was corrected.
    assert_eq!([499, 500, 9000, 9001].map(|last| differs(r#","latest":9000"#, last)), [false, false, false, true]);
    assert_eq!([499, 500].map(|last| differs("", last)), [false, true], "an earlier version did not say");
}

#[test]
fn a_record_without_a_key_of_its_kind_is_reported() {
    let copies = Copies { kind: "grant", uid: None, run: None, grant: Some("0000000001"), at: 1, high: 1 };
    let fed = |copies: Copies<'_>, body: &str| Power::new(None).record(3, &copies, body.as_bytes());
    assert!(matches!(
        fed(Copies { kind: "request", ..copies }, "{}"),
        Err(FirstBad { seq: 3, cause: Cause::Malformed(_) })
    ));
    assert!(matches!(fed(copies, "["), Err(FirstBad { seq: 3, cause: Cause::Malformed(_) })));
    assert!(fed(Copies { grant: Some("short"), ..copies }, "{}").is_err());
}

#[test]
fn an_approval_is_not_wider_than_an_earlier_one_of_the_same_person() {
    let approval =
        |uid: i64, user: &str, more: &str| format!(r#"{{"sha256":"{}","user":"{user}","uid":{uid}{more}}}"#, sha(more));
    let narrow = r#","limits":["exact"],"duration":300"#;
    for (uid, user, more, fits) in [
        (1001, "bob", r#","limits":["one-shot","exact"],"duration":300"#, true),
        (1001, "bob", r#","limits":["exact"],"duration":301"#, false),
        (1001, "bob", r#","limits":["exact"]"#, false),
        (1001, "robert", r#","limits":[],"duration":60"#, false),
        (1009, "bob", r#","limits":[],"duration":60"#, false),
        (1002, "carol", r#","limits":[]"#, true),
    ] {
        let (mut story, id) = (Story::new(None), Some("0000000001"));
        story.record("request", id, &format!(r#"{{"sha256":"{}","user":"alice","uid":{ALICE}}}"#, sha("x")));
        story.record("approval", id, &approval(1001, "bob", narrow));
        let said = story.tried("approval", id, 100, &approval(uid, user, more));
        let wider = "record 3 is an approval of 0000000001 that is wider than an earlier one by the same person";
        assert_eq!(said, if fits { Ok(()) } else { Err(wider.to_owned()) }, "{user} {more}");
    }
}

#[test]
fn an_extension_ends_with_what_it_extends_and_none_follows() {
    let grant = |extends: &str| {
        let terms = r#""role":"ops","run_as":"root","limits":[],"starts":100000000,"expires":160000000"#;
        format!(r#"{{"sha256":"{}","user":"alice","uid":{ALICE},{terms}{extends}}}"#, sha(extends))
    };
    let asked = format!(r#"{{"sha256":"{}","user":"alice","uid":{ALICE}}}"#, sha("x"));
    let of = r#","extends":"0000000001""#;
    let story = |extended_at: i64, ended_at: i64| {
        let mut story = Story::new(None);
        story.record("request", Some("0000000001"), &asked);
        story.record("grant", Some("0000000001"), &grant(""));
        story.record("request", Some("0000000002"), &asked);
        let extend = |story: &mut Story| story.tried("grant", Some("0000000002"), extended_at, &grant(of));
        if extended_at < ended_at {
            extend(&mut story).unwrap();
        }
        story.tried("revocation", Some("0000000001"), ended_at, r#"{"reason":"x","user":"bob","uid":1001}"#).unwrap();
        let late = if extended_at < ended_at { Ok(()) } else { extend(&mut story) };
        story.power.extensions_of_ended();
        (late, story.power.end().err().map(|found| sentences(&found).join("\n")).unwrap_or_default())
    };
    let (late, _) = story(120, 110);
    assert!(late.unwrap_err().contains("which extends 0000000001, but that was revoked before"));
    assert!(story(101, 110).1.contains("it has not ended, but 0000000001, which it extends, was revoked by bob"));
    assert_eq!(story(101, 160).1, "", "it had expired");
}

#[test]
fn only_an_open_run_edits_and_only_an_ended_one_leaves_processes() {
    let of = |start: u64| format!(r#"{{"start":{start}}}"#);
    for (pruned, kind, said) in [
        (None, "edit", "record says that it was under way"),
        (None, "left-running", "record says that it ended before"),
    ] {
        let mut story = Story::new(pruned);
        story.granted("aaaaaaaaaa");
        let mut tried = |kind: &str, body: &str| story.tried(kind, Some("aaaaaaaaaa"), 100, body);
        assert!(tried(kind, &of(2)).unwrap_err().contains(said), "of a run that never was");
        tried("start", &start("ops")).unwrap();
        let run = 4;
        tried("edit", &of(run)).unwrap();
        let early = tried("left-running", &of(run)).unwrap_err();
        assert!(early.contains("no record says that it ended before"), "{early}");
    }
    let mut story = Story::new(None);
    story.granted("aaaaaaaaaa");
    let mut tried = |kind: &str, id: &str, body: &str| story.tried(kind, Some(id), 100, body);
    tried("start", "aaaaaaaaaa", &start("ops")).unwrap();
    tried("end", "aaaaaaaaaa", &of(3)).unwrap();
    tried("edit", "aaaaaaaaaa", &of(3)).unwrap_err();
    tried("left-running", "aaaaaaaaaa", &of(3)).unwrap();
    tried("left-running", "aaaaaaaaaa", &of(3)).unwrap_err();
    tried("left-ended", "aaaaaaaaaa", &of(3)).unwrap();
    tried("left-running", "bbbbbbbbbb", &of(3)).unwrap_err();
    let mut pruned = Story::new(Some(40));
    pruned.tried("edit", Some("aaaaaaaaaa"), 100, &of(9)).unwrap();
    pruned.tried("left-running", Some("aaaaaaaaaa"), 100, &of(9)).unwrap();
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// `cargo test --release -p jit-sudo-core --lib a_hundred_thousand_grants -- --ignored --nocapture` prints the time and
/// memory used.
#[test]
#[ignore = "takes some seconds; prints figures"]
fn a_hundred_thousand_grants_need_little_memory() {
    let ids: Vec<String> = (0..100_000).map(|number| format!("{number:010}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let began = Instant::now();
    ids.iter().for_each(|id| drop(key().sign(Namespace::Grant, grant(id).as_bytes())));
    let signing = began.elapsed().as_secs_f64();
    let before = resident();
    let began = Instant::now();
    let mut story = Story::new(None);
    for id in &ids {
        story.granted(id);
        story.revoked(id);
    }
    let (records, fed) = (resident() - before, began.elapsed());
    story.rows(&ids, &key(), Some("revoked"));
    println!(
        "records of 100,000 grants: {records} MiB, {:.1} s; with their rows: {} MiB, {:.1} s more",
        fed.as_secs_f64(),
        resident() - before,
        began.elapsed().as_secs_f64() - fed.as_secs_f64() - signing
    );
    assert_eq!(story.power.end().unwrap().grants, 100_000);
    assert!(records < 100, "{records} MiB");
}

#[test]
fn no_run_begins_under_a_grant_that_is_older_than_what_root_accepted() {
    let id = Some("0000000001");
    let mut story = Story::new(None);
    story.granted("0000000001");
    story.record("alert", None, r#"{"code":"state-accepted"}"#);
    let said = story.tried("start", id, 100, &start("ops")).unwrap_err();
    assert!(said.contains("which is older than record 3, by which root accepted the state of the host"), "{said}");
    story.granted("0000000002");
    story.tried("start", Some("0000000002"), 100, &start("ops")).unwrap();
    // Of a grant without a record nothing is known but that it is older than all that are left.
    let mut story = Story::new(Some(7));
    story.tried("start", id, 100, &start("ops")).unwrap();
    story.record("alert", None, r#"{"code":"state-accepted"}"#);
    assert!(story.tried("start", id, 100, &start("ops")).is_err());
}

#[test]
fn a_key_that_its_kind_does_not_have_says_nothing() {
    let mut story = Story::new(None);
    story.granted("0000000001");
    let odd = r#""deadline":"x","extends":{},"limits":7,"needed":[],"through":"y","verdict":1"#;
    story.record("revocation", Some("0000000001"), &format!(r#"{{"reason":"x","user":"bob","uid":1001,{odd}}}"#));
    story.record("later", Some("no id"), r#"{"role":7}"#);
}

#[test]
fn what_is_said_of_a_grant_names_one() {
    let mut story = Story::new(None);
    let mut said = |kind: &str, id: Option<&str>, body: &str| story.tried(kind, id, 100, body).unwrap_err();
    let review = r#"{"user":"bob","uid":1001,"holder":"alice","role":"ops","comment":"x","verdict":"settled"}"#;
    assert!(said("review", None, review).contains("settles the review of a grant, and names none"));
    let nobody = r#"{"user":"bob","uid":1001,"holder":"\\xff","role":"ops","comment":"x","verdict":"confirmed"}"#;
    assert!(said("review", None, nobody).contains("whose name is no text"));
    let alerted = |host: &HostDescriptor| {
        format!(r#"{{"code":"state-accepted","identity":{}}}"#, serde_json::to_string(host).unwrap())
    };
    let right = HostDescriptor::of(&HostKey::from_seed([7; 32]), "web1", "machine");
    let bad = HostDescriptor { key: "ssh-ed25519 x".to_owned(), ..right.clone() };
    assert!(said("alert", None, &alerted(&bad)).contains("the key is none"));
    let other = HostDescriptor::of(&HostKey::from_seed([8; 32]), "web1", "machine");
    let machine = HostDescriptor::of(&HostKey::from_seed([7; 32]), "web1", "another machine").machine;
    let wrong = "the id does not belong to the key and the machine";
    for bad in [
        HostDescriptor { id: other.id, ..right.clone() },
        HostDescriptor { machine, ..right.clone() },
        HostDescriptor { machine: "x".to_owned(), ..right.clone() },
        HostDescriptor { id: right.id.to_uppercase(), ..right.clone() },
    ] {
        assert!(said("alert", None, &alerted(&bad)).contains(wrong), "{bad:?}");
    }
    let alone = start("ops").replacen('{', r#"{"assignment":"grant","#, 1);
    assert!(said("start", None, &alone).contains("says that it was allowed by a grant, and names none"));
    assert!(said("end", None, r#"{"start":8,"extended_by":"0000000009"}"#).contains("ends a run under no grant"));
}
