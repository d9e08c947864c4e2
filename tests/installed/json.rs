//! `--json`, verb by verb, in the installed product, compared with the tables of docs/json.md: one object on one line, the
//! documented key, every required field and none that is not described.

use std::collections::BTreeMap;

use harness::{Person, PrivateRoot};
use serde_json::Value;

use crate::{id, own_root, request};

const MANUAL: &str = include_str!("../../docs/json.md");

const POLICY: &str = r#"
[roles.json]
eligible     = ["%json"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.json.activation]
require_approval = true
approvers        = ["%approvers"]
break_glass      = true
"#;

/// The verb of each line of [`calls`]; the unit tests of jitctl check that no verb is missing.
const VERBS: [&str; 53] = [
    "roles",
    "why",
    "request",
    "request --print",
    "show",
    "show --print",
    "show --export",
    "show -",
    "approve",
    "approve -",
    "import",
    "deny",
    "deny -",
    "cancel",
    "requests",
    "grants",
    "extend",
    "release",
    "revoke",
    "policy check",
    "policy import",
    "policy show",
    "policy test",
    "audit list",
    "audit show",
    "audit verify",
    "audit prove",
    "audit check-proof",
    "witness key",
    "witness size",
    "witness cosign",
    "audit search",
    "audit search --recordings",
    "audit export",
    "audit prune",
    "backup",
    "restore",
    "session list",
    "session freeze",
    "session thaw",
    "session kill",
    "watch",
    "replay",
    "key init",
    "key show",
    "key accept",
    "key rotate",
    "key retire",
    "doctor",
    "sweep",
    "review",
    "review --unused",
    "review --recertify",
];

/// Returns the rows of the table under this line of headings, cell by cell.
fn table(after: &str, headings: &str) -> Vec<Vec<&'static str>> {
    let text = &MANUAL[MANUAL.find(after).unwrap_or_else(|| panic!("docs/json.md has no {after}"))..];
    let text = &text[text.find(headings).unwrap_or_else(|| panic!("{after} has no table"))..];
    let rows = text.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns the texts between backticks.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns name and type of each field of a section.
fn fields(section: &str) -> BTreeMap<String, &'static str> {
    let title = format!("## {}{}", section[..1].to_uppercase(), section[1..].replace('-', " "));
    let rows = table(&title, "| field |");
    rows.into_iter().flat_map(|row| words(row[0]).into_iter().map(move |name| (name, row[1]))).collect()
}

fn check(verb: &str, value: &Value, section: &str) {
    let documented = fields(section);
    let objects = match value {
        Value::Array(objects) => {
            assert!(!objects.is_empty(), "{verb}: an empty list shows nothing");
            objects.clone()
        }
        object => vec![object.clone()],
    };
    for object in objects {
        let found = object.as_object().unwrap_or_else(|| panic!("{verb}: {object}"));
        for (name, kind) in &documented {
            assert!(kind.contains("optional") || found.contains_key(name), "{verb}: {name} is missing: {object}");
        }
        for (name, field) in found {
            let kind = documented.get(name).unwrap_or_else(|| panic!("{verb}: {name} is not described: {object}"));
            let fits = match field {
                Value::Bool(_) => kind.starts_with("boolean"),
                Value::Number(_) => kind.starts_with("number"),
                Value::String(_) => kind.starts_with("string") || kind.starts_with("word"),
                Value::Array(_) => kind.starts_with("list"),
                Value::Object(_) => kind.starts_with("object") || kind.starts_with("document"),
                Value::Null => false,
            };
            assert!(fits, "{verb}: {name} is described as {kind}: {field}");
        }
    }
}

/// Calls every verb, in an order in which each has a result; returns the output of each.
fn calls(root: &PrivateRoot, person: &Person, approver: &Person) -> BTreeMap<&'static str, Value> {
    let mut said = BTreeMap::new();
    root.write("/etc/sudoers.d/json", 0o440, "nobody ALL = /usr/bin/id\n");
    let call = |verb: &'static str, who: &str, words: &[&str], stdin: &str| {
        let output = root.command(who, [&["jitctl", "--json"][..], words].concat()).cwd("/tmp").stdin(stdin).run();
        if ["audit verify", "audit check-proof"].contains(&verb) {
            output.exited(5)
        } else {
            output.exited(0)
        }
        assert_eq!(output.stdout.matches('\n').count(), 1, "{verb}: {output:?}");
        (verb, output.json())
    };
    let (me, you) = (person.name.as_str(), approver.name.as_str());
    let command = ["--", "id", "-u"];
    let ask = |more: &[&'static str]| [&["request", "--role", "json", "--reason", "x"][..], more].concat();
    let (verb, value) = call("request", me, &ask(&["--ticket", "OPS-1", "--", "id", "-u"]), "");
    let pending = id(&value["grant"]);
    said.insert(verb, value);
    said.extend([
        call("roles", me, &["roles"], ""),
        call("requests", you, &["requests"], ""),
        call("show", you, &["show", &pending], ""),
        call("show --print", you, &["show", &pending, "--print"], ""),
        call("approve", you, &["approve", &pending, "--comment", "fine", "--for", "10m"], ""),
        call("grants", me, &["grants"], ""),
        call("why", me, &[&["why"][..], &command].concat(), ""),
        call("show --export", me, &["show", &pending, "--export", &format!("{}/documents", person.home)], ""),
        call("extend", me, &["extend", &pending, "--reason", "more"], ""),
        call("release", me, &["release", &pending], ""),
    ]);
    let denied = id(&call("request", me, &ask(&[]), "").1["grant"]);
    said.extend([call("deny", you, &["deny", &denied, "--reason", "no"], "")]);
    let cancelled = id(&call("request", me, &ask(&[]), "").1["grant"]);
    said.extend([call("cancel", me, &["cancel", &cancelled], "")]);
    said.extend([call("request --print", me, &ask(&["--print", "--", "id"]), "")]);
    let text = root.run_as(me, ["bash", "-c", "jitctl request --role json --reason x --print -- id"]).stdout;
    root.command(you, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"])
        .cwd(&approver.home)
        .run()
        .succeeded();
    let key = root.read(&format!("{}/key.pub", approver.home));
    root.write("/etc/jit-sudo/approvers", 0o644, format!("{you} {key}"));
    let private = format!("{}/key", approver.home);
    let sign = ["approve", "-", "--key", &private, "--as", you];
    let approval = root.command(you, [&["jitctl"][..], &sign].concat()).stdin(&text).run().stdout;
    said.extend([
        call("show -", "carol", &["show", "-"], &text),
        call("approve -", you, &sign, &text),
        call("import", "carol", &["import"], &approval),
        call("deny -", you, &["deny", "-", "--key", &private, "--as", you, "--reason", "no"], &text),
        call("revoke", "root", &["revoke", "--all", "--reason", "enough"], ""),
    ]);
    root.run_as(me, ["jit-sudo", "--break-glass", "--reason", "it burns", "id", "-u"]).succeeded();
    said.extend([
        call("review", you, &["review"], ""),
        call("review --unused", "root", &["review", "--unused", "1d"], ""),
        call("review --recertify", "root", &["review", "--recertify", "json", "--confirm", "--comment", "fine"], ""),
        call("policy check", "root", &["policy", "check"], ""),
        call("policy import", "root", &["policy", "import", "/etc/sudoers.d/json"], ""),
        call("policy show", "root", &["policy", "show"], ""),
        call("policy test", "root", &[&["policy", "test", "--user", me][..], &command].concat(), ""),
        call("audit list", "root", &["audit", "list"], ""),
        call("audit show", "root", &["audit", "show", &pending], ""),
        call("audit verify", "root", &["audit", "verify"], ""),
        call("audit prove", "root", &["audit", "prove", "1"], ""),
    ]);
    let proof = |words: &str| root.script(&format!("jitctl audit prove {words}"));
    let (record, growth) = (proof("1"), proof("--consistency 0"));
    let host = growth.lines().find_map(|line| line.strip_prefix("jit-sudo/")).unwrap().to_owned();
    let key = root.script("jitctl key show | head -n 1");
    let cosign = ["witness", "cosign", "--state", "/tmp/json-witness", "--host-key", key.trim()];
    said.extend([
        call("audit check-proof", me, &["audit", "check-proof", "-", "--host-key", key.trim()], &record),
        call("witness key", me, &["witness", "key", "--state", "/tmp/json-witness", "--name", "json"], ""),
        call("witness cosign", me, &cosign, &growth),
        call("witness size", me, &["witness", "size", "--state", "/tmp/json-witness", &host], ""),
        call("audit search", "root", &["audit", "search", "burns"], ""),
        call("audit export", "root", &["audit", "export", "--output", "/tmp/exported.jsonl"], ""),
        call("audit prune", "root", &["audit", "prune", "--keep", "400d"], ""),
        call("key init", "root", &["key", "init"], ""),
        call("key show", "root", &["key", "show"], ""),
        call("backup", "root", &["backup", "/root/json.db"], ""),
        call("restore", "root", &["restore", "/root/json.db"], ""),
        call("key accept", "root", &["key", "accept", "--reason", "x"], ""),
        call("sweep", "root", &["sweep"], ""),
    ]);
    // Its exit status depends on the state of the host.
    said.insert("doctor", root.as_root(["jitctl", "--json", "doctor"]).json());
    let mut session = root.pty_as("root", ["jit-sudo", "-n", "sh", "-c", "echo a needle; exec sleep 1000"]);
    session.expect("a needle");
    let (verb, sessions) = call("session list", "root", &["session", "list"], "");
    let run = sessions["sessions"][0]["run"].as_str().unwrap().to_owned();
    said.insert(verb, sessions);
    let act = |verb: &'static str, act: &str| call(verb, "root", &["session", act, &run, "--reason", "x"], "");
    said.extend([
        call("watch", "root", &["watch", &run], ""),
        act("session freeze", "freeze"),
        act("session thaw", "thaw"),
        act("session kill", "kill"),
    ]);
    session.wait();
    said.extend([
        call("replay", "root", &["replay", &run], ""),
        call("audit search --recordings", "root", &["audit", "search", "needle", "--recordings"], ""),
        call("key rotate", "root", &["key", "rotate", "--yes", "--reason", "x"], ""),
    ]);
    said
}

#[test]
fn every_verb_prints_one_object_as_it_is_documented() {
    let root = own_root();
    root.add_policy("json", POLICY);
    let (person, approver) = (root.person(&["json"]), root.person(&["approvers"]));
    let mut said = calls(&root, &person, &approver);
    // Nothing else could be tried after it.
    let retire = ["jitctl", "--json", "key", "retire", "--yes", "--reason", "x"];
    said.insert("key retire", own_root().as_root(retire).json());
    let rows = table("# What", "| verb |");
    for verb in VERBS {
        let value = &said[verb];
        let (key, value) = match value.as_object().map(|object| object.iter().collect::<Vec<_>>()) {
            Some(pairs) if pairs.len() == 1 => pairs[0],
            _ => panic!("{verb}: not one key: {value}"),
        };
        let row = rows.iter().find(|row| words(row[0]).contains(&verb.to_owned()) && words(row[1]).contains(key));
        let row = row.unwrap_or_else(|| panic!("docs/json.md does not say that {verb} prints {key}"));
        let section = row[2].split("](#").nth(1).and_then(|link| link.split(')').next());
        if let Some(section) = section {
            check(verb, value, section);
        }
    }
    let refused = root.run_as(&person.name, ["jitctl", "--json", "show", "zzzzzzzzzz"]);
    refused.exited(1);
    check("error", &refused.json()["error"], "error");
    assert_eq!(refused.json()["error"]["exit"], 1);
    let usage = root.run_as(&person.name, ["jitctl", "--json", "show"]);
    usage.exited(2);
    check("error", &usage.json()["error"], "error");
    let pending = request(&root, &person, "json", &[]);
    assert_eq!(pending["state"], "pending");
}
