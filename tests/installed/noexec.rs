//! A command of a `noexec` role cannot execute another program, in whatever way it tries, and the messages are the same as with
//! Debian's sudo where sudo can prevent it.

use std::sync::OnceLock;

use harness::{Output, Person};

use crate::root;

/// Returns a user whose commands cannot execute programs, under both programs; compiles the attempts once.
fn confined() -> Person {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        let role = "[roles.noexec]\nstanding = [\"%noexec\"]\nrun_as = [\"ALL\"]\ncommands = [\"ALL\"]\n\
                    authenticate = false\nnoexec = true\n";
        root().add_policy("noexec", role);
        root().write("/etc/sudoers.d/noexec", 0o440, "%noexec ALL=(ALL:ALL) NOPASSWD: NOEXEC: ALL\n");
        root().write("/usr/local/bin/noexec-script", 0o755, "#!/bin/sh\necho a script runs\nid\necho $?\n");
        root().write("/root/tries.c", 0o600, include_str!("noexec.c"));
        root().script("gcc -O1 -static -no-pie -o /usr/local/bin/noexec-tries /root/tries.c");
    });
    root().person(&["noexec"])
}

fn run(person: &Person, program: &str, words: &[&str]) -> Output {
    root().run_as(&person.name, [&[program, "-n"][..], words].concat())
}

#[test]
fn a_static_program_finds_no_way_to_another() {
    let person = confined();
    for words in [&["noexec-tries"][..], &["-u", "carol", "noexec-tries"]] {
        let output = run(&person, "jit-sudo", words);
        let found: Vec<(&str, &str)> = output.succeeded().lines().filter_map(|line| line.split_once(": ")).collect();
        assert!(found.len() >= 8, "{output:?}");
        for (how, came_of_it) in found {
            let expected = if matches!(how, "x32" | "io_uring") { "ENOSYS" } else { "EACCES" };
            assert_eq!(came_of_it, expected, "{how}: {output:?}");
        }
    }
    // The same program can do all that where the role does not say noexec.
    let free = root().person(&["deploy"]);
    let output = run(&free, "jit-sudo", &["noexec-tries"]);
    for how in ["execve", "execveat", "vfork", "posix_spawn"] {
        assert!(output.stdout.contains(&format!("{how}: executed\n")), "{output:?}");
    }
}

#[test]
fn shells_find_and_scripts_are_refused_as_by_sudo() {
    let person = confined();
    for words in [
        &["id", "-u"][..],
        &["sh", "-c", "echo in; id; echo $?"],
        &["sh", "-c", "exec id"],
        &["sh", "-c", "id & wait $!; echo $?"],
        &["bash", "-c", "(id); command id; echo $?"],
        &["noexec-script"],
        &["find", "/etc/hostname", "-exec", "id", ";"],
        &["env", "id"],
        &["xargs", "id"],
        &["-s", "id"],
        &["-u", "carol", "sh", "-c", "id; su"],
        &["ls", "-d", "/root"],
    ] {
        let [ours, sudos] = ["jit-sudo", "sudo"].map(|program| run(&person, program, words));
        assert_eq!(ours.status, sudos.status, "{words:?}: {ours:?} {sudos:?}");
        assert_eq!((&ours.stdout, &ours.stderr), (&sudos.stdout, &sudos.stderr), "{words:?}");
    }
    assert_eq!(run(&person, "jit-sudo", &["sh", "-c", "id; echo $?"]).stdout, "126\n");
}

#[test]
fn an_editor_on_a_terminal_starts_no_shell() {
    let person = confined();
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "vim", "-u", "NONE", "-N", "/etc/motd"]);
    session.expect("/etc/motd");
    session.type_text(":!id -u > /root/vim-was-here\r");
    session.expect("Cannot execute shell");
    session.type_text("\r:q!\r");
    assert!(session.wait().success(), "{}", session.screen());
    assert!(!root().path("/root/vim-was-here").exists());
}

#[test]
fn without_the_capability_it_still_holds() {
    let person = confined();
    let ids = [format!("--reuid={}", person.uid), format!("--regid={}", person.gid)];
    let words = ["setpriv", "--bounding-set=-sys_admin", &ids[0], &ids[1], "--init-groups", "jit-sudo", "-n"];
    let output = root().as_root([&words[..], &["sh", "-c", "echo in; grep NoNewPrivs /proc/self/status; id"]].concat());
    assert_eq!(output.stdout, "in\n", "{output:?}");
    assert!(output.stderr.contains("id: Permission denied"), "{output:?}");
    output.exited(126);
    let output = root().as_root(
        [
            &words[..],
            &["sh", "-c", "while read a b; do [ $a = NoNewPrivs: ] && echo $b; done </proc/self/status; true"],
        ]
        .concat(),
    );
    assert_eq!(output.succeeded(), "1");
}

#[test]
fn the_listing_says_so_as_sudos_does() {
    let person = confined();
    let output = run(&person, "jit-sudo", &["-l"]);
    assert!(output.succeeded().ends_with("    (ALL) NOEXEC: NOPASSWD: ALL"), "{output:?}");
    assert!(run(&person, "sudo", &["-l"]).stdout.ends_with(" NOEXEC: NOPASSWD: ALL\n"));
    let shown = root().as_root(["jitctl", "policy", "show", "noexec"]);
    assert!(shown.succeeded().lines().any(|line| line.starts_with("noexec") && line.ends_with("yes")), "{shown:?}");
}
