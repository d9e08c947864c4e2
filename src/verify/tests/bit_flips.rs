//! Flips random bits in an object of each namespace of signatures, a note, and everything that is named by a digest, in the bytes
//! or in the signature. None of the results is accepted, and none that is still read has the same meaning.

mod evidence;

use super::*;
use jit_core::clock::duration::Seconds;
use jit_core::grant::approval::UserVerification;
use jit_core::grant::sshsig::sign;
use jit_core::grant::statement::{CarriedStatement, StatementKind, StatementTerms};
use jit_core::grant::terms::{RequestTerms, Terms};
use jit_core::grant::{Approval, ApprovalTerms, digest};
use jit_core::samples::{approvers, key};
use jit_core::wire::RequestDocument;

/// Whether bytes with their signature are accepted.
type Judge = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// An object to damage, and the function that accepts it.
struct Object {
    name: &'static str,
    bytes: Vec<u8>,
    /// Empty where a digest takes its place.
    signature: Vec<u8>,
    accepts: Judge,
}

impl Object {
    fn new(
        name: &'static str,
        (bytes, signature): (Vec<u8>, Vec<u8>),
        accepts: impl Fn(&[u8], &[u8]) -> bool + 'static,
    ) -> Self {
        Self { name, bytes, signature, accepts: Box::new(accepts) }
    }
}

/// The seed of bob's key.
const BOBS: u8 = 3;

fn bob() -> UserName {
    UserName::parse("bob").unwrap()
}

fn request_terms() -> RequestTerms {
    let GrantTerms { command, id, role, role_digest, run_as, uid, user, .. } = terms();
    RequestTerms {
        break_glass: Flag::No,
        command,
        created: NOW,
        critical: Vec::new(),
        deadline: NOW + 60,
        duration: Seconds(600),
        exact: Flag::No,
        extends: None,
        extensions: Extensions::new(),
        host: HostDescriptor::of(&host(), "web1", "machine"),
        id,
        needed: 1,
        one_shot: Flag::No,
        reason: Word::from("disk full"),
        role,
        role_digest,
        run_as,
        start: 0,
        ticket: Word::default(),
        uid,
        user,
        version: VERSION,
    }
}

fn approval_terms(request: &[u8]) -> ApprovalTerms {
    ApprovalTerms {
        approver: bob(),
        at: NOW,
        comment: Word::from("fine"),
        critical: Vec::new(),
        duration: Seconds(600),
        exact: Flag::No,
        extensions: Extensions::new(),
        host: id().as_str().into(),
        id: terms().id,
        one_shot: Flag::Yes,
        request: hex(&digest(request)),
        role_digest: role().digest,
        version: VERSION,
    }
}

fn statement_terms(request: &[u8]) -> StatementTerms {
    StatementTerms {
        at: NOW,
        by: bob(),
        critical: Vec::new(),
        extensions: Extensions::new(),
        follows: None,
        host: id().as_str().into(),
        id: terms().id,
        kind: StatementKind::Revocation,
        reason: Word::from("no\n"),
        request: hex(&digest(request)),
        version: VERSION,
    }
}

/// Whether bytes are read, and mean the same as before.
fn says<T: Terms + PartialEq>(bytes: &[u8], good: &T) -> bool {
    decode::<T>(bytes).is_ok_and(|read| {
        assert_eq!(encode(&read).unwrap(), bytes, "what is read is what this version writes");
        read == *good
    })
}

fn by_the_host(namespace: Namespace, bytes: Vec<u8>) -> Object {
    let signature = host().sign(namespace, &bytes);
    let key = host();
    Object::new(namespace.as_str(), (bytes, signature), move |bytes, signature| {
        key.verify(namespace, bytes, signature).is_ok()
    })
}

fn objects() -> Vec<Object> {
    let (asked, granted, named) = (request_terms(), terms(), role().digest);
    let (request, grant) = (encode(&asked).unwrap(), encode(&granted).unwrap());
    let approval = approval_terms(&request);
    let approved = encode(&approval).unwrap();
    let statement = encode(&statement_terms(&request)).unwrap();
    let descriptor = asked.host.clone();
    let power = RolePower::of(&role()).encode().unwrap();
    let signed = |namespace, bytes: &[u8]| (bytes.to_vec(), sign(&key(BOBS), namespace, bytes));
    let unsigned = |bytes: &[u8]| (bytes.to_vec(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let document = RequestDocument {
        critical: Vec::new(),
        extensions: Extensions::new(),
        request: text(&request),
        role: text(&power),
        version: VERSION,
    };
    let printed = encode(&document).unwrap();
    let (keys, other_keys) = (approvers(&[("bob", BOBS)]), approvers(&[("bob", BOBS)]));
    let papers = vec![
        by_the_host(Namespace::Grant, grant.clone()),
        by_the_host(Namespace::Request, printed.clone()),
        by_the_host(Namespace::Statement, statement.clone()),
        Object::new("approval", signed(Namespace::Approval, &approved), move |bytes, signature| {
            let signature = Some(signature.to_vec());
            let damaged = Approval { terms: approval.clone(), bytes: bytes.to_vec(), uid: 1001, signature };
            damaged.signer(&keys, UserVerification::NotDemanded, NOW).is_ok()
        }),
        Object::new("statement", signed(Namespace::Statement, &statement), move |bytes, signature| {
            let carried = CarriedStatement::read(bytes.to_vec(), signature.to_vec());
            carried.is_ok_and(|carried| carried.vouch(&other_keys, NOW).is_ok())
        }),
        Object::new("terms of a grant", unsigned(&grant), move |bytes, _| says(bytes, &granted)),
        Object::new("terms of a request", unsigned(&request), move |bytes, _| says(bytes, &asked)),
        Object::new("request for another machine", unsigned(&printed), move |bytes, _| says(bytes, &document)),
        Object::new("host descriptor", unsigned(&encode(&descriptor).unwrap()), move |bytes, _| {
            let read: Option<HostDescriptor> = serde_json::from_slice(bytes).ok();
            // The host chooses its own name. Where a flip made white space, the request around it is not read.
            read.is_some_and(|read| {
                read.name == descriptor.name && encode(&read).unwrap() == bytes && read.host_id().is_some()
            })
        }),
        Object::new("role text", unsigned(&power), move |bytes, _| RolePower::named(&named, bytes).is_ok()),
    ];
    papers.into_iter().chain(evidence::objects()).collect()
}

/// Flips one to eight random bits in each of the objects in turn. Returns which were accepted.
fn accepted_of(flips: u32) -> Vec<&'static str> {
    let objects = objects();
    let mut numbers = fastrand::Rng::with_seed(1);
    let mut random = |below: usize| numbers.usize(..below);
    for object in &objects {
        assert!((object.accepts)(&object.bytes, &object.signature), "{} is good", object.name);
    }
    let mut accepted = Vec::new();
    for object in objects.iter().cycle().take(flips as usize) {
        let (mut bytes, mut signature) = (object.bytes.clone(), object.signature.clone());
        for _ in 0..=random(8) {
            let at = random((bytes.len() + signature.len()) * 8);
            let length = bytes.len();
            let byte = bytes.get_mut(at / 8).unwrap_or_else(|| &mut signature[at / 8 - length]);
            *byte ^= 1 << (at % 8);
        }
        let is_damaged = (&bytes, &signature) != (&object.bytes, &object.signature);
        if is_damaged && (object.accepts)(&bytes, &signature) {
            accepted.push(object.name);
        }
    }
    accepted
}

#[test]
fn of_20_000_damaged_objects_none_is_accepted() {
    assert_eq!(accepted_of(20_000), Vec::<&str>::new());
}

/// `make flips`
#[test]
#[ignore = "takes minutes; `make flips` runs it"]
fn of_two_million_damaged_objects_none_is_accepted() {
    assert_eq!(accepted_of(2_000_000), Vec::<&str>::new());
}
