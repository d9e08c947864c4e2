//! Compares the result of `jitctl policy import` for generated sudoers files with the answers of Debian's sudo. This part runs
//! inside a private root, as root: it replaces /etc/sudoers and the policy there. Every tenth file is also installed and checked
//! with `jit-sudo -l`.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::generator::{Generator, PEOPLE};

/// Compares `files` sudoers files; prints what was compared, and panics with the differences.
pub(super) fn compare_many(files: u64, seed: u64) {
    let host = prepare();
    let mut tally = Tally::default();
    for file in 0..files {
        let mut generator = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(file), &host);
        let (text, part) = generator.sudoers();
        write("/opt/parts/10", 0o440, &part);
        let questions: Vec<Question> = (0..8).map(|_| generator.question()).collect();
        compare(&text, &part, &questions, file % 10 == 0, &mut tally);
    }
    tally.report(files, seed);
}

#[derive(Default)]
pub(super) struct Tally {
    folded: Vec<Folded>,
    worst: String,
    questions: u64,
    allowed: u64,
    installed: u64,
    incomplete: BTreeMap<String, u64>,
    differences: Vec<String>,
}

/// A file and its policy.
struct Folded {
    rules: usize,
    roles: usize,
    /// Whether a setting is for some users, hosts, run-as users or commands only.
    is_scoped: bool,
}

impl Folded {
    /// The roles for each rule line, in hundredths.
    fn part(&self) -> usize {
        self.roles * 100 / self.rules.max(1)
    }
}

/// A file with so many rules has something to fold: one rule is at least one role.
const SEVERAL: usize = 5;

impl Tally {
    pub(super) fn report(&self, files: u64, seed: impl Display) {
        println!("Not converted, with how often:");
        for (what, count) in &self.incomplete {
            println!("  {count:6} {what}");
        }
        println!(
            "{files} sudoers files with {} questions (seed {seed}): sudo allows {}, {} differences; {} of the questions asked of \
             the installed jit-sudo too",
            self.questions,
            self.allowed,
            self.differences.len(),
            self.installed
        );
        self.report_folding("all", |_| true);
        self.report_folding("those with at least 5 rules", |folded| folded.rules >= SEVERAL);
        let plain = |folded: &Folded| folded.rules >= SEVERAL && !folded.is_scoped;
        self.report_folding("those of them without a setting for some users, hosts or commands", plain);
        println!("The worst:\n{}", self.worst);
        let first: Vec<&str> = self.differences.iter().take(5).map(String::as_str).collect();
        assert!(first.is_empty(), "{}", first.join("\n\n"));
    }
}

impl Tally {
    fn fold(&mut self, text: &str, roles: usize, policy: &str) {
        let folded = Folded { rules: rule_lines(text), roles, is_scoped: has_scoped_setting(text) };
        if self.folded.iter().all(|known| folded.part() > known.part()) {
            self.worst = format!("{text}--- became\n{policy}");
        }
        self.folded.push(folded);
    }

    /// Prints the roles for each rule line of the chosen files.
    fn report_folding(&self, which: &str, chosen: impl Fn(&Folded) -> bool) {
        let mut parts: Vec<usize> = self.folded.iter().filter(|folded| chosen(folded)).map(Folded::part).collect();
        parts.sort_unstable();
        let shown = |index: usize| parts.get(index).map_or(0.0, |part| *part as f64 / 100.0);
        println!(
            "Roles for each rule line, of {which} ({} files): median {:.2}, worst {:.2}, more than 2 in {}",
            parts.len(),
            shown(parts.len() / 2),
            shown(parts.len().saturating_sub(1)),
            parts.iter().filter(|part| **part > 200).count()
        );
    }
}

fn has_scoped_setting(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("Defaults"))
        .any(|rest| rest.starts_with([':', '@', '>', '!']))
}

/// Returns the number of lines with a rule; a line that continues another is part of it.
fn rule_lines(text: &str) -> usize {
    let joined = text.replace("\\\n", " ");
    let other = |line: &str| {
        let comment = line.starts_with('#') && !line[1..].starts_with(|c: char| c.is_ascii_digit());
        let word = ["Defaults", "@include", "User_Alias", "Host_Alias", "Runas_Alias", "Cmnd_Alias"];
        line.is_empty() || comment || word.iter().any(|word| line.starts_with(word))
    };
    joined.lines().filter(|line| !other(line.trim())).count()
}

pub(super) struct Question {
    pub(super) user: String,
    pub(super) run_as: Option<String>,
    pub(super) group: Option<String>,
    pub(super) words: Vec<String>,
}

impl Question {
    /// Runs `program -l`: as the user, because sudo compares group and run-as user with those of the caller; or as root, where the
    /// user may have no group of that name.
    fn is_allowed_by(&self, program: &str) -> bool {
        let mut words = vec![program, "-n"];
        words.extend(self.asked());
        if self.asks_itself() {
            let mut person = vec!["--reuid", &self.user, "--regid", &self.user, "--init-groups", "--reset-env", "--"];
            person.extend(words);
            return succeeds("setpriv", &person);
        }
        succeeds(program, words.get(1..).unwrap_or_default())
    }

    fn asks_itself(&self) -> bool {
        self.group.is_some() || PEOPLE.contains(&self.user.as_str())
    }

    /// Runs an allowed command, as the user; returns whether `program` requires a password first.
    fn needs_password(&self, program: &str) -> bool {
        let mut words =
            vec!["--reuid", &self.user, "--regid", &self.user, "--init-groups", "--reset-env", "--", program, "-n"];
        words.extend(self.target());
        words.extend(self.words.iter().map(String::as_str));
        String::from_utf8_lossy(&output(Command::new("setpriv").args(words)).stderr).contains("a password is required")
    }

    fn target(&self) -> impl Iterator<Item = &str> {
        self.run_as.iter().flat_map(|user| ["-u", user]).chain(self.group.iter().flat_map(|group| ["-g", group]))
    }

    /// Returns options and arguments.
    fn asked(&self) -> Vec<&str> {
        let mut words = vec!["-l"];
        if !self.asks_itself() {
            words.extend(["-U", &self.user]);
        }
        words.extend(self.target());
        words.extend(self.words.iter().map(String::as_str));
        words
    }
}

/// Compares the answers to the questions about one file, and with `install` those of the installed programs too.
pub(super) fn compare(text: &str, part: &str, questions: &[Question], install: bool, tally: &mut Tally) {
    // Listing requires no password, so that there is no prompt; the rest is imported.
    write("/etc/sudoers", 0o440, &format!("Defaults listpw=never\n{text}"));
    write("/root/sudoers", 0o440, text);
    let text = &format!("{text}{part}");
    let imported = output(Command::new("jitctl").args(["--json", "policy", "import", "/root/sudoers"]));
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap_or_default();
    let Some(policy) = imported["policy-imported"]["policy"].as_str() else {
        tally.differences.push(format!("{text}\nis not imported: {imported}"));
        return;
    };
    let roles = imported["policy-imported"]["roles"].as_u64().unwrap_or_default() as usize;
    tally.fold(text, roles, policy);
    let mut settings_lost = false;
    for line in imported["policy-imported"]["left_out"].as_array().into_iter().flatten() {
        let what = line.as_str().unwrap_or_default().splitn(3, ':').nth(2).unwrap_or_default();
        let what = what.split(" of /root").next().unwrap_or_default();
        settings_lost |= what.contains("authenticate for");
        *tally.incomplete.entry(what.trim().to_owned()).or_default() += 1;
    }
    write("/root/imported.toml", 0o600, policy);
    let said: Vec<bool> = questions.iter().map(|question| question.is_allowed_by("sudo")).collect();
    tally.questions += said.len() as u64;
    tally.allowed += said.iter().filter(|allowed| **allowed).count() as u64;

    let cases: String = questions.iter().zip(&said).map(|(question, allowed)| case(question, *allowed)).collect();
    write("/root/cases.toml", 0o600, &cases);
    let test = ["--json", "policy", "test", "--policy", "/root/imported.toml", "/root/cases.toml"];
    let tested = output(Command::new("jitctl").args(test));
    let tested: Value = serde_json::from_slice(&tested.stdout).unwrap_or_default();
    match tested["expectations"]["differences"].as_array() {
        Some(differences) => {
            for difference in differences {
                tally.differences.push(format!("{text}\n--- became\n{policy}\n--- {difference}"));
            }
        }
        None => tally.differences.push(format!("{text}\n--- became\n{policy}\n--- which cannot be tested: {tested}")),
    }
    if install {
        write("/etc/jit-sudo/policy.toml", 0o600, policy);
        for (question, allowed) in questions.iter().zip(&said) {
            tally.installed += 1;
            if question.is_allowed_by("jit-sudo") != *allowed {
                let asked = question.asked().join(" ");
                tally.differences.push(format!("{text}\n--- became\n{policy}\n--- sudo says {allowed} to {asked}"));
            }
            if *allowed && !settings_lost && (question.needs_password("jit-sudo") != question.needs_password("sudo")) {
                let asked = question.asked().join(" ");
                tally.differences.push(format!("{text}\n--- became\n{policy}\n--- a password for {asked}"));
            }
        }
    }
}

fn case(question: &Question, allowed: bool) -> String {
    let quoted = |word: &String| format!("{word:?}");
    let words: Vec<String> = question.words.iter().map(quoted).collect();
    let mut text = format!("[[case]]\nuser = \"{}\"\ncommand = [{}]\n", question.user, words.join(", "));
    // With -g alone the command runs as the invoking user.
    let run_as = question.run_as.as_ref().or(question.group.as_ref().and(Some(&question.user)));
    if let Some(user) = run_as {
        let _ = writeln!(text, "run_as = \"{user}\"");
    }
    if let Some(group) = &question.group {
        let _ = writeln!(text, "run_as_group = \"{group}\"");
    }
    let _ = writeln!(text, "expect = \"{}\"", if allowed { "standing" } else { "denied" });
    text
}

fn succeeds(program: &str, words: &[&str]) -> bool {
    output(Command::new(program).args(words)).status.success()
}

pub(super) fn output(command: &mut Command) -> std::process::Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(super) fn write(path: &str, mode: u32, text: &str) {
    let done = fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    done.unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// The facts about this host that the generator needs.
pub(super) struct Host {
    /// The digests of one program, as sudoers writes them, and wrong ones.
    pub(super) digests: Vec<String>,
    /// Users and groups by number.
    pub(super) ids: Vec<String>,
    /// Whether sudo permits -g alone whatever the users of the runas list are, as before 1.9.14.
    pub(super) group_alone: bool,
}

/// Creates users in groups and netgroups, and programs to ask about.
pub(super) fn prepare() -> Host {
    let script = "set -e
        for group in ops web night; do getent group $group >/dev/null || groupadd $group; done
        usermod -aG ops,web alice; usermod -aG web bob
        printf 'staff (,alice,) (,bob,)\\nservers (web1,,)\\nothers (db1,,)\\n' >/etc/netgroup
        grep -q ^netgroup /etc/nsswitch.conf && sed -i 's/^netgroup.*/netgroup: files/' /etc/nsswitch.conf || echo 'netgroup: files' >>/etc/nsswitch.conf
        mkdir -p /opt/t/sub /opt/parts; cp /bin/true /opt/t/a; cp /bin/false /opt/t/b
        for name in ab abc .hid 'sub/c'; do cp /bin/true \"/opt/t/$name\"; done
        rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*";
    assert!(succeeds("/bin/sh", &["-c", script]), "the root cannot be prepared");
    let mut digests = Vec::new();
    for (name, program) in
        [("sha224", "sha224sum"), ("sha256", "sha256sum"), ("sha384", "sha384sum"), ("sha512", "sha512sum")]
    {
        let said = String::from_utf8_lossy(&output(Command::new(program).arg("/opt/t/a")).stdout).into_owned();
        let hex = said.split(' ').next().unwrap_or_default().to_owned();
        let decode = format!(
            "printf '{}' | base64 -w0",
            hex.as_bytes().chunks(2).fold(String::new(), |mut text, pair| {
                text.push_str("\\\\x");
                text.push_str(&String::from_utf8_lossy(pair));
                text
            })
        );
        let base64 = output(Command::new("/bin/bash").args(["-c", &decode.replace("\\\\", "\\")]));
        digests.push(format!("{name}:{hex}"));
        digests.push(format!("{name}:{}", String::from_utf8_lossy(&base64.stdout).trim()));
        digests.push(format!("{name}:{}", "0".repeat(hex.len())));
    }
    let ids = "echo \"#$(id -u alice) %#$(getent group web | cut -d: -f3) #0$(id -u bob) %#0$(getent group ops | cut -d: -f3)\"";
    let ids = output(Command::new("/bin/sh").args(["-c", ids])).stdout;
    let version = String::from_utf8_lossy(&output(Command::new("sudo").arg("-V")).stdout).into_owned();
    let minor =
        version.lines().next().and_then(|line| line.split_once(" 1.9.")?.1.split('p').next()?.parse::<u32>().ok());
    let group_alone = minor.expect("the version of sudo 1.9") < 14;
    Host { group_alone, digests, ids: String::from_utf8_lossy(&ids).split_whitespace().map(str::to_owned).collect() }
}
