//! Approvals that are signed with a key of the approver on another machine, and imported by any user.

use std::sync::{Mutex, OnceLock};

use harness::{Output, Person, PrivateRoot};
use jit_core::grant::HostKey;
use jit_core::grant::sshsig::Namespace;
use serde_json::{Value, json};

use crate::{granted, id, kinds, own_root, records_of, request};

const POLICY: &str = r#"
[roles.signed]
eligible     = ["%signed"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.signed.activation]
require_approval = true
approvers        = ["%signers"]
signed_approvals = true

[roles.signed-twice]
eligible     = ["%signed"]
commands     = ["/usr/bin/true"]
authenticate = false

[roles.signed-twice.activation]
require_approval = true
approvers        = ["%signers"]
approvals        = 2
signed_approvals = true
"#;

/// Returns a root for one test with two roles that require signed approvals, and an empty list of keys.
pub(crate) fn signed_root() -> PrivateRoot {
    let root = own_root();
    root.add_policy("signed", POLICY);
    root
}

/// Returns the root for tests that only add keys.
pub(crate) fn shared() -> &'static PrivateRoot {
    static ROOT: OnceLock<PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(signed_root)
}

/// Adds keys to the list of the shared root.
pub(crate) fn enlist(lines: &[String]) {
    static LISTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut listed = LISTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    listed.extend_from_slice(lines);
    list(shared(), &listed);
}

/// Creates a key in the user's home; returns its public line.
pub(crate) fn key(root: &PrivateRoot, person: &Person, name: &str) -> String {
    let words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", name];
    root.command(&person.name, words).cwd(&person.home).run().succeeded();
    root.read(&format!("{}/{name}.pub", person.home)).trim().to_owned()
}

/// Installs the list of approvers' keys.
pub(crate) fn list(root: &PrivateRoot, lines: &[String]) {
    root.write("/etc/jit-sudo/approvers", 0o644, lines.join("\n") + "\n");
}

/// Creates an approver with a key, and returns the line for the list.
pub(crate) fn signer(root: &PrivateRoot) -> (Person, String) {
    let person = root.person(&["signers"]);
    let line = format!("{} namespaces=\"jit-sudo/approval/v1\" {}", person.name, key(root, &person, "key"));
    (person, line)
}

/// Runs jitctl as the user in their home, with a text on standard input.
pub(crate) fn jitctl(root: &PrivateRoot, person: &Person, words: &[&str], text: &str) -> Output {
    root.command(&person.name, [&["jitctl"][..], words].concat()).cwd(&person.home).stdin(text).run()
}

/// Returns the approval of `request` as a text, made as on another machine.
pub(crate) fn approval(root: &PrivateRoot, approver: &Person, request: &str, more: &[&str]) -> String {
    let words = [&["approve", "-", "--key", "key", "--as", &approver.name][..], more].concat();
    let output = jitctl(root, approver, &words, request);
    output.succeeded();
    output.stdout
}

/// Creates a request by an eligible user; returns its text and id.
pub(crate) fn printed(root: &PrivateRoot, person: &Person, role: &str, more: &[&str]) -> (String, String) {
    let grant = id(&request(root, person, role, more));
    let output = jitctl(root, person, &["show", &grant, "--print"], "");
    output.succeeded();
    (grant, output.stdout)
}

#[test]
fn an_approval_from_another_machine_counts_whoever_imports_it() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let output = jitctl(root, &person, &["request", "--role", "signed", "--reason", "needed", "--print", "id"], "");
    let text = output.stdout.clone();
    output.succeeded();

    let shown = jitctl(root, &approver, &["show", "-"], &format!("please\n{text}\nthanks"));
    for part in ["web1", "SHA256:", "needed", "/usr/bin/id", "/usr/bin/id **", &person.name] {
        assert!(shown.succeeded().contains(part), "{part}: {shown:?}");
    }
    let approved = approval(root, &approver, &text, &["--for", "10m", "--comment", "fine"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    let carrier = root.user("carol");
    let said = jitctl(root, &carrier, &["import"], &approved);
    assert!(said.succeeded().contains("approved") && said.stdout.contains("SHA256:"), "{said:?}");
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");

    let records = records_of(root, &approver);
    assert_eq!(kinds(&records), ["approval"]);
    assert!(records[0].text("key").starts_with("SHA256:"), "{}", records[0].body);
    assert_eq!(records[0].number("duration"), 600);
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn on_the_host_one_step_signs_and_an_unsigned_approval_is_rejected() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let grant = id(&request(root, &person, "signed", &["--", "id"]));
    jitctl(root, &approver, &["approve", &grant], "").refused("signed approvals only");
    let said = jitctl(root, &approver, &["approve", &grant, "--key", "key", "--one-shot"], "");
    assert!(said.succeeded().contains("the grant is active"), "{said:?}");
    let shown = jitctl(root, &person, &["show", &grant], "");
    assert!(shown.succeeded().contains("signed with SHA256:"), "{shown:?}");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn a_signer_reads_what_the_grant_will_give() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (grant, text) = printed(root, &person, "signed", &["--", "/usr/bin/id", "-u", "it's"]);
    let elsewhere = ["approve", "-", "--key", "key", "--as", &approver.name];
    let wide = jitctl(root, &approver, &elsewhere, &text);
    let told = [
        format!("signing the approval of request {grant}: role signed for {}, 1h", person.name),
        "gives EVERY command of the role, as root:".to_owned(),
        "  /usr/bin/id **".to_owned(),
        r"asked for with this command: /usr/bin/id -u 'it'\''s'".to_owned(),
        "reason: ".to_owned(),
        "approvals needed: 1".to_owned(),
        "host key SHA256:".to_owned(),
    ];
    for part in &told {
        assert!(wide.stderr.contains(part), "{part}: {wide:?}");
    }
    let narrow = ["approve", &grant, "--key", "key", "--exact", "--one-shot", "--for", "5m"];
    let narrow = jitctl(root, &approver, &narrow, "");
    narrow.succeeded();
    assert!(narrow.stderr.contains(r"gives this very command: /usr/bin/id -u 'it'\''s'"), "{narrow:?}");
    assert!(narrow.stderr.contains(", 5m, for one run") && !narrow.stderr.contains("EVERY"), "{narrow:?}");
}

#[test]
fn plain_ssh_keygen_signs_as_well() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (_, text) = printed(root, &person, "signed", &["--", "id"]);
    let place = format!("/home/{}-request", approver.name);
    root.write(&place, 0o644, &text);
    let script = format!(
        "cd; jitctl approve - --unsigned --as {} < {place} > approval 2>/dev/null
         ssh-keygen -q -Y sign -f key -n jit-sudo/approval/v1 approval
         jitctl import approval approval.sig",
        approver.name
    );
    root.run_as(&approver.name, ["bash", "-euc", &script]).succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn everything_signed_verifies_with_stock_ssh_keygen() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (grant, text) = printed(root, &person, "signed", &["--", "id"]);
    let approved = approval(root, &approver, &text, &[]);
    jitctl(root, &person, &["import"], &approved).succeeded();
    let said = jitctl(root, &person, &["show", &grant, "--export", "evidence"], "");
    let open = format!("cd; umask 0; jitctl show {grant} --export open >&2; stat -c %a open open/*");
    let modes = root.run_as(&person.name, ["sh", "-c", &open]);
    let modes: std::collections::BTreeSet<&str> = modes.succeeded().lines().collect();
    assert_eq!(modes.into_iter().collect::<Vec<_>>(), ["644", "755"], "others change nothing, whatever the umask");
    let lines: Vec<&str> = said.succeeded().lines().filter(|line| line.starts_with("ssh-keygen")).collect();
    assert_eq!(lines.len(), 3, "{said:?}");
    assert!(
        said.stdout.starts_with("cd evidence; then ") && said.stdout.contains("\nsha256sum -c sha256sums\n"),
        "{said:?}"
    );
    assert!(lines.iter().all(|line| line.contains(" -f signers ")), "the directory is enough: {said:?}");
    let digests = |before: &str| {
        let words = format!("cd {}/evidence && {before} && sha256sum -c sha256sums", person.home);
        root.as_root(["bash", "-c", &words])
    };
    assert!(digests("true").succeeded().contains("request.json: OK"));
    assert!(digests("true").succeeded().contains("role.json: OK"));
    for file in ["request.json", "role.json"] {
        let altered = digests(&format!("cp {file} /tmp/kept && echo >>{file}"));
        assert!(altered.stdout.contains(&format!("{file}: FAILED")), "{altered:?}");
        digests(&format!("cat /tmp/kept >{file}")).succeeded();
    }
    for line in lines {
        let words = format!("cd {}/evidence && {line}", person.home);
        let judged = root.run_as("bob", ["bash", "-c", &words]);
        assert!(judged.status.success() && judged.stdout.contains("Good"), "{words}: {judged:?}");
        let (check, file) = words.split_once(" < ").unwrap();
        let altered = root.run_as("bob", ["bash", "-c", &format!("{check} < <(tr 0 1 < {file})")]);
        assert!(!altered.status.success(), "{altered:?}");
    }
    // What was signed names the other files: none can be changed, taken away or exchanged.
    let all = |directory: &str| {
        let commands: String = said.stdout.lines().skip(1).map(|line| format!("{line} || exit 1\n")).collect();
        root.as_root(["bash", "-c", &format!("cd {}/{directory}\n{commands}", person.home)])
    };
    all("evidence").succeeded();
    let (other, text) = printed(root, &person, "signed", &["--", "id"]);
    jitctl(root, &person, &["import"], &approval(root, &approver, &text, &[])).succeeded();
    jitctl(root, &person, &["show", &other, "--export", "other"], "").succeeded();
    let theirs = format!("approval-{}.json", approver.name);
    let sums = "sha256sum request.json role.json >sha256sums";
    for change in [
        format!("sed -i 's/\"comment\":\"/&x/' {theirs}"),
        format!("rm {theirs}"),
        format!("cp ../other/{theirs} ../other/{theirs}.sig ."),
        format!("sed -i 's/\"reason\":\"/&x/' request.json; {sums}"),
        format!("sed -i 's,id,sh,' role.json; {sums}"),
        "cp ../other/document.json* ../other/request.json ../other/role.json ../other/sha256sums .".to_owned(),
        "cp ../other/grant.json* .".to_owned(),
    ] {
        root.script(&format!("cd {}; rm -rf changed; cp -r evidence changed; cd changed; {change}", person.home));
        let judged = all("changed");
        assert!(!judged.status.success(), "{change}: {judged:?}");
    }
    // The parts hang together by their digests.
    let digest = |file: &str| {
        let path = format!("{}/evidence/{file}", person.home);
        root.as_root(["sha256sum", &path]).succeeded().split(' ').next().unwrap_or_default().to_owned()
    };
    let signed = root.read(&format!("{}/evidence/grant.json", person.home));
    assert!(signed.contains(&digest("request.json")), "{signed}");
    assert!(signed.contains(&digest(&format!("approval-{}.json", approver.name))), "{signed}");
    jitctl(root, &person, &["show", &grant, "--export", "evidence"], "").refused("evidence");
}

#[test]
fn a_replayed_or_foreign_approval_changes_nothing() {
    let root = signed_root();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(&root));
    let (second, second_line) = signer(&root);
    list(&root, &[line, second_line]);
    let (twice, text) = printed(&root, &person, "signed-twice", &["--", "true"]);
    let approved = approval(&root, &approver, &text, &[]);
    jitctl(&root, &person, &["import"], &approved).succeeded();
    // The same again, and again with another comment, by the same approver.
    jitctl(&root, &person, &["import"], &approved).refused("already");
    let again = approval(&root, &approver, &text, &["--comment", "again"]);
    jitctl(&root, &person, &["import"], &again).refused("already");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).refused("");
    let other = approval(&root, &second, &text, &[]);
    jitctl(&root, &person, &["import"], &other).succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    jitctl(&root, &person, &["import"], &other).refused("not pending");

    // An old approval does not apply to a new request, and not to a cancelled one.
    let (cancelled, text) = printed(&root, &person, "signed", &[]);
    let late = approval(&root, &approver, &text, &[]);
    jitctl(&root, &person, &["cancel", &cancelled], "").succeeded();
    jitctl(&root, &person, &["import"], &late).refused("not pending");

    // Another host, even one with the same people, keys and requests.
    let (_, text) = printed(&root, &person, "signed", &[]);
    let foreign = approval(&root, &approver, &text, &[]);
    root.script("rm /var/lib/jit-sudo/host_key* && jitctl key init");
    jitctl(&root, &person, &["import"], &foreign).refused("another host");
    assert!(!twice.is_empty());
}

#[test]
fn a_signature_of_a_wrong_key_purpose_or_text_is_refused() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    key(root, &approver, "stranger");
    enlist(&[line]);
    let (_, text) = printed(root, &person, "signed", &["--", "id"]);
    let place = format!("/home/{}-request", approver.name);
    root.write(&place, 0o644, &text);
    let import = |script: &str| {
        let whole = format!(
            "cd; jitctl approve - --unsigned --as {} < {place} > approval 2>/dev/null; rm -f approval.sig
             {script}
             jitctl import approval approval.sig",
            approver.name
        );
        root.run_as(&approver.name, ["bash", "-euc", &whole])
    };
    let sign = |key: &str, purpose: &str| format!("ssh-keygen -q -Y sign -f {key} -n {purpose} approval");
    import(&sign("stranger", "jit-sudo/approval/v1")).refused("is not theirs");
    import(&sign("key", "jit-sudo/grant/v1")).refused("another purpose");
    import(&sign("key", "file")).refused("another purpose");
    import(&format!("{}; sed -i 's/\"one_shot\":0/\"one_shot\":1/' approval", sign("key", "jit-sudo/approval/v1")))
        .refused("does not match");
    import(&format!("echo >> approval; {}", sign("key", "jit-sudo/approval/v1"))).refused("not an approval");
    import("ssh-keygen -q -t rsa -N '' -f rsa; ssh-keygen -q -Y sign -f rsa -n jit-sudo/approval/v1 approval")
        .refused("not in OpenSSH's format");
    // None of these attempts was recorded, and nothing runs.
    assert!(records_of(root, &approver).is_empty());
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    import(&sign("key", "jit-sudo/approval/v1")).succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn an_approval_of_another_role_text_or_of_another_time_is_refused() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (grant, text) = printed(root, &person, "signed", &["--", "id"]);
    let place = format!("/home/{}-request", approver.name);
    root.write(&place, 0o644, &text);
    let import = |change: &str| {
        let whole = format!(
            "cd; jitctl approve - --unsigned --as {} < {place} 2>/dev/null | sed '{change}' > approval; rm -f approval.sig
             ssh-keygen -q -Y sign -f key -n jit-sudo/approval/v1 approval; jitctl import approval approval.sig",
            approver.name
        );
        root.run_as(&approver.name, ["bash", "-euc", &whole])
    };
    let other = format!("the approval is for another text of role signed than request {grant} names");
    import(&format!("s/\"role_digest\":\"[^\"]*\"/\"role_digest\":\"{}\"/", "0".repeat(64))).refused(&other);
    import("s/\"role_digest\":\"[^\"]*\"/\"role_digest\":\"anything at all\"/").refused(&other);
    import("s/\"at\":[0-9]*/\"at\":0/").refused(&format!("the approval of {grant} is dated before what it is about"));
    import("s/\"at\":[0-9]*/\"at\":99999999999/").refused("is dated in the future");
    assert!(records_of(root, &approver).is_empty());
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    import("").succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn unknown_keys_of_an_approval_or_a_denial_are_shown() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (_, text) = printed(root, &person, "signed", &["--", "id"]);
    let place = format!("/home/{}-request", approver.name);
    root.write(&place, 0o644, &text);
    let shown = |make: &str, purpose: &str, label: &str| {
        let whole = format!(
            "cd; {make} | sed 's/\"extensions\":{{}}/\"extensions\":{{\"sudden\":\"\u{202e}now\"}}/' > body; rm -f body.sig
             ssh-keygen -q -Y sign -f key -n {purpose} body
             {{ echo '-----BEGIN JIT-SUDO {label}-----'; base64 body; echo '-----END JIT-SUDO {label}-----'; cat body.sig; }} |
             jitctl show -"
        );
        root.run_as(&approver.name, ["bash", "-euc", &whole]).succeeded().to_owned()
    };
    let unsigned = format!("jitctl approve - --unsigned --as {} <{place} 2>/dev/null | tr -d '\\n'", approver.name);
    let denied = format!(
        "jitctl deny - --key key --reason x --as {} <{place} 2>/dev/null | sed -n '/^-----BEGIN JIT/,/^-----END JIT/p' | grep -v -e ----- | base64 -d",
        approver.name
    );
    for (make, purpose, label) in
        [(unsigned, "jit-sudo/approval/v1", "APPROVAL"), (denied, "jit-sudo/statement/v1", "STATEMENT")]
    {
        let said = shown(&make, purpose, label);
        assert!(
            said.lines().any(|line| line.starts_with("unknown") && line.contains("sudden = ") && line.ends_with("now")),
            "{label}: {said}"
        );
        assert!(!said.contains('\u{202e}'), "{label}: {said}");
    }
}

#[test]
fn a_request_that_was_altered_on_its_way_is_not_shown() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (_, text) = printed(root, &person, "signed", &["--", "id"]);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[2] = lines[2].chars().rev().collect();
    for words in [&["show", "-"][..], &["approve", "-", "--key", "key"]] {
        jitctl(root, &approver, words, &lines.join("\n")).refused("");
        jitctl(root, &approver, words, "no such thing").refused("no request or approval");
    }
}

#[test]
fn grants_by_a_removed_or_expired_key_are_invalid() {
    let root = signed_root();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(&root));
    let (_, other) = signer(&root);
    list(&root, &[line.clone(), other.clone()]);
    let grant = id(&request(&root, &person, "signed", &["--", "id"]));
    jitctl(&root, &approver, &["approve", &grant, "--key", "key"], "").succeeded();
    let works = || root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded().to_owned();
    let refused = |sentence: &str| {
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused(sentence);
    };
    works();
    list(&root, std::slice::from_ref(&other));
    refused("is not theirs");
    list(&root, std::slice::from_ref(&line));
    works();
    list(&root, &[line.replace("namespaces", "valid-before=\"20260101Z\",namespaces")]);
    refused("is no longer valid");
    list(&root, &[line.replace("approval/v1", "approval/v2")]);
    refused("is not for approvals");
    // A list that other users could have written, or that cannot be parsed, does not count.
    list(&root, &[line.clone(), "bob cert-authority ssh-ed25519 AAAA".to_owned()]);
    refused("/etc/jit-sudo/approvers:2");
    root.as_root(["jitctl", "policy", "check"]).refused("/etc/jit-sudo/approvers:2");
    list(&root, std::slice::from_ref(&line));
    root.script("chmod o+w /etc/jit-sudo/approvers");
    refused("approvers");
    root.script("rm /etc/jit-sudo/approvers");
    refused("is not theirs");
    let check = root.as_root(["jitctl", "policy", "check"]);
    assert!(check.succeeded().contains("nobody has a key"), "{check:?}");
    // Other roles are not affected.
    let other = granted(&root, "self-service");
    root.run_as(&other.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn a_requester_cannot_approve_with_their_own_key() {
    let root = shared();
    let both = root.person(&["signed", "signers"]);
    let (approver, line) = signer(root);
    let own = format!("{} {}", both.name, key(root, &both, "key"));
    let public = own.split_once(' ').map(|(_, words)| words.to_owned()).unwrap_or_default();
    enlist(&[line.clone(), own.clone()]);
    let (_, text) = printed(root, &both, "signed", &["--", "id"]);
    let approved = approval(root, &both, &text, &[]);
    jitctl(root, &both, &["import"], &approved).refused("their own request");
    // The same key under another name still counts as the requester's.
    enlist(&[line, own, format!("{} {public}", approver.name)]);
    let output = jitctl(root, &both, &["approve", "-", "--key", "key", "--as", &approver.name], &text);
    output.succeeded();
    jitctl(root, &both, &["import"], &output.stdout).refused("requester's key");
    root.run_as(&both.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn one_key_counts_as_one_person_and_only_approvers_can_sign() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    let (second, _) = signer(root);
    let outsider = root.person(&[]);
    let public = line.rsplit_once("\" ").map(|(_, words)| words.to_owned()).unwrap_or_default();
    let outside = format!("{} {}", outsider.name, key(root, &outsider, "key"));
    enlist(&[line, format!("{} {public}", second.name), outside]);
    let (_, text) = printed(root, &person, "signed-twice", &["--", "true"]);
    let first = approval(root, &approver, &text, &[]);
    jitctl(root, &person, &["import"], &first).succeeded();
    let words = ["approve", "-", "--key", "key", "--as", &second.name];
    let same = jitctl(root, &approver, &words, &text).stdout;
    jitctl(root, &person, &["import"], &same).refused("same key");
    let foreign = approval(root, &outsider, &text, &[]);
    jitctl(root, &person, &["import"], &foreign).refused("not an approver");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).refused("");
}

#[test]
fn an_approver_elsewhere_narrows_and_never_widens() {
    let root = shared();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let (grant, text) = printed(root, &person, "signed", &["--for", "10m"]);
    for words in [&["--for", "20m"][..], &["--exact"]] {
        let words = [&["approve", "-", "--key", "key"][..], words].concat();
        jitctl(root, &approver, &words, &text).refused("");
    }
    // Changed without jitctl: the host checks again.
    let place = format!("/home/{}-request", approver.name);
    root.write(&place, 0o644, &text);
    for change in ["s/\"duration\":0/\"duration\":1200/", "s/\"exact\":0/\"exact\":1/"] {
        let script = format!(
            "cd; jitctl approve - --unsigned --as {} < {place} 2>/dev/null | sed '{change}' | tr -d '\\n' > approval
             rm -f approval.sig; ssh-keygen -q -Y sign -f key -n jit-sudo/approval/v1 approval
             jitctl import approval approval.sig",
            approver.name
        );
        let output = root.run_as(&approver.name, ["bash", "-c", &script]);
        assert!(output.stderr.contains("only shorten") || output.stderr.contains("no command"), "{output:?}");
    }
    let shown = jitctl(root, &person, &["--json", "show", &grant], "").json();
    assert_eq!(shown["grant"]["state"], "pending", "{shown}");
}

#[test]
fn the_key_of_the_host_does_not_widen_what_an_approver_has_signed() {
    let root = signed_root();
    let (person, (approver, line)) = (root.person(&["signed"]), signer(&root));
    list(&root, &[line]);
    let wanted = id(&request(&root, &person, "signed", &["--for", "30m", "--", "/usr/bin/id", "-u"]));
    let narrow = ["approve", &wanted, "--key", "key", "--exact", "--one-shot", "--for", "10m"];
    jitctl(&root, &approver, &narrow, "").succeeded();
    let database = "/var/lib/jit-sudo/journal.db";
    let sql = |text: &str| root.script(&format!("sqlite3 {database} \"{text}\"")).trim().to_owned();
    let body: Value = serde_json::from_str(&sql("SELECT CAST(body AS TEXT) FROM granted")).unwrap();
    let key = HostKey::from_openssh(&root.read("/var/lib/jit-sudo/host_key")).unwrap();
    let signed = |change: &Value| {
        let mut terms = body.clone();
        terms.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let bytes = terms.to_string().into_bytes();
        let signature = key.sign(Namespace::Grant, &bytes);
        let (starts, expires) = (&terms["starts"], &terms["expires"]);
        sql(&format!(
            "UPDATE granted SET body = x'{}', signature = x'{}', starts = {starts}, expires = {expires}",
            hex(&bytes),
            hex(&signature)
        ));
    };
    let moved = |key: &str, by: i64| body[key].as_i64().unwrap() + by;
    let hours = 8 * 3600;
    let mut command = body["command"].clone();
    command["argv"] = json!(["/usr/bin/id", "-g"]);
    let changes = [
        (json!({"exact": 0}), "-g", "it is not limited to its command"),
        (json!({"one_shot": 0}), "-u", "it is not limited to one run"),
        (
            json!({"expires": moved("expires", hours), "boot_deadline": moved("boot_deadline", hours * 1_000_000)}),
            "-u",
            "it is valid for 8h10m, and 10m were approved",
        ),
        (json!({"command": command}), "-g", "its command is not that of its request"),
        (json!({"starts": moved("starts", -86_400)}), "-u", "it starts at another time"),
    ];
    for (change, argument, sentence) in changes {
        signed(&change);
        let said = root.run_as(&person.name, ["jit-sudo", "-n", "/usr/bin/id", argument]);
        said.refused(sentence);
    }
    signed(&json!({}));
    root.run_as(&person.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    crate::both_say_intact(&root);
}
