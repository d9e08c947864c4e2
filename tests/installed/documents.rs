//! Requests as documents: how `show -` and `approve -` treat texts that any user could have written, and the list of known hosts
//! that they are compared with.

use base64ct::{Base64, Encoding};
use harness::{Output, Person, PrivateRoot};
use jit_core::grant::{HostDescriptor, HostKey};
use jit_core::policy::role_digest;
use serde_json::{Value, json};

use crate::signed::{approval, enlist, jitctl, key, list, printed, shared, signed_root, signer};

/// Returns the object inside a request's text.
fn opened(text: &str) -> Value {
    let (_, after) = text.split_once("-----BEGIN JIT-SUDO REQUEST-----").unwrap();
    let (inside, _) = after.split_once("-----END").unwrap();
    let encoded: String = inside.split_whitespace().collect();
    serde_json::from_slice(&Base64::decode_vec(&encoded).unwrap()).unwrap()
}

/// Returns the text of a request with this object inside, signed by the user with the key `own` in their home.
fn wrapped(root: &PrivateRoot, person: &Person, body: &str) -> String {
    let script = "cd; rm -f body*; cat >body; ssh-keygen -q -Y sign -f own -n jit-sudo/request/v1 body; cat body.sig";
    let signed = root.command(&person.name, ["bash", "-euc", script]).stdin(body).run();
    let encoded = Base64::encode_string(body.as_bytes());
    format!("-----BEGIN JIT-SUDO REQUEST-----\n{encoded}\n-----END JIT-SUDO REQUEST-----\n{}\n", signed.succeeded())
}

/// Returns a host that the user invents, with the key `own` in their home.
fn invented(root: &PrivateRoot, person: &Person, name: &str) -> HostDescriptor {
    let key = HostKey::from_openssh(&root.read(&format!("{}/own", person.home))).unwrap();
    HostDescriptor::of(&key, name, "whatever")
}

/// Returns the document with another request inside.
fn with_request(document: &Value, change: impl FnOnce(&mut Value)) -> String {
    let mut request: Value = serde_json::from_str(document["request"].as_str().unwrap()).unwrap();
    change(&mut request);
    let mut document = document.clone();
    document["request"] = request.to_string().into();
    document.to_string()
}

fn known_hosts(root: &PrivateRoot, person: &Person) -> String {
    root.read(&format!("{}/.config/jit-sudo/known_hosts", person.home))
}

/// Checks that bob's jitctl rejects the text with this message.
fn refused_everywhere(root: &PrivateRoot, approver: &Person, text: &str, sentence: &str) {
    for words in [&["show", "-"][..], &["approve", "-", "--key", "key", "--as", &approver.name]] {
        let output = jitctl(root, approver, words, text);
        output.exited(1);
        assert!(output.stderr.contains(sentence) && output.stdout.is_empty(), "{sentence}: {output:?}");
    }
}

#[test]
fn a_request_wrapped_with_another_key_is_not_approved() {
    let root = shared();
    let (alice, (bob, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    key(root, &alice, "own");
    let (grant, text) = printed(root, &alice, "signed", &["--", "id"]);
    let document = opened(&text);
    let sandbox = invented(root, &alice, "dev-sandbox-7");

    // The attack on the first format: host, its key and the role were beside the request.
    let role = json!({"name": "web", "commands": ["/usr/bin/id"], "run_as": ["nobody"]});
    let first = json!({"host": "dev-sandbox-7", "host_key": sandbox.key, "request": document["request"], "role": role,
        "version": 1});
    refused_everywhere(root, &bob, &wrapped(root, &alice, &first.to_string()), "earlier version; ask again");
    // The unchanged request, under her own signature.
    refused_everywhere(root, &bob, &wrapped(root, &alice, &document.to_string()), "signature does not hold");
    // With her own host, and a harmless role, inside the signed part: this is a valid request, of another host.
    let harmless = document["role"].as_str().unwrap().replace("/usr/bin/id **", "/usr/bin/id");
    let mut forged = document.clone();
    forged["role"] = harmless.as_str().into();
    let forged = with_request(&forged, |request| {
        request["host"] = serde_json::to_value(&sandbox).unwrap();
        request["role_digest"] = role_digest(harmless.as_bytes()).into();
        request["run_as"] = "nobody".into();
    });
    let forged = wrapped(root, &alice, &forged);
    let shown = jitctl(root, &bob, &["show", "-"], &forged);
    for part in ["dev-sandbox-7", "nobody", "NO: seen for the first time"] {
        assert!(shown.succeeded().contains(part), "{part}: {shown:?}");
    }
    let key = sandbox.public_key().unwrap().fingerprint();
    let warning = format!("the host dev-sandbox-7 is not known here: its key is {key}");
    assert!(shown.stderr.contains(&warning) && shown.stderr.contains("jitctl key show"), "{shown:?}");
    let approved = approval(root, &bob, &forged, &[]);
    jitctl(root, &alice, &["import"], &approved).refused("another host");
    // With the name of the real host, which bob knows already.
    jitctl(root, &bob, &["show", "-"], &text).succeeded();
    let list = known_hosts(root, &bob);
    let forged = with_request(&document, |request| {
        request["host"] = serde_json::to_value(invented(root, &alice, "web1")).unwrap();
    });
    refused_everywhere(root, &bob, &wrapped(root, &alice, &forged), "the key of web1 has CHANGED");
    assert_eq!(known_hosts(root, &bob), list);

    root.run_as(&alice.name, ["jit-sudo", "-n", "id"]).refused("");
    let state = jitctl(root, &alice, &["--json", "show", &grant], "").json();
    assert_eq!(state["grant"]["state"], "pending", "{state}");
    // A request that the host itself has signed can still be approved.
    let approved = approval(root, &bob, &text, &[]);
    jitctl(root, &alice, &["import"], &approved).succeeded();
    root.run_as(&alice.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn a_host_is_stored_at_first_use_and_known_afterwards() {
    let root = shared();
    let (alice, (bob, _)) = (root.person(&["signed"]), signer(root));
    let (_, text) = printed(root, &alice, "signed", &["--", "id"]);
    let public = root.as_root(["jitctl", "key", "show"]).succeeded().lines().next().unwrap().to_owned();
    let words: Vec<&str> = public.split(' ').collect();
    let request: Value = serde_json::from_str(opened(&text)["request"].as_str().unwrap()).unwrap();
    let id = request["host"]["id"].as_str().unwrap();

    let first = jitctl(root, &bob, &["--json", "show", "-"], &text);
    assert!(first.stderr.contains("the host web1 is not known here: its key is SHA256:"), "{first:?}");
    let told = first.json()["grant"].clone();
    assert_eq!((&told["state"], &told["host"]["standing"]), (&json!("unknown"), &json!("new")), "{told}");
    assert_eq!((&told["host"]["name"], &told["host"]["id"]), (&json!("web1"), &json!(id)), "{told}");
    let list = known_hosts(root, &bob);
    let day = root.script("date +%F");
    assert!(list.ends_with(&format!("\nweb1 ssh-ed25519 {} {id} seen={}\n", words[1], day.trim())), "{list}");
    let modes = format!("stat -c %a {0}/.config {0}/.config/jit-sudo {0}/.config/jit-sudo/known_hosts", bob.home);
    assert_eq!(root.script(&modes).split_whitespace().collect::<Vec<_>>(), ["700", "700", "600"]);

    // A user who signs for a known host is warned that the key was never compared, until someone has compared it.
    let never = "the key of web1 was never compared, only seen since";
    let signs = || jitctl(root, &bob, &["approve", "-", "--key", "key", "--as", &bob.name], &text);
    let signed = signs();
    assert!(signed.succeeded().contains("BEGIN JIT-SUDO APPROVAL") && signed.stderr.contains(never), "{signed:?}");
    assert!(signed.stderr.contains("jitctl key show") && signed.stderr.contains("remove seen="), "{signed:?}");

    let second = jitctl(root, &bob, &["show", "-"], &text);
    let seen = format!("seen since {}, not compared: ", day.trim());
    assert!(second.succeeded().contains(&seen) && second.stderr.is_empty(), "{second:?}");
    assert_eq!(known_hosts(root, &bob), list);
    root.script(&format!("sed -i 's/ seen=.*//' {}/.config/jit-sudo/known_hosts", bob.home));
    let compared = jitctl(root, &bob, &["show", "-"], &text);
    assert!(compared.succeeded().contains("  yes, by "), "{compared:?}");
    let signed = signs();
    assert!(signed.succeeded().contains("BEGIN JIT-SUDO APPROVAL") && !signed.stderr.contains(never), "{signed:?}");

    // With another path for the list, from the environment.
    let words = ["jitctl", "show", "-"];
    let other = root.command(&bob.name, words).env("XDG_CONFIG_HOME", format!("{}/else", bob.home)).stdin(&text).run();
    assert!(other.succeeded().contains("/else/jit-sudo/known_hosts:2"), "{other:?}");
    let lost = root.command(&bob.name, words).env("HOME", "").stdin(&text).run();
    assert!(lost.succeeded().contains("first time") && lost.stderr.contains("not written down"), "{lost:?}");
}

#[test]
fn a_list_that_cannot_be_written_or_understood_is_named() {
    let root = shared();
    let (alice, (bob, _)) = (root.person(&["signed"]), signer(root));
    let (_, text) = printed(root, &alice, "signed", &["--", "id"]);
    root.script(&format!("chown root: {0} && chmod 755 {0}", bob.home));
    let shown = jitctl(root, &bob, &["show", "-"], &text);
    assert!(shown.succeeded().contains("NO: seen for the first time"), "{shown:?}");
    assert!(shown.stderr.contains("not written down") && shown.stderr.contains("permission denied"), "{shown:?}");
    root.script(&format!("chown {1}: {0}", bob.home, bob.name));

    jitctl(root, &bob, &["show", "-"], &text).succeeded();
    let path = format!("{}/.config/jit-sudo/known_hosts", bob.home);
    let good = known_hosts(root, &bob);
    root.script(&format!("echo web2 ssh-ed25519 AAAA >>{path}"));
    let approve = ["approve", "-", "--key", "key", "--as", &bob.name];
    let shown = jitctl(root, &bob, &["show", "-"], &text);
    assert!(shown.succeeded().contains("NO: the list of hosts cannot be used"), "{shown:?}");
    assert!(shown.stderr.contains(&format!("{path}: line 3 is not")), "{shown:?}");
    jitctl(root, &bob, &approve, &text).refused("line 3 is not");
    root.script(&format!("chown root: {path}; chmod 600 {path}"));
    jitctl(root, &bob, &["show", "-"], &text).succeeded();
    jitctl(root, &bob, &approve, &text).refused("permission denied");
    // A symbolic link is followed, and kept.
    root.script(&format!("cd {0} && mv {path} hosts && chown {1}: hosts && sed -i 3d hosts", bob.home, bob.name));
    root.run_as(&bob.name, ["ln", "-s", &format!("{}/hosts", bob.home), &path]).succeeded();
    jitctl(root, &bob, &approve, &text).succeeded();
    root.run_as(&bob.name, ["test", "-L", &path]).succeeded();
    assert_eq!(root.read(&format!("{}/hosts", bob.home)), good);
}

#[test]
fn a_cloned_machine_and_a_changed_key_are_refused() {
    let root = signed_root();
    let (alice, (bob, line)) = (root.person(&["signed"]), signer(&root));
    list(&root, &[line]);
    let (_, text) = printed(&root, &alice, "signed", &["--", "id"]);
    jitctl(&root, &bob, &["show", "-"], &text).succeeded();
    let approve = ["approve", "-", "--key", "key", "--as", &bob.name];

    // The same key on another machine, under either name.
    root.script(
        "head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n' >/etc/machine-id && jitctl key accept --reason copied",
    );
    let (_, text) = printed(&root, &alice, "signed", &["--", "id"]);
    let shown = jitctl(&root, &bob, &["show", "-"], &text);
    assert!(shown.succeeded().contains("NO: it has the key of web1"), "{shown:?}");
    assert!(shown.stderr.contains("another machine"), "{shown:?}");
    jitctl(&root, &bob, &approve, &text).refused("another machine");

    // Another key.
    root.script("rm /var/lib/jit-sudo/host_key* && jitctl key init && jitctl key accept --reason new");
    let (_, text) = printed(&root, &alice, "signed", &["--", "id"]);
    refused_everywhere(&root, &bob, &text, "the key of web1 has CHANGED");
    let said = jitctl(&root, &bob, &["show", "-"], &text);
    assert!(said.stderr.contains("line 2 of ") && said.stderr.contains("hint: remove line 2 of "), "{said:?}");
    root.run_as(&bob.name, ["sed", "-i", "2d", &format!("{}/.config/jit-sudo/known_hosts", bob.home)]).succeeded();
    let approved = jitctl(&root, &bob, &approve, &text);
    assert!(approved.stderr.contains("is not known here"), "{approved:?}");
    jitctl(&root, &alice, &["import"], approved.succeeded()).succeeded();

    // A host that was renamed is the same host.
    root.script("hostname web9");
    let (_, text) = printed(&root, &alice, "signed", &["--", "id"]);
    let shown = jitctl(&root, &bob, &["show", "-"], &text);
    assert!(shown.succeeded().contains("known here  as web1, by ") && shown.stderr.contains("known here as web1"));
    jitctl(&root, &bob, &approve, &text).succeeded();
}

#[test]
fn a_text_with_any_character_changed_is_refused_or_says_the_same() {
    let root = shared();
    let (alice, (bob, _)) = (root.person(&["signed"]), signer(root));
    let (_, text) = printed(root, &alice, "signed", &["--", "id"]);
    let shown = jitctl(root, &bob, &["show", "-"], &text).succeeded().to_owned();
    let day = root.script("date +%F");
    let seen = format!("seen since {}, not compared:", day.trim());
    let shown = shown.replace("NO: seen for the first time, now in", &seen);
    let places: Vec<usize> =
        (0..text.len()).filter(|at| text.as_bytes()[*at].is_ascii_alphanumeric()).step_by(41).collect();
    for at in &places {
        let mut other = text.clone().into_bytes();
        other[*at] = if other[*at] == b'A' { b'B' } else { b'A' };
        let judged = jitctl(root, &bob, &["show", "-"], &String::from_utf8(other).unwrap());
        let same = without_ages(&judged.stdout) == without_ages(&shown);
        assert!(judged.status.code() == Some(1) || same, "character {at}: {judged:?}");
    }
    assert!(places.len() > 40, "{places:?}");
}

/// Returns the text without relative ages.
fn without_ages(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.split(" (").next().unwrap_or_default())).collect()
}

#[test]
fn a_request_document_works_with_every_way_of_signing() {
    let root = shared();
    let (alice, (bob, line)) = (root.person(&["signed"]), signer(root));
    enlist(&[line]);
    let sign = |script: &str| {
        let (_, text) = printed(root, &alice, "signed", &["--one-shot", "--", "id"]);
        let place = format!("/home/{}-request", bob.name);
        root.write(&place, 0o644, &text);
        let script = format!("cd; request={place}; me={}; {script}", bob.name);
        let signed = root.run_as(&bob.name, ["bash", "-euc", &script]);
        let imported: Output = jitctl(root, &alice, &["import"], signed.succeeded());
        imported.succeeded();
        root.run_as(&alice.name, ["jit-sudo", "-n", "id"]).succeeded();
        root.run_as(&alice.name, ["jit-sudo", "-n", "id"]).refused("");
    };
    sign("jitctl show - <$request >/dev/null; jitctl approve - --key key --as $me <$request");
    sign(
        "eval $(ssh-agent -s) >/dev/null; trap 'ssh-agent -k >/dev/null' EXIT; ssh-add -q key; mv key away
         jitctl approve - --key key.pub --as $me <$request; mv away key",
    );
    sign(
        "jitctl approve - --unsigned --as $me <$request >approval; rm -f approval.sig
         ssh-keygen -q -Y sign -f key -n jit-sudo/approval/v1 approval; cat approval approval.sig",
    );
    // On the host itself no known host is needed.
    let (grant, _) = printed(root, &alice, "signed", &["--", "id"]);
    root.script(&format!("rm -rf {}/.config", bob.home));
    let here = jitctl(root, &bob, &["approve", &grant, "--key", "key"], "");
    assert!(here.succeeded().contains("the grant is active") && !here.stderr.contains("known"), "{here:?}");
    assert!(!root.path(&format!("{}/.config", bob.home)).exists());
}
