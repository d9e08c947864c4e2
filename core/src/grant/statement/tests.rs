use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;

use super::*;
use crate::grant::HostKey;
use crate::grant::sshsig::sign;
use crate::grant::terms::VERSION;

const NOW: i64 = 1_800_000_000;
const KINDS: [StatementKind; 5] = [
    StatementKind::Denial,
    StatementKind::Cancellation,
    StatementKind::Revocation,
    StatementKind::Release,
    StatementKind::Review,
];

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn bobs_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// Returns a list of approvers with one line.
fn list(who: &str, options: &str, key: &SigningKey) -> Approvers {
    let public = Base64::encode_string(&PublicKey::Plain(key.verifying_key().to_bytes()).blob());
    Approvers::parse("/a", format!("{who} {options}ssh-ed25519 {public}\n").as_bytes()).unwrap()
}

fn terms(kind: StatementKind) -> StatementTerms {
    StatementTerms {
        at: NOW,
        by: name("bob"),
        critical: Vec::new(),
        extensions: Extensions::new(),
        follows: None,
        host: hex(&[1; 32]),
        id: GrantId::parse("0123456789").unwrap(),
        kind,
        reason: Word::from("no\n"),
        request: hex(&[2; 32]),
        version: VERSION,
    }
}

fn carried(bytes: &[u8], signature: &[u8]) -> Result<CarriedStatement, TermsFault> {
    CarriedStatement::read(bytes.to_vec(), signature.to_vec())
}

/// Verifies these bytes and signature against a list with bob's key alone.
fn judged(bytes: &[u8], signature: &[u8]) -> Option<StatementFault> {
    carried(bytes, signature).unwrap().vouch(&list("bob", "", &bobs_key()), NOW).err()
}

#[test]
fn the_bytes_of_each_kind_are_fixed() {
    for kind in KINDS {
        let bytes = encode(&terms(kind)).unwrap();
        let (one, two, word) = ("01".repeat(32), "02".repeat(32), kind.as_str());
        let expected = format!(
            "{{\"at\":1800000000,\"by\":\"bob\",\"critical\":[],\"extensions\":{{}},\"host\":\"{one}\",\
             \"id\":\"0123456789\",\"kind\":\"{word}\",\"reason\":\"no\\\\x0a\",\"request\":\"{two}\",\"version\":2}}"
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert_eq!(decode::<StatementTerms>(&bytes).unwrap(), terms(kind));
    }
}

#[test]
fn a_statement_is_valid_only_with_the_key_of_its_author() {
    let bytes = encode(&terms(StatementKind::Denial)).unwrap();
    let signature = sign(&bobs_key(), Namespace::Statement, &bytes);
    let vouch = |approvers: &Approvers| carried(&bytes, &signature).unwrap().vouch(approvers, NOW);
    let vouched = vouch(&list("bob", "", &bobs_key())).ok().unwrap();
    assert!(vouch(&list("bob", "namespaces=\"jit-sudo/*\" ", &bobs_key())).is_ok());
    let host = HostKey::from_seed([9; 32]);
    let signed = SignedStatement::carried(&vouched, 1001, &host);
    assert_eq!((signed.bytes(), signed.signature()), (&bytes[..], Some(&signature[..])));
    assert_eq!(host.verify(Namespace::Statement, &bytes, signed.host_signature()), Ok(()));

    let fault = |approvers: Approvers| match vouch(&approvers).err() {
        Some(StatementFault::Key(_, _, fault)) => Some(fault),
        _ => None,
    };
    assert_eq!(fault(Approvers::default()), Some(KeyFault::Unknown), "a key that was removed");
    assert_eq!(fault(list("carol", "", &bobs_key())), Some(KeyFault::Unknown), "a key of another user");
    assert_eq!(fault(list("bob", "", &SigningKey::from_bytes(&[4; 32]))), Some(KeyFault::Unknown), "another key");
    let approvals_only = list("bob", "namespaces=\"jit-sudo/approval/v1\" ", &bobs_key());
    assert_eq!(fault(approvals_only), Some(KeyFault::OtherPurpose));
    let past = list("bob", "valid-before=\"20200101Z\" ", &bobs_key());
    assert_eq!(fault(past), Some(KeyFault::Expired));
}

#[test]
fn every_flipped_bit_of_a_statement_is_rejected() {
    let host = HostKey::from_seed([9; 32]);
    for kind in KINDS {
        let bytes = encode(&terms(kind)).unwrap();
        let signature = sign(&bobs_key(), Namespace::Statement, &bytes);
        let by_host = host.sign(Namespace::Statement, &bytes);
        for position in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[position / 8] ^= 1 << (position % 8);
            if let Ok(carried) = carried(&bad, &signature) {
                assert_eq!(carried.key(), Err(StatementFault::Signature(SignatureFault::Mismatch)), "bit {position}");
                assert!(carried.vouch(&list("bob", "", &bobs_key()), NOW).is_err(), "bit {position}");
            }
            assert!(host.verify(Namespace::Statement, &bad, &by_host).is_err(), "bit {position}");
        }
        for position in 0..signature.len() * 8 {
            let mut bad = signature.clone();
            bad[position / 8] ^= 1 << (position % 8);
            assert!(judged(&bytes, &bad).is_some(), "bit {position} of the signature");
        }
    }
}

#[test]
fn a_signature_for_another_statement_or_purpose_is_rejected() {
    let bytes = encode(&terms(StatementKind::Denial)).unwrap();
    for purpose in [Namespace::Approval, Namespace::Grant, Namespace::Request, Namespace::Checkpoint] {
        let fault = judged(&bytes, &sign(&bobs_key(), purpose, &bytes));
        assert_eq!(fault, Some(StatementFault::Signature(SignatureFault::WrongNamespace)), "{purpose:?}");
    }
    let signature = sign(&bobs_key(), Namespace::Statement, &bytes);
    let good = terms(StatementKind::Denial);
    for other in [
        terms(StatementKind::Review),
        StatementTerms { host: hex(&[7; 32]), ..good.clone() },
        StatementTerms { request: hex(&[7; 32]), ..good.clone() },
        StatementTerms { id: GrantId::parse("0123456780").unwrap(), ..good.clone() },
        StatementTerms { by: name("carol"), ..good.clone() },
        StatementTerms { at: NOW + 1, ..good },
    ] {
        let fault = judged(&encode(&other).unwrap(), &signature);
        assert_eq!(fault, Some(StatementFault::Signature(SignatureFault::Mismatch)), "{other:?}");
    }
}

#[test]
fn bytes_that_this_version_does_not_write_are_rejected() {
    let text = String::from_utf8(encode(&terms(StatementKind::Denial)).unwrap()).unwrap();
    let fault = |from: &str, to: &str| {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text);
        carried(bad.as_bytes(), &sign(&bobs_key(), Namespace::Statement, bad.as_bytes())).err()
    };
    assert_eq!(fault("\"version\":2", "\"version\":1"), Some(TermsFault::Earlier));
    assert_eq!(fault("\"version\":2", "\"version\":3"), Some(TermsFault::Later));
    let demanded = "\"critical\":[\"x\"],\"extensions\":{\"x\":\"\"}";
    assert_eq!(fault("\"critical\":[],\"extensions\":{}", demanded), Some(TermsFault::Critical("x".into())));
    for (from, to) in [
        ("\"critical\":[]", "\"critical\":[\"x\"]"),
        ("\"kind\":\"denial\"", "\"kind\":\"approval\""),
        ("\"kind\":\"denial\"", "\"kind\":\"Denial\""),
        ("{\"at\"", "{ \"at\""),
        ("\"version\":2", "\"version\":2,\"x\":1"),
        ("\"by\":\"bob\",", ""),
        ("\"reason\":\"no\\\\x0a\"", "\"reason\":\"no\\n\""),
        // Only the host may say that it follows another statement.
        ("\"host\"", "\"follows\":\"00\",\"host\""),
    ] {
        assert_eq!(fault(from, to), Some(TermsFault::Malformed), "{to}");
    }
    // An optional extension is ignored.
    assert_eq!(fault("\"extensions\":{}", "\"extensions\":{\"x\":\"y\"}"), None);
}
