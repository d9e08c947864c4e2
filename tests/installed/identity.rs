//! Data about a person belongs to a uid and name: a uid that is reused for another account inherits nothing, and an account with
//! the name of another one gets nothing.

use harness::{Person, PrivateRoot};

use crate::{id, own_root, records_of, request};

#[test]
fn a_reused_uid_inherits_nothing() {
    let root = own_root();
    root.add_policy(
        "filmed",
        "[roles.filmed]\nstanding = [\"%filmed\"]\ncommands = [\"ALL\"]\nauthenticate = false\nrecord = \"tty\"\n",
    );
    let carol = root.person(&["self-service", "reviewed", "filmed"]);
    let grant = id(&request(&root, &carol, "self-service", &[]));
    let pending = id(&request(&root, &carol, "reviewed", &["--", "id"]));
    root.run_as(&carol.name, ["jit-sudo", "-n", "id"]).succeeded();
    let run = records_of(&root, &carol).iter().find(|record| record.kind() == "start").unwrap().text("run").to_owned();
    let mut session = root.pty_as(&carol.name, ["jit-sudo", "-n", "--role", "filmed", "echo", "for her eyes"]);
    assert!(session.wait().success(), "{}", session.screen());
    let seal = records_of(&root, &carol).into_iter().rfind(|record| record.kind() == "end").unwrap();
    let film = seal.text("run").to_owned();
    assert!(root.run_as(&carol.name, ["jitctl", "replay", &film]).succeeded().contains("for her eyes"));
    root.script(&format!(
        "userdel {0}; useradd -u {1} -m -s /bin/bash dave && usermod -aG self-service,reviewed dave",
        carol.name, carol.uid
    ));
    assert_eq!(root.user("dave").uid, carol.uid);

    let dave = |words: &[&str]| root.run_as("dave", words);
    let listed = dave(&["jitctl", "--json", "audit", "list"]);
    assert_eq!(listed.json()["records"]["records"].as_array().map(Vec::len), Some(0), "{listed:?}");
    for verb in ["requests", "grants"] {
        let listed = dave(&["jitctl", "--json", verb, "--all"]);
        assert_eq!(listed.json()[verb].as_array().map(Vec::len), Some(0), "{listed:?}");
    }
    for words in [
        &["jitctl", "show", &grant][..],
        &["jitctl", "show", &pending],
        &["jitctl", "cancel", &pending],
        &["jitctl", "release", &grant],
        &["jitctl", "extend", &grant, "--reason", "x"],
        &["jitctl", "audit", "show", &run],
        &["jitctl", "audit", "show", &grant],
        &["jitctl", "audit", "show", &film],
        &["jitctl", "replay", &film],
        &["jit-sudo", "-n", "id"],
    ] {
        let output = dave(words);
        assert_ne!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert!(!output.stdout.contains("for her eyes"), "{words:?}: {output:?}");
    }
    let released = dave(&["jitctl", "release"]);
    assert!(released.stderr.contains("no active grant"), "{released:?}");
    // His own acts are his.
    let own = id(&request(&root, &root.user("dave"), "self-service", &[]));
    dave(&["jit-sudo", "-n", "id"]).succeeded();
    dave(&["jitctl", "show", &own]).succeeded();
    let listed = dave(&["jitctl", "--json", "audit", "list"]).json();
    let records = listed["records"]["records"].as_array().unwrap().clone();
    assert_eq!(records.len(), 5, "reject, request, grant, start, end: {records:?}");
}

#[test]
fn an_account_with_the_name_of_another_one_gets_nothing() {
    let root = own_root();
    // glibc strips the blank, so the second account is also called root.
    root.script("echo ' root:x:1234:1234::/tmp:/bin/bash' >>/etc/passwd; chmod 1777 /tmp");
    root.add_policy("named", "[roles.named]\nstanding = [\"root\"]\ncommands = \"ALL\"\nauthenticate = false\n");
    let shadow = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"];
    for words in [&["jit-sudo", "-n", "id", "-u"][..], &["jit-sudo", "-l"], &["jitctl", "roles"]] {
        let output = root.as_root([&shadow[..], words].concat());
        assert_ne!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert!(output.stderr.contains("the name root of uid 1234 belongs to uid 0"), "{words:?}: {output:?}");
    }
    // Root itself, which the default policy names by uid, is not affected.
    assert_eq!(root.as_root(["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
}

/// Deletes the account of `person`, and creates `dave` with their uid and these groups.
fn hand_over(root: &PrivateRoot, person: &Person, groups: &str) -> Person {
    let (name, uid) = (&person.name, person.uid);
    root.script(&format!("userdel -f {name}; useradd -u {uid} -m -s /bin/bash -G {groups} dave"));
    root.script("echo dave:dave-password | chpasswd");
    root.user("dave")
}

/// Returns a command line that runs as this uid in this group only, whatever the account database says.
fn bare<'w>(uid: u32, gid: &str, words: &[&'w str]) -> Vec<String> {
    let ids = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()];
    let words = words.iter().map(|&word: &&'w str| word.to_owned());
    std::iter::once("setpriv".to_owned()).chain(ids).chain(words).collect()
}

#[test]
fn limits_debts_and_roles_stay_with_the_person_who_has_left() {
    let root = own_root();
    root.add_policy(
        "glass",
        "[roles.glass]\neligible = [\"%reviewed\"]\ncommands = [\"/usr/bin/uname **\"]\nauthenticate = false\n\
         [roles.glass.activation]\nrequire_approval = true\napprovers = [\"bob\"]\nbreak_glass = true\n",
    );
    let carol = root.person(&["self-service", "reviewed"]);
    let broken = ["jit-sudo", "--break-glass", "--reason", "fire", "--role", "glass", "uname"];
    root.run_as(&carol.name, broken).succeeded();
    root.run_as(&carol.name, ["jitctl", "release"]).succeeded();
    root.run_as(&carol.name, broken).refused("no approver has reviewed yet");
    request(&root, &carol, "self-service", &[]);
    let many =
        "for i in $(seq 20); do jitctl request --role reviewed --reason x -- id -u $i >/dev/null || exit 0; done";
    root.run_as(&carol.name, ["sh", "-c", many]).succeeded();
    let full = ["jitctl", "request", "--role", "reviewed", "--reason", "x", "--", "id"];
    root.run_as(&carol.name, full).refused("pending requests already");
    let flood = "for i in $(seq 70); do jit-sudo -n --role nonsense id; done 2>/dev/null; true";
    root.run_as(&carol.name, ["sh", "-c", flood]).succeeded();
    assert!(root.run_as(&carol.name, ["jit-sudo", "-l"]).stdout.contains("may run the following"));
    let mut session = root.pty_as(&carol.name, ["jit-sudo", "-n", "sh", "-c", "echo ready; exec sleep 120"]);
    session.expect("ready");
    let mut starts = records_of(&root, &carol).into_iter().filter(|record| record.kind() == "start");
    let run = starts.next_back().unwrap().text("run").to_owned();

    let dave = hand_over(&root, &carol, "self-service,reviewed");
    let sees = |words: &[&str]| root.run_as("dave", words);
    assert!(!sees(&["jit-sudo", "-l"]).stdout.contains("may run the following"), "her active role is not his");
    let json = |verb: &[&str]| sees(&[&["jitctl", "--json"][..], verb].concat()).json();
    assert_eq!(json(&["session", "list"])["sessions"].as_array().map(Vec::len), Some(0));
    sees(&["jitctl", "session", "kill", &run, "--reason", "x"]).refused("there is no run");
    sees(&["jitctl", "watch", &run]).refused("there is no run");
    assert_eq!(json(&["review"])["debts"].as_array().map(Vec::len), Some(0));
    sees(&full).succeeded();
    assert_eq!(sees(&broken).succeeded(), "Linux", "he owes no review");
    sees(&["jit-sudo", "-n", "--role", "nonsense", "id"]).exited(1);
    let refused = records_of(&root, &dave).into_iter().filter(|record| record.kind() == "reject");
    assert_eq!(refused.filter(|record| record.text("user") == "dave").count(), 1, "her flood does not hide him");
    root.as_root(["jitctl", "session", "kill", &run, "--reason", "the test is over"]).succeeded();
    session.wait();
}

#[test]
fn a_password_is_remembered_for_the_person_and_not_for_the_uid() {
    let root = own_root();
    let carol = root.person(&["trusted"]);
    // Her shell continues, on its terminal and in its groups, when the account belongs to another user.
    let mut shell = root.pty_as(&carol.name, ["sh"]);
    shell.type_line("jit-sudo echo ty''ped");
    shell.type_password("password for", &carol.password);
    shell.expect("typed");
    shell.expect("$ "); // until then the command reads the input
    shell.type_line("jit-sudo -n echo remem''bered");
    shell.expect("remembered");
    shell.expect("$ ");
    hand_over(&root, &carol, "trusted");
    shell.type_line("jit-sudo -n echo inher''ited; echo status $?.");
    let said = shell.expect("status 1.");
    assert!(said.contains("a password is required") && !said.contains("inherited"), "{said}");
    shell.type_line("exit");
    shell.wait();
}

#[test]
fn a_lecture_is_for_a_person() {
    let root = own_root();
    root.add_policy(
        "lecture",
        "[roles.lectured]\nstanding = [\"%lectured\"]\ncommands = [\"ALL\"]\nlecture = \"once\"\ntimestamp_timeout = \"0s\"\n",
    );
    let lectured = |person: &Person| {
        let mut session = root.pty_as(&person.name, ["jit-sudo", "true"]);
        session.type_password("password for", &person.password);
        session.wait();
        session.screen().contains("great responsibility")
    };
    let carol = root.person(&["lectured"]);
    assert!(lectured(&carol) && !lectured(&carol));
    assert!(lectured(&hand_over(&root, &carol, "lectured")));
}

#[test]
fn a_renamed_user_sees_why_their_grant_is_invalid() {
    let root = own_root();
    let carol = root.person(&["self-service"]);
    request(&root, &carol, "self-service", &[]);
    root.script(&format!("usermod -l renamed {}", carol.name));
    let output = root.run_as("renamed", ["jit-sudo", "-n", "id"]);
    output.refused("it was issued to another account; request your own");
    root.run_as("renamed", ["jitctl", "release"]).refused("no active grant");
    request(&root, &root.user("renamed"), "self-service", &[]);
    root.run_as("renamed", ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn a_second_group_of_a_name_has_nothing_of_the_first() {
    let root = own_root();
    let carol = root.person(&["deploy"]);
    root.script("echo 'deploy:x:7777:' >>/etc/group; echo ' deploy:x:7778:' >>/etc/group");
    for gid in ["7777", "7778"] {
        root.as_root(bare(carol.uid, gid, &["jit-sudo", "-n", "id", "-u"])).refused("is not allowed to execute");
    }
    assert_eq!(root.run_as(&carol.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    root.run_as(&carol.name, ["jit-sudo", "-n", "-g", "#7777", "id"]).refused("the name deploy of id 7777 belongs to");
}

#[test]
fn a_run_as_user_is_not_the_namesake_of_another() {
    let root = own_root();
    let carol = root.person(&["as-www"]);
    root.script("echo ' www-data:x:4321:4321::/tmp:/bin/sh' >>/etc/passwd");
    assert_eq!(root.run_as(&carol.name, ["jit-sudo", "-n", "-u", "www-data", "id", "-u"]).succeeded(), "33");
    let output = root.run_as(&carol.name, ["jit-sudo", "-n", "-u", "#4321", "id", "-u"]);
    output.refused("the name www-data of id 4321 belongs to another");
}

#[test]
fn two_names_of_one_uid_cannot_decide_about_each_other() {
    let root = own_root();
    let carol = root.person(&["self-service", "reviewed"]);
    let uid = carol.uid;
    root.script(&format!(
        "useradd -o -u {uid} -g approvers -m -s /bin/bash second 2>/dev/null || \
                          {{ groupadd approvers; useradd -o -u {uid} -g approvers -m -s /bin/bash second; }}"
    ));
    request(&root, &carol, "self-service", &[]);
    let pending = id(&request(&root, &carol, "reviewed", &["--", "id"]));
    root.run_as(&carol.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.as_root(bare(uid, "approvers", &["jitctl", "approve", &pending])).refused("nobody decides about their own");
    root.as_root(["jit-sudo", "-l", "-U", "second"]).refused(&format!("second has the uid {uid} of {}", carol.name));

    // Now the account database returns the other name of the uid first.
    root.script(
        "grep '^second:' /etc/passwd >/tmp/new; grep -v '^second:' /etc/passwd >>/tmp/new; cat /tmp/new >/etc/passwd",
    );
    let second = |words: &[&str]| root.as_root(bare(uid, "self-service", words));
    second(&["jit-sudo", "-n", "id"]).refused("it was issued to another account");
    second(&["jitctl", "show", &pending]).refused("there is no request");
    assert_eq!(second(&["jitctl", "--json", "grants", "--all"]).json()["grants"].as_array().map(Vec::len), Some(0));
    root.as_root(bare(uid, "approvers", &["jitctl", "approve", &pending])).refused("nobody decides about their own");
}

#[test]
fn a_name_with_a_backslash_keeps_its_own_records() {
    let root = own_root();
    root.add_policy("corp", "[roles.corp]\nstanding = [\"#5555\"]\ncommands = [\"ALL\"]\nauthenticate = false\n");
    root.script(r"printf '%s\n' 'CORP\carol:x:5555:5555::/tmp:/bin/sh' >>/etc/passwd");
    root.script(r"printf '%s\n' 'CORP\carol:*:19000:0:99999:7:::' >>/etc/shadow");
    let corp = |words: &[&str]| root.as_root(bare(5555, "5555", words));
    assert_eq!(corp(&["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    let listed = corp(&["jitctl", "--json", "audit", "list"]).json();
    assert_eq!(listed["records"]["records"].as_array().map(Vec::len), Some(2), "start and end: {listed}");
}
