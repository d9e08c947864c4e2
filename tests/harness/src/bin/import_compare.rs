//! `import_compare FILES SEED`: makes sudoers files and questions by a seeded generator, and compares what Debian's sudo
//! answers (`sudo -l -U USER COMMAND`) with what `jitctl policy import` made of the file. Runs inside a private root, as
//! root: it replaces /etc/sudoers. Every tenth file is also installed and asked of `jit-sudo -l -U`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
const GROUPS: [&str; 3] = ["ops", "web", "night"];

fn main() -> ExitCode {
    let number = |index| std::env::args().nth(index).and_then(|word| word.parse::<u64>().ok());
    let (Some(files), Some(seed)) = (number(1), number(2)) else {
        eprintln!("usage: import_compare FILES SEED");
        return ExitCode::FAILURE;
    };
    let digests = prepare();
    let mut tally = Tally::default();
    for file in 0..files {
        let mut generator = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(file), &digests);
        let text = generator.sudoers();
        let questions: Vec<Question> = (0..8).map(|_| generator.question()).collect();
        compare(&text, &questions, file % 10 == 0, &mut tally);
    }
    tally.report(files, seed)
}

#[derive(Default)]
struct Tally {
    questions: u64,
    allowed: u64,
    installed: u64,
    incomplete: BTreeMap<String, u64>,
    differences: Vec<String>,
}

impl Tally {
    fn report(&self, files: u64, seed: u64) -> ExitCode {
        for difference in self.differences.iter().take(20) {
            println!("{difference}\n");
        }
        println!("Not carried over, with how often:");
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
        if self.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

struct Question {
    user: &'static str,
    run_as: Option<&'static str>,
    group: Option<&'static str>,
    words: Vec<String>,
}

impl Question {
    /// Asks `program -l`: as root of the person, or where a group is named, which sudo compares with who asks, as the
    /// person.
    fn is_allowed_by(&self, program: &str) -> bool {
        let mut words = vec![program, "-n"];
        words.extend(self.asked());
        if self.group.is_some() {
            let mut person = vec!["--reuid", self.user, "--regid", self.user, "--init-groups", "--reset-env", "--"];
            person.extend(words);
            return succeeds("setpriv", &person);
        }
        succeeds(program, words.get(1..).unwrap_or_default())
    }

    /// Options and words.
    fn asked(&self) -> Vec<&str> {
        let mut words = vec!["-l"];
        if self.group.is_none() {
            words.extend(["-U", self.user]);
        }
        words.extend(self.run_as.iter().flat_map(|user| ["-u", user]));
        words.extend(self.group.iter().flat_map(|group| ["-g", group]));
        words.extend(self.words.iter().map(String::as_str));
        words
    }
}

fn compare(text: &str, questions: &[Question], install: bool, tally: &mut Tally) {
    // To list needs no password, so that nobody is asked for one; the rest is what is imported.
    write("/etc/sudoers", 0o440, &format!("Defaults listpw=never\n{text}"));
    write("/root/sudoers", 0o440, text);
    let imported = output(Command::new("jitctl").args(["--json", "policy", "import", "/root/sudoers"]));
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap_or_default();
    let Some(policy) = imported["policy-imported"]["policy"].as_str() else {
        tally.differences.push(format!("{text}\nis not imported: {imported}"));
        return;
    };
    for line in imported["policy-imported"]["left_out"].as_array().into_iter().flatten() {
        let what = line.as_str().unwrap_or_default().splitn(3, ':').nth(2).unwrap_or_default();
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
        }
    }
}

fn case(question: &Question, allowed: bool) -> String {
    let quoted = |word: &String| format!("{word:?}");
    let words: Vec<String> = question.words.iter().map(quoted).collect();
    let mut text = format!("[[case]]\nuser = \"{}\"\ncommand = [{}]\n", question.user, words.join(", "));
    // Who names only a group stays who they are.
    let run_as = question.run_as.or(question.group.and(Some(question.user)));
    if let Some(user) = run_as {
        let _ = writeln!(text, "run_as = \"{user}\"");
    }
    if let Some(group) = question.group {
        let _ = writeln!(text, "run_as_group = \"{group}\"");
    }
    let _ = writeln!(text, "expect = \"{}\"", if allowed { "standing" } else { "denied" });
    text
}

fn succeeds(program: &str, words: &[&str]) -> bool {
    output(Command::new(program).args(words)).status.success()
}

fn output(command: &mut Command) -> std::process::Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn write(path: &str, mode: u32, text: &str) {
    let done = fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    done.unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// People in groups and netgroups, and programs to ask about; the digests of one of them as sudoers writes them.
fn prepare() -> Vec<String> {
    let script = "set -e
        for group in ops web night; do getent group $group >/dev/null || groupadd $group; done
        usermod -aG ops,web alice; usermod -aG web bob
        printf 'staff (,alice,) (,bob,)\\nservers (web1,,)\\nothers (db1,,)\\n' >/etc/netgroup
        grep -q ^netgroup /etc/nsswitch.conf && sed -i 's/^netgroup.*/netgroup: files/' /etc/nsswitch.conf || echo 'netgroup: files' >>/etc/nsswitch.conf
        mkdir -p /opt/t/sub; cp /bin/true /opt/t/a; cp /bin/false /opt/t/b
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
    assert!(Path::new("/usr/bin/ls").exists());
    digests
}

/// Sudoers and questions by a seed.
struct Generator<'a> {
    state: u64,
    digests: &'a [String],
    aliases: [Vec<String>; 4],
    /// The file says whom commands run as when nobody is named.
    default_user: bool,
    /// Every rule has a runas list; without one, sudo 1.9.13 forgets to look at -g beside -u.
    groups: bool,
}

impl<'a> Generator<'a> {
    fn new(seed: u64, digests: &'a [String]) -> Self {
        let mut generator =
            Self { state: seed, digests, aliases: Default::default(), default_user: false, groups: false };
        generator.groups = generator.one_in(2);
        generator
    }

    /// SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'p>(&mut self, list: &[&'p str]) -> &'p str {
        list[self.below(list.len())]
    }

    fn sudoers(&mut self) -> String {
        let mut text = String::new();
        if self.one_in(3) {
            let defaults = [
                "Defaults env_reset",
                "Defaults !authenticate",
                "Defaults runas_default=bob",
                "Defaults:alice !authenticate",
                "Defaults secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin:/opt/t\"",
                "Defaults !lecture, passwd_tries = 2",
                "Defaults>bob passwd_tries=1",
                "Defaults!/opt/t/a !authenticate",
                "Defaults@web1 timestamp_timeout=0",
            ];
            let line = self.pick(&defaults);
            self.default_user = line.contains("runas_default");
            _ = writeln!(text, "{line}");
        }
        let mut lines = Vec::new();
        for kind in 0..4 {
            for index in 0..self.below(3) {
                let name = format!("{}{index}", ["USERS", "HOSTS", "TARGETS", "CMNDS"][kind]);
                let word = ["User_Alias", "Host_Alias", "Runas_Alias", "Cmnd_Alias"][kind];
                let list = match kind {
                    0 => self.list(Self::user),
                    1 => self.list(Self::host),
                    2 => self.list(Self::target),
                    _ => self.list(Self::command),
                };
                lines.push(format!("{word} {name} = {list}"));
                // Aliases name only aliases that came before, so that none refers to itself.
                self.aliases[kind].push(name);
            }
        }
        for _ in 0..=self.below(5) {
            lines.push(self.rule());
        }
        for line in lines {
            // Long lines are broken as people break them.
            let line = if self.one_in(6) { line.replacen(", ", ", \\\n    ", 1) } else { line };
            _ = writeln!(text, "{line}");
        }
        text
    }

    fn list(&mut self, one: fn(&mut Self) -> String) -> String {
        let count = 1 + self.below(3);
        let items: Vec<String> = (0..count)
            .map(|_| {
                let not = if self.one_in(4) { "!" } else { "" };
                format!("{not}{}", one(self))
            })
            .collect();
        items.join(", ")
    }

    fn alias(&mut self, kind: usize) -> Option<String> {
        let known = self.aliases[kind].clone();
        if known.is_empty() || !self.one_in(3) { None } else { Some(known[self.below(known.len())].clone()) }
    }

    fn user(&mut self) -> String {
        if let Some(alias) = self.alias(0) {
            return alias;
        }
        self.pick(&[
            "alice", "bob", "carol", "ALL", "%ops", "%web", "%night", "+staff", "%sudo", "Alice", "ALL", "alice",
        ])
        .to_owned()
    }

    fn host(&mut self) -> String {
        if let Some(alias) = self.alias(1) {
            return alias;
        }
        let hosts = [
            "ALL",
            "web1",
            "web*",
            "Web1",
            "db1",
            "web[0-3]",
            "web[^0-3]",
            "+servers",
            "+others",
            "?eb1",
            "ALL",
            "web1.example.org",
            "203.0.113.7",
            "203.0.113.0/24",
        ];
        self.pick(&hosts).to_owned()
    }

    fn target(&mut self) -> String {
        // With -g, sudo 1.9.13 looks into an alias for the groups that only the rule can say.
        if !self.groups
            && let Some(alias) = self.alias(2)
        {
            return alias;
        }
        self.pick(&["root", "ALL", "bob", "carol", "#0", "%web", "+staff", "ALL", "daemon"]).to_owned()
    }

    fn target_group(&mut self) -> String {
        self.pick(&["ops", "web", "ALL", "night", "#0"]).to_owned()
    }

    fn rule(&mut self) -> String {
        let users = self.list(Self::user);
        let mut privileges = Vec::new();
        for _ in 0..=usize::from(self.one_in(4)) {
            let hosts = if self.one_in(2) { "ALL".to_owned() } else { self.list(Self::host) };
            let commands: Vec<String> = (0..=self.below(4)).map(|index| self.command_spec(index == 0)).collect();
            privileges.push(format!("{hosts} = {}", commands.join(", ")));
        }
        format!("{users} {}", privileges.join(" : "))
    }

    fn command_spec(&mut self, first: bool) -> String {
        let mut text = String::new();
        match self.below(if first && self.groups { 2 } else { 5 }) {
            0 => _ = write!(text, "({}) ", self.list(Self::target)),
            1 if self.one_in(6) => _ = write!(text, "(: {}) ", self.list(Self::target_group)),
            1 => _ = write!(text, "({} : {}) ", self.list(Self::target), self.list(Self::target_group)),
            _ => {}
        }
        if self.one_in(4) {
            _ = write!(
                text,
                "{} ",
                self.pick(&["NOPASSWD:", "PASSWD:", "SETENV:", "NOSETENV:", "NOEXEC:", "NOPASSWD: SETENV:"])
            );
        }
        if self.one_in(10) {
            let digest = self.digests[self.below(self.digests.len())].clone();
            let not = if self.one_in(5) { "!" } else { "" };
            let program = self.pick(&["/opt/t/a", "ALL", "/opt/t/", "/opt/t/[ab]"]);
            _ = write!(text, "{digest} {not}{program}");
            return text;
        }
        let not = if self.one_in(4) { "!" } else { "" };
        _ = write!(text, "{not}{}", self.command());
        text
    }

    fn command(&mut self) -> String {
        if let Some(alias) = self.alias(3) {
            return alias;
        }
        let programs = [
            "/opt/t/a",
            "/opt/t/a",
            "/opt/t/b",
            "/opt/t/ab",
            "/bin/ls",
            "/usr/bin/ls",
            "/opt/t/[ab]",
            "/opt/t/*",
            "/opt/t/a?",
            "/opt/t/",
            "/opt/t/sub/",
            "/opt/*/c",
            "/bin/",
            "/usr/bin/l*",
            "ALL",
            "ALL",
            "^/opt/t/(a|b)$",
            "^/opt/t/[a-z]+$",
            "/opt/t/.h*",
            "/opt/t/*b*",
            "^/(usr/)?bin/.*$",
            "/opt/t/[[\\:alpha\\:]]",
            "/opt/t/[!a]*",
        ];
        let program = self.pick(&programs);
        if program == "ALL" || program.ends_with('/') || self.one_in(2) {
            return program.to_owned();
        }
        let arguments = [
            "\"\"",
            "x",
            "x y",
            "x *",
            "*",
            "-n [0-9]",
            "[a-m]*",
            "?",
            "x\\*",
            "^x( y)?$",
            "^-[a-z]+ [0-9]{1,2}$",
            "/var/log/*",
            "a\\,b",
            "x\\ y",
            "^(?i)X$",
            "if\\=z",
            "[!x]*",
            "*y",
            "^[[:digit:]]+$",
            "^.*secret.*$",
            "x y z",
        ];
        format!("{program} {}", self.pick(&arguments))
    }

    fn question(&mut self) -> Question {
        let programs = [
            "/opt/t/a",
            "/opt/t/a",
            "/opt/t/b",
            "/opt/t/ab",
            "/opt/t/abc",
            "/opt/t/.hid",
            "/opt/t/sub/c",
            "/usr/bin/ls",
            "/bin/ls",
            "ls",
            "/opt/t/a",
        ];
        let lines = [
            "",
            "",
            "x",
            "x y",
            "x y z",
            "-n 5",
            "-n 55",
            "b",
            "x*",
            "y",
            "/var/log/a",
            "/var/log/a /etc/shadow",
            "a,b",
            "X",
            "if=z",
            "-ab 7",
            "12",
            "my secret",
            "z",
        ];
        let program = self.pick(&programs);
        let mut words = vec![program.to_owned()];
        words.extend(self.pick(&lines).split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
        let user = self.pick(&PEOPLE);
        let mut run_as = [None, None, None, Some("root"), Some("bob"), Some("carol"), Some("daemon")][self.below(7)];
        let group = if self.one_in(6) { Some(self.pick(&GROUPS)) } else { None };
        if group.is_some() && !self.groups {
            run_as = None;
        }
        if self.default_user && group.is_none() {
            // Whom sudo takes when nobody is named is not carried over.
            run_as = run_as.or(Some("root"));
        }
        Question { user, run_as, group, words }
    }
}
