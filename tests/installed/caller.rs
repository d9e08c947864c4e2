//! The caller, the program and the run-as user: from the kernel, from the opened file and from NSS.

use crate::{own_root, records_of, root};

#[test]
fn the_command_runs_as_root_with_roots_groups() {
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "id -ru; id -u; id -rg; id -g; id -G"]);
    assert_eq!(output.succeeded(), "0\n0\n0\n0\n0");
}

#[test]
fn the_command_runs_as_the_user_named_by_name_or_number() {
    let person = root().person(&["deploy"]);
    let carol = root().user("carol");
    for target in ["carol".to_owned(), format!("#{}", carol.uid)] {
        let output = root().run_as(&person.name, ["jit-sudo", "-n", "-u", &target, "id"]);
        let expected = root().run_as("carol", ["id"]);
        assert_eq!(output.succeeded(), expected.succeeded(), "{target}");
    }
}

#[test]
fn a_group_can_be_named_too() {
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "-u", "carol", "-g", "adm", "id", "-gn"]);
    assert_eq!(output.succeeded(), "adm");
}

#[test]
fn negative_overflowing_and_unknown_ids_are_refused() {
    // CVE-2019-14287: -u#-1 was root.
    let person = root().person(&["deploy"]);
    for target in ["#-1", "#4294967295", "#4294967296", "#18446744073709551616", "#", "#0x0", "# 0", "no-such-user", ""]
    {
        let output = root().run_as(&person.name, ["jit-sudo", "-n", "-u", target, "id", "-u"]);
        assert_eq!((output.status.code(), output.stdout.as_str()), (Some(1), ""), "{target}: {output:?}");
    }
}

#[test]
fn identity_does_not_come_from_the_environment() {
    let person = root().person(&[]);
    let mut run = root().command(&person.name, ["jit-sudo", "-n", "id"]);
    for name in ["USER", "LOGNAME", "SUDO_USER", "USERNAME"] {
        run = run.env(name, "root");
    }
    let output = run.env("SUDO_UID", "0").env("HOME", "/root").run();
    output.refused(&format!("user {}", person.name));
}

#[test]
fn the_command_is_found_in_the_secure_path_and_not_in_the_callers() {
    let person = root().person(&["deploy"]);
    let bin = format!("{}/bin", person.home);
    let script = format!("mkdir {bin} && printf '#!/bin/sh\\necho trapped\\n' > {bin}/id && chmod +x {bin}/id");
    root().run_as(&person.name, ["sh", "-c", &script]).succeeded();
    let output =
        root().command(&person.name, ["jit-sudo", "-n", "id", "-u"]).env("PATH", format!("{bin}:/usr/bin")).run();
    assert_eq!(output.succeeded(), "0");
}

#[test]
fn a_missing_command_is_reported_by_name() {
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "no-such-command-here"]);
    output.refused("no-such-command-here: command not found");
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "/usr/bin/no-such-command-here"]);
    output.refused("/usr/bin/no-such-command-here: command not found");
}

#[test]
fn a_directory_or_a_file_that_is_not_executable_is_rejected() {
    let person = root().person(&["deploy"]);
    for target in ["/etc", "/etc/passwd"] {
        let output = root().run_as(&person.name, ["jit-sudo", "-n", target]);
        output.refused(target);
    }
}

#[test]
fn a_relative_path_means_the_callers_directory() {
    let person = root().person(&["deploy"]);
    root().script("install -d /opt/tools && install -m 755 /usr/bin/id /opt/tools/who");
    let output = root().command(&person.name, ["jit-sudo", "-n", "./who", "-u"]).cwd("/opt/tools").run();
    assert_eq!(output.succeeded(), "0");
    let start = records_of(root(), &person).into_iter().find(|record| record.kind() == "start").unwrap();
    assert_eq!(start.text("path"), "/opt/tools/who");
}

#[test]
fn a_script_runs_with_its_path_as_its_name() {
    let person = root().person(&["deploy"]);
    root().script("printf '#!/bin/sh\\necho \"$0\" \"$@\"\\n' > /usr/local/bin/tell && chmod 755 /usr/local/bin/tell");
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "tell", "a", "b c"]);
    assert_eq!(output.succeeded(), "/usr/local/bin/tell a b c");
}

#[test]
fn a_script_that_its_owner_could_swap_is_not_run_by_a_rule_that_names_it() {
    // An interpreter opens the script by name, a second time. A user who may run anything gains nothing by a swap.
    let person = root().person(&["rules"]);
    let path = format!("{}/script", person.home);
    let script = format!("printf '#!/bin/sh\\necho ran\\n' > {path} && chmod 755 {path}");
    root().run_as(&person.name, ["sh", "-c", &script]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", &path]).refused("cannot be trusted");
}

#[test]
fn a_person_without_an_account_is_refused() {
    let words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "jit-sudo", "-n", "id"];
    let output = root().as_root(words);
    output.refused("54321");
}

#[test]
fn groups_that_were_given_up_do_not_count() {
    // The account database lists `deploy`, the kernel does not.
    let person = root().person(&["deploy"]);
    let ids = [format!("--reuid={}", person.uid), format!("--regid={}", person.gid)];
    let output = root().as_root(["setpriv", &ids[0], &ids[1], "--clear-groups", "jit-sudo", "-n", "id"]);
    output.refused("not allowed");
}

#[test]
fn the_replaced_program_is_not_run_in_place_of_the_one_that_was_checked() {
    let root = own_root();
    let person = root.person(&["exactly"]);
    root.script("install -m 755 /usr/bin/id /usr/local/bin/exact-tool");
    let words = ["jitctl", "request", "--reason", "needed", "--", "/usr/local/bin/exact-tool", "-u"];
    root.run_as(&person.name, words).succeeded();
    root.script("printf '\\0' >> /usr/local/bin/exact-tool");
    root.run_as(&person.name, ["jit-sudo", "-n", "/usr/local/bin/exact-tool", "-u"]).refused("not allowed");
}

#[test]
fn the_existence_of_a_hidden_file_is_not_disclosed() {
    // CVE-2021-23239, CVE-2025-46717: different errors would let a user examine every directory.
    let person = root().person(&["reviewed"]);
    root().script(
        "install -d -m 700 /root/hidden; install -m 755 /usr/bin/id /root/hidden/there; touch /root/hidden/data",
    );
    let answers = |path: &str| {
        let run = root().run_as(&person.name, ["jit-sudo", "-n", path]);
        let list = root().run_as(&person.name, ["jit-sudo", "-n", "-l", path]);
        let why = root().run_as(&person.name, ["jitctl", "why", "--", path]);
        let request =
            root().run_as(&person.name, ["jitctl", "request", "--role", "reviewed", "--reason", "x", "--", path]);
        [run, list, why, request].map(|output| {
            let hide = |text: &str| text.replace(path, "PATH");
            (output.status.code(), hide(&output.stdout), hide(&output.stderr))
        })
    };
    let there = answers("/root/hidden/there");
    assert_eq!(answers("/root/hidden/nothing"), there);
    assert_eq!(answers("/root/hidden/data"), there);
    assert_eq!(answers("/root/nowhere/at-all"), there);
    // For a directory that they can read themselves, the error is specific.
    root().run_as(&person.name, ["jit-sudo", "-n", "/usr/bin/nothing"]).refused("command not found");
}
