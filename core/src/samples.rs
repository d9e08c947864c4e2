//! Samples for tests of several modules and crates. Not part of the product.

// A test that fails panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;

use std::os::unix::ffi::OsStringExt;

use crate::clock::duration::Seconds;
use crate::clock::{BootTime, Moment, Timestamp};
use crate::escape::Word;
use crate::evidence::record::*;
use crate::grant::{Approvers, HostDescriptor, Means, PublicKey, Uncounted};
use crate::names::{GrantId, RoleName, RunId};
use crate::policy::{Became, FileEntry, Names, PolicyChange, RoleDigests};

/// Returns the key of a user.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Returns a list that gives the key of each seed to a name.
pub fn approvers(lines: &[(&str, u8)]) -> Approvers {
    let line = |(name, seed): &(&str, u8)| {
        let public = PublicKey::Plain(key(*seed).verifying_key().to_bytes());
        format!("{name} ssh-ed25519 {}\n", Base64::encode_string(&public.blob()))
    };
    Approvers::parse("/a", lines.iter().map(line).collect::<String>().as_bytes()).unwrap()
}

/// Returns the moment at this second of a boot.
pub fn moment(second: i64) -> Moment {
    Moment {
        wall: Timestamp(1_800_000_000_000_000 + second * 1_000_000),
        boot: BootTime(second * 1_000_000),
        boot_id: "0d5e0b7c-1f0a-4c1e-9d50-1a2b3c4d5e6f".to_owned(),
    }
}

/// Returns the id of a grant.
pub fn grant() -> GrantId {
    GrantId::from_random([7; 8])
}

/// Returns the name of a role.
pub fn role() -> RoleName {
    RoleName::parse("web-ops").unwrap()
}

/// Returns the start of a run.
pub fn start(run: &str) -> Start {
    Start {
        run: RunId::stored(run),
        uid: 1000,
        user: "alice".into(),
        gid: 1000,
        groups: vec![1000, 27],
        tty: Some("/dev/pts/3".into()),
        cwd: "/home/alice".into(),
        pid: 4242,
        run_as: "root".into(),
        run_as_uid: 0,
        run_as_gid: 0,
        run_as_groups: vec![0],
        argv: vec!["/usr/bin/systemctl".into(), "restart".into(), "nginx".into()],
        environment: vec![
            Variable { name: "HOME".into(), value: Some("/root".into()), digest: None },
            Variable { name: "API_TOKEN".into(), value: None, digest: Some(Digest([9; 32])) },
        ],
        path: "/usr/bin/systemctl".into(),
        dev: 65024,
        ino: 123456,
        sha256: Digest([3; 32]),
        role: Some(role()),
        assignment: Assignment::Grant,
        grant: Some(grant()),
        authenticated: Authentication::Password,
        auth_service: Some("jit-sudo".into()),
        auth_answers: Some(2),
        editor: None,
        service: None,
        remote: None,
        umask: Some(0o022),
        policy: None,
        role_digest: None,
        role_sha256: None,
        grant_sha256: None,
        typed: None,
    }
}

/// Returns how it ended.
pub fn ending() -> RunOutcome {
    RunOutcome {
        exit: Some(3),
        duration_us: Some(1_500_000),
        user_us: Some(20_000),
        system_us: Some(10_000),
        max_rss_kib: Some(4096),
        ..RunOutcome::unknown(EndedBy::Itself)
    }
}

/// Returns the record of a policy.
pub fn policy() -> PolicyRecord {
    let digests = RoleDigests { sha256: [6; 32], power: Some([9; 32]) };
    let names = |count| Names { first: vec![("web-ops".to_owned(), digests)], count, sha256: Some([5; 32]) };
    let path = "/etc/jit-sudo/policy.toml".to_owned();
    let file = |became, written| FileEntry { path: path.clone(), sha256: [3; 32], written, became };
    let change = PolicyChange {
        policy: [8; 32],
        // As in new tables, so that it is valid anywhere in a chain.
        before: None,
        files: vec![file(None, Some((1_700_000_000_000_000, 0))), file(Some(Became::Removed), None)],
        file_count: 1,
        added: names(1),
        changed: names(1),
        removed: Names::default(),
        roles_sha256: [4; 32],
        settings_sha256: [2; 32],
    };
    PolicyRecord::new(change, CompiledBy { caller: Some("alice".into()), caller_uid: Some(1000), loginuid: Some(1000) })
}

/// The host's key in these tests.
pub const HOST_SEED: u8 = 7;

/// Returns one event of each kind.
pub fn events() -> Vec<Event> {
    let (grant, role, user) = (grant(), role(), Word::from("bob"));
    let limits = vec![Limit::OneShot, Limit::Exact];
    let end = End {
        run: RunId::stored("run000000001"),
        start: 1,
        uid: 1000,
        grant: Some(grant.clone()),
        ending: RunOutcome { exit: None, signal: Some(9), core: Some(1), detail: Some("x".into()), ..ending() },
    };
    let reject = Reject {
        uid: 1000,
        user: "alice".into(),
        tty: None,
        cwd: Some("/tmp".into()),
        argv: vec!["ls".into(), hostile()],
        run_as: Some(hostile()),
        code: "no-grant".to_owned(),
        sentence: "Sorry, user alice is not allowed".into(),
        whole_argv: None,
        whole_sentence: None,
        whole_run_as: None,
    };
    let request = Request {
        grant: grant.clone(),
        uid: 1000,
        user: "alice".into(),
        role: role.clone(),
        run_as: "root".into(),
        argv: vec!["/usr/bin/true".into()],
        duration: Seconds(3600),
        starts: Some(Timestamp(-5)),
        deadline: Timestamp::from_seconds(1_800_086_400),
        limits: limits.clone(),
        reason: hostile(),
        ticket: Some("OPS-1".into()),
        sha256: Digest([1; 32]),
        break_glass: None,
        extends: None,
        needed: Some(1),
        policy: None,
        role_sha256: None,
    };
    let approval = Approval {
        grant: grant.clone(),
        uid: 1001,
        user: user.clone(),
        role: role.clone(),
        duration: Some(Seconds(60)),
        limits: limits.clone(),
        comment: Some("fine".into()),
        key: Some("SHA256:abc".into()),
        authenticated: Some(Means::Key),
        sha256: Digest([2; 32]),
        policy: None,
        role_sha256: None,
    };
    let signed = Grant {
        grant: grant.clone(),
        uid: 1000,
        user: "alice".into(),
        role: role.clone(),
        run_as: "root".into(),
        starts: Timestamp(1),
        expires: Timestamp(2),
        limits,
        approvers: vec![user.clone()],
        sha256: Digest([4; 32]),
        break_glass: Some(1),
        extends: Some(grant.clone()),
        not_counted: vec![UncountedApproval {
            sha256: Digest([5; 32]),
            user: hostile(),
            why: Uncounted::NotAnApprover,
        }],
        policy: Some(policy().policy),
        role_sha256: None,
    };
    let revocation = Revocation {
        grant: grant.clone(),
        uid: 1001,
        user: user.clone(),
        holder_uid: 1000,
        holder: "alice".into(),
        role: role.clone(),
        reason: "enough".into(),
        key: Some("SHA256:abc".into()),
        sha256: Some(Digest([6; 32])),
    };
    let alert = Alert {
        code: "clock-set-back".to_owned(),
        sentence: "the clock was set back".into(),
        uid: Some(0),
        user: Some("root".into()),
        run: Some(RunId::stored("run000000001")),
        grant: None,
        identity: None,
    };
    let review = Review {
        grant: Some(grant.clone()),
        uid: 1001,
        user: user.clone(),
        holder: "alice".into(),
        holder_uid: Some(1000),
        role: role.clone(),
        verdict: Verdict::Settled,
        comment: hostile(),
        key: None,
        sha256: Some(Digest([6; 32])),
    };
    let prune = Prune {
        latest: Some(Timestamp(3)),
        identity: None,
        roles_sha256: Some(Digest([4; 32])),
        settings_sha256: Some(Digest([2; 32])),
        uid: 0,
        user: "root".into(),
        before: Timestamp(3),
        through: 7,
        head: Digest([7; 32]),
        records: 7,
        size: 3,
        tree: vec![Digest([6; 32]), Digest([7; 32])],
        policies: vec![Digest([8; 32])],
        requests_gone: Some(3),
        grants_gone: Some(2),
        requests: Some(2),
        grants: Some(1),
    };
    let sha256 = Some(Digest([6; 32]));
    let denial = Denial {
        grant: grant.clone(),
        uid: 1001,
        user: user.clone(),
        role: role.clone(),
        reason: hostile(),
        key: Some("SHA256:abc".into()),
        sha256,
    };
    let cancellation =
        Cancellation { grant: grant.clone(), uid: 1000, user: "alice".into(), role: role.clone(), key: None, sha256 };
    let change = Change {
        path: hostile(),
        before: Some(Digest([4; 32])),
        before_bytes: Some(7),
        after: Digest([5; 32]),
        after_bytes: 9,
        diff: Some(hostile()),
    };
    let edit = Edit { run: RunId::stored("run000000001"), start: 1, uid: 1000, grant: Some(grant.clone()), change };
    let reading = RecordingRead {
        uid: 1001,
        user: "bob".into(),
        purpose: Purpose::Replay,
        run: Some(RunId::stored("run000000001")),
        holder: Some("alice".into()),
        holder_uid: Some(1000),
    };
    let intervention = Intervention {
        uid: 1001,
        user: "bob".into(),
        act: Act::Freeze,
        run: RunId::stored("run000000001"),
        holder: "alice".into(),
        holder_uid: 1000,
        role: Some(role.clone()),
        grant: Some(grant.clone()),
        reason: hostile(),
    };
    let fork = Fork {
        continues: 0,
        highest: 0,
        heads: vec![LostHead { seq: 0, head: Digest([6; 32]), source: "anchor".to_owned() }],
        sentence: hostile(),
    };
    let left = LeftRunning {
        run: RunId::stored("run000000001"),
        start: 1,
        uid: 1000,
        grant: Some(grant.clone()),
        processes: vec![LeftProcess { pid: 4711, name: hostile() }],
        count: 1,
    };
    let gone = LeftEnded {
        run: RunId::stored("run000000001"),
        start: 1,
        uid: 1000,
        grant: Some(grant.clone()),
        ended_by: EndedBy::Expiry,
    };
    let backup = Backup { uid: 0, user: "root".into(), file: hostile(), through: 1, head: Digest([6; 32]) };
    vec![
        Event::Start(Box::new(start("run000000001"))),
        Event::End(Box::new(end)),
        Event::Reject(Box::new(reject)),
        Event::Policy(Box::new(policy())),
        Event::Request(Box::new(request)),
        Event::Approval(Box::new(approval)),
        Event::Denial(Box::new(denial)),
        Event::Cancellation(Box::new(cancellation)),
        Event::Grant(Box::new(signed)),
        Event::Revocation(Box::new(revocation)),
        Event::Release(Box::new(Release { grant, uid: 1000, user: "alice".into(), role, key: None, sha256: None })),
        Event::Alert(Box::new(alert)),
        Event::Review(Box::new(review)),
        Event::Edit(Box::new(edit)),
        Event::Reading(Box::new(reading)),
        Event::Intervention(Box::new(intervention)),
        Event::LeftRunning(Box::new(left)),
        Event::LeftEnded(Box::new(gone)),
        Event::Prune(Box::new(prune)),
        Event::Backup(Box::new(backup)),
        Event::Fork(Box::new(fork)),
        Event::Clock(ClockConfirmed { confirmed_by: Confirmation::Synchronised }),
    ]
}

/// Returns the event of an epoch. It is not in [`events`], because its signature is of no record.
pub fn epoch() -> Event {
    Event::Epoch(Box::new(Epoch {
        number: 1,
        line: 1,
        key: crate::evidence::epoch_event::key_words(&crate::grant::HostKey::from_seed([HOST_SEED; 32]).public_key()),
        certified_by: Certifier::HostKey,
        signature: "AA==".to_owned(),
    }))
}

/// Returns the events of the life of the keys: those of an epoch, of a rotation and of a retirement. They are not in [`events`],
/// because their signatures are of no record.
pub fn key_life() -> [Event; 3] {
    let (uid, user) = (0, Word::from("root"));
    let signature = || "AA==".to_owned();
    let key = |seed: u8| crate::grant::HostKey::from_seed([seed; 32]);
    let words = |seed| crate::evidence::epoch_event::key_words(&key(seed).public_key());
    let rotation = Rotation {
        uid,
        user: user.clone(),
        reason: hostile(),
        old_key: words(HOST_SEED),
        identity: HostDescriptor::of(&key(HOST_SEED.wrapping_add(1)), "web1", "machine"),
        old_signature: signature(),
        new_signature: signature(),
    };
    let retirement = Retirement { uid, user, reason: hostile(), key: words(HOST_SEED), signature: signature() };
    [epoch(), Event::Rotation(Box::new(rotation)), Event::Retirement(Box::new(retirement))]
}

/// Returns a word with every byte value, escapes, quotes and direction marks.
pub fn hostile() -> Word {
    let mut bytes: Vec<u8> = (1..=255).collect();
    bytes.extend("\u{202e}\u{7f}\"\\\\x41\n\r\t<13>Jan  1 00:00:00 forged".as_bytes());
    Word::from(std::ffi::OsString::from_vec(bytes))
}

/// Returns a chain of `length` records as they are stored: number, bytes, hash.
pub fn chain(length: u64) -> Vec<(u64, String, Digest)> {
    let mut prev = Digest::ZERO;
    let mut records = Vec::new();
    for (seq, mut event) in (1..=length).zip(events().into_iter().cycle()) {
        if let Event::Fork(fork) = &mut event {
            (fork.continues, fork.highest) = (seq - 1, seq - 1);
        }
        let body = Record::new(seq, prev, &moment(seq as i64), "web1", event).encode().unwrap();
        prev = crate::evidence::chain::hash(body.as_bytes());
        records.push((seq, body, prev));
    }
    records
}

/// Returns the same records with new links and hashes that match.
pub fn relink(records: &[(u64, String, Digest)]) -> Vec<(u64, String, Digest)> {
    let mut prev = Digest::ZERO;
    let mut linked = Vec::new();
    for (seq, body, _) in records {
        let mut record: serde_json::Value = serde_json::from_str(body).unwrap();
        record["prev"] = prev.to_string().into();
        let body = record.to_string();
        prev = crate::evidence::chain::hash(body.as_bytes());
        linked.push((*seq, body, prev));
    }
    linked
}
