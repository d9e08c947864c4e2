//! Sudoers files in the style of real ones (`corpus/*.sudoers`), and questions about them: every user, run-as user and
//! command that a file names, as cvtsudoers(1) lists them, and words that are nearly those of the file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::compare::{Question, Tally, compare, output, write};

/// Compares the answers to so many questions about every file of the corpus; prints what was compared, and panics with
/// the differences.
pub(super) fn compare_all(directory: &Path, questions: usize) {
    let kept = ["/etc/passwd", "/etc/shadow", "/etc/group"].map(|path| (path, fs::read_to_string(path).unwrap()));
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40, "{}: {} files", directory.display(), files.len());
    let mut tally = Tally::default();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let named = Named::of(&text, file);
        for (path, before) in &kept {
            write(path, if *path == "/etc/shadow" { 0o600 } else { 0o644 }, before);
        }
        named.create();
        compare(&text, "", &named.questions(questions), true, &mut tally);
    }
    tally.report(files.len() as u64, "corpus");
}

/// What a file names.
#[derive(Default)]
struct Named {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    netgroups: BTreeSet<String>,
    run_as: BTreeSet<String>,
    commands: BTreeSet<String>,
}

impl Named {
    fn of(text: &str, file: &Path) -> Self {
        write("/root/named", 0o440, text);
        let listed = output(Command::new("cvtsudoers").args(["-f", "json", "-e", "/root/named"]));
        assert!(listed.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&listed.stderr));
        // cvtsudoers 1.9.13 writes this one without its braces.
        let text = String::from_utf8(listed.stdout).unwrap();
        let text: String = text.lines().filter(|line| !line.trim_start().starts_with("\"runcwd\"")).collect();
        let listed: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut named = Self::default();
        named.collect(&listed, false);
        named
    }

    fn collect(&mut self, value: &Value, run_as: bool) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| self.collect(value, run_as)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), value.as_str()) {
                        (_, Some("ALL")) => {}
                        ("username", Some(name)) => {
                            self.users.insert(name.to_owned());
                            if run_as {
                                self.run_as.insert(name.to_owned());
                            }
                        }
                        ("usergroup", Some(name)) => _ = self.groups.insert(name.to_owned()),
                        ("netgroup", Some(name)) => _ = self.netgroups.insert(name.to_owned()),
                        ("command", Some(command)) => _ = self.commands.insert(command.to_owned()),
                        _ => self.collect(value, run_as || key == "runasusers"),
                    }
                }
            }
            _ => {}
        }
    }

    /// Creates the users, a member of each group and netgroup, a member of all of them, and the programs.
    fn create(&self) {
        let [mut passwd, mut shadow, mut group, mut netgroup] = [const { String::new() }; 4];
        for (user, uid) in self.everybody().into_iter().zip(5000..) {
            if !has("/etc/passwd", &user) {
                _ = writeln!(passwd, "{user}:x:{uid}:{uid}::/:/bin/sh");
                _ = writeln!(shadow, "{user}:*:20000:0:99999:7:::");
                if !self.groups.contains(&user) {
                    _ = writeln!(group, "{user}:x:{uid}:");
                }
            }
        }
        for (index, (name, gid)) in self.groups.iter().zip(6000..).enumerate() {
            if has("/etc/group", name) {
                let line = |line: &str| match line.strip_prefix(&format!("{name}:")) {
                    Some(rest) => format!("{name}:{}:member{index},everywhere\n", rest.trim_end_matches(':')),
                    None => format!("{line}\n"),
                };
                let text: String = fs::read_to_string("/etc/group").unwrap().lines().map(line).collect();
                write("/etc/group", 0o644, &text);
            } else {
                _ = writeln!(group, "{name}:x:{gid}:member{index},everywhere");
            }
        }
        for (index, name) in self.netgroups.iter().enumerate() {
            _ = writeln!(netgroup, "{name} (web1,netmember{index},) (,everywhere,)");
        }
        append("/etc/passwd", 0o644, &passwd);
        append("/etc/shadow", 0o600, &shadow);
        append("/etc/group", 0o644, &group);
        write("/etc/netgroup", 0o644, &netgroup);
        for command in &self.commands {
            let path = command.split(' ').next().unwrap();
            if path.starts_with('/') && !Path::new(path.trim_end_matches('/')).exists() {
                let path = if path.ends_with('/') { format!("{path}tool") } else { path.to_owned() };
                fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
                fs::copy("/bin/true", &path).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        }
    }

    fn everybody(&self) -> Vec<String> {
        let mut all: Vec<String> = self.users.iter().cloned().collect();
        all.extend((0..self.groups.len()).map(|index| format!("member{index}")));
        all.extend((0..self.netgroups.len()).map(|index| format!("netmember{index}")));
        all.extend(["everywhere".to_owned(), "outsider".to_owned()]);
        all.retain(|user| user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)));
        all
    }

    fn questions(&self, count: usize) -> Vec<Question> {
        let mut run_as: Vec<Option<String>> = self.run_as.iter().cloned().map(Some).collect();
        run_as.extend([None, None, Some("daemon".to_owned())]);
        let mut lines: Vec<Vec<String>> =
            self.commands.iter().filter(|command| command.starts_with('/')).flat_map(|line| asked(line)).collect();
        lines.extend(["/usr/bin/id", "/usr/bin/env -i"].map(words));
        let users = self.everybody();
        let mut all: Vec<Question> = Vec::new();
        for user in &users {
            for words in &lines {
                for target in &run_as {
                    all.push(Question {
                        user: user.clone(),
                        run_as: target.clone(),
                        group: None,
                        words: words.clone(),
                    });
                }
            }
        }
        fastrand::Rng::with_seed(7).shuffle(&mut all);
        all.truncate(count);
        all
    }
}

/// Returns commands that a rule allows, and commands that are nearly the same.
fn asked(rule: &str) -> Vec<Vec<String>> {
    let (path, arguments) = rule.split_once(' ').unwrap_or((rule, ""));
    let path = if path.ends_with('/') { format!("{path}tool") } else { path.to_owned() };
    let plain = arguments
        .trim_matches('"')
        .replace("[a-z]*", "abc")
        .replace("[0-9]*", "12")
        .replace('*', "x")
        .replace('\\', "");
    let one = words(&format!("{path} {plain}"));
    let more = words(&format!("{path} {plain} more"));
    let none = words(&path);
    vec![one, more, none]
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn has(path: &str, name: &str) -> bool {
    fs::read_to_string(path).unwrap().lines().any(|line| line.split(':').next() == Some(name))
}

fn append(path: &str, mode: u32, more: &str) {
    let text = fs::read_to_string(path).unwrap();
    write(path, mode, &format!("{text}{more}"));
}
