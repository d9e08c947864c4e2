//! The manual, executed: users named by the prompts type each `console` block of these pages at terminals, and the screen must
//! show what the page shows; a `toml` block is written to the file that is named before it. In the output, `…` stands for
//! anything and a request's id for the newest; a comment `status N` gives the exit status of a command if it is not 0.

use std::fs;

use harness::{PATIENCE, PrivateRoot, PtySession, eventually, project};

/// Debian's sudoers, a user who deploys, an auditor; and stubs for programs that would change the machine or need a network.
const TOWN: &str = r#"
for name in /usr/bin/apt /usr/bin/systemctl /usr/local/bin/deploy; do
    rm -f $name
    printf '#!/bin/sh\n' >$name
    chmod 755 $name
done
cat >/etc/sudoers <<'SUDOERS'
Defaults	env_reset
Defaults	mail_badpass
Defaults	secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root	ALL=(ALL:ALL) ALL
%sudo	ALL=(ALL:ALL) ALL
deploy	ALL=(root) NOPASSWD: /usr/local/bin/deploy *
SUDOERS
echo 'echo deploying $1 as $(id -un)' >>/usr/local/bin/deploy
groupadd auditors
groupadd release-managers
usermod --append --groups release-managers bob
useradd --create-home --shell /bin/bash ci
useradd --create-home --shell /bin/bash --groups auditors auditor
useradd --create-home --shell /bin/bash deploy
usermod --append --groups sudo alice
"#;

#[test]
fn the_quick_start_works_as_documented() {
    Player::start().play("quick-start.md");
}

#[test]
fn the_protocol_for_programs_in_the_readme_is_all_they_need() {
    let mut player = Player::start();
    let manual = blocks(&read("man/jit-sudo-policy.5"), ".Bd -literal -offset indent\n", ".Ed");
    let role = manual.iter().find(|text| text.starts_with("[roles.release]")).unwrap();
    player.root.write("/etc/jit-sudo/policy.d/release.toml", 0o640, role);
    player.play("../README.md");
}

#[test]
fn the_zero_standing_access_guide_works_as_documented() {
    Player::start().play("zero-standing.md");
}

#[test]
fn the_roll_out_and_the_way_back_work_as_documented() {
    Player::start().play("roll-out.md");
}

#[test]
fn the_upgrade_and_the_downgrade_work_as_documented() {
    let mut player = Player::start();
    // What a downgrade leaves: this version, and the database of a later one. packaging/test installs packages of two versions.
    let apt = "#!/bin/sh\ncase $* in *--allow-downgrades*)\n\
               exec sqlite3 /var/lib/jit-sudo/journal.db 'PRAGMA user_version = 99' ;;\nesac\n";
    player.root.write("/usr/bin/apt", 0o755, apt);
    player.play("upgrade.md");
}

#[test]
fn the_backup_is_restored_as_documented() {
    Player::start().play("backup.md");
}

/// Debian has one sudo, which is no alternative; elsewhere it is one.
#[test]
fn the_alternative_and_the_way_back_from_it_work_as_documented() {
    let page = read("zero-standing.md");
    let (_, rest) = page.split_once("    update-alternatives --install").unwrap();
    let there = format!("update-alternatives --install{}", rest.split_once("\n\n").unwrap().0);
    let back = "update-alternatives --remove sudo /usr/bin/jit-sudo";
    for page in ["zero-standing.md", "roll-out.md", "import.md"] {
        assert!(read(page).contains(&format!("`{back}`")), "{page}");
    }
    let root = PrivateRoot::start();
    root.script(
        "mv /usr/bin/sudo /usr/bin/sudo.ws; rm -f /usr/bin/sudoedit; ln -s sudo.ws /usr/bin/sudoedit.ws
         update-alternatives --quiet --install /usr/bin/sudo sudo /usr/bin/sudo.ws 40 \
             --slave /usr/bin/sudoedit sudoedit /usr/bin/sudoedit.ws",
    );
    let who = || ["sudo", "sudoedit"].map(|name| root.script(&format!("{name} -V | head -n 2")).contains("jit-sudo"));
    assert_eq!(who(), [false, false]);
    root.script(&there);
    assert_eq!(who(), [true, true]);
    root.script(back);
    assert_eq!(who(), [false, false]);
}

#[test]
fn the_audit_guide_works_as_documented() {
    let mut player = Player::start();
    player.play("quick-start.md");
    let written = player.root.journal().len();
    eventually("syslog has every record", PATIENCE, || (player.root.syslog().len() >= written).then_some(()));
    player.root.script("cp /var/log/auth.log /home/auditor/web1.log; chown auditor /home/auditor/web1.log");
    player.play("audit.md");
    player.root.script("mkdir -p -m 700 /srv/evidence");
    player.play("evidence.md");
    player.try_table("audit.md");
}

/// Checks that each policy is valid alone; fragments of a role, which show one table, are skipped.
#[test]
fn every_policy_in_the_documents_is_valid() {
    let root = crate::root();
    let pages = ["../README.md", "quick-start.md", "zero-standing.md", "audit.md", "shippers.md", "evidence.md"];
    let mut policies: Vec<String> = pages.iter().flat_map(|page| blocks(&read(page), "```toml\n", "```")).collect();
    let manual = read("man/jit-sudo-policy.5").replace("\\e", "\\");
    policies.extend(
        blocks(&manual, ".Bd -literal -offset indent\n", ".Ed").into_iter().filter(|text| text.starts_with('[')),
    );
    assert!(policies.len() > 6, "only {} policies were found", policies.len());
    for policy in policies {
        root.write("/root/policy.toml", 0o600, &policy);
        let check = root.as_root(["jitctl", "policy", "check", "/root/policy.toml"]);
        assert!(check.status.success(), "{policy}\n{check:?}");
    }
}

/// Returns the text between each `begin` and the next `end`.
fn blocks(text: &str, begin: &str, end: &str) -> Vec<String> {
    text.split(begin).skip(1).filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())).collect()
}

/// A root, its users, and the command of a block that still runs.
struct Player {
    root: PrivateRoot,
    waiting: Option<PtySession>,
}

/// A step of a page.
enum Step {
    File { path: String, text: String },
    Command { who: String, line: String, shown: Vec<String> },
    EndOfBlock,
}

impl Player {
    fn start() -> Player {
        let root = PrivateRoot::start();
        root.script(TOWN);
        Player { root, waiting: None }
    }

    fn play(&mut self, page: &str) {
        let steps = steps(&read(page));
        assert!(steps.iter().any(|step| matches!(step, Step::Command { .. })), "{page} has nothing to play");
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::File { path, text } => self.root.write(path, 0o640, text),
                Step::Command { who, line, shown } => {
                    let somebody_else =
                        matches!(steps.get(at + 1), Some(Step::Command { who: next, .. }) if next != who);
                    self.run(who, line, shown, line.contains("--wait") && somebody_else);
                }
                Step::EndOfBlock => assert!(self.waiting.is_none(), "{page}: a command still waits"),
            }
        }
    }

    fn run(&mut self, who: &str, line: &str, shown: &[String], goes_on: bool) {
        let person = if who == "web1" { "root" } else { who };
        let typed = self.with_ids(line);
        let mut session = match line {
            "…" => self.waiting.take().unwrap(),
            _ => {
                let words = ["bash", "-c", &format!("stty cols 120; {typed}")].map(str::to_owned);
                let home = if person == "root" { "/root".to_owned() } else { self.root.user(person).home };
                self.root.command(person, words).env("TERM", "dumb").cwd(&home).on_terminal()
            }
        };
        for line in shown {
            self.see(&mut session, person, line);
        }
        if goes_on {
            self.waiting = Some(session);
            return;
        }
        let status = line.split_once(" status ").map_or(0, |(_, number)| number.trim().parse().unwrap());
        assert_eq!(session.wait().code(), Some(status), "{who}: {typed}\n{}", session.screen());
    }

    /// Handles one line of the page: answers a prompt, or expects the text.
    fn see(&self, session: &mut PtySession, person: &str, line: &str) {
        if line.starts_with("[sudo] password for ") {
            session.type_password("password for ", &format!("{person}-password"));
        } else if let Some(reason) = line.strip_prefix("reason: ") {
            session.expect("reason: ");
            session.type_line(reason);
        } else if line.starts_with("duration, at most ") {
            session.expect(line);
            session.type_line("");
        } else {
            for piece in line.split(['…', ' ']).filter(|piece| !piece.is_empty() && !is_any(piece)) {
                session.expect(piece);
            }
        }
    }

    /// Replaces the ids of the page by the newest request.
    fn with_ids(&self, line: &str) -> String {
        let words = line.split(' ').map(|word| if is_id(word) { self.newest("request") } else { word.to_owned() });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns the id in the newest record of this kind.
    fn newest(&self, kind: &str) -> String {
        eventually(&format!("a {kind} is recorded"), PATIENCE, || {
            let journal = self.root.journal();
            journal.iter().rfind(|record| record.kind() == kind).map(|record| record.text("grant").to_owned())
        })
    }

    /// Types each command of the page's tables as root, with the capitals replaced.
    fn try_table(&self, page: &str) {
        let text = read(page);
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let commands =
            rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|code| code.starts_with("jitctl "));
        let run = self.root.journal().iter().rfind(|record| record.kind() == "start").unwrap().text("run").to_owned();
        let mut tried = 0;
        for command in commands {
            let filled = command.replace("RUN", &run).replace("GRANT", &self.newest("grant"));
            let filled = filled.replace("NAME", "security").replace("DIRECTORY", "/root/documents");
            let filled = filled.replace("SEQ", "4").replace("FILE", "/home/auditor/record.tlog-proof");
            let filled = filled.replace("KEY", "/home/auditor/web1.pub");
            self.root.as_root(["sh", "-c", &filled]).intact();
            tried += 1;
        }
        assert!(tried > 5, "{page}: only {tried} commands were found");
    }
}

fn read(page: &str) -> String {
    fs::read_to_string(project().join("docs").join(page)).unwrap()
}

/// Whether a word has letters and digits, both of them: ten for a request and its grant, twelve for a run.
fn is_id(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let long = word.len() == 10 || word.len() == 12;
    long && word.bytes().all(plain) && word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a word differs each time: an id, a time of day, or a duration.
fn is_any(word: &str) -> bool {
    let word = word.trim_matches(['(', ')', ':', ',']);
    let of_time = word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(|c: char| !c.is_ascii_digit());
    let time = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit() || b":.smhd".contains(&byte));
    is_id(word) || word == "now" || (time(word) && (of_time || word.contains(':')))
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    let mut path = None;
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            let named = line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("/etc/jit-sudo/"));
            path = named.last().map(str::to_owned).or(path);
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match (language, &path) {
            ("toml", Some(path)) => steps.push(Step::File { path: path.clone(), text: block.join("\n") + "\n" }),
            ("toml", None) => panic!("no file is named before {block:?}"),
            ("console", _) => {
                commands(&block, &mut steps);
                steps.push(Step::EndOfBlock);
            }
            _ => {}
        }
    }
    steps
}

/// Parses `alice$ command` or `web1# command`, and the output that follows.
fn commands(block: &[&str], steps: &mut Vec<Step>) {
    for line in block {
        let prompt =
            line.split_once(' ').and_then(|(prompt, rest)| Some((prompt.strip_suffix(['$', '#'])?, rest.trim_start())));
        match (prompt, steps.last_mut()) {
            (Some((who, line)), _) => {
                steps.push(Step::Command { who: who.to_owned(), line: line.to_owned(), shown: Vec::new() });
            }
            (None, Some(Step::Command { shown, .. })) => shown.push((*line).to_owned()),
            (None, _) => panic!("no prompt before {line:?}"),
        }
    }
}
