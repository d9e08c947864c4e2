//! Ansible from PyPI uses jit-sudo like sudo: `become: true` and `become_exe: jit-sudo`, with the right password, a wrong one and
//! none, with pipelining and with files. `make ansible` installs it and runs this test.

use std::collections::HashMap;
use std::time::Duration;

use harness::Person;
use serde_json::Value;

use crate::{granted, root};

const PYTHON: &str = "/run/private-root/target/ansible/bin/python3";

/// A task that prints its user, one that changes something, and one whose module is sent as a file without pipelining.
const PLAYBOOK: &str = "
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: who
      ansible.builtin.command: id -un
    - name: write
      ansible.builtin.copy:
        content: 'written by {{ inventory_hostname }}'
        dest: '/root/{{ inventory_hostname }}'
        mode: '0640'
";

/// The result of each task at each host, and all output of Ansible.
struct Play {
    results: HashMap<(String, String), Value>,
    said: String,
}

impl Play {
    /// Runs the play as `person`, at hosts with these names and variables; all of them are this machine.
    fn of(person: &Person, program: &str, hosts: &[(&str, &str)]) -> Play {
        let root = root();
        let [inventory, playbook] = ["hosts", "play.yml"].map(|name| format!("{}/{name}", person.home));
        let lines: Vec<String> = hosts
            .iter()
            .map(|(name, variables)| format!("{name} ansible_become_exe={program} {variables}\n"))
            .collect();
        let common = "\n[all:vars]\nansible_connection=local\nansible_python_interpreter=/usr/bin/python3\n";
        root.write(&inventory, 0o644, lines.concat() + common);
        root.write(&playbook, 0o644, PLAYBOOK);
        let output = root
            .command(&person.name, [PYTHON, "-m", "ansible", "playbook", "-v", "-i", &inventory, &playbook])
            .env("ANSIBLE_NOCOLOR", "1")
            .patience(Duration::from_secs(120))
            .run();
        let said = format!("{output:?}");
        let mut task = "";
        let mut results = HashMap::new();
        for line in output.stdout.lines() {
            if let Some((name, _)) = line.strip_prefix("TASK [").and_then(|rest| rest.split_once(']')) {
                task = name;
            }
            // Lines such as "changed: [host] => {…}" or "fatal: [host]: FAILED! => {…}".
            let host = line.split_once(": [").and_then(|(_, rest)| rest.split_once(']'));
            if let (Some((host, _)), Some((_, result))) = (host, line.split_once(" => ")) {
                let result = serde_json::from_str(result).unwrap_or_else(|error| panic!("{error} in {line}"));
                results.insert((task.to_owned(), host.to_owned()), result);
            }
        }
        Play { results, said }
    }

    /// Returns the result of a task at a host.
    fn result(&self, task: &str, host: &str) -> &Value {
        let result = self.results.get(&(task.to_owned(), host.to_owned()));
        result.unwrap_or_else(|| panic!("no result of {task} at {host}: {}", self.said))
    }

    #[track_caller]
    fn succeeded(&self, host: &str, user: &str) {
        assert_eq!(self.result("who", host)["stdout"], user, "{}", self.said);
        let wrote = self.result("write", host);
        assert_eq!((&wrote["changed"], &wrote["owner"]), (&Value::Bool(true), &Value::from(user)), "{}", self.said);
        let file = format!("/root/{host}");
        assert_eq!(root().read(&file), format!("written by {host}"));
        root().script(&format!("rm {file}"));
    }

    #[track_caller]
    fn failed(&self, host: &str, sentence: &str) {
        let said = self.result("who", host)["module_stderr"].as_str().unwrap_or_default();
        assert!(said.contains(sentence), "{}", self.said);
    }
}

const BOTH: [&str; 2] = ["sudo", "jit-sudo"];

#[test]
#[ignore = "needs Ansible: make ansible"]
fn a_play_without_a_password() {
    let person = root().person(&["deploy"]);
    for program in BOTH {
        let play = Play::of(&person, program, &[("files", ""), ("pipelined", "ansible_pipelining=true")]);
        play.succeeded("files", "root");
        play.succeeded("pipelined", "root");
    }
}

#[test]
#[ignore = "needs Ansible: make ansible"]
fn a_play_with_a_password_right_wrong_and_missing() {
    let person = root().person(&["trusted"]);
    let right = format!("ansible_become_password={}", person.password);
    for program in BOTH {
        let hosts = [
            ("right-files", right.clone()),
            ("right-pipelined", format!("{right} ansible_pipelining=true")),
            ("wrong-pipelined", "ansible_become_password=wrong ansible_pipelining=true".to_owned()),
            ("missing", String::new()),
        ];
        let hosts = hosts.each_ref().map(|(name, variables)| (*name, variables.as_str()));
        let play = Play::of(&person, program, &hosts);
        play.succeeded("right-files", "root");
        play.succeeded("right-pipelined", "root");
        play.failed("wrong-pipelined", "Sorry, try again.");
        play.failed("wrong-pipelined", "sudo: 3 incorrect password attempts");
        play.failed("missing", "sudo: a password is required");
    }
}

#[test]
#[ignore = "needs Ansible: make ansible"]
fn a_play_under_a_grant_and_without_one() {
    let host = [("granted", "ansible_pipelining=true")];
    let person = granted(root(), "self-service");
    Play::of(&person, "jit-sudo", &host).succeeded("granted", "root");
    let other = root().person(&["self-service"]);
    let play = Play::of(&other, "jit-sudo", &host);
    let told = play.result("who", "granted").to_string();
    assert!(told.contains("jitctl request --role self-service"), "{told}");
}
