use jit_core::clock::duration::Seconds;
use jit_core::grant::sshsig::{Namespace, armor};
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{ApprovalTerms, HostDescriptor, HostKey, StatementKind, StatementTerms};
use jit_core::names::GrantId;
use jit_core::wire::Document;

use super::*;
use crate::foreign::tests::altered;
use crate::screen::{Format, Report, Screen};
use crate::speech::Trouble;
use crate::surface::Surface;
use crate::{signed_approvals, statement};

const KINDS: [StatementKind; 5] = [
    StatementKind::Denial,
    StatementKind::Cancellation,
    StatementKind::Revocation,
    StatementKind::Release,
    StatementKind::Review,
];

/// Shows a document.
type Show = fn(Document, &Screen) -> Result<Report, Trouble>;

fn carols_key() -> HostKey {
    HostKey::from_seed([67; 32])
}

fn host() -> HostDescriptor {
    HostDescriptor::of(&HostKey::from_seed([7; 32]), "web1", "3d1219c7c4c5404aaa1f6d2a48adfda4")
}

fn bob() -> UserName {
    UserName::parse("bob").unwrap()
}

fn extensions() -> Extensions {
    Extensions::from([("colour".to_owned(), "blue".to_owned())])
}

fn approval() -> ApprovalTerms {
    ApprovalTerms {
        approver: bob(),
        at: 1_800_000_000,
        comment: "fine".into(),
        critical: Vec::new(),
        duration: Seconds(300),
        exact: Flag::No,
        extensions: extensions(),
        host: host().id,
        id: GrantId::parse("7r1eg3w07r").unwrap(),
        one_shot: Flag::Yes,
        request: "ab".repeat(32),
        role_digest: "cd".repeat(32),
        version: VERSION,
    }
}

fn statement(kind: StatementKind) -> StatementTerms {
    StatementTerms {
        at: 1_800_000_000,
        by: bob(),
        critical: Vec::new(),
        extensions: extensions(),
        follows: None,
        host: host().id,
        id: GrantId::parse("7r1eg3w07r").unwrap(),
        kind,
        reason: "not today".into(),
        request: "ab".repeat(32),
        version: VERSION,
    }
}

/// Returns an approval and each statement, with its namespace and the function that shows it.
fn documents() -> Vec<(String, Namespace, Show)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let approval = (text(encode(&approval()).unwrap()), Namespace::Approval, signed_approvals::show as Show);
    let statements =
        KINDS.map(|kind| (text(encode(&statement(kind)).unwrap()), Namespace::Statement, statement::show as Show));
    std::iter::once(approval).chain(statements).collect()
}

/// Returns what is shown of a document that Carol has signed, or why it is refused.
fn shown(body: &str, (namespace, show): (Namespace, Show), out: Surface) -> Result<String, String> {
    let signature = Some(armor(&carols_key().sign(namespace, body.as_bytes())));
    let screen = Screen { format: Format::Text, out, err: Surface::Pipe, width: None, now: 1_800_000_060 };
    let report = show(Document { body: body.to_owned(), signature }, &screen);
    report.map(|report| report.text).map_err(|trouble| trouble.notice().message)
}

#[test]
fn a_changed_and_signed_approval_or_statement_shows_its_changes() {
    for (body, namespace, show) in documents() {
        let way = (namespace, show);
        let plain = shown(&body, way, Surface::Pipe).unwrap();
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (change, other) in altered(&value) {
            let Ok(text) = shown(&other.to_string(), way, Surface::Pipe) else { continue };
            assert_ne!(text, plain, "{change} is signed and not shown");
            seen.extend(change.split('.').next().map(str::to_owned));
        }
        // An id or kind of another form, another version, and a critical key are refused.
        let refused = |key: &&String| !["critical", "id", "kind", "version"].contains(&key.as_str());
        let keys: Vec<&String> = value.as_object().unwrap().keys().filter(refused).collect();
        assert!(keys.iter().all(|key| seen.contains(*key)), "{keys:?}: {seen:?}");
        let other_id = body.replace("7r1eg3w07r", "7r1eg3w071");
        assert_ne!(shown(&other_id, way, Surface::Pipe).unwrap(), plain);
    }
    let texts: std::collections::BTreeSet<String> = documents()
        .into_iter()
        .map(|(body, namespace, show)| shown(&body, (namespace, show), Surface::Pipe).unwrap())
        .collect();
    assert_eq!(texts.len(), 6, "the kinds look different: {texts:?}");
}

#[test]
fn whose_key_it_is_and_an_unknown_host_are_said_in_red() {
    for (body, namespace, show) in documents() {
        let red = shown(&body, (namespace, show), Surface::Colour).unwrap();
        for part in [
            "\x1b[31mNOT CHECKED here: /etc/jit-sudo/approvers of that host\x1b[0m\n",
            "\x1b[31mdecides whether it is a key of bob\x1b[0m\n",
            "\x1b[31mNO: the id is not in the list of known hosts\x1b[0m\n",
            "\x1b[31mcolour = blue\x1b[0m\n",
            &carols_key().public_key().fingerprint(),
        ] {
            assert!(red.contains(part), "{part:?}: {red}");
        }
        let plain = shown(&body, (namespace, show), Surface::Plain).unwrap();
        assert!(plain.contains("whose key       NOT CHECKED here: ") && !plain.contains('\x1b'), "{plain}");
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    }
}
