//! Random roles, random edits of them, random grants and commands: nothing runs that the approved or the present role denies, and
//! nothing runs under an option that one of them lacks. A second, independent implementation of the rules decides what a role
//! denies.

use rusqlite::Connection;

use super::*;
use crate::judge::RunOptions;
use crate::judge::{Among, Judgement, judge};
use crate::policy_index::PolicyIndex;
use crate::policy_index::{Compiled, Stamp};
use jit_core::clock::Now;
use jit_core::clock::duration::Seconds;
use jit_core::policy::{EnvironmentOptions, VariableRules};

/// Random numbers; a failure reports their seed.
struct Numbers(fastrand::Rng);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Returns some of these, in their order.
    fn some<'a>(&mut self, list: &[&'a str]) -> Vec<&'a str> {
        list.iter().filter(|_| self.below(3) == 0).copied().collect()
    }
}

const RULES: [&str; 10] = [
    "ALL",
    "/usr/bin/env",
    "/usr/bin/env **",
    "/usr/bin/env *",
    "/usr/bin/env ** b",
    "/usr/bin/id -u",
    "/usr/bin/id **",
    "!/usr/bin/env true",
    "!/usr/bin/id **",
    "/usr/bin/*",
];

const OPTIONS: [&str; 22] = [
    "setenv = true",
    "setenv = false",
    "env_reset = false",
    "env_keep = [\"EDITOR\"]",
    "env_keep = [\"PERL5LIB\", \"F*\"]",
    "env_check = [\"FOO\"]",
    "env_check = [\"!FOO\", \"F*\", \"EDITOR\"]",
    "env_delete = [\"EDITOR\"]",
    "env_delete = [\"!PERL5LIB\", \"FOO=*a*\"]",
    "env_delete = [\"!*\"]",
    "runcwd = \"*\"",
    "runcwd = \"/srv\"",
    "closefrom_override = true",
    "user_command_timeouts = true",
    "command_timeout = \"5m\"",
    "umask = \"077\"",
    "noexec = true",
    "authenticate = false",
    "on_expiry = \"finish\"",
    "run_as = \"ALL\"",
    "run_as_groups = [\"daemon\"]",
    "hosts = [\"nowhere\"]",
];

const COMMANDS: [&[&str]; 5] = [&["env"], &["env", "true"], &["env", "a", "b"], &["id", "-u"], &["id", "-g"]];

/// A role as an administrator writes it.
#[derive(Clone)]
struct Draft {
    rules: Vec<&'static str>,
    options: Vec<&'static str>,
}

impl Draft {
    fn new(numbers: &mut Numbers) -> Self {
        let mut rules = numbers.some(&RULES);
        if rules.is_empty() {
            rules.push(numbers.one(&RULES));
        }
        // A key may occur once.
        let mut options: Vec<&str> = Vec::new();
        for option in numbers.some(&OPTIONS) {
            let key = |text: &str| text.split_once(' ').map(|(key, _)| key.to_owned());
            if !options.iter().any(|known| key(known) == key(option)) {
                options.push(option);
            }
        }
        Self { rules, options }
    }

    fn text(&self, name: &str) -> String {
        let (rules, options) = (&self.rules, self.options.join("\n"));
        format!("[roles.{name}]\neligible = [\"root\"]\ncommands = {rules:?}\n{options}\n")
    }

    fn says(&self, option: &str) -> bool {
        self.options.contains(&option)
    }

    /// Whether the draft lets root run `typed`, by an independent reading of its rules.
    fn permits(&self, typed: &Typed) -> bool {
        let says = |rule: &&&str| means(rule.trim_start_matches('!'), typed.words);
        let command = self.rules.iter().rev().find(says).is_some_and(|rule| !rule.starts_with('!'));
        let anyone = self.says("run_as = \"ALL\"");
        let groups = self.says("run_as_groups = [\"daemon\"]");
        let target = match (typed.user, typed.group) {
            ("", "") => true, // root, whom every role permits
            ("", _) => groups,
            _ => anyone, // daemon, in its own group
        };
        command && target && !self.says("hosts = [\"nowhere\"]")
    }
}

/// Whether a rule, without its `!`, matches a command found in /usr/bin.
fn means(rule: &str, command: &[&str]) -> bool {
    let rule: Vec<&str> = rule.split(' ').collect();
    let program = match rule[0] {
        "ALL" => return true,
        "/usr/bin/*" => true,
        path => path == format!("/usr/bin/{}", command[0]),
    };
    program && arguments_mean(&rule[1..], &command[1..])
}

fn arguments_mean(rule: &[&str], words: &[&str]) -> bool {
    match (rule.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=words.len()).any(|taken| arguments_mean(rest, &words[taken..])),
        (Some((wanted, rest)), Some((word, words))) => {
            (*wanted == "*" || wanted == word) && arguments_mean(rest, words)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Returns a policy in which the drafts are the roles `ops` and `other`.
fn policy(ops: &Draft, other: &Draft) -> Policy {
    let text = format!("{}{}", ops.text("ops"), other.text("other"));
    let policy = Policy::parse(&[PolicyText { path: "policy.toml".into(), text: text.clone() }]);
    policy.unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What root types, with the options -u, -g, -D, -P and -E, and with variables.
#[derive(Clone, Copy, PartialEq)]
struct Typed {
    words: &'static [&'static str],
    user: &'static str,
    group: &'static str,
    directory: &'static str,
    preserve_groups: bool,
    preserve_all: bool,
    /// --preserve-env=LIST; the inherited variables are `EDITOR=vi` and `PAGER=less`.
    preserve: &'static str,
    set: &'static str,
}

impl Typed {
    fn new(numbers: &mut Numbers) -> Self {
        Self {
            words: numbers.one(&COMMANDS),
            user: numbers.one(&["", "", "daemon"]),
            group: numbers.one(&["", "", "daemon"]),
            directory: numbers.one(&["", "", "/srv", "/tmp"]),
            preserve_groups: numbers.below(4) == 0,
            preserve_all: numbers.below(6) == 0,
            preserve: numbers.one(&["", "", "EDITOR", "NONE"]),
            set: numbers.one(&["", "", "A=1", "A=2", "EDITOR=vi"]),
        }
    }

    /// Changes one thing in about half of the cases.
    fn changed(self, numbers: &mut Numbers) -> Self {
        let other = Self::new(numbers);
        match numbers.below(16) {
            0 => Self { words: other.words, ..self },
            1 => Self { user: other.user, ..self },
            2 => Self { group: other.group, ..self },
            3 => Self { directory: other.directory, ..self },
            4 => Self { preserve_groups: other.preserve_groups, ..self },
            5 => Self { preserve_all: other.preserve_all, ..self },
            6 => Self { preserve: other.preserve, ..self },
            7 => Self { set: other.set, ..self },
            _ => self,
        }
    }

    fn elevation(&self) -> Elevation {
        let caller = Caller::described(sys::users::account_by_uid(0).unwrap().unwrap()).unwrap();
        let word = |text: &str| (!text.is_empty()).then(|| std::ffi::OsString::from(text));
        let run_as = RunAs::resolve(word(self.user).as_deref(), word(self.group).as_deref(), &caller).unwrap();
        let words: Vec<_> = self.words.iter().map(Into::into).collect();
        let command = Command::find(&words, "/usr/bin:/bin", &caller).unwrap();
        let wished = EnvironmentWish {
            preserve_all: self.preserve_all,
            preserve: word(self.preserve).into_iter().collect(),
            preserve_over: Vec::new(),
            set: self.set.split_once('=').map(|(name, value)| (name.into(), value.into())).into_iter().collect(),
        };
        let inherited = ["EDITOR=vi", "PAGER=less"].map(Into::into).to_vec();
        Elevation::question(caller, run_as, command, word(self.directory).map(Into::into), EnvironmentWish::default())
            .wishing(self.preserve_groups, inherited, wished)
    }

    /// Returns the variables that it names, sorted.
    fn variables(&self) -> Vec<&str> {
        let kept = (self.preserve == "EDITOR").then_some("EDITOR=vi");
        let set = (!self.set.is_empty()).then_some(self.set);
        let mut variables: Vec<&str> = kept.into_iter().chain(set).collect();
        variables.sort_unstable();
        variables.dedup();
        variables
    }

    /// Whether an exact grant for `asked` serves it, in everything that was typed but the directory, which the roles decide.
    fn is_the_same(&self, asked: &Self) -> bool {
        // The group daemon is the primary group of user daemon, and root's groups are those of the caller.
        let ids = |typed: &Self| match typed.user {
            "" => (typed.group, false),
            user => (user, typed.preserve_groups),
        };
        self.words == asked.words
            && self.user == asked.user
            && ids(self) == ids(asked)
            && self.variables() == asked.variables()
            && !self.preserve_all
    }
}

/// Checks that the narrowed role allows no more than one of its roles, in every option that gives power.
fn not_wider(both: &Role, one: &Role) -> Result<(), &'static str> {
    let (left, had) = (&both.options, &one.options);
    let seconds = |limit: Seconds| limit.positive().unwrap_or(Seconds(u64::MAX));
    let checks = [
        ("variables", !both.lets_set_variables() || one.lets_set_variables()),
        ("the caller's environment", left.env_reset || !had.env_reset),
        ("-C", !left.closefrom_override || had.closefrom_override),
        ("-T", !left.user_command_timeouts || had.user_command_timeouts),
        ("the time limit", seconds(left.command_timeout) <= seconds(had.command_timeout)),
        ("umask", left.umask.bits().unwrap_or(0) & had.umask.bits().unwrap_or(0) == had.umask.bits().unwrap_or(0)),
        ("noexec", both.noexec || !one.noexec),
        ("authentication", both.authenticate || !one.authenticate),
        ("expiry", both.on_expiry == one.on_expiry || both.on_expiry != jit_core::policy::OnExpiry::Finish),
        ("every command", !both.allows_everything() || one.allows_everything()),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(what, _)| Err(what))
}

/// Checks that every variable that reaches the command under `both`, inherited or set, also reaches it under `one`.
fn variables_are_not_wider(both: &Role, one: &Role, (through, dropped): &mut (u32, u32)) {
    const VARIABLES: [(&[u8], &[u8]); 6] = [
        (b"EDITOR", b"vi"),
        (b"FOO", b"a%s/x"),
        (b"FOO", b"b"),
        (b"PERL5LIB", b"/home/alice"),
        (b"LANG", b"C"),
        (b"SHELL", b"/bin/sh"),
    ];
    for number in 0..8 {
        let wanted = EnvironmentOptions { login: number & 1 != 0, shell: number & 2 != 0, everything: number & 4 != 0 };
        let rules = |role| VariableRules::of(role, &wanted);
        for (name, value) in VARIABLES {
            let name_of = String::from_utf8_lossy(name);
            let (left, had) = (rules(both), rules(one));
            assert!(!left.let_through(name, value) || had.let_through(name, value), "{name_of} passes, {wanted:?}");
            assert!(!left.may_set(name, value) || had.may_set(name, value), "{name_of} may be set, {wanted:?}");
            assert!(!left.anew().may_set(name, value) || had.anew().may_set(name, value), "{name_of}, anew");
            *(if rules(both).let_through(name, value) { &mut *through } else { &mut *dropped }) += 1;
        }
    }
}

/// A grant that was approved under one policy and is used under another.
struct Trial {
    then: Draft,
    now: Draft,
    other: Draft,
    asked: Typed,
    used: Typed,
    exact: bool,
}

/// How many trials had each result.
#[derive(Default)]
struct Tally {
    ran: u32,
    exact: u32,
    narrowed: u32,
    not_judged: u32,
    refused: u32,
    other_command: u32,
    /// How many variables were let through, and how many one of the roles dropped.
    variables: (u32, u32),
}

impl Trial {
    fn new(numbers: &mut Numbers) -> Self {
        let then = Draft::new(numbers);
        let now = if numbers.below(2) == 0 { then.clone() } else { Draft::new(numbers) };
        let asked = Typed::new(numbers);
        let used = if numbers.below(2) == 0 { asked.changed(numbers) } else { Typed::new(numbers) };
        Self { then, now, other: Draft::new(numbers), asked, used, exact: numbers.below(2) == 0 }
    }

    /// Takes the same path as a run: asks the compiled policy, then verifies the grant.
    fn run(&self, tally: &mut Tally) {
        let approved = policy(&self.then, &self.other);
        let then = approved.roles().iter().find(|role| role.name.as_str() == "ops").unwrap().clone();
        let command = command_terms(&self.asked.elevation(), &then).unwrap();
        let signed = issue(|terms| {
            terms.role_digest.clone_from(&then.digest);
            terms.exact = Flag::from(self.exact);
            terms.run_as = self.asked.elevation().run_as().name().clone();
            terms.command = Some(command.clone());
        });
        let present = policy(&self.now, &self.other);
        let db = Connection::open_in_memory().unwrap();
        let index =
            PolicyIndex::aside(&db, &Compiled { policy: &present, files: &[], stamp: Stamp { text: "", key: &[] } })
                .unwrap();
        let preferred = [RoleName::parse("ops").unwrap()];
        let permitted = [&self.now, &self.other].iter().any(|draft| draft.permits(&self.used));
        let eligible = match judge(self.used.elevation(), &index, Among::All(&preferred)) {
            Ok(Judgement::Eligible(eligible)) => {
                assert!(permitted, "no present role lets it run, and the judgement does");
                eligible
            }
            Ok(Judgement::Standing(_)) => panic!("nobody has a standing role"),
            Err(_) => {
                assert!(!permitted, "a present role lets it run, and the judgement does not");
                tally.not_judged += 1;
                return;
            }
        };
        let (key, id, now) = (host(), id(), Now::of(moment(NOW), None));
        let approved = |digest: &str| (digest == then.digest).then(|| RolePower::of(&then));
        let facts = Facts { approved: &approved, ..facts(&key, &id, &now) };
        match verify(vec![signed], *eligible, &facts) {
            Ok(grant) => self.ran(&grant, &then, &present, &command, tally),
            Err(refused) => {
                tally.refused += 1;
                tally.other_command += u32::from(matches!(refused.faults[..], [(_, GrantFault::OtherCommand(_))]));
                let both = self.then.permits(&self.used) && self.now.permits(&self.used);
                assert!(!both || self.exact || self.changed(), "both roles let it run, and the grant does not");
            }
        }
    }

    fn changed(&self) -> bool {
        (&self.then.rules, &self.then.options) != (&self.now.rules, &self.now.options)
    }

    fn ran(&self, grant: &VerifiedGrant, then: &Role, present: &Policy, command: &CommandTerms, tally: &mut Tally) {
        let (used, both) = (grant.elevation(), grant.role());
        assert!(self.then.permits(&self.used), "it runs, and the approved role refuses it");
        assert!(self.now.permits(&self.used), "it runs, and the present role refuses it");
        if self.exact {
            assert!(self.used.is_the_same(&self.asked), "an exact grant serves another command");
            assert_eq!(&command_terms(used, both).unwrap(), command);
            let named: Vec<String> = command.environment.iter().map(ToString::to_string).collect();
            assert_eq!(named, self.asked.variables());
            tally.exact += 1;
        }
        let now = present.roles().iter().find(|role| role.name == both.name).unwrap();
        for role in [then, now] {
            assert_eq!(not_wider(both, role), Ok(()));
            variables_are_not_wider(both, role, &mut tally.variables);
            // Options that are permitted under both are permitted under each.
            assert!(RunOptions::of(both, used).is_err() || RunOptions::of(role, used).is_ok());
        }
        tally.ran += 1;
        tally.narrowed += u32::from(then.digest != now.digest);
    }
}

#[test]
fn nothing_runs_that_the_approved_or_the_present_role_refuses() {
    let mut tally = Tally::default();
    for seed in 1..=12_000_u64 {
        let mut numbers = Numbers(fastrand::Rng::with_seed(seed));
        let trial = Trial::new(&mut numbers);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trial.run(&mut tally)));
        assert!(ran.is_ok(), "seed {seed}");
    }
    let Tally { ran, exact, narrowed, not_judged, refused, other_command, variables } = tally;
    let counts = [ran, exact, narrowed, not_judged, refused, other_command, variables.0, variables.1];
    assert!(counts.iter().all(|count| *count > 100), "too few of a kind: {counts:?}");
}
