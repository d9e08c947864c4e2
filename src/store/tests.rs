use super::*;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::grant::lifecycle::RequestState;
use jit_core::grant::sshsig::Namespace;
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{HostDescriptor, HostKey, RequestTerms, SignedStatement, StatementKind, StatementTerms};
use jit_core::names::{IdPrefix, UserName};

pub(super) const NOW: i64 = 1_000;

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.execute_batch(STATEMENT_SCHEMA).unwrap();
    connection
}

fn person(uid: u32, name: &str) -> Person {
    Person { uid, name: UserName::parse(name).unwrap() }
}

fn request(id: &str, uid: u32) -> RequestTerms {
    RequestTerms {
        break_glass: Flag::No,
        command: None,
        created: NOW,
        critical: Vec::new(),
        deadline: NOW + 100,
        duration: Seconds(60),
        exact: Flag::No,
        extends: None,
        extensions: Extensions::new(),
        host: HostDescriptor::of(&HostKey::from_seed([1; 32]), "web1", "machine"),
        id: GrantId::parse(id).unwrap(),
        needed: 1,
        one_shot: Flag::No,
        reason: Word::from("because"),
        role: RoleName::parse("ops").unwrap(),
        role_digest: String::new(),
        run_as: UserName::parse("root").unwrap(),
        start: 0,
        ticket: Word::default(),
        uid,
        user: UserName::parse("alice").unwrap(),
        version: VERSION,
    }
}

fn grant(id: &str, uid: u32, expires: i64) -> GrantTerms {
    GrantTerms {
        break_glass: Flag::No,
        approvals: Vec::new(),
        approvers: Vec::new(),
        boot_deadline: 0,
        boot_id: "boot".into(),
        command: None,
        critical: Vec::new(),
        exact: Flag::No,
        expires,
        extends: None,
        extensions: Extensions::new(),
        host: "host".into(),
        id: GrantId::parse(id).unwrap(),
        issued: NOW,
        one_shot: Flag::No,
        request: String::new(),
        role: RoleName::parse("ops").unwrap(),
        role_digest: String::new(),
        run_as: UserName::parse("root").unwrap(),
        starts: NOW,
        this_boot: Flag::No,
        uid,
        user: UserName::parse("alice").unwrap(),
        version: VERSION,
    }
}

/// Returns a statement of bob about the request and grant with this id.
pub(super) fn statement(kind: StatementKind, id: &GrantId) -> SignedStatement {
    let terms = StatementTerms {
        at: NOW,
        by: UserName::parse("bob").unwrap(),
        critical: Vec::new(),
        extensions: Extensions::new(),
        follows: None,
        host: "host".into(),
        id: id.clone(),
        kind,
        reason: Word::from("enough"),
        request: String::new(),
        version: VERSION,
    };
    SignedStatement::spoken(terms, 1001, &HostKey::from_seed([1; 32])).unwrap()
}

fn put<T>(connection: &Connection, change: impl FnOnce(&Transaction<'_>) -> T) -> T {
    let tx = connection.unchecked_transaction().unwrap();
    let changed = change(&tx);
    tx.commit().unwrap();
    changed
}

#[test]
fn ids_are_found_by_their_prefix() {
    let connection = database();
    put(&connection, |tx| {
        for id in ["abc0000000", "abd0000000", "zzzzzzzzzz"] {
            let terms = request(id, 1);
            insert_request(tx, &terms, &encode(&terms).unwrap(), 1).unwrap();
        }
    });
    let find = |prefix: &str| {
        let ids = GrantStore::new(&connection).beginning_with(&IdPrefix::parse(prefix).unwrap(), 2).unwrap();
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(find("abc"), ["abc0000000"]);
    assert_eq!(find("zzzzzzzzzz"), ["zzzzzzzzzz"]);
    assert_eq!(find("ab"), ["abc0000000", "abd0000000"]);
    assert!(find("abe").is_empty());
}

#[test]
fn a_request_leaves_pending_once() {
    let connection = database();
    let terms = request("abc0000000", 1);
    put(&connection, |tx| {
        insert_request(tx, &terms, &encode(&terms).unwrap(), 1).unwrap();
        assert!(carry_out(tx, &statement(StatementKind::Denial, &terms.id), NOW).unwrap());
        assert!(!approve_request(tx, &terms.id).unwrap());
        assert!(!carry_out(tx, &statement(StatementKind::Cancellation, &terms.id), NOW).unwrap());
    });
    let stored = GrantStore::new(&connection).request(&terms.id, NOW).unwrap();
    assert_eq!((stored.state, stored.terms), (RequestState::Denied, terms));
    assert_eq!(stored.ended.unwrap().reason, b"enough");
    // A statement that changed something is stored, and one that changed nothing is not.
    let kept = GrantStore::new(&connection).statements(&request("abc0000000", 1).id).unwrap();
    assert_eq!(kept.iter().map(|kept| kept.terms.kind).collect::<Vec<_>>(), [StatementKind::Denial]);
    let key = HostKey::from_seed([1; 32]);
    assert_eq!(key.verify(Namespace::Statement, &kept[0].bytes, &kept[0].host_signature), Ok(()));
}

#[test]
fn a_request_expires_at_its_deadline() {
    let connection = database();
    let terms = request("abc0000000", 7);
    put(&connection, |tx| insert_request(tx, &terms, &encode(&terms).unwrap(), 1).unwrap());
    let store = GrantStore::new(&connection);
    assert_eq!(store.request(&terms.id, NOW + 99).unwrap().state, RequestState::Pending);
    assert_eq!(store.request(&terms.id, NOW + 100).unwrap().state, RequestState::Expired);
    let alice = person(7, "alice");
    assert_eq!((store.pending_of(&alice, NOW).unwrap(), store.pending_of(&alice, NOW + 100).unwrap()), (1, 0));
    assert!(store.pending_for(&alice, &terms.role, NOW).unwrap().is_some());
    assert_eq!(store.nth_newest_request_of(&alice, 1, (NOW - 1, NOW)).unwrap(), Some(NOW));
    assert_eq!(store.nth_newest_request_of(&alice, 1, (NOW, NOW + 9)).unwrap(), None);
    assert_eq!(store.nth_newest_request_of(&alice, 1, (NOW - 9, NOW - 1)).unwrap(), None);
    for other in [person(8, "alice"), person(7, "dave")] {
        assert_eq!(store.pending_of(&other, NOW).unwrap(), 0);
        assert!(store.pending_for(&other, &terms.role, NOW).unwrap().is_none());
        assert_eq!(store.nth_newest_request_of(&other, 1, (NOW - 1, NOW)).unwrap(), None);
        assert!(store.requests(GrantScope::Of(&other), NOW).unwrap().is_empty());
    }
    assert!(store.pending_for(&alice, &RoleName::parse("other").unwrap(), NOW).unwrap().is_none());
}

#[test]
fn only_open_grants_of_the_user_are_candidates() {
    let connection = database();
    let key = HostKey::from_seed([1; 32]);
    put(&connection, |tx| {
        for (id, uid, expires) in [("aaaaaaaaaa", 1, NOW + 9), ("bbbbbbbbbb", 1, NOW), ("cccccccccc", 2, NOW + 9)] {
            let terms = grant(id, uid, expires);
            insert_grant(tx, &terms, &SignedGrant::issue(&terms, &key).unwrap()).unwrap();
        }
    });
    let alice = person(1, "alice");
    let candidates = || GrantStore::new(&connection).candidates(&alice, NOW).unwrap().len();
    assert_eq!(candidates(), 1);
    let (roles, refused) = GrantStore::new(&connection).held(&person(1, "dave"), NOW).unwrap();
    assert_eq!((roles.len(), refused.len()), (0, 1), "one of another name is kept to be refused, and no role of it");
    assert!(GrantStore::new(&connection).open_grants(GrantScope::Of(&person(1, "dave")), NOW).unwrap().read.is_empty());
    let id = GrantId::parse("aaaaaaaaaa").unwrap();
    put(&connection, |tx| {
        assert!(is_open(tx, &id).unwrap());
        assert!(carry_out(tx, &statement(StatementKind::Revocation, &id), NOW).unwrap());
        assert!(!use_up(tx, &grant("aaaaaaaaaa", 1, NOW + 9), "run", NOW).unwrap(), "an end is final");
        assert!(!is_open(tx, &id).unwrap());
    });
    assert_eq!(candidates(), 0);
    assert_eq!(GrantStore::new(&connection).end_of(&id).unwrap(), Some(GrantEnd::Revoked));
}

#[test]
fn an_extension_is_found_by_its_old_grant_until_it_ends() {
    let connection = database();
    let old = GrantId::parse("aaaaaaaaaa").unwrap();
    let longer = RequestTerms { extends: Some(old.clone()), ..request("bbbbbbbbbb", 7) };
    let store = GrantStore::new(&connection);
    put(&connection, |tx| insert_request(tx, &longer, &encode(&longer).unwrap(), 1).unwrap());
    assert_eq!(store.pending_extension(&old, NOW).unwrap().as_deref(), Some("bbbbbbbbbb"));
    assert_eq!(store.pending_extension(&old, NOW + 100).unwrap(), None, "the request is dead by then");
    assert!(store.extensions(&old, "run").unwrap().is_empty() && store.extension(&old).unwrap().is_none());

    let terms = GrantTerms { extends: longer.extends.clone(), ..grant("bbbbbbbbbb", 7, NOW + 60) };
    let signed = SignedGrant::issue(&terms, &HostKey::from_seed([1; 32])).unwrap();
    put(&connection, |tx| {
        approve_request(tx, &terms.id).unwrap();
        insert_grant(tx, &terms, &signed).unwrap();
    });
    assert_eq!(store.pending_extension(&old, NOW).unwrap(), None);
    assert_eq!(store.extensions(&old, "run").unwrap().len(), 1);
    assert_eq!(store.extension(&old).unwrap().unwrap().terms, terms);
    let revocation = statement(StatementKind::Revocation, &terms.id);
    put(&connection, |tx| assert!(carry_out(tx, &revocation, NOW).unwrap()));
    assert!(store.extensions(&old, "run").unwrap().is_empty());
}

#[test]
fn a_used_one_shot_grant_can_be_revoked_once() {
    let connection = database();
    let terms = grant("aaaaaaaaaa", 7, NOW + 60);
    let signed = SignedGrant::issue(&terms, &HostKey::from_seed([1; 32])).unwrap();
    let end = |kind| put(&connection, |tx| carry_out(tx, &statement(kind, &terms.id), NOW).unwrap());
    put(&connection, |tx| insert_grant(tx, &terms, &signed).unwrap());
    assert!(put(&connection, |tx| use_up(tx, &terms, "first", NOW).unwrap()));
    assert!(!put(&connection, |tx| use_up(tx, &terms, "second", NOW).unwrap()));
    let is_of = |run| GrantStore::new(&connection).is_used_by(&terms.id, run).unwrap();
    assert!(is_of("first") && !is_of("second") && !is_of(""));
    assert!(end(StatementKind::Revocation));
    assert!(!end(StatementKind::Release) && !end(StatementKind::Revocation));
    assert_eq!(GrantStore::new(&connection).end_of(&terms.id).unwrap(), Some(GrantEnd::Revoked));
}

#[test]
fn a_grant_that_is_not_stored_counts_as_revoked() {
    let connection = database();
    let id = GrantId::parse("aaaaaaaaaa").unwrap();
    assert_eq!(GrantStore::new(&connection).end_of(&id).unwrap(), Some(GrantEnd::Revoked));
}

#[test]
fn damaged_terms_are_an_error() {
    let connection = database();
    let terms = request("abc0000000", 1);
    put(&connection, |tx| insert_request(tx, &terms, b"{}", 1).unwrap());
    assert!(matches!(GrantStore::new(&connection).request(&terms.id, NOW), Err(FindError::Damaged(_))));
}
