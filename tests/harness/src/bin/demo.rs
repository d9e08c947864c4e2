//! `make demo`: the main use case, played by alice and bob at real terminals of a private root, with the installed setuid
//! programs, real PAM and a real rsyslogd. Prints what they type and see, and exits with 0 only when everything was correct.

use std::io::IsTerminal;
use std::process::ExitCode;

use harness::{PrivateRoot, PtySession};

fn main() -> ExitCode {
    let root = PrivateRoot::start();
    root.add_policy("demo", &root.read("/run/private-root/project/tests/demo-policy.toml"));
    let mut story = Story { root: &root, mishaps: Vec::new() };
    story.play();
    story.show_evidence();
    if story.mishaps.is_empty() {
        println!("\nEverything went as it should. Try it yourself: make demo-shell");
        return ExitCode::SUCCESS;
    }
    println!("\nNot everything went as it should:");
    for mishap in &story.mishaps {
        println!("  {mishap}");
    }
    ExitCode::FAILURE
}

struct Story<'a> {
    root: &'a PrivateRoot,
    mishaps: Vec<String>,
}

/// The expected result of a step.
struct Expected<'a> {
    status: i32,
    shown: &'a [&'a str],
}

impl Story<'_> {
    fn play(&mut self) {
        chapter("alice may ask for the role `web-ops`; until somebody grants it, she has nothing");
        let mut alice = Shell::open(self.root, "alice");
        self.step(
            &mut alice,
            "jit-sudo -n whoami",
            Expected { status: 1, shown: &["not allowed", "hint:", "jitctl request"] },
        );

        chapter("she asks for eight seconds of it, with a reason");
        let ask = "jitctl request --role web-ops --for 8s --reason 'nginx answers 502' -- whoami";
        let answer = self.step(&mut alice, ask, Expected { status: 0, shown: &["pending"] });
        let listed = self.root.run_as("alice", ["jitctl", "--json", "requests"]);
        let id = listed.json()["requests"][0]["id"].as_str().unwrap_or("unknown").to_owned();
        self.check(answer.contains(&id), "the request's id was shown");

        chapter("bob, who may approve it, looks and agrees");
        let mut bob = Shell::open(self.root, "bob");
        self.step(&mut bob, "jitctl requests", Expected { status: 0, shown: &[&id, "alice"] });
        self.step(
            &mut bob,
            &format!("jitctl show {id}"),
            Expected { status: 0, shown: &["nginx answers 502", "/usr/bin/whoami"] },
        );
        self.step(&mut bob, &format!("jitctl approve {id} --comment 'go ahead'"), Expected { status: 0, shown: &[] });

        chapter("alice runs it; her own password is asked for once, as sudo does");
        alice.enter("jit-sudo whoami");
        alice.password("alice-password");
        let seen = alice.finish();
        self.judge("jit-sudo whoami", &seen, Expected { status: 0, shown: &["root"] });
        self.step(&mut alice, "jit-sudo -n cat /etc/gshadow", Expected { status: 1, shown: &["not allowed"] });

        chapter("the grant expires, and a command that still runs is ended with it");
        let endless = "jit-sudo tail -n 0 -f /var/log/auth.log";
        let seen = self.step(&mut alice, endless, Expected { status: 143, shown: &[] });
        drop(seen);
        self.step(&mut alice, "jit-sudo -n whoami", Expected { status: 1, shown: &["not allowed", "hint:"] });
        self.step(&mut alice, "jitctl grants --all", Expected { status: 0, shown: &[&id, "expired"] });
    }

    fn show_evidence(&mut self) {
        chapter("the journal, read by sqlite3: exact bytes, each with the hash of the one before");
        let journal = self.root.journal();
        for record in &journal {
            println!("{:>3}  {}…  {}", record.seq, cut(&record.hash, 12), cut(&record.body, 190));
        }
        let kinds: Vec<&str> = journal.iter().map(harness::Record::kind).collect();
        let story =
            ["policy", "reject", "request", "approval", "grant", "start", "end", "reject", "start", "end", "reject"];
        self.check(kinds == story, &format!("the records are {story:?}, not {kinds:?}"));

        chapter("syslog, as rsyslogd stored it (cut at the margin)");
        let lines = self.root.auth_log();
        for line in lines.iter().filter(|line| line.contains("jit-sudo")) {
            println!("{}", cut(line, 210));
        }
        let mirrored = self.root.syslog();
        let complete = journal.iter().all(|record| mirrored.iter().any(|line| line.parsed && line.head == record.hash));
        self.check(complete, "each record is in syslog with its chain head");

        chapter("and the administrator's view");
        let mut admin = Shell::open(self.root, "root");
        self.step(&mut admin, "jitctl audit list", Expected { status: 0, shown: &["start", "alice"] });
        self.step(&mut admin, "jitctl audit verify", Expected { status: 5, shown: &["chain intact"] });
    }

    /// Types a line, prints the result and compares it.
    fn step(&mut self, shell: &mut Shell, line: &str, expected: Expected) -> String {
        shell.enter(line);
        let seen = shell.finish();
        self.judge(line, &seen, expected);
        seen.text
    }

    fn judge(&mut self, line: &str, seen: &Seen, expected: Expected) {
        self.check(
            seen.status == expected.status,
            &format!("`{line}` ended with {}, not {}", seen.status, expected.status),
        );
        for words in expected.shown {
            self.check(seen.text.contains(words), &format!("`{line}` did not show '{words}'"));
        }
    }

    fn check(&mut self, right: bool, sentence: &str) {
        if !right {
            println!("  ^^^ wrong: {sentence}");
            self.mishaps.push(sentence.to_owned());
        }
    }
}

/// A user's shell on a terminal of its own, whose prompt shows the status of the last command.
struct Shell {
    prompt: String,
    session: PtySession,
}

/// The output of a command, and its status as the shell saw it.
struct Seen {
    text: String,
    status: i32,
}

impl Shell {
    fn open(root: &PrivateRoot, name: &str) -> Shell {
        root.write("/run/inputrc", 0o644, "set enable-bracketed-paste off\n");
        let prompt = format!(" {name}@web1{} ", if name == "root" { '#' } else { '$' });
        let mut shell = root
            .command(name, ["bash", "--norc", "--noprofile", "-i"])
            .env("PS1", format!("[$?]{prompt}"))
            .env("INPUTRC", "/run/inputrc");
        if !std::io::stdout().is_terminal() {
            shell = shell.env("NO_COLOR", "1");
        }
        let mut session = shell.on_terminal();
        session.resize(50, 150);
        session.expect(&prompt);
        Shell { prompt, session }
    }

    fn enter(&mut self, line: &str) {
        print!("{}{line}", self.prompt.trim_start());
        self.session.type_line(line);
        // The terminal echoes the typed line before the command prints anything.
        self.session.expect("\n");
        println!();
    }

    fn password(&mut self, password: &str) {
        let prompt = "[sudo] password for alice: ";
        self.session.type_password(prompt, password);
        println!("{prompt}(typed; not shown)");
        self.session.expect("\n");
    }

    fn finish(&mut self) -> Seen {
        let shown = self.session.expect(&format!("]{}", self.prompt));
        let before = shown.strip_suffix(&format!("]{}", self.prompt)).unwrap_or(&shown);
        let (text, status) = before.rsplit_once('[').unwrap_or((before, ""));
        print!("{}", text.replace('\r', ""));
        Seen { text: text.to_owned(), status: status.parse().unwrap_or(-1) }
    }
}

fn chapter(text: &str) {
    println!("\n── {text}\n");
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { text.chars().take(width).chain(['…']).collect() }
}
