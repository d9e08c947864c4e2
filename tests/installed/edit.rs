//! Editing (-e, jit-sudoedit) beside Debian's sudoedit: its protections, and its records.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::Duration;

use harness::{Output, Person, Record, eventually};

use crate::{id, records_of, request, root};

/// An editor that adds a line to each file.
const APPEND: &str = "append-line";

fn tools() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        root().write("/usr/local/bin/append-line", 0o755, "#!/bin/sh\nfor file; do echo added >>\"$file\"; done\n");
        let show = "#!/bin/sh\nls -ln \"$@\" | cut -d' ' -f1,3,4,5\nid; pwd; umask; cat \"$@\"; env | sort\n";
        root().write("/usr/local/bin/show-copy", 0o755, show);
        let policy = "[roles.edit-rule]\nstanding = [\"%edit-rule\"]\nauthenticate = false\n\
                      commands = [\"sudoedit /srv/rule/*\", \"!sudoedit /srv/rule/secret\"]\n\
                      [roles.edit-grant]\neligible = [\"%edit-grant\"]\nauthenticate = false\n\
                      commands = [\"sudoedit /srv/rule/*\"]\n\
                      [roles.edit-grant.activation]\nexact_command = true\n";
        root().add_policy("edit", policy);
        root().script("mkdir /srv/rule; for f in a b c secret; do echo $f >/srv/rule/$f; done");
    });
}

/// Creates a user who may do anything, and a directory of root with a file in it.
fn editor_of(text: &str) -> (Person, String) {
    tools();
    let person = root().person(&["deploy"]);
    let directory = format!("/srv/edit-{}", person.name);
    root().script(&format!("mkdir {directory}"));
    root().write(&format!("{directory}/file"), 0o644, text);
    (person, directory)
}

fn edit(person: &Person, editor: &str, files: &[&str]) -> Output {
    let words = [&["jit-sudoedit", "-n"][..], files].concat();
    root().command(&person.name, words).env("EDITOR", editor).run()
}

fn records(person: &Person, kind: &str) -> Vec<Record> {
    records_of(root(), person).into_iter().filter(|record| record.kind() == kind).collect()
}

/// Returns the path of the copy that was left, from the message.
fn left_in(output: &Output) -> String {
    let line = output.stderr.lines().find_map(|line| line.split_once("contents of edit session left in "));
    line.unwrap_or_else(|| panic!("nothing was left: {output:?}")).1.to_owned()
}

/// Returns the messages of either program, without its name and the random part of the copies' names.
fn plain(text: &str) -> String {
    let mask = |word: &str| match word.find("/var/tmp/") {
        Some(_) => "COPY".to_owned(),
        None => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(mask).collect::<Vec<_>>().join(" ");
    let text = text.replace("jit-sudoedit: ", "sudo: ").replace("sudoedit: ", "sudo: ").replace("jit-sudo", "sudo");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_edit_goes_as_with_debians_sudoedit() {
    let (person, base) = editor_of("");
    let group = root().script(&format!("id -gn {}", person.name));
    let cases: &[(&str, &[&str])] = &[
        (APPEND, &["f1"]),
        (APPEND, &["f1", "f2.conf"]),
        (APPEND, &["./f1", "theirs/../f2.conf"]),
        (APPEND, &["new"]),
        (APPEND, &["-u", "carol", "f1"]),
        (APPEND, &["-u", "carol", "f2.conf"]),
        (APPEND, &["-g", "daemon", "f1"]),
        (APPEND, &["link"]),
        (APPEND, &["dirlink/f1"]),
        (APPEND, &["theirs/f"]),
        (APPEND, &["theirs/new"]),
        (APPEND, &["theirs/sub/f"]),
        (APPEND, &["theirs/away/f1"]),
        (APPEND, &["hard"]),
        (APPEND, &["pipe"]),
        (APPEND, &["/dev/null"]),
        (APPEND, &["."]),
        (APPEND, &["/"]),
        (APPEND, &["none/x"]),
        (APPEND, &["f1/x"]),
        (APPEND, &["none/x", "f1"]),
        (APPEND, &["link", "none/x"]),
        (APPEND, &["/tmp/edit-was-here"]),
        (APPEND, &["/home/carol/x"]),
        (APPEND, &[]),
        (APPEND, &["-s", "f1"]),
        (APPEND, &["A=b", "f1"]),
        (APPEND, &["-D", "/tmp", "f1"]),
        (APPEND, &["-k", "f1"]),
        ("true", &["f1"]),
        ("true", &["new"]),
        ("false", &["f1"]),
        ("touch", &["new"]),
        ("show-copy", &["f1"]),
        ("show-copy", &["f2.conf"]),
        ("sh -c 'echo \"$@\"' x \"a b\" c\\ d", &["f1"]),
        ("sh -c exit\\ 7", &["f1"]),
        ("sh -c 'echo x >>$0; exit 7'", &["f1"]),
        ("sh -c 'kill -9 $$'", &["f1"]),
        ("sh -c 'echo x >>$0; kill -9 $$'", &["f1"]),
        ("sh -c 'umask 77; echo y >$0.new; mv $0.new $0'", &["f1"]),
        ("append-line -- /etc/shadow", &["f1"]),
        ("/no/such/editor", &["f1"]),
    ];
    let programs = ["jit-sudoedit", "sudoedit"];
    // Names of equal length, because the length of a symbolic link is that of its target.
    let side = |program: &str| if program == "sudoedit" { "sudos" } else { "ours0" };
    let place = |program: &str, number: usize| format!("{base}/{}/{number}", side(program));
    root().script(&format!(
        "for program in {}; do for number in $(seq 0 {}); do \
           mkdir -p {base}/$program/$number/theirs/sub; cd {base}/$program/$number; \
           echo one >f1; echo two >f2.conf; chmod 600 f1; ln -s f1 link; ln -s $PWD dirlink; mkfifo pipe; \
           echo x >theirs/f; echo x >theirs/sub/f; ln -s $PWD theirs/away; chgrp {} theirs; chmod 775 theirs; ln f1 hard; \
         done; done",
        programs.map(side).join(" "),
        cases.len() - 1,
        group.trim()
    ));
    let mut seen = programs.map(|_| Vec::new());
    for (number, (editor, files)) in cases.iter().enumerate() {
        for (program, seen) in programs.iter().zip(&mut seen) {
            let directory = place(program, number);
            let words = [&[*program, "-n"][..], files].concat();
            let run = root().command(&person.name, words).env("EDITOR", "sh -c 'echo fallback >>$0'");
            let output = run.env("SUDO_EDITOR", editor).cwd(&directory).run();
            let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| plain(&text.replace(&directory, "DIR")));
            let mut stdout: Vec<_> = stdout.lines().filter(|line| !line.contains(" -n ")).map(str::to_owned).collect();
            stdout.retain(|line| !line.starts_with("_="));
            // Each program has its own usage message, and jit-sudo reports a missing copy.
            let stderr = stderr.split("usage:").next().unwrap_or_default().to_owned();
            seen.push((output.status, stdout, stderr));
        }
    }
    let found = programs.map(|program| {
        let script = format!(
            "for number in $(seq 0 {}); do cd {base}/{}/$number; echo case $number; \
             ls -nR --time-style=+ | grep -v ^total | sed 's| -> .*||'; head f1 f2.conf hard new theirs/* theirs/sub/* 2>&1 || true; done; \
             ls /tmp/edit-was-here /home/carol/x 2>&1 || true",
            cases.len() - 1,
            side(program)
        );
        root().script(&script)
    });
    let found = found.map(|text| text.split("case ").map(str::to_owned).collect::<Vec<_>>());
    for (number, case) in cases.iter().enumerate() {
        assert_eq!(seen[0][number], seen[1][number], "{case:?}");
        assert_eq!(found[0][number + 1], found[1][number + 1], "{case:?}");
    }
    assert_eq!(found[0].last(), found[1].last());
}

#[test]
fn sudos_other_ways_to_edit_lead_to_the_same() {
    let (person, directory) = editor_of("text\n");
    let file = format!("{directory}/file");
    for words in [
        &["-n", "-e", &file][..],
        &["-n", "--edit", "--", &file],
        &["-n", "sudoedit", &file],
        &["-n", "/usr/bin/sudoedit", &file],
        &["-n", "-e", "--preserve-env=X", &file],
        &["-n", "-e", "-H", &file],
        &["-n", "-e", "-P", &file],
        &["-n", "-e", "-b", &file],
        &["-n", "-e", "-i", &file],
        &["-n", "-v", "-e", &file],
        &["-n", "-e"],
    ] {
        let mut seen = Vec::new();
        for program in ["jit-sudo", "sudo"] {
            root().write(&file, 0o644, "text\n");
            let output = root().command(&person.name, [&[program][..], words].concat()).env("EDITOR", APPEND).run();
            let stderr = plain(&output.stderr).split("usage:").next().unwrap_or_default().to_owned();
            seen.push((output.status, output.stdout, stderr, root().read(&file)));
        }
        assert_eq!(seen[0], seen[1], "{words:?}");
    }
    let listed = |words: &[&str]| root().run_as(&person.name, [&["jit-sudo", "-n", "-l"][..], words].concat());
    assert_eq!(listed(&["sudoedit", "/etc/motd"]).succeeded(), "sudoedit /etc/motd");
    assert_eq!(listed(&["sudoedit"]).succeeded(), "sudoedit");
    let why = root().run_as(&person.name, ["jitctl", "why", "--", "sudoedit", "/etc/motd"]);
    assert!(why.succeeded().contains("sudoedit /etc/motd"), "{why:?}");
}

#[test]
fn before_and_after_are_recorded_and_the_run_says_with_what() {
    let (person, directory) = editor_of("one\ntwo\n");
    root().write(&format!("{directory}/secret"), 0o640, "old secret\n");
    let files = [format!("{directory}/file"), format!("{directory}/secret"), format!("{directory}/new")];
    edit(&person, "append-line", &[&files[0], &files[1], &files[2]]).succeeded();
    let [start, end] = ["start", "end"].map(|kind| records(&person, kind).remove(0));
    assert_eq!(start.json["argv"], serde_json::json!(["sudoedit", files[0], files[1], files[2]]));
    assert_eq!((start.text("path"), start.number("ino"), start.text("run_as")), ("sudoedit", 0, "root"));
    assert_eq!(start.json["editor"], serde_json::json!(["append-line"]));
    assert_eq!(end.number("exit"), 0);

    let edits = records(&person, "edit");
    assert_eq!(edits.iter().map(|edit| edit.text("path")).collect::<Vec<_>>(), files);
    assert!(
        edits.iter().all(|edit| edit.text("run") == start.text("run") && edit.number("start") == start.number("seq"))
    );
    let digest = |text: &str| root().script(&format!("printf '{text}' | sha256sum | cut -c1-64")).trim().to_owned();
    assert_eq!(
        (edits[0].text("before"), edits[0].text("after")),
        (&*digest("one\\ntwo\\n"), &*digest("one\\ntwo\\nadded\\n"))
    );
    assert_eq!(
        edits[0].text("diff"),
        format!("--- {0}\\x0a+++ {0}\\x0a@@ -1,2 +1,3 @@\\x0a one\\x0a two\\x0a+added\\x0a", files[0])
    );
    // The diff of a file that not every user may read is not in the record, which goes to the log.
    assert_eq!((edits[1].text("diff"), edits[1].number("after_bytes")), ("", 17));
    assert!(edits[2].text("before").is_empty() && edits[2].text("diff").contains("--- /dev/null"));
    let shown = root().as_root(["jitctl", "audit", "show", start.text("run")]);
    assert!(shown.succeeded().contains("\n      +added\n") || shown.stdout.contains(" +added\n"), "{shown:?}");
    assert!(root().as_root(["jitctl", "audit", "list"]).succeeded().contains("edited, 8 bytes before, 14 after"));
    root().as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn an_unchanged_file_is_not_written() {
    let (person, directory) = editor_of("text\n");
    let file = format!("{directory}/file");
    let before = fs::metadata(root().path(&file)).unwrap();
    for editor in ["true", "touch", "sh -c 'cp $0 $0.x; mv $0.x $0'"] {
        assert_eq!(edit(&person, editor, &[&file]).stderr, format!("jit-sudoedit: {file} unchanged\n"), "{editor}");
    }
    let after = fs::metadata(root().path(&file)).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec(), before.ctime_nsec()),
        (after.ino(), after.mtime_nsec(), after.ctime_nsec())
    );
    assert!(records(&person, "edit").is_empty());
    assert_eq!(root().script(&format!("find /var/tmp -maxdepth 1 -user {}", person.name)), "", "copies are left");
}

#[test]
fn a_file_that_cannot_be_written_keeps_its_bytes_and_the_edit_is_not_lost() {
    let (person, directory) = editor_of("");
    let file = format!("{directory}/full/file");
    root().script(&format!(
        "mkdir {directory}/full; mount -t tmpfs -o size=64k,mode=755 tmpfs {directory}/full; echo kept >{file}"
    ));
    let output = edit(&person, "sh -c 'head -c 100000 /dev/zero >>$0'", &[&file]);
    assert!(output.refused("unable to write to").contains("No space left on device"), "{output:?}");
    assert_eq!(root().read(&file), "kept\n");
    let copy = fs::metadata(root().path(&left_in(&output))).unwrap();
    assert_eq!((copy.len(), copy.uid(), copy.mode() & 0o777), (100_005, person.uid, 0o600));
    root().script(&format!("mount -o remount,ro {directory}/full"));
    let output = edit(&person, APPEND, &[&file]);
    assert!(output.refused("unable to write to").contains("Read-only file system"), "{output:?}");
    assert_eq!(root().read(&left_in(&output)), "kept\nadded\n");
    let end = records(&person, "end").pop().unwrap();
    assert!(end.number("exit") == 1 && end.text("detail").contains("unable to write"), "{}", end.body);
}

#[test]
fn a_concurrent_change_is_not_overwritten() {
    let (person, directory) = editor_of("one\n");
    let file = format!("{directory}/file");
    let output =
        edit(&person, &format!("sh -c 'echo mine >>$0; jit-sudo -n sh -c \"echo theirs >>{file}\"'"), &[&file]);
    output.refused("was changed by another process while it was edited");
    assert_eq!(root().read(&file), "one\ntheirs\n");
    assert_eq!(root().read(&left_in(&output)), "one\nmine\n");
    // A symbolic link put in its place is not followed either.
    let victim = format!("/root/{}-victim", person.name);
    root().write(&victim, 0o600, "root's own\n");
    let swap = format!("sh -c 'echo mine >>$0; jit-sudo -n ln -sf {victim} {file}'");
    edit(&person, &swap, &[&file]).refused("unable to write");
    assert_eq!(root().read(&victim), "root's own\n");
}

#[test]
fn the_copy_gives_no_file_that_the_caller_could_not_read() {
    let (person, directory) = editor_of("text\n");
    let file = format!("{directory}/file");
    for editor in ["sh -c 'ln -sf /etc/shadow $0'", "sh -c 'rm $0; mkfifo $0'", "sh -c 'rm $0; mkdir $0'", "rm"] {
        edit(&person, editor, &[&file]).refused(&format!("{file} left unmodified"));
        assert_eq!(root().read(&file), "text\n", "{editor}");
    }
    // An editor that continues in the background cannot write unrecorded changes.
    let output = edit(&person, "sh -c 'echo now >>$0; (sleep 1; echo later >>$0) >/dev/null 2>&1 &'", &[&file]);
    output.succeeded();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(root().read(&file), "text\nnow\n");
}

#[test]
fn rules_mean_files_by_their_real_place() {
    tools();
    let person = root().person(&["edit-rule"]);
    let run = |directory: &str, file: &str| {
        let words = ["jit-sudoedit", "-n", file];
        root().command(&person.name, words).env("EDITOR", "true").cwd(directory).run()
    };
    root().script("ln -sfn /srv/rule /srv/rule-link; ln -sfn /etc /srv/rule/etc");
    for (directory, file) in [
        ("/", "/srv/rule/a"),
        ("/srv/rule", "a"),
        ("/srv", "rule//./a"),
        ("/", "/srv/rule-link/a"),
        ("/", "/srv/rule/new"),
    ] {
        run(directory, file).succeeded();
    }
    for file in ["/srv/rule/secret", "/srv/rule/../rule/secret", "/srv/rule//secret", "/srv/rule-link/secret"] {
        let said = run("/", file);
        said.refused(&format!(
            "Sorry, user {} is not allowed to execute 'sudoedit {file}' as root on web1",
            person.name
        ));
    }
    for file in
        ["/etc/shadow", "/srv/rule/../../etc/shadow", "/srv/rule/etc/shadow", "/srv/rule", "/no/such/directory/x"]
    {
        run("/", file).refused("not allowed");
    }
    let two = ["jit-sudoedit", "-n", "/srv/rule/a", "/srv/rule/b"];
    root().command(&person.name, two).env("EDITOR", "true").run().refused("not allowed");
    root().run_as(&person.name, ["jit-sudo", "-n", "cat", "/srv/rule/a"]).refused("not allowed");
}

#[test]
fn an_exact_grant_permits_exactly_its_file_with_any_editor() {
    tools();
    let person = root().person(&["edit-grant"]);
    let file = "/srv/rule/b";
    let hint = edit(&person, "true", &[file]);
    assert!(
        hint.refused("not allowed").contains("jitctl request --role edit-grant --reason 'WHY' -- sudoedit /srv/rule/b")
    );
    request(root(), &person, "edit-grant", &["--", "sudoedit", file]);
    edit(&person, "true", &[file]).succeeded();
    edit(&person, APPEND, &[file]).succeeded();
    root().command(&person.name, ["jit-sudoedit", "-n", "b"]).env("EDITOR", "true").cwd("/srv/rule").run().succeeded();
    edit(&person, "true", &["/srv/rule/c"]).refused("not allowed");
    // The same name in another directory is another file.
    root()
        .command(&person.name, ["jit-sudoedit", "-n", "b"])
        .env("EDITOR", "true")
        .cwd("/tmp")
        .run()
        .refused("not allowed");
}

#[test]
fn an_edit_that_outlives_its_grant_is_not_written() {
    tools();
    let person = root().person(&["self-service"]);
    root().write("/srv/rule/slow", 0o644, "text\n");
    let grant = id(&request(root(), &person, "self-service", &[]));
    let words = ["jit-sudoedit", "-n", "/srv/rule/slow"];
    let editor = "sh -c 'echo mine >>$0; echo $0 >/tmp/slow-copy; sleep 100'";
    let mut session = root().command(&person.name, words).env("EDITOR", editor).on_terminal();
    eventually("the editor runs", harness::PATIENCE, || root().path("/tmp/slow-copy").exists().then_some(()));
    root().as_root(["jitctl", "revoke", &grant, "--reason", "enough"]).succeeded();
    session.expect("was revoked");
    session.expect("the run was ended");
    session.expect("contents of edit session left in");
    assert_eq!(session.wait().code(), Some(1), "{}", session.screen());
    assert_eq!(root().read("/srv/rule/slow"), "text\n");
    let copy = root().read("/tmp/slow-copy");
    assert_eq!(root().read(copy.trim()), "text\nmine\n");
    assert!(records(&person, "edit").is_empty());
    let end = records(&person, "end").pop().unwrap();
    assert_eq!((end.text("ended_by"), end.number("exit")), ("revocation", 1), "{}", end.body);
}

#[test]
fn a_person_edits_with_vim_on_a_terminal() {
    let (person, directory) = editor_of("first\nsecond\n");
    let file = format!("{directory}/file");
    let run = root().command(&person.name, ["jit-sudoedit", "-n", &file]).env("EDITOR", "vim -u NONE -N");
    let mut session = run.on_terminal();
    session.expect("second");
    let before = session.attributes();
    session.type_text("Gothird\x1b:!id -un > /tmp/vim-user\r");
    session.expect("Press ENTER");
    session.type_text("\r:wq\r");
    assert!(session.wait().success(), "{}", session.screen());
    let _ = before;
    assert_eq!(root().read(&file), "first\nsecond\nthird\n");
    // The editor runs without privileges, and so does its shell.
    assert_eq!(root().read("/tmp/vim-user").trim(), person.name);
    assert_eq!(records(&person, "edit").len(), 1);
}

#[test]
fn hostile_names_and_editors_are_refused_in_one_line() {
    let (person, directory) = editor_of("text\n");
    let long = format!("{directory}/{}", "x".repeat(300));
    edit(&person, "true", &[&long]).refused("File name too long");
    let deep = format!("/{}x", "a/".repeat(3000));
    edit(&person, "true", &[&deep]).refused("a/a");
    let strange = format!("{directory}/\u{1b}[31m\u{202e}\n.conf");
    let output = edit(&person, APPEND, &[&strange]);
    assert!(output.status.success() && !output.stderr.contains('\u{1b}'), "{output:?}");
    assert!(records(&person, "edit").pop().unwrap().text("path").contains("\\x1b[31m"));
    let many: Vec<String> = (0..300).map(|n| format!("{directory}/many{n}")).collect();
    edit(&person, APPEND, &many.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
    assert_eq!(root().read(&many[299]), "added\n");
    for editor in ["'", "\"unclosed", "\\", "   ", "/", ".", "''"] {
        let run = root().command(&person.name, ["jit-sudoedit", "-n", &format!("{directory}/file")]);
        run.env("SUDO_EDITOR", editor).env("EDITOR", "true").run().succeeded();
    }
    let run = root().command(&person.name, ["jit-sudoedit", "-n", &format!("{directory}/file")]);
    run.env("EDITOR", "append-line -- /etc/shadow").run().refused("editor arguments may not contain \"--\"");
    let reject = records(&person, "reject").pop().unwrap();
    assert_eq!(reject.text("code"), "editor");
}

#[test]
fn help_version_and_usage_are_those_of_an_editor() {
    let person = root().person(&["deploy"]);
    for (words, status) in [(&["-h"][..], 0), (&["-V"], 0), (&[], 1), (&["-s", "f"], 1), (&["-u"], 1), (&["-n"], 1)] {
        let [theirs, ours] = ["sudoedit", "jit-sudoedit"].map(|name| {
            let output = root().run_as(&person.name, [&[name], words].concat());
            assert_eq!(output.status.code(), Some(status), "{name} {words:?}: {output:?}");
            output
        });
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        if words != ["-V"] {
            assert_eq!(first(&ours.stdout), first(&theirs.stdout).replace("sudoedit", "jit-sudoedit"), "{words:?}");
        }
        let said = first(&ours.stderr).replace("jit-sudoedit", "sudoedit").replace("jit-sudo:", "sudoedit:");
        assert_eq!(said, first(&theirs.stderr), "{words:?}");
    }
}

#[test]
fn an_editor_that_ignores_signals_gains_no_time() {
    let (person, base) = editor_of("");
    root().script(&format!("for f in a b; do echo $f >{base}/unread-$f; done"));
    let unread = format!(
        "import os, subprocess, sys, time\n\
         reader, writer = os.pipe()\n\
         os.set_blocking(writer, False)\n\
         try:\n  while True: os.write(writer, b'x' * 4096)\n\
         except BlockingIOError: pass\n\
         os.set_blocking(writer, True)\n\
         edit = ['jit-sudo', '-n', '-e', '{base}/missing/f', '{base}/unread-a', '{base}/unread-b']\n\
         subprocess.Popen(edit, stdout=writer, stderr=writer, env={{**os.environ, 'EDITOR': '/bin/true'}})\n\
         time.sleep(600)\n"
    );
    let session = root().pty_as(&person.name, ["python3", "-c", &unread]);
    let end = eventually("the end is recorded", harness::PATIENCE, || records(&person, "end").pop());
    assert_eq!(end.text("ended_by"), "itself", "{}", end.body);
    let copies = root().script("ls /var/tmp | grep '^unread-' || true");
    assert_eq!(copies, "", "nothing is left that could be changed");
    drop(session);
}
