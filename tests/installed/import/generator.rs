//! Generates sudoers files and questions about them from a seed: every kind of list, alias, tag, wildcard, expression and digest,
//! with `!` at every place where sudoers(5) permits it.

use std::fmt::Write as _;

use super::compare::{Host, Question};

pub(super) const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
const GROUPS: [&str; 3] = ["ops", "web", "night"];

/// Generates sudoers files and questions from a seed.
pub(super) struct Generator<'a> {
    numbers: fastrand::Rng,
    host: &'a Host,
    aliases: [Vec<String>; 4],
    /// Whether the file sets the default run-as user.
    default_user: bool,
    /// Whether every rule has a runas list; without one, sudo 1.9.13 ignores -g beside -u.
    groups: bool,
}

impl<'a> Generator<'a> {
    pub(super) fn new(seed: u64, host: &'a Host) -> Self {
        let mut generator = Self {
            numbers: fastrand::Rng::with_seed(seed),
            host,
            aliases: Default::default(),
            default_user: false,
            groups: false,
        };
        generator.groups = generator.one_in(2);
        generator
    }

    fn below(&mut self, bound: usize) -> usize {
        self.numbers.usize(..bound)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'p>(&mut self, list: &[&'p str]) -> &'p str {
        list[self.below(list.len())]
    }

    /// Returns a file, and one that it may include.
    pub(super) fn sudoers(&mut self) -> (String, String) {
        let (mut text, mut part) = (String::new(), String::new());
        if self.one_in(3) {
            let line = self.pick(&[
                "Defaults env_reset",
                "Defaults !authenticate",
                "Defaults runas_default=bob",
                "Defaults secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin:/opt/t\"",
                "Defaults !lecture, passwd_tries = 2",
            ]);
            self.default_user = line.contains("runas_default");
            _ = writeln!(text, "{line}");
        }
        for _ in 0..self.below(3) {
            _ = writeln!(text, "{}", self.scoped());
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
                // Aliases name only earlier aliases, so that none refers to itself.
                self.aliases[kind].push(name);
            }
        }
        for _ in 0..=self.below(5) {
            lines.push(self.rule());
        }
        let from = if self.one_in(4) { self.below(lines.len()) } else { lines.len() };
        for (index, line) in lines.into_iter().enumerate() {
            // Breaks long lines as people do.
            let line = if self.one_in(6) { line.replacen(", ", ", \\\n    ", 1) } else { line };
            _ = writeln!(if index < from { &mut text } else { &mut part }, "{line}");
        }
        if !part.is_empty() {
            let word = self.pick(&["@includedir /opt/parts", "@include /opt/parts/10", "#includedir /opt/parts"]);
            _ = writeln!(text, "{word}");
        }
        (text, part)
    }

    /// Returns a setting with a scope; sudo accepts aliases that are defined later.
    fn scoped(&mut self) -> String {
        let (sign, list) = match self.below(4) {
            0 => (':', self.list(Self::user)),
            1 => ('@', self.list(Self::host)),
            2 => ('>', self.list(Self::target)),
            // Here sudo requires commands without arguments.
            _ => ('!', self.list(Self::program)),
        };
        let setting = self.pick(&["!authenticate", "authenticate", "passwd_tries=1", "timestamp_timeout=0", "noexec"]);
        format!("Defaults{sign}{list} {setting}")
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
        if self.one_in(8) {
            return self.host.ids[self.below(self.host.ids.len())].clone();
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
        // With -g, sudo 1.9.13 searches an alias for groups that only the rule can name.
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
            let digest = self.host.digests[self.below(self.host.digests.len())].clone();
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
        let program = self.program();
        if program == "ALL" || program.ends_with('/') || self.one_in(2) {
            return program;
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

    fn program(&mut self) -> String {
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
        self.pick(&programs).to_owned()
    }

    pub(super) fn question(&mut self) -> Question {
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
        // The user of -u beside -g, and whether it is the caller: docs/sudo-differences.md.
        if group.is_some() && self.host.group_alone && (!self.groups || run_as == Some(user)) {
            run_as = None;
        } else if group.is_some() && !self.host.group_alone && run_as.is_none_or(|run_as| run_as == user) {
            run_as = Some(if user == "bob" { "carol" } else { "bob" });
        } else if !self.host.group_alone && run_as == Some(user) {
            run_as = None;
        }
        if self.default_user && group.is_none() {
            // The default user of sudo is not converted.
            run_as = run_as.or(Some("root"));
        }
        let owned = |name: Option<&str>| name.map(str::to_owned);
        Question { user: user.to_owned(), run_as: owned(run_as), group: owned(group), words }
    }
}
