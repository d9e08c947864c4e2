use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;
use jit_core::policy::NOWHERE;
use jit_core::policy::PolicyText;

fn policy(text: &str) -> Policy {
    let file = PolicyText { path: "/etc/p.toml".into(), text: text.to_owned() };
    Policy::parse(&[file]).unwrap_or_else(|error| panic!("{error}"))
}

fn name(text: &str) -> RoleName {
    RoleName::parse(text).unwrap()
}

const WHOLE: &str = r##"
[defaults]
passwd_tries = 2
[roles.web-ops]
eligible = ["alice", "%web"]
commands = ["/usr/bin/systemctl restart nginx", "!/usr/bin/x ** \\*"]
[roles.web-ops.activation]
ticket = '^OPS-[0-9]+$'
require_approval = true
approvers = ["bob", "%#7"]
"##;

fn of(text: &str) -> Stamp<'_> {
    Stamp { text, key: b"key" }
}

/// Stores `policy` as if it came from a file that holds the stamp.
fn put(db: &Connection, policy: &Policy, stamp: &str) -> Option<PolicyChange> {
    try_put(db, policy, stamp).unwrap()
}

fn try_put(db: &Connection, policy: &Policy, stamp: &str) -> Result<Option<PolicyChange>, IndexError> {
    let sha256 = Sha256::digest(stamp).into();
    let files = [SourceFile { path: "/etc/p.toml".into(), sha256, written: 1, owner: 0 }];
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let change = store(&transaction, &Compiled { policy, files: &files, stamp: of(stamp) })?;
    transaction.commit()?;
    Ok(change)
}

/// Returns the role as it is in the files.
fn bare(role: Role) -> Role {
    Role { policy: None, compiled: None, ..role }
}

fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(SCHEMA).unwrap();
    db
}

fn alice(groups: &[(u32, Option<String>)]) -> Subject<'_> {
    Subject { name: "alice", uid: 1001, groups, lookup: &NOWHERE }
}

const INDEXED: &str = r##"
[roles.a]
eligible = ["alice"]
commands = ["ALL"]
[roles.b]
eligible = ["%#33", "alice", "#1001"]
commands = ["ALL"]
[roles.c]
standing = ["ALL"]
commands = ["/usr/bin/id"]
[roles.d]
eligible = ["%web"]
commands = ["ALL"]
[roles.e]
eligible = ["bob"]
commands = ["ALL"]
[roles.f]
standing = ["ALL", "!%web"]
eligible = ["+nobody-is-in-it"]
commands = ["ALL"]
"##;

#[test]
fn the_index_returns_the_stored_policy() {
    let db = database();
    assert!(matches!(PolicyIndex::open(&db), Err(IndexError::Empty)));
    assert!(!is_stored(&db, &of("first")).unwrap());
    let whole = policy(WHOLE);
    put(&db, &whole, "first");
    assert!(is_stored(&db, &of("first")).unwrap() && !is_stored(&db, &of("second")).unwrap());
    let index = PolicyIndex::open(&db).unwrap();
    assert_eq!(index.settings(), whole.settings());
    assert_eq!(index.role(&name("web-ops")).unwrap().map(bare).as_ref(), Some(&whole.roles()[0]));
    assert_eq!(index.role(&name("nothing")).unwrap(), None);
    put(&db, &policy(INDEXED), "second");
    let index = PolicyIndex::open(&db).unwrap();
    assert_eq!(index.role(&name("web-ops")).unwrap(), None);
    let mut seen = Vec::new();
    index
        .each_role(|role| {
            seen.push(role.name.to_string());
            if seen.len() == 4 { Next::Stop } else { Next::Continue }
        })
        .unwrap();
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

#[test]
fn the_index_finds_the_roles_of_a_person_as_the_policy_does() {
    let db = database();
    let policy = policy(INDEXED);
    put(&db, &policy, "x");
    let index = PolicyIndex::open(&db).unwrap();
    let web = [(33, Some("web".to_owned())), (33, Some("web".to_owned()))];
    for groups in [&web[..], &[(33, None)], &[(7, Some("alice".to_owned()))], &[]] {
        for assignment in [Assignment::Standing, Assignment::Eligible] {
            let subject = alice(groups);
            let found: Vec<Role> = index.roles_for(&subject, assignment).unwrap().into_iter().map(bare).collect();
            let expected: Vec<Role> =
                policy.roles().iter().filter(|role| role.assigns(&subject, assignment)).cloned().collect();
            assert_eq!(found, expected);
        }
    }
    assert_eq!(index.role_names_for(&alice(&web), Assignment::Eligible).unwrap(), ["a", "b", "d", "f"].map(name));
}

#[test]
fn a_damaged_row_is_an_error_and_never_another_policy() {
    let groups = [(33, Some("web".to_owned()))];
    for damage in [
        "UPDATE policy_role SET body = CAST(replace(CAST(body AS TEXT), 'root', 'toor') AS BLOB) WHERE name = 'a'",
        "UPDATE policy_role SET sha256 = zeroblob(32) WHERE name = 'a'",
        "UPDATE policy_role SET sha256 = x'' WHERE name = 'a'",
        "UPDATE policy_role SET (body, sha256) = (SELECT body, sha256 FROM policy_role WHERE name = 'e') WHERE name = 'a'",
        "DELETE FROM policy_role WHERE name = 'a'",
        "INSERT INTO policy_principal VALUES ('alice', 'eligible', 'e')",
        "INSERT INTO policy_principal VALUES ('alice', 'eligible', 'no such')",
        "UPDATE policy_role SET body = x'00ff' WHERE name = 'a'",
    ] {
        let db = database();
        put(&db, &policy(INDEXED), "x");
        assert_eq!(db.execute(damage, []).unwrap(), 1, "{damage}");
        let index = PolicyIndex::open(&db).unwrap();
        let result = index.roles_for(&alice(&groups), Assignment::Eligible);
        assert!(matches!(result, Err(IndexError::Damaged(_))), "{damage}: {result:?}");
    }
    let db = database();
    put(&db, &policy(INDEXED), "x");
    db.execute("UPDATE policy_settings SET sha256 = zeroblob(32)", []).unwrap();
    assert!(matches!(PolicyIndex::open(&db), Err(IndexError::Damaged(_))));
}

#[test]
fn every_bit_of_a_stored_role_counts() {
    let db = database();
    put(&db, &policy(INDEXED), "x");
    let body: Vec<u8> = db.query_row("SELECT body FROM policy_role WHERE name = 'c'", [], |row| row.get(0)).unwrap();
    for bit in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        db.execute("UPDATE policy_role SET body = ?1 WHERE name = 'c'", [flipped]).unwrap();
        assert!(PolicyIndex::open(&db).unwrap().role(&name("c")).is_err(), "bit {bit}");
    }
}

#[test]
fn a_stamp_is_valid_only_with_the_seal_of_its_policy() {
    let db = database();
    put(&db, &policy(WHOLE), "first");
    assert!(PolicyIndex::current(&db, &of("first")).unwrap().is_some());
    for harm in
        ["stamp = 'other'", "seal = zeroblob(32)", "policy = zeroblob(32)", "sha256 = zeroblob(32)", "format = 'x'"]
    {
        db.execute_batch(&format!("BEGIN; UPDATE policy_settings SET {harm}")).unwrap();
        for text in ["first", "other"] {
            assert!(!is_stored(&db, &of(text)).unwrap(), "{harm}");
            assert!(PolicyIndex::current(&db, &of(text)).unwrap().is_none(), "{harm}: it is compiled anew");
        }
        db.execute_batch("ROLLBACK").unwrap();
    }
    assert!(!is_stored(&db, &Stamp { text: "first", key: b"another" }).unwrap());
}

#[test]
fn the_digest_of_a_role_covers_the_bytes_that_decide() {
    let db = database();
    put(&db, &policy(WHOLE), "first");
    let compiled = || PolicyIndex::open(&db).unwrap().role(&name("web-ops")).unwrap().unwrap().compiled;
    let before = compiled();
    let body: Vec<u8> =
        db.query_row("SELECT body FROM policy_role WHERE name = 'web-ops'", [], |row| row.get(0)).unwrap();
    let body = String::from_utf8(body).unwrap();
    let other = body.replacen("\"require_justification\":true", "\"require_justification\":false", 1);
    assert_ne!(body, other, "{body}");
    // The stored digests stay as they are: they are not trusted.
    let put = "UPDATE policy_role SET body = ?1, sha256 = ?2 WHERE name = 'web-ops'";
    assert_eq!(db.execute(put, params![other.as_bytes(), row_digest("web-ops", other.as_bytes())]).unwrap(), 1);
    assert_ne!(compiled(), before);
}

#[test]
fn a_failed_store_leaves_the_old_policy() {
    let db = database();
    put(&db, &policy(WHOLE), "old");
    db.execute_batch(
        "CREATE TRIGGER t BEFORE INSERT ON policy_role WHEN new.name = 'c' BEGIN SELECT raise(ABORT, 'full'); END",
    )
    .unwrap();
    assert!(matches!(try_put(&db, &policy(INDEXED), "new"), Err(IndexError::Database(_))));
    assert!(is_stored(&db, &of("old")).unwrap());
    assert!(PolicyIndex::open(&db).unwrap().role(&name("web-ops")).unwrap().is_some());
}

#[test]
fn a_lookup_among_a_hundred_thousand_roles_is_quick() {
    let db = database();
    let role = |n: usize| format!("[roles.r{n}]\neligible = [\"user{n}\"]\ncommands = [\"/usr/bin/id {n}\"]\n");
    let count = 20_000;
    let text: String = (0..count).map(role).collect();
    let policy = policy(&text);
    assert_eq!(policy.roles()[count - 1].source.line, (count - 1) * 3 + 1);
    put(&db, &policy, "x");
    let index = PolicyIndex::open(&db).unwrap();
    let started = std::time::Instant::now();
    for n in 0..100 {
        let user = format!("user{}", n * 100);
        let subject = Subject { name: &user, uid: 5, groups: &[], lookup: &NOWHERE };
        assert_eq!(index.roles_for(&subject, Assignment::Eligible).unwrap().len(), 1);
        assert_eq!(index.roles_for(&subject, Assignment::Standing).unwrap().len(), 0);
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn each_role_names_its_policy_even_if_another_was_stored_meanwhile() {
    let db = database();
    let first = put(&db, &policy(INDEXED), "first").unwrap();
    let index = PolicyIndex::open(&db).unwrap();
    assert_eq!((first.before, first.added.count, index.digest()), (None, 6, first.policy));
    assert_eq!(index.role(&name("a")).unwrap().unwrap().policy, Some(first.policy));
    let mut all = Vec::new();
    index
        .each_role(|role| {
            all.push(role.policy);
            Next::Continue
        })
        .unwrap();
    assert_eq!(all, [Some(first.policy); 6]);
    let text = INDEXED.replace("eligible = [\"bob\"]", "eligible = [\"bob\"]\nstanding = [\"alice\"]");
    let second = put(&db, &policy(&text), "second").unwrap();
    assert_eq!(second.before, Some(first.policy));
    // The index was opened under the first policy and reads a role of the second.
    let role = index.role(&name("e")).unwrap().unwrap();
    assert!(role.assigns(&alice(&[]), Assignment::Standing));
    assert_eq!((role.policy, index.digest()), (Some(second.policy), first.policy));
    assert_eq!(index.role(&name("f")).unwrap().unwrap().policy, Some(second.policy));
}

#[test]
fn only_changed_roles_are_reported() {
    let db = database();
    put(&db, &policy(INDEXED), "first").unwrap();
    assert_eq!(put(&db, &policy(INDEXED), "first"), None);
    // Every role but one moves by three lines and is the same.
    let text = format!("[roles.new]\nstanding = [\"bob\"]\ncommands = [\"ALL\"]\n{INDEXED}")
        .replace("\"+nobody-is-in-it\"", "\"alice\"");
    let change = put(&db, &policy(&text), "second").unwrap();
    let names = |list: &jit_core::policy::Names| list.first.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&change.added), names(&change.changed)), (vec!["new".to_owned()], vec!["f".to_owned()]));
    assert_eq!(change.removed.count, 0);
    let change = put(&db, &Policy::nothing(), "third").unwrap();
    assert_eq!((names(&change.removed).len(), change.added.count, change.changed.count), (7, 0, 0));
}

#[test]
fn a_changed_policy_digest_is_damage() {
    let db = database();
    put(&db, &policy(INDEXED), "first").unwrap();
    db.execute("UPDATE policy_settings SET policy = zeroblob(32)", []).unwrap();
    assert!(matches!(PolicyIndex::open(&db), Err(IndexError::Damaged(what)) if what == "settings"));
}
