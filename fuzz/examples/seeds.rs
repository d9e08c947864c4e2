//! Writes the seeds that require code, because they are signed or linked: `cargo run --example seeds` in `fuzz/`. The
//! others are written by hand.

use std::fs;
use std::path::Path;

use jit_core::escape::hex;
use jit_core::evidence::checkpoint::{self, Statement};
use jit_core::evidence::note::signed_by_host;
use jit_core::evidence::tree::Frontier;
use jit_core::evidence::{Mark, Record, TreeHead};
use jit_core::grant::sshsig::{Namespace, armor, sign};
use jit_core::grant::statement::StatementKind;
use jit_core::grant::terms::{CommandTerms, Extensions, Flag, VERSION, encode};
use jit_core::grant::{
    ApprovalTerms, GrantTerms, HostDescriptor, HostKey, PublicKey, RequestTerms, StatementTerms, digest,
};
use jit_core::names::UserName;
use jit_core::policy::{Policy, PolicyText, RolePower};
use jit_core::samples;
use jit_core::wire::{Document, Failure, Frame, KeyShow, Question, Reply, RequestDocument};
use jit_core::clock::duration::Seconds;
use serde::Serialize;

fn main() {
    let power = power();
    let bytes = power.encode().expect("a role");
    seed("policy", "power", &bytes);
    let request = request(&bytes);
    terms(&request);
    documents(&request, &bytes);
    signatures();
    journal();
    wire();
    keys();
}

fn seed(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&place).expect("a directory");
    fs::write(place.join(name), bytes).expect("a file");
}

fn host() -> HostDescriptor {
    HostDescriptor::of(&HostKey::from_seed([samples::HOST_SEED; 32]), "web1", "machine")
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a name")
}

fn power() -> RolePower {
    let text =
        "[roles.web-ops]\neligible=[\"alice\"]\ncommands=[\"/usr/bin/systemctl restart nginx\"]\nenv_keep=[\"LC_*\"]\n";
    let files = [PolicyText { path: "p".into(), text: text.to_owned() }];
    RolePower::of(&Policy::parse(&files).map_err(|error| error.to_string()).expect("a policy").roles()[0])
}

fn command() -> CommandTerms {
    CommandTerms {
        argv: vec!["/usr/bin/systemctl".into(), "restart".into(), "\u{1b}[2J\"\\".into()],
        cwd: "/home/alice".into(),
        environment: vec!["LC_ALL=C".into()],
        path: "/usr/bin/systemctl".into(),
        program: "03".repeat(32),
        run_as_gid: 0,
        run_as_groups: vec![0, 27],
        run_as_uid: 0,
    }
}

fn request(role: &[u8]) -> RequestTerms {
    RequestTerms {
        break_glass: Flag::No,
        command: Some(command()),
        created: 1_800_000_000,
        critical: Vec::new(),
        deadline: 1_800_086_400,
        duration: Seconds(3600),
        exact: Flag::Yes,
        extends: None,
        extensions: Extensions::new(),
        host: host(),
        id: samples::grant(),
        needed: 1,
        one_shot: Flag::No,
        reason: "OPS-1: nginx hangs".into(),
        role: samples::role(),
        role_digest: hex(&digest(role)),
        run_as: user("root"),
        start: 0,
        ticket: "".into(),
        uid: 1000,
        user: user("alice"),
        version: VERSION,
    }
}

fn approval(request: &RequestTerms) -> ApprovalTerms {
    ApprovalTerms {
        approver: user("bob"),
        at: 1_800_000_060,
        comment: "fine".into(),
        critical: Vec::new(),
        duration: Seconds(900),
        exact: Flag::No,
        extensions: [("x".to_owned(), "y".to_owned())].into(),
        host: host().id,
        id: request.id.clone(),
        one_shot: Flag::Yes,
        request: hex(&digest(&encode(request).expect("terms"))),
        role_digest: request.role_digest.clone(),
        version: VERSION,
    }
}

fn denial(request: &RequestTerms) -> StatementTerms {
    StatementTerms {
        at: 1_800_000_060,
        by: user("bob"),
        critical: Vec::new(),
        extensions: Extensions::new(),
        follows: None,
        host: host().id,
        id: request.id.clone(),
        kind: StatementKind::Denial,
        reason: "not today".into(),
        request: hex(&digest(&encode(request).expect("terms"))),
        version: VERSION,
    }
}

fn grant(request: &RequestTerms) -> GrantTerms {
    GrantTerms {
        approvals: vec![hex(&digest(b"approval"))],
        approvers: vec![user("bob")],
        boot_deadline: 3_600_000_000,
        boot_id: samples::moment(1).boot_id,
        break_glass: Flag::Yes,
        command: request.command.clone(),
        critical: Vec::new(),
        exact: Flag::Yes,
        expires: 1_800_003_600,
        extends: Some(request.id.clone()),
        extensions: Extensions::new(),
        host: host().id,
        id: request.id.clone(),
        issued: 1_800_000_000,
        one_shot: Flag::No,
        request: hex(&digest(&encode(request).expect("terms"))),
        role: request.role.clone(),
        role_digest: request.role_digest.clone(),
        run_as: request.run_as.clone(),
        starts: 1_800_000_000,
        this_boot: Flag::Yes,
        uid: 1000,
        user: request.user.clone(),
        version: VERSION,
    }
}

fn terms(request: &RequestTerms) {
    let whole_role = RequestTerms { command: None, exact: Flag::No, break_glass: Flag::Yes, ..request.clone() };
    seed("terms", "request", encode(request).expect("terms"));
    seed("terms", "request-role", encode(&whole_role).expect("terms"));
    seed("terms", "approval", encode(&approval(request)).expect("terms"));
    seed("terms", "denial", encode(&denial(request)).expect("terms"));
    seed("terms", "grant", encode(&grant(request)).expect("terms"));
    seed("terms", "version-1", "{\"version\":1}");
    seed(
        "terms",
        "critical",
        encode(&ApprovalTerms { critical: vec!["x".into()], ..approval(request) }).expect("terms"),
    );
}

fn signed(seed: u8, purpose: Namespace, body: &[u8]) -> String {
    armor(&sign(&samples::key(seed), purpose, body))
}

fn documents(request: &RequestTerms, role: &[u8]) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    let document = RequestDocument {
        critical: Vec::new(),
        extensions: Extensions::new(),
        request: text(encode(request).expect("terms")),
        role: text(role.to_vec()),
        version: VERSION,
    };
    let body = text(encode(&document).expect("a document"));
    let signature = signed(samples::HOST_SEED, Namespace::Request, body.as_bytes());
    seed("documents", "request", armored("REQUEST", &body, &signature));
    for (name, word, purpose, body) in [
        ("approval", "APPROVAL", Namespace::Approval, encode(&approval(request)).expect("terms")),
        ("denial", "STATEMENT", Namespace::Statement, encode(&denial(request)).expect("terms")),
    ] {
        let signature = signed(1, purpose, &body);
        let body = text(body);
        seed("documents", &format!("{name}-plain"), format!("{body}{signature}"));
        let armored = armored(word, &body, &signature);
        let mail: String = armored.lines().map(|line| format!("> {line}\n")).collect();
        seed("documents", name, armored);
        seed("documents", &format!("{name}-mail"), format!("please:\n{mail}bye\n"));
    }
}

fn armored(word: &str, body: &str, signature: &str) -> String {
    let again =
        jitctl::readers::document_of(word, &Document { body: body.to_owned(), signature: Some(signature.to_owned()) });
    again.expect("a kind of document")
}

fn signatures() {
    for (name, purpose) in [("grant", Namespace::Grant), ("approval", Namespace::Approval)] {
        let blob = sign(&samples::key(1), purpose, b"message");
        seed("sshsig", &format!("{name}-armor"), armor(&blob));
        seed("sshsig", name, blob);
    }
    let key = HostKey::from_seed([1; 32]);
    seed("sshsig", "host-key", key.to_openssh(7));
    seed("sshsig", "public-key", key.public_line());
}

fn keys() {
    let key = PublicKey::Plain(samples::key(1).verifying_key().to_bytes());
    let line = HostKey::from_seed([1; 32]).public_line();
    let words = line.trim_end_matches(" jit-sudo host key");
    assert_eq!(HostKey::from_seed([1; 32]).public_key(), key);
    seed("approvers", "plain", format!("# keys\nbob {words} bob@laptop\nalice,carol\t{words}\r\n"));
    let options =
        "namespaces=\"jit-sudo/*,!jit-sudo/grant/v1\",valid-after=\"20270101\",valid-before=\"20301231235959Z\"";
    seed("approvers", "options", format!("\"bob\" {options} {words}\n"));
    let host = HostDescriptor::of(&HostKey::from_seed([1; 32]), "web1", "machine");
    seed("approvers", "known-hosts", format!("# hosts\n{} {} {} seen=2026-11-28\n", host.name, host.key, host.id));
}

fn journal() {
    let records = samples::chain(6);
    let mut export = String::new();
    for (_, body, _) in &records {
        export.push_str(body);
        export.push('\n');
    }
    let (seq, _, head) = records.last().expect("records");
    let mut tree = Frontier::default();
    records.iter().for_each(|(_, _, head)| tree.push(*head, |_| ()));
    let TreeHead { size, root } = tree.head();
    let (at, version, key) = (1_800_000_007, checkpoint::VERSION, HostKey::from_seed([samples::HOST_SEED; 32]));
    let statement = Statement { at, head: *head, host: host().id, root, seq: *seq, size, version };
    let note = signed_by_host(&key, &statement.host, &statement.tree()).expect("a note").to_string();
    let statement = encode(&statement).expect("a statement");
    let line = serde_json::json!({
        "checkpoint": String::from_utf8_lossy(&statement),
        "kind": "checkpoint",
        "note": note,
        "seq": seq,
        "signature": signed(samples::HOST_SEED, Namespace::Checkpoint, &statement),
    });
    seed("journal", "checkpoint", &statement);
    seed("journal", "note", &note);
    seed("journal", "export", format!("{export}{line}\n"));
    seed("journal", "pruned", format!("{line}\n"));
    seed("journal", "mark", format!("{}\n", Mark { seq: *seq, hash: *head }));
    let syslog =
        format!("Jan 15 web1 jit-sudo[42]: @cee: {{\"seq\":{seq},\"head\":\"{head}\",\"record\":{{\"seq\":3}}}}\n");
    seed("journal", "syslog", syslog);
    for (name, event) in ["start", "end", "policy", "grant", "alert", "prune"].into_iter().zip([0, 1, 3, 8, 11, 18]) {
        let record = Record::new(7, *head, &samples::moment(7), "web1", samples::events().swap_remove(event));
        seed("journal", name, record.encode().expect("a record"));
    }
}

fn wire() {
    let asks = [
        r#"{"verb":"roles"}"#,
        r#"{"verb":"why","user":"alice","command":["/usr/bin/id","-u"],"run_as":"root"}"#,
        r##"{"verb":"request","role":"web-ops","duration":900,"reason":"x","run_as":"#0","command":["ls","\\x1b"],"break_glass":true}"##,
        r#"{"verb":"revoke","target":{"user":"alice"},"reason":"enough"}"#,
        r#"{"verb":"revoke","target":"all","reason":"enough"}"#,
        r#"{"verb":"approve","id":"0o","duration":60,"one_shot":true,"comment":"fine"}"#,
        r#"{"verb":"audit-list","after":0,"limit":50,"newest":true,"kind":"start","filter":{"role":"web-ops"}}"#,
        r#"{"verb":"audit-verify","anchor":[{"seq":7,"head":"00"}],"keys":["ssh-ed25519 AAAA"]}"#,
        r#"{"verb":"review-certify","role":"r","holder":"%wheel","verdict":"confirm","comment":""}"#,
        r#"{"verb":"recording","run":"0123456789ab","purpose":"replay"}"#,
        r#"{"verb":"membership","holder":{"user":"alice"},"wait":5}"#,
    ];
    for (number, ask) in asks.into_iter().enumerate() {
        if let Err(error) = serde_json::from_str::<Question>(ask) {
            eprintln!("{ask}: {error}");
        }
        seed("wire", &format!("ask-{number:02}"), ask);
    }
    let failure =
        Failure { code: "unknown-id".into(), message: "no such request".into(), hint: Some("x".into()), exit: 1 };
    said("failure", &Reply::<KeyShow>::Error(failure));
    said("frame", &Frame::Bytes(7));
    seed("wire", "answer-ended", r#"{"ok":{"ended":["0123456789"]}}"#);
    seed(
        "wire",
        "answer-key",
        r#"{"ok":{"host-key":{"public_key":"ssh-ed25519 AAAA","fingerprint":"SHA256:x","created":true}}}"#,
    );
}

fn said(name: &str, said: &impl Serialize) {
    seed("wire", name, serde_json::to_string(said).expect("it is written"));
}
