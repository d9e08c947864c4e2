//! The layers of the code (docs/design.md): a module uses only modules on its own floor or below, never in a circle; so do the files
//! of a module (`floors/circles.rs`); unsafe code is in `sys` only. Reads the actual uses from the source, so that the drawing stays true.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "floors/circles.rs"]
mod circles;

/// Uses that point downward and are forbidden all the same: revocation reaches a session as a `Watch` that `run` makes.
const NEVER: &[(&str, &str)] = &[("session", "store"), ("session", "database")];

/// A crate of the drawing: its modules with their floors.
struct Building {
    top: &'static str,
    /// The prefixes by which its modules name it.
    names: &'static [&'static str],
    floors: BTreeMap<String, u8>,
}

fn buildings() -> [Building; 2] {
    let core = Building { top: "core/src", names: &["crate::"], floors: drawn("core") };
    [Building { top: "src", names: &["crate::", "jit_sudo::"], floors: drawn("src") }, core]
}

/// Returns the floors of a crate in the drawing of docs/design.md: a number starts a floor, and each line is a module and its
/// purpose.
fn drawn(name: &str) -> BTreeMap<String, u8> {
    let text = fs::read_to_string(project().join("docs/design.md")).unwrap();
    let (_, after) = text.split_once(&format!("\n{name}\n")).expect("docs/design.md draws the crate");
    let (mut floors, mut floor) = (BTreeMap::new(), None);
    for line in after.lines().take_while(|line| !line.is_empty() && !line.starts_with("```")) {
        floor = line.split(' ').next().and_then(|number| number.parse().ok()).or(floor);
        let room = line.trim_start_matches(|c: char| c.is_ascii_digit()).split_whitespace().next().unwrap();
        floors.insert(room.to_owned(), floor.expect("a floor has a number"));
    }
    assert!(floors.len() > 5, "{floors:?}");
    floors
}

#[test]
fn every_module_is_in_the_drawing_and_every_drawn_module_exists() {
    for building in buildings() {
        let rooms: BTreeSet<String> = sources(building.top).into_iter().map(|file| file.room).collect();
        let drawn: BTreeSet<String> = building.floors.into_keys().chain(["lib".to_owned()]).collect();
        assert_eq!(rooms, drawn, "{} and docs/design.md", building.top);
    }
}

#[test]
fn no_module_uses_a_module_above_it() {
    for building in buildings() {
        for (from, to, line) in uses(&building) {
            let floor = |room: &str| building.floors.get(room).copied();
            assert!(floor(&to) <= floor(&from), "{from} (floor {:?}) uses {to} above it: {line}", floor(&from));
            assert!(!NEVER.contains(&(from.as_str(), to.as_str())), "{from} must not know {to}: {line}");
        }
    }
}

#[test]
fn modules_do_not_use_each_other_in_a_circle() {
    for building in buildings() {
        let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to, _) in uses(&building) {
            below.entry(from).or_default().insert(to);
        }
        // Repeatedly removes modules that use none of the remaining ones; a circle is never removed.
        while let Some(free) = below.iter().find(|(_, to)| to.iter().all(|room| !below.contains_key(room))) {
            let free = free.0.clone();
            below.remove(&free);
        }
        assert!(below.is_empty(), "these rooms use each other in a circle: {below:?}");
    }
}

#[test]
fn the_core_crate_is_pure_and_jitctl_does_not_depend_on_the_privileged_crate() {
    let manifest = |path: &str| fs::read_to_string(project().join(path)).unwrap();
    let needs = |path: &str, package: &str| {
        manifest(path)
            .split("[dev-dependencies]")
            .next()
            .unwrap()
            .lines()
            .any(|line| line.starts_with(&format!("{package} =")))
    };
    for package in ["jit-sudo", "jit-sudo-sys", "libc", "nix", "rusqlite", "pam-sys"] {
        assert!(!needs("core/Cargo.toml", package), "core needs {package}");
    }
    assert!(!needs("ctl/Cargo.toml", "jit-sudo") && !needs("pam-module/Cargo.toml", "jit-sudo"));
    let forbidden =
        ["std::fs", "std::env::", "std::net::Tcp", "std::process", "SystemTime", "Instant::now", "Utc::now", "unsafe"];
    for file in sources("core/src").iter().filter(|file| file.room != "samples") {
        for line in file.code() {
            for word in forbidden {
                assert!(!line.contains(word), "{} asks the host: {line}", file.path.display());
            }
        }
    }
}

#[test]
fn unsafe_code_lives_in_sys_alone() {
    for file in
        ["src", "core/src", "ctl", "import/src", "compile/src", "shrink/src"].iter().flat_map(|top| sources(top))
    {
        for line in file.code() {
            assert!(!words(&line).any(|word| word == "unsafe"), "unsafe code in {}: {line}", file.path.display());
        }
    }
    let root = fs::read_to_string(project().join("Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"forbid\""), "the privileged package must forbid unsafe code by lint");
}

#[test]
fn sealed_values_are_opened_in_one_place() {
    for file in sources("src") {
        let opens = |what: &str| file.code().any(|line| line.contains(what));
        let name = file.path.strip_prefix(project()).unwrap();
        assert!(
            !opens("Insight::proven(") || name == Path::new("src/activation/insight.rs"),
            "{} tells what lies in hidden places",
            name.display()
        );
        // jitctl, never this crate, quotes the users' own policy texts.
        assert!(!opens("PolicyReader::of("), "{} quotes the policy to whoever asks", name.display());
    }
}

#[test]
fn the_table_of_records_is_read_without_what_was_pruned() {
    // The definition itself and the last record, what verifies, salvages and deletes, and two queries of every run that are shorter so.
    let raw = [
        ("src/audit/history.rs", 2),
        ("src/audit/checkpoint.rs", 2),
        ("src/audit/grant_records.rs", 2),
        ("src/audit/forks.rs", 1),
        ("src/audit/rows.rs", 1),
        ("src/audit/verification.rs", 1),
        ("src/audit/prune.rs", 3),
        ("src/audit/salvage.rs", 3),
    ];
    let known: BTreeMap<&Path, usize> = raw.into_iter().map(|(path, count)| (Path::new(path), count)).collect();
    for file in ["src", "ctl", "pam-module"].iter().flat_map(|top| sources(top)) {
        // A query goes over several lines of the source.
        let text =
            file.code().filter(|line| !line.contains("CREATE ")).collect::<Vec<_>>().join(" ").replace('\\', " ");
        let words: Vec<&str> =
            text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        let reads =
            words.windows(2).filter(|pair| matches!(pair, ["FROM" | "JOIN" | "UPDATE" | "TABLE", "record"])).count();
        let name = file.path.strip_prefix(project()).unwrap();
        assert_eq!(reads, known.get(name).copied().unwrap_or(0), "{} reads `record`, not `history`", name.display());
    }
}

/// Who may name the standard streams: the console, the rooms that talk to the caller when the story has closed its reading of the
/// database, and programs whose streams are ours.
const STREAMS: [&str; 14] = [
    "console.rs",
    "bug.rs",
    "session",
    "auth/prompt.rs",
    "hooks.rs",
    "broker/mod.rs",
    "broker/question.rs",
    "broker/recordings.rs",
    "broker/pam_membership.rs",
    "broker/pam_sessions.rs",
    "run/offer.rs",
    "run/approval.rs",
    "run/enforcer.rs",
    "run/entries.rs",
];

#[test]
fn few_modules_write_to_the_caller() {
    let known = |path: &Path| STREAMS.iter().any(|place| path.starts_with(project().join("src").join(place)));
    for file in sources("src").iter().filter(|file| !known(&file.path)) {
        for line in file.code() {
            for stream in ["stderr()", "stdout()", "stdin()", "eprint", "println"] {
                assert!(!line.contains(stream), "{} talks to the caller itself: {line}", file.path.display());
            }
        }
    }
}

/// The files that use a terminal, how often each opens the one of the caller, and why no process that ends a run, or records its end,
/// waits for its user: most calls on a terminal can be made to wait for ever (docs/design.md, "Relay, monitor, command").
const TERMINALS: [(&str, usize, &str); 16] = [
    ("src/auth/prompt.rs", 2, "before the run, or after its end is recorded"),
    ("src/broker/consent.rs", 1, "no run"),
    ("src/elevation/caller.rs", 1, "before the run"),
    ("src/run/approval.rs", 0, "before the run"),
    ("src/run/entries.rs", 0, "no run"),
    ("src/run/offer.rs", 2, "before the run"),
    ("src/session/mod.rs", 1, "before the command exists"),
    ("src/session/streams.rs", 0, "before the command exists"),
    ("src/session/relay.rs", 1, "before the command exists, and in a child with a deadline"),
    ("src/session/direct.rs", 1, "in a child with a deadline"),
    ("src/session/modes.rs", 0, "in the relay process"),
    ("src/session/relay_process.rs", 0, "in the relay process"),
    ("src/session/session_recording.rs", 0, "only the type of a size"),
    ("sys/src/pty.rs", 0, "before the command exists"),
    ("sys/src/readers.rs", 0, "only decodes a number"),
    ("sys/src/foreign_processes.rs", 0, "in a child with a deadline"),
];

/// The files in which the calls on a terminal themselves are.
const TERMINAL_CALLS: [&str; 8] = [
    "sys/src/terminal.rs",
    "sys/src/terminal/apart.rs",
    "sys/src/terminal/held.rs",
    "sys/src/terminal/question.rs",
    "sys/src/pty.rs",
    "sys/src/process.rs",
    "sys/src/sandbox/table.rs",
    "sys/src/foreign_processes/seat.rs",
];

#[test]
fn no_process_that_ends_a_run_waits_for_a_terminal() {
    let mut unseen: BTreeSet<&str> = TERMINALS.iter().map(|(path, ..)| *path).collect();
    for file in ["src", "sys/src", "pam-module/src", "shrink/src", "compile/src"].iter().flat_map(|top| sources(top)) {
        let name = file.path.strip_prefix(project()).unwrap().to_str().unwrap();
        let calls =
            ["TIOC", "tcsetattr", "tcgetattr", "tcflush", "tcsetpgrp", "tcgetpgrp", "isatty", "\"/dev/tty", "/dev/pts"];
        if !TERMINAL_CALLS.contains(&name) {
            for line in file.code() {
                assert!(!calls.iter().any(|call| line.contains(call)), "{name} makes a call on a terminal: {line}");
            }
        }
        if name.starts_with("sys/src/terminal") {
            continue;
        }
        let found = file.code().find(|line| line.contains("terminal::") || line.contains(".is_terminal()"));
        let opened = file.code().filter(|line| line.contains("Terminal::controlling")).count();
        match (TERMINALS.iter().find(|(path, ..)| *path == name), found) {
            (Some((_, most, why)), Some(_)) => {
                unseen.remove(name);
                assert!(opened <= *most, "{name} opens the caller's terminal {opened} times ({why})");
            }
            (Some(_), None) => {}
            (None, None) => assert_eq!(opened, 0, "{name} opens the caller's terminal"),
            (None, Some(line)) => panic!("{name} uses a terminal: {line}"),
        }
    }
    assert!(unseen.is_empty(), "these files use no terminal any more: {unseen:?}");
}

/// The supervisor of a run with a terminal has nothing by which it could reach one: the settings and both descriptors are the monitor's.
#[test]
fn the_supervisor_holds_no_terminal() {
    let text = fs::read_to_string(project().join("src/session/relay.rs")).unwrap();
    let (_, supervisor) = text.split_once("struct Relay<").unwrap();
    let (fields, rest) = supervisor.split_once("\n}\n").unwrap();
    let (_, methods) = rest.split_once("\nimpl Relay<").unwrap();
    let (methods, _) = methods.split_once("\n}\n").unwrap();
    for word in words(fields).chain(words(methods)) {
        assert!(!["Modes", "modes", "Terminal", "Pty", "leader", "OwnedFd"].contains(&word), "{word}");
    }
}

#[test]
fn only_host_names_a_concrete_store_or_sink() {
    let concrete: Vec<String> = ["src/store", "src/audit/sink"]
        .iter()
        .flat_map(|directory| fs::read_dir(project().join(directory)).into_iter().flatten().flatten())
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "mod")
        .collect();
    for file in sources("src") {
        let own =
            file.path.starts_with(project().join("src/store")) || file.path.starts_with(project().join("src/audit"));
        if own || file.room == "host" {
            continue;
        }
        for line in file.code() {
            for name in &concrete {
                let named = line.contains(&format!("store::{name}")) || line.contains(&format!("sink::{name}"));
                assert!(!named, "only host.rs may name {name}, not {}: {line}", file.path.display());
            }
        }
    }
}

/// The files of `/proc/PID` that the kernel answers at once, whatever the process does. It can delay the readers of the others for
/// ever.
const ANSWERED: [&str; 5] = ["status", "comm", "cgroup", "task", "net"];

/// The one module that reads the others: of this process, of processes of root, or with a deadline.
const LOCKED: &str = "sys/src/procfs/locked";

#[test]
fn files_of_another_process_that_can_block_are_read_in_one_module() {
    for file in
        ["src", "sys/src", "pam-module/src", "ctl/src", "shrink/src", "compile/src"].iter().flat_map(|top| sources(top))
    {
        let name = file.path.strip_prefix(project()).unwrap();
        if name.starts_with(LOCKED) || name == Path::new(LOCKED).with_extension("rs") {
            continue;
        }
        for line in file.code() {
            for read in files_of_processes(&line) {
                assert!(ANSWERED.contains(&read.as_str()), "{} reads {read} of a process: {line}", name.display());
            }
            // A path that is put together from parts is not seen above.
            let is_joined =
                (line.contains("\"/proc\"") || line.contains("\"/proc/\"")) && !line.contains("read_dir(\"/proc\")");
            assert!(
                !is_joined || name.ends_with("enforcer.rs") || name.ends_with("procfs.rs"),
                "{}: {line}",
                name.display()
            );
        }
    }
}

/// The files that processes lock while others wait: where each is named, and what names it. A process loses such a lock when it
/// closes any descriptor of the file, so nothing else may open it.
const LOCKED_FILES: [(&[&str], &str); 6] = [
    (&["src/database.rs"], "\"-lock\""),
    // The others read it while the process holds no lock: to answer a question, and inside a transaction that finds a fork.
    (&["src/host.rs", "src/host/inspection.rs", "src/host/anchor.rs"], "\"sent-"),
    (&["src/host/supervisors.rs"], "\"live-supervisors\""),
    (&["src/host/overdue.rs"], "\"overdue-runs\""),
    (&["src/host/slots.rs"], "\"slots\""),
    (&["ctl/src/known_hosts/file.rs"], "known_hosts.lock"),
];

#[test]
fn a_file_that_processes_lock_is_opened_by_the_lock_alone() {
    for file in ["src", "sys/src", "pam-module/src", "ctl/src", "shrink/src"].iter().flat_map(|top| sources(top)) {
        let name = file.path.strip_prefix(project()).unwrap();
        for line in file.code() {
            let is_lock = ["F_SETLK", "F_OFD_SETLK", "LOCK_EX"].iter().any(|word| line.contains(word));
            assert!(!is_lock || name == Path::new("sys/src/lock.rs"), "{} takes a lock: {line}", name.display());
            for (places, word) in LOCKED_FILES {
                let may = places.iter().any(|place| name == Path::new(place));
                assert!(may || !line.contains(word), "{} names a locked file: {line}", name.display());
            }
        }
    }
}

/// Returns the first part after the process of each path of another process in a line, such as `stat` of `/proc/{pid}/stat`. A thread
/// has the same files as its process.
fn files_of_processes(line: &str) -> Vec<String> {
    let inside = |rest: &str| {
        let (_, after) = rest.split_once('}').unwrap_or_default();
        let after = after.strip_prefix('/').unwrap_or_default();
        let after = match after.split_once("task/{").and_then(|(_, thread)| thread.split_once("}/")) {
            Some((_, after)) => after,
            None => after,
        };
        after.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default().to_owned()
    };
    line.match_indices("/proc/{").map(|(at, _)| inside(&line[at..])).filter(|file| file != "children").collect()
}

#[test]
fn paths_of_processes_are_recognized() {
    for (line, file) in [
        ("open(format!(\"/proc/{pid}/stat\"))", "stat"),
        ("format!(\"/proc/{}/exe\", pid.raw())", "exe"),
        ("format!(\"/proc/{pid}/task/{thread}/environ\")", "environ"),
        ("format!(\"/proc/{pid}/task\")", "task"),
        ("format!(\"/proc/{pid}/{name}\")", ""),
        ("Path::new(&format!(\"/proc/{pid}\")).join(name)", ""),
    ] {
        assert_eq!(files_of_processes(line), [file], "{line}");
    }
    assert!(files_of_processes("\"/proc/self/stat\" format!(\"/proc/{pid}/task/{pid}/children\")").is_empty());
}

/// One source file without its comments and its tests.
struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

impl Source {
    fn code(&self) -> impl Iterator<Item = String> + '_ {
        let begins = |module: &str| self.text.find(&format!("\n#[cfg(test)]\n{module}mod tests {{"));
        let upto = begins("").or_else(|| begins("pub(super) ")).unwrap_or(self.text.len());
        self.text[..upto].lines().map(|line| line.split("//").next().unwrap_or_default().to_owned())
    }
}

/// Returns every use of one module by another: the user, the used one, and the line.
fn uses(building: &Building) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for file in sources(building.top).into_iter().filter(|file| file.room != "lib") {
        let code: Vec<String> = file.code().collect();
        let code = code.join("\n");
        for prefix in building.names {
            for (at, _) in code.match_indices(*prefix) {
                let line = code[..at].rsplit('\n').next().unwrap_or_default().to_owned()
                    + code[at..].split(['\n', ';']).next().unwrap_or_default();
                for room in named(&code[at + prefix.len()..]) {
                    if room != file.room && building.floors.contains_key(&room) {
                        found.push((file.room.clone(), room, format!("{}: {line}", file.path.display())));
                    }
                }
            }
        }
    }
    found
}

/// Returns the modules at the start of a path after `crate::`: one, or several in braces.
fn named(path: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix('{') else {
        return words(path).next().map(str::to_owned).into_iter().collect();
    };
    let mut rooms = Vec::new();
    let (mut depth, mut begin) = (0, true);
    let mut rest = inside;
    while let Some(character) = rest.chars().next() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begin = true,
            c if begin && c.is_alphabetic() => {
                rooms.extend(words(rest).next().map(str::to_owned));
                begin = false;
            }
            _ => {}
        }
        rest = &rest[character.len_utf8()..];
    }
    rooms
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn sources(top: &str) -> Vec<Source> {
    let top = project().join(top);
    let mut files = Vec::new();
    let mut directories = vec![top.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
                && !path.components().any(|part| part.as_os_str() == "tests")
            {
                let inside = path.strip_prefix(&top).unwrap().to_str().unwrap();
                let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                files.push(Source { path, room, text });
            }
        }
    }
    assert!(!files.is_empty(), "no source under {}", top.display());
    files
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_parser_of_this_test_reads_paths_in_braces() {
    assert_eq!(named("{audit::{Journal, store}, names::RoleName,\n    policy}"), ["audit", "names", "policy"]);
    assert_eq!(named("grant::verify;"), ["grant"]);
}
