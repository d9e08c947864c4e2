use jit_core::clock::duration::Seconds;
use jit_core::grant::sshsig::{Namespace, armor};
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{CommandTerms, HostDescriptor, HostKey};
use jit_core::names::{GrantId, RoleName, UserName};
use jit_core::policy::{Policy, PolicyText, role_digest};
use jit_core::wire::{Document, RequestDocument};
use serde_json::Value;

use super::*;
use crate::known_hosts::HostStatus;
use crate::screen::Format;
use crate::surface::Surface;

const ROLE: &str = r#"
[roles.web-ops]
eligible     = ["alice"]
commands     = ["/usr/bin/systemctl restart *", "!/usr/bin/systemctl restart sshd",
                { path = "/usr/bin/id", args = ["**"], sha256 = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7" }]
run_as       = ["root", "www-data"]
run_as_groups = ["adm"]
hosts        = ["web*"]
authenticate = false
umask        = "077"
env_keep     = ["LANG"]
command_timeout = "1h"
"#;

fn host_key() -> HostKey {
    HostKey::from_seed([7; 32])
}

fn alices_key() -> HostKey {
    HostKey::from_seed([66; 32])
}

fn role() -> String {
    let file = PolicyText { path: "/etc/jit-sudo/policy.toml".into(), text: ROLE.into() };
    let policy = Policy::parse(&[file]).unwrap();
    String::from_utf8(RolePower::of(&policy.roles()[0]).encode().unwrap()).unwrap()
}

fn terms() -> RequestTerms {
    RequestTerms {
        break_glass: Flag::Yes,
        command: Some(CommandTerms {
            argv: ["/usr/bin/systemctl", "restart", "n\u{435}inx"].map(Word::from).to_vec(),
            cwd: "/home/alice".into(),
            environment: vec!["LANG=C".into()],
            path: "/usr/bin/systemctl.real".into(),
            program: "ab".repeat(32),
            run_as_gid: 4,
            run_as_groups: vec![0, 4],
            run_as_uid: 0,
        }),
        created: 1_800_000_000,
        critical: Vec::new(),
        deadline: 1_800_086_400,
        duration: Seconds(3600),
        exact: Flag::No,
        extends: Some(GrantId::parse("0123456789").unwrap()),
        extensions: Extensions::from([("colour".to_owned(), "blue".to_owned())]),
        host: HostDescriptor::of(&host_key(), "web1", "3d1219c7c4c5404aaa1f6d2a48adfda4"),
        id: GrantId::parse("7r1eg3w07r").unwrap(),
        needed: 2,
        one_shot: Flag::No,
        reason: "disk full".into(),
        role: RoleName::parse("web-ops").unwrap(),
        role_digest: role_digest(role().as_bytes()),
        run_as: UserName::parse("root").unwrap(),
        start: 1_800_001_000,
        ticket: "OPS-1".into(),
        uid: 1000,
        user: UserName::parse("alice").unwrap(),
        version: VERSION,
    }
}

/// Returns a document of these parts, signed by `key`.
fn wrap(request: &str, role: &str, version: u32, key: &HostKey) -> Document {
    let document = RequestDocument { request: request.to_owned(), role: role.to_owned(), version };
    sign(serde_json::to_string(&document).unwrap(), key)
}

fn sign(body: String, key: &HostKey) -> Document {
    let signature = Some(armor(&key.sign(Namespace::Request, body.as_bytes())));
    Document { body, signature }
}

fn text(request: &impl serde::Serialize) -> String {
    String::from_utf8(encode(request).unwrap()).unwrap()
}

fn screen(out: Surface) -> Screen {
    Screen { format: Format::Text, out, err: Surface::Pipe, width: None, now: 1_800_000_060 }
}

/// Returns what is shown of a document on a known host, or why it is refused.
fn shown(document: &Document) -> Result<(Request, String), String> {
    let request = Request::read(document).map_err(|trouble| trouble.notice().message)?;
    let host = Host::of(&request.terms.host, &request.host_key, HostStatus::Known("known_hosts:1".into()));
    let text = described(&request, &host, &screen(Surface::Pipe));
    Ok((request, text))
}

/// Returns the JSON text once for each of its values with another value in its place, each with the path to it.
fn altered(value: &Value) -> Vec<(String, Value)> {
    let inside = |key: &str, (way, value): (String, Value)| (format!("{key}.{way}"), value);
    let mut others = Vec::new();
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                for (way, other) in altered(field).into_iter().map(|other| inside(key, other)) {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), other);
                    others.push((way, fields.into()));
                }
                let mut without = fields.clone();
                without.remove(key);
                others.push((format!("{key} left out"), without.into()));
            }
            let mut more = fields.clone();
            more.insert("more".into(), "x".into());
            others.push(("one more".into(), more.into()));
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                for (way, other) in altered(entry).into_iter().map(|other| inside(&index.to_string(), other)) {
                    let mut entries = entries.clone();
                    entries[index] = other;
                    others.push((way, entries.into()));
                }
            }
            let one_more = entries.last().cloned().unwrap_or("x".into());
            let more = [entries.clone(), vec![one_more]].concat();
            let fewer = entries.iter().skip(1).cloned().collect::<Vec<_>>();
            others.extend([("longer".into(), more.into()), ("shorter".into(), fewer.into())]);
        }
        Value::String(word) => {
            let mut digits = word.clone();
            if digits.pop() == Some('7') {
                digits.push('1')
            } else {
                digits.push('7')
            }
            others.extend([("+".into(), format!("{word}x").into()), ("7".into(), digits.into())]);
        }
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            others.extend([("+1".into(), (number ^ 1).into()), ("+1h".into(), (number + 3600).into())]);
        }
        Value::Bool(flag) => others.push(("not".into(), (!flag).into())),
        Value::Null => others.extend([("word".into(), "*".into()), ("true".into(), true.into())]),
    }
    others.retain(|(_, other)| other != value);
    others
}

/// Returns what is shown except for the digests, which cover everything.
fn without_digests(text: &str) -> String {
    let is_digest = |line: &&str| line.starts_with("request digest") || line.starts_with("role digest");
    text.lines().filter(|line| !is_digest(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_document_of_the_host_is_shown_completely() {
    let (_, text) = shown(&wrap(&text(&terms()), &role(), VERSION, &host_key())).unwrap();
    for part in [
        "from host   web1",
        "known here  yes, by known_hosts:1",
        "requester    alice (uid 1000)",
        "word 2     n\u{435}inx",
        "bytes     n\\xd0\\xb5inx",
        "program      /usr/bin/systemctl.real",
        "directory    /home/alice",
        "uid 0, gid 4, groups 0 4",
        "variables    LANG=C",
        "reason       disk full",
        "ticket       OPS-1",
        "approvals    2 needed",
        "duration     1h",
        "break-glass  yes",
        "extends      grant 0123456789",
        "unknown      colour = blue",
        "!/usr/bin/systemctl restart sshd",
        "as         root, www-data",
        "groups     adm",
        "on hosts   web*",
        "password   not asked for",
        "umask = \"0077\"",
        "{\"digests\":[\"sha256:",
        "command_timeout = 3600",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&text).contains(&words(part)), "{part:?} is not in\n{text}");
    }
    for part in ["pending", "approvers", "given"] {
        assert!(!text.contains(part), "{part:?} is not part of what is signed\n{text}");
    }
    let wide = text.lines().find(|line| line.chars().count() > 80 && !line.contains("3a6eb079"));
    assert_eq!(wide, None, "{text}");
}

#[test]
fn a_changed_and_signed_request_shows_its_changes() {
    let good = text(&terms());
    let alice = HostDescriptor::of(&alices_key(), "web1", "her own machine");
    let own = text(&RequestTerms { host: alice, ..terms() });
    let (_, plain) = shown(&wrap(&own, &role(), VERSION, &alices_key())).unwrap();
    let mut seen = 0;
    for (way, other) in altered(&serde_json::from_str(&own).unwrap()) {
        let other = other.to_string();
        // A request that names the host's own key must be signed with it.
        let as_the_host = altered_host(&other, &terms().host);
        assert!(shown(&wrap(&as_the_host, &role(), VERSION, &alices_key())).is_err(), "{way}");
        let Ok((request, text)) = shown(&wrap(&other, &role(), VERSION, &alices_key())) else { continue };
        seen += 1;
        assert_ne!(without_digests(&text), without_digests(&plain), "{way} is signed and not shown");
        assert_ne!(digest(request.bytes.as_bytes()), digest(good.as_bytes()), "{way}");
        assert_ne!(request.terms.host.id, terms().host.id, "{way}");
    }
    assert!(seen > 40, "{seen} were readable");
}

#[test]
fn a_changed_role_is_shown_as_it_would_be_approved() {
    let alice = HostDescriptor::of(&alices_key(), "web1", "her own machine");
    let with = |role: &str| {
        let terms = RequestTerms { host: alice.clone(), role_digest: role_digest(role.as_bytes()), ..terms() };
        wrap(&text(&terms), role, VERSION, &alices_key())
    };
    let (_, plain) = shown(&with(&role())).unwrap();
    let mut seen = 0;
    for (way, other) in altered(&serde_json::from_str(&role()).unwrap()) {
        let other = other.to_string();
        // Another text under the same digest.
        let terms = RequestTerms { host: alice.clone(), ..terms() };
        let message = shown(&wrap(&text(&terms), &other, VERSION, &alices_key())).err().unwrap();
        assert!(message.contains("does not fit its digest"), "{way}: {message}");
        let Ok((_, text)) = shown(&with(&other)) else { continue };
        seen += 1;
        assert_ne!(without_digests(&text), without_digests(&plain), "{way} is signed and not shown");
    }
    assert!(seen > 40, "{seen} were readable");
}

#[test]
fn a_document_whose_parts_do_not_belong_together_is_refused() {
    let (good, role) = (text(&terms()), role());
    let refused = |document: &Document| shown(document).err().unwrap();
    let other_host = HostDescriptor::of(&alices_key(), "web1", "m");
    let half = HostDescriptor { key: other_host.key.clone(), ..terms().host };
    for (host, key) in [(half, alices_key()), (HostDescriptor { id: other_host.id, ..terms().host }, host_key())] {
        let terms = RequestTerms { host, ..terms() };
        assert!(refused(&wrap(&text(&terms), &role, VERSION, &key)).contains("id does not fit its key"));
    }
    assert!(refused(&wrap(&good, &role, VERSION, &alices_key())).contains("signature does not hold"));
    assert!(refused(&wrap(&good, "", VERSION, &host_key())).contains("does not fit its digest"));
    let document = wrap(&good, &role, VERSION, &host_key());
    assert!(refused(&Document { signature: None, ..document.clone() }).contains("signature does not hold"));
    assert!(refused(&sign(format!("{} ", document.body), &host_key())).contains("not readable"));
    for name in ["", "web 1", "w\u{435}b1", "#web1"] {
        let terms = RequestTerms { host: HostDescriptor::of(&host_key(), name, "m"), ..terms() };
        assert!(refused(&wrap(&text(&terms), &role, VERSION, &host_key())).contains("names no host"), "{name}");
    }
}

#[test]
fn an_error_in_the_role_of_a_request_is_reported_exactly() {
    let with = |role: &str, change: fn(&mut RequestTerms)| {
        let mut terms = RequestTerms { role_digest: role_digest(role.as_bytes()), ..terms() };
        change(&mut terms);
        shown(&wrap(&text(&terms), role, VERSION, &host_key())).err().unwrap()
    };
    let other_digest = with(&role(), |terms| terms.role_digest = "ab".repeat(32));
    assert!(other_digest.contains("does not fit its digest"), "{other_digest}");
    let other_name = with(&role(), |terms| terms.role = RoleName::parse("database").unwrap());
    assert!(other_name.ends_with("it asks for role database, and the text is that of web-ops"), "{other_name}");
    for form in [role().replacen("\":", "\" :", 1), role().replacen('{', "{\"admin\":true,", 1), "{}".to_owned()] {
        let message = with(&form, |_| ());
        assert!(message.ends_with("the text of its role is none that this version writes"), "{form}: {message}");
    }
}

#[test]
fn an_empty_command_is_refused() {
    let mut terms = terms();
    terms.command.as_mut().unwrap().argv.clear();
    let message = shown(&wrap(&text(&terms), &role(), VERSION, &host_key())).err().unwrap();
    assert!(message.contains("cannot be used"), "{message}");
}

#[test]
fn documents_of_other_versions_say_so() {
    let (good, role) = (text(&terms()), role());
    let refused = |document: &Document| shown(document).err().unwrap();
    let first = format!(
        "{{\"host\":\"web1\",\"host_key\":\"{}\",\"request\":\"{{}}\",\"version\":1}}",
        host_key().public_line()
    );
    assert!(refused(&sign(first, &host_key())).contains("made by an earlier version; ask again"));
    let older = good.replace("\"version\":2", "\"version\":1");
    assert!(refused(&wrap(&older, &role, VERSION, &host_key())).contains("made by an earlier version; ask again"));
    assert!(refused(&wrap(&good, &role, 1, &host_key())).contains("earlier version"));
    assert!(refused(&wrap(&good, &role, 3, &host_key())).contains("later version"));
    let demanding = good.replace("\"critical\":[]", "\"critical\":[\"colour\"]");
    assert!(refused(&wrap(&demanding, &role, VERSION, &host_key())).contains("requires \"colour\""));
}

#[test]
fn untrusted_parts_are_red_only_on_a_terminal() {
    let request = Request::read(&wrap(&text(&terms()), &role(), VERSION, &host_key())).unwrap();
    let host = Host::of(&request.terms.host, &request.host_key, HostStatus::New(Ok("known_hosts:1".into())));
    let red = described(&request, &host, &screen(Surface::Colour));
    for part in ["\x1b[31mNO: seen for the first time", "\x1b[31mcolour = blue", "\x1b[31myes: nobody is asked"] {
        assert!(red.contains(part), "{part:?}: {red}");
    }
    for surface in [Surface::Pipe, Surface::Dumb, Surface::Plain] {
        let plain = described(&request, &host, &screen(surface));
        assert!(!plain.contains('\x1b') && plain.contains("NO: seen for the first time"), "{plain}");
    }
}

/// Returns the request with this host.
fn altered_host(request: &str, host: &HostDescriptor) -> String {
    let mut value: Value = serde_json::from_str(request).unwrap();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("host".into(), serde_json::to_value(host).unwrap());
    }
    value.to_string()
}
