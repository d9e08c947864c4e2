//! The Defaults of sudoers(5): each option in a role has the same effect as in Debian's sudo, with which it is compared.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::{Output, Person, PrivateRoot};

use crate::records_of;

const POLICY: &str = include_str!("options.toml");
const SUDOERS: &str = include_str!("options.sudoers");

/// Returns a root with a role for each option, and the same in sudoers.
fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = PrivateRoot::start();
        root.add_policy("options", POLICY);
        root.write("/etc/sudoers.d/options", 0o440, SUDOERS);
        root.script("visudo -qcf /etc/sudoers.d/options; echo root:root-password | chpasswd");
        root.as_root(["jitctl", "policy", "check"]).succeeded();
        root
    })
}

/// One command, run by both programs.
struct Twice<'a> {
    person: &'a Person,
    words: Vec<&'a str>,
    variables: Vec<(&'a str, &'a str)>,
    stdin: String,
    cwd: &'a str,
}

impl<'a> Twice<'a> {
    fn of(person: &'a Person, words: &[&'a str]) -> Self {
        Self { person, words: words.to_vec(), variables: Vec::new(), stdin: String::new(), cwd: "/tmp" }
    }

    fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn typing(mut self, text: &str) -> Self {
        text.clone_into(&mut self.stdin);
        self
    }

    fn by(&self, program: &str) -> Output {
        let words = std::iter::once(program).chain(self.words.iter().copied());
        let mut run = root().command(&self.person.name, words).cwd(self.cwd).stdin(&self.stdin);
        for (name, value) in &self.variables {
            run = run.env(name, value);
        }
        run.run()
    }

    /// Runs it by both, and fails unless status and output are the same. Returns the output of jit-sudo.
    #[track_caller]
    fn alike(self) -> String {
        let (theirs, ours) = (self.by("sudo"), self.by("jit-sudo"));
        let told = |output: &Output| {
            let lines = |text: &str, prefix: &str| {
                // sudo's SUDO_COMMAND of a shell names it without links; the JIT_SUDO_ variables exist only in jit-sudo.
                let ours =
                    ["JIT_SUDO_", "SUDO_HOME=", if self.words.contains(&"-s") { "SUDO_COMMAND=" } else { "JIT_SUDO_" }];
                let own = |line: &&str| !ours.iter().any(|name| line.starts_with(name));
                let mut lines: Vec<String> =
                    text.lines().filter(own).map(|line| line.replacen(prefix, "sudo: ", 1)).collect();
                if self.words.last().is_some_and(|word| word.ends_with("env")) {
                    lines.sort();
                }
                lines
            };
            (output.status, lines(&output.stdout, "\0"), lines(&output.stderr, "jit-sudo: "))
        };
        assert_eq!(told(&ours), told(&theirs), "{:?}: ours and theirs", self.words);
        ours.stdout
    }
}

#[test]
fn variables_come_through_as_the_lists_say() {
    for group in ["opt-plain", "opt-whole", "opt-kept", "opt-names"] {
        let person = root().person(&[group]);
        for options in [&[][..], &["-H"], &["-E"], &["-i"], &["-s"], &["-u", "www-data"], &["-E", "-H"], &["-E", "-s"]]
        {
            let command = if options.contains(&"-i") { &["/usr/bin/true"][..] } else { &["env"] };
            Twice::of(&person, &[options, command].concat())
                .with("DISPLAY", ":0")
                .with("CHECKED", "yes")
                .with("DELETED_X", "1")
                .with("VALUE", "secret things")
                .with("OTHER", "x")
                .with("LD_LIBRARY_PATHS", "/tmp")
                .with("PERL5LIB", "/tmp")
                .with("LANG", "C/../x")
                .with("LC_TIME", "C")
                .with("TZ", "Europe/Berlin")
                .with("MAIL", "/tmp/mail")
                .with("SUDO_PS1", "# ")
                .with("BASH_FUNC_kept%%", "() { echo; }")
                .with("BASH_FUNC_lost%%", "() { echo; }")
                .alike();
        }
    }
}

#[test]
fn half_a_name_an_empty_value_and_hostile_zones_come_through_alike() {
    for group in ["opt-plain", "opt-whole", "opt-kept"] {
        let person = root().person(&[group]);
        for (name, value) in [
            ("TZ", "/etc/shadow"),
            ("TZ", ":/usr/share/zoneinfo/UTC"),
            ("TZ", "../x"),
            ("TZ", "a b"),
            ("CHECKED", "a/b"),
            ("CHECKED", "%n"),
            ("CHECKED", ""),
            ("TERM", "a/b"),
            ("VALUE", "public"),
            ("LOGNAME", "nobody"),
        ] {
            Twice::of(&person, &["env"]).with(name, value).alike();
        }
        let words = ["-i", "-u", person.name.as_str(), "FOO=bar", "/usr/bin/env"];
        Twice::of(&person, &["env", "-u", "USER", "env"]).alike();
        if group != "opt-plain" {
            root().run_as(&person.name, [&["jit-sudo", "-n"][..], &words].concat()).succeeded();
        }
    }
}

#[test]
fn variables_on_the_command_line_need_leave() {
    let person = root().person(&["opt-plain"]);
    for words in [
        &["FOO=1", "env"][..],
        &["LANG=C", "env"],
        &["LANG=a/b", "env"],
        &["PATH=/tmp", "env"],
        &["A=1", "B=2", "DISPLAY=:1", "env"],
        &["-E", "env"],
        &["--preserve-env=OTHER,NONE,LANG", "env"],
        &["--preserve-env=LANG", "env"],
        &["DISPLAY=() { :; }", "env"],
    ] {
        Twice::of(&person, words).with("OTHER", "x").with("LANG", "C").alike();
    }
    let anybody = root().person(&["opt-kept"]);
    for words in
        [&["FOO=1", "PATH=/tmp", "/usr/bin/env"][..], &["--preserve-env=OTHER", "OTHER=y", "env"], &["-E", "env"]]
    {
        Twice::of(&anybody, words).with("OTHER", "x").alike();
    }
}

#[test]
fn mask_limits_and_descriptors_are_the_policys() {
    let show = "umask; ulimit -n; ulimit -Hn; ulimit -t; ulimit -c; cd /proc/self/fd; echo [0-9]*";
    let callers = format!("umask 0077; exec \"$@\" bash -c '{show}' 4</dev/null 7</dev/null 9</dev/null");
    for group in ["opt-plain", "opt-process", "opt-free", "opt-home"] {
        let person = root().person(&[group]);
        let by = |program: &[&str]| {
            root()
                .run_as(&person.name, [&["bash", "-c", &callers, "bash"][..], program].concat())
                .succeeded()
                .to_owned()
        };
        assert_eq!(by(&["jit-sudo", "-n"]), by(&["sudo", "-n"]), "{group}");
        if group == "opt-process" {
            let seen = by(&["jit-sudo", "-n", "-C", "8"]);
            assert_eq!(seen, by(&["sudo", "-n", "-C", "8"]));
            assert!(seen.contains(" 4 7"), "{seen}");
        }
    }
}

#[test]
fn a_command_runs_where_the_policy_lets_it() {
    for group in ["opt-plain", "opt-process", "opt-free", "opt-home"] {
        let person = root().person(&[group]);
        for words in [&["pwd"][..], &["-D", "/var", "pwd"], &["-D", "/srv", "pwd"]] {
            Twice::of(&person, words).alike();
        }
    }
    // The current directory: sudo 1.9.13 permits it too, 1.9.16 does not.
    let person = root().person(&["opt-plain"]);
    let here = root().command(&person.name, ["jit-sudo", "-n", "-D", "/tmp", "pwd"]).cwd("/tmp").run();
    assert_eq!(here.succeeded(), "/tmp");
    let person = root().person(&["opt-free"]);
    let nowhere = root().command(&person.name, ["jit-sudo", "-n", "-D", "/nowhere", "pwd"]).run();
    nowhere.refused("jit-sudo: unable to change directory to /nowhere: No such file or directory\n");
    for words in [&["-D", "~", "pwd"][..], &["-D", "~bob", "pwd"], &["-i", "pwd"], &["-i", "-D", "/usr", "pwd"]] {
        Twice::of(&person, words).alike();
    }
}

#[test]
fn a_refusal_has_the_wording_of_sudo() {
    let person = root().person(&["opt-plain"]);
    for words in [
        &["-C", "5", "true"][..],
        &["-C", "3", "true"],
        &["-T", "5", "true"],
        &["-T", "0", "true"],
        &["-T", "1h", "true"],
    ] {
        Twice::of(&person, words).alike();
    }
    let person = root().person(&["opt-tty"]);
    Twice::of(&person, &["true"]).alike();
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "true"]);
    assert!(session.wait().success(), "{}", session.screen());
    let rejected = records_of(root(), &person).into_iter().find(|record| record.kind() == "reject");
    assert_eq!(rejected.map(|record| record.text("code").to_owned()), Some("not-permitted".to_owned()));
}

#[test]
fn a_time_limit_ends_the_command_and_all_that_it_left() {
    for (group, words) in [("opt-brief", &["jit-sudo", "-n"][..]), ("opt-process", &["jit-sudo", "-n", "-T", "1s"])] {
        let person = root().person(&[group]);
        let file = format!("/tmp/{}-left", person.name);
        let script = format!("setsid sh -c 'trap \"\" HUP; echo $$ > {file}; exec sleep 100' & exec sleep 100");
        let began = Instant::now();
        let output = root().run_as(&person.name, [words, &["bash", "-c", &script]].concat());
        assert_eq!(output.status.signal(), Some(15), "{output:?}");
        assert!(
            (Duration::from_millis(950)..Duration::from_secs(8)).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
        let left = root().script(&format!("kill -0 $(cat {file}) 2>/dev/null && echo left; true"));
        assert_eq!(left, "");
        let end = records_of(root(), &person).into_iter().find(|record| record.kind() == "end");
        assert_eq!(end.map(|record| record.text("ended_by").to_owned()), Some("time-limit".to_owned()));
    }
    // -T never lengthens the limit.
    let person = root().person(&["opt-brief"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "-T", "1h", "true"]).refused("not allowed set a command timeout");
}

#[test]
fn the_password_of_the_target_or_of_root_is_asked_for_where_the_policy_says_so() {
    let person = root().person(&["opt-target"]);
    let bobs = "bob-password\n".to_owned();
    let own = format!("{}\n", person.password);
    for line in [&bobs, &own] {
        Twice::of(&person, &["-S", "-k", "-u", "bob", "id", "-un"]).typing(line).alike();
    }
    let person = root().person(&["opt-root"]);
    for lines in ["root-password\n", "wrong\nroot-password\n", "wrong\nwrong\nroot-password\n"] {
        Twice::of(&person, &["-S", "-u", "bob", "id", "-un"]).typing(lines).alike();
    }
}

#[test]
fn the_password_of_another_user_is_not_remembered_as_the_own_one() {
    let person = root().person(&["opt-target", "opt-global"]);
    // The narrower of two equal roles is the first by name: opt-global, which requires the user's own password.
    let line = format!("{}\n", person.password);
    root().command(&person.name, ["jit-sudo", "-S", "true"]).stdin(&line).run().succeeded();
    let other = root().person(&["opt-target"]);
    let script =
        "echo bob-password | jit-sudo -S -u bob true && jit-sudo -n -u bob true && ! jit-sudo -n -u carol true";
    root().run_as(&other.name, ["sh", "-c", script]).succeeded();
}

#[test]
fn a_password_is_remembered_for_the_scope_in_the_policy() {
    let global = root().person(&["opt-global"]);
    let line = format!("{}\n", global.password);
    root().command(&global.name, ["jit-sudo", "-S", "true"]).stdin(&line).run().succeeded();
    root().run_as(&global.name, ["jit-sudo", "-n", "true"]).succeeded();
    let mut session = root().pty_as(&global.name, ["jit-sudo", "-n", "true"]);
    assert!(session.wait().success(), "{}", session.screen());
    root().run_as(&global.name, ["jit-sudo", "-k"]).succeeded();
    root().run_as(&global.name, ["jit-sudo", "-n", "true"]).refused("a password is required");

    let ppid = root().person(&["opt-ppid"]);
    let line = format!("{}\n", ppid.password);
    let script = "jit-sudo -S true; jit-sudo -n true && echo same; bash -c 'jit-sudo -n true; :' || true";
    let output = root().command(&ppid.name, ["bash", "-c", script]).stdin(&line).run();
    assert_eq!(output.stdout, "same\n", "{output:?}");
    assert!(output.stderr.ends_with("jit-sudo: a password is required\n"), "{output:?}");
}

/// Returns the screen after a password was requested and typed.
fn screen_of_a_password(person: &Person, program: &str) -> String {
    let mut session = root().pty_as(&person.name, [program, "true"]);
    session.type_password("password for", &person.password);
    assert!(session.wait().success(), "{}", session.screen());
    session.screen().replace('\r', "")
}

#[test]
fn people_are_lectured_once() {
    let person = root().person(&["opt-lecture"]);
    let screen = |program: &str| screen_of_a_password(&person, program);
    let first = screen("jit-sudo");
    assert!(first.contains("great responsibility"), "{first}");
    assert_eq!(first, screen("sudo"), "sudo lectures in the same words");
    assert!(!screen("jit-sudo").contains("great responsibility"));
    // Without a terminal there is no lecture.
    let other = root().person(&["opt-lecture"]);
    let line = format!("{}\n", other.password);
    let output = root().command(&other.name, ["jit-sudo", "-S", "-p", "", "true"]).stdin(line).run();
    assert_eq!((output.succeeded(), output.stderr.as_str()), ("", ""));
}

#[test]
fn a_command_may_have_the_callers_own_terminal() {
    let person = root().person(&["opt-direct"]);
    for program in ["sudo", "jit-sudo"] {
        let line = format!("tty; {program} -n tty; {program} -n sh -c 'exit 7'; echo status $?");
        let mut session = root().pty_as(&person.name, ["bash", "-c", &line]);
        session.wait();
        let screen = session.screen().replace('\r', "");
        let lines: Vec<&str> = screen.lines().collect();
        assert!(lines.len() == 3 && lines[0] == lines[1] && lines[2] == "status 7", "{program}: {screen}");
    }
}

#[test]
fn the_prompt_of_the_policy_may_be_stronger_than_others() {
    let person = root().person(&["opt-override"]);
    let line = format!("{}\n", person.password);
    for words in [&["-S", "true"][..], &["-S", "-p", "mine: ", "true"]] {
        Twice::of(&person, words).typing(&line).alike();
    }
}

#[test]
fn the_lecture_can_be_repeated_with_the_administrators_text() {
    root().write("/etc/lecture", 0o644, "Mind the gap.\n");
    let person = root().person(&["opt-always"]);
    let screen = |program: &str| screen_of_a_password(&person, program);
    let first = screen("jit-sudo");
    assert!(first.contains("Mind the gap."), "{first}");
    assert_eq!(first, screen("jit-sudo"));
    assert_eq!(first, screen("sudo"));
    assert_eq!(first, screen("sudo"));
}

#[test]
fn a_login_shell_has_the_pam_service_of_the_policy() {
    root().write("/etc/opt-login.env", 0o644, "FROM_LOGIN=yes\n");
    let stack = "auth required pam_permit.so\naccount required pam_permit.so\n\
                 session required pam_env.so readenv=1 envfile=/etc/opt-login.env\n";
    root().write("/etc/pam.d/opt-login", 0o644, stack);
    let person = root().person(&["opt-login"]);
    for words in [&["-i", "printenv", "FROM_LOGIN"][..], &["printenv", "FROM_LOGIN"], &["-s", "printenv", "FROM_LOGIN"]]
    {
        Twice::of(&person, words).alike();
    }
    assert_eq!(root().run_as(&person.name, ["jit-sudo", "-n", "-i", "printenv", "FROM_LOGIN"]).succeeded(), "yes");
}

#[test]
fn a_password_may_be_remembered_until_the_next_boot() {
    let person = root().person(&["opt-reboot"]);
    for program in ["sudo", "jit-sudo"] {
        let line = format!("{}\n", person.password);
        let script = format!("{program} -S -p '' -v && {program} -n true && {program} -k && ! {program} -n true");
        root().command(&person.name, ["sh", "-c", &script]).stdin(&line).run().succeeded();
    }
    let shown = root().as_root(["jitctl", "policy", "show", "opt-reboot"]);
    assert!(shown.succeeded().contains("until-reboot"), "{shown:?}");
}
