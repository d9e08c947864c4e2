//! Random roles, random edits of them, random grants and commands: nothing runs that the role as it was approved or the role
//! as it is refuses, and nothing runs under an option that one of them does not have.

use super::*;
use crate::policy::judge::ask;
use crate::policy::{Answer, Manner};

/// A generator of numbers (xorshift); a failure names its seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Some of these, in their order.
    fn some<'a>(&mut self, list: &[&'a str]) -> Vec<&'a str> {
        list.iter().filter(|_| self.below(3) == 0).copied().collect()
    }
}

const RULES: [&str; 9] = [
    "\"ALL\"",
    "\"/usr/bin/env\"",
    "\"/usr/bin/env **\"",
    "\"/usr/bin/env *\"",
    "\"/usr/bin/id -u\"",
    "\"/usr/bin/id **\"",
    "\"!/usr/bin/env true\"",
    "\"!/usr/bin/id **\"",
    "\"/usr/bin/*\"",
];

const OPTIONS: [&str; 16] = [
    "setenv = true",
    "setenv = false",
    "env_reset = false",
    "env_keep = [\"EDITOR\"]",
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

fn role(numbers: &mut Numbers) -> Role {
    let mut rules = numbers.some(&RULES);
    if rules.is_empty() {
        rules.push(numbers.one(&RULES));
    }
    // A key stands once.
    let mut options: Vec<&str> = Vec::new();
    for option in numbers.some(&OPTIONS) {
        let key = |text: &str| text.split_once(' ').map(|(key, _)| key.to_owned());
        if !options.iter().any(|known| key(known) == key(option)) {
            options.push(option);
        }
    }
    let text =
        format!("[roles.ops]\neligible = [\"root\"]\ncommands = [{}]\n{}\n", rules.join(", "), options.join("\n"));
    let policy = Policy::parse(&[PolicyText { path: "policy.toml".into(), text: text.clone() }]);
    policy.unwrap_or_else(|error| panic!("{error}\n{text}")).roles()[0].clone()
}

/// A command that somebody types, perhaps with -u, -g and -D.
fn typed(numbers: &mut Numbers) -> Elevation {
    let caller = Caller::described(sys::users::account_by_uid(0).unwrap().unwrap()).unwrap();
    let word = |text: &str| (!text.is_empty()).then(|| std::ffi::OsString::from(text));
    let (user, group) = (word(numbers.one(&["", "", "daemon"])), word(numbers.one(&["", "", "daemon"])));
    let run_as = RunAs::resolve(user.as_deref(), group.as_deref(), &caller).unwrap();
    let words: Vec<_> = COMMANDS[numbers.below(COMMANDS.len())].iter().map(Into::into).collect();
    let command = Command::find(&words, "/usr/bin:/bin", &caller).unwrap();
    let directory = word(numbers.one(&["", "", "/srv", "/tmp"])).map(Into::into);
    Elevation::question(caller, run_as, command, directory, EnvironmentWish::default())
}

fn allows(role: &Role, elevation: &Elevation) -> bool {
    matches!(ask(role, elevation), Answer::Allowed { .. })
}

/// What both allow is no more than each of them, in every option that gives power.
fn not_wider(both: &Role, one: &Role) -> Result<(), &'static str> {
    let (left, had) = (&both.options, &one.options);
    let seconds = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    let kept = |name: &str| left.env_keep.iter().any(|known| known == name);
    let checks = [
        ("variables", !both.lets_set_variables() || one.lets_set_variables()),
        ("the caller's environment", left.env_reset || !had.env_reset),
        ("kept variables", !kept("EDITOR") || had.env_keep.iter().any(|known| known == "EDITOR")),
        ("-C", !left.closefrom_override || had.closefrom_override),
        ("-T", !left.user_command_timeouts || had.user_command_timeouts),
        ("the time limit", seconds(left.command_timeout) <= seconds(had.command_timeout)),
        ("umask", left.umask.bits().unwrap_or(0) & had.umask.bits().unwrap_or(0) == had.umask.bits().unwrap_or(0)),
        ("noexec", both.noexec || !one.noexec),
        ("authentication", both.authenticate || !one.authenticate),
        ("expiry", both.on_expiry == one.on_expiry || both.on_expiry != crate::policy::OnExpiry::Finish),
        ("every command", !both.allows_everything() || one.allows_everything()),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(what, _)| Err(what))
}

#[test]
fn nothing_runs_that_the_approved_or_the_present_role_refuses() {
    let (mut ran, mut refused, mut narrowed) = (0, 0, 0);
    for seed in 1..=20_000_u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (then, now) = (role(&mut numbers), role(&mut numbers));
        let now = if numbers.below(4) == 0 { then.clone() } else { now };
        let (asked, used) = (typed(&mut numbers), typed(&mut numbers));
        let exact = Flag::from(numbers.below(3) == 0);
        let signed = issue(|terms| {
            terms.role_digest.clone_from(&then.digest);
            terms.exact = exact;
            terms.run_as = asked.run_as().name().clone();
            terms.command = Some(CommandTerms::of(&asked, &then).unwrap());
        });
        // The judgement: only roles that allow the command now come to the verification.
        let allowed = (allows(&then, &used), allows(&now, &used));
        if !allowed.1 {
            refused += 1;
            continue;
        }
        let (key, id, moment) = (host(), id(), moment(NOW));
        let approved = |digest: &str| (digest == then.digest).then(|| RolePower::of(&then));
        let facts =
            Facts { key: &key, host: &id, moment: &moment, high_water: None, vouchers: None, approved: &approved };
        let Ok(grant) = verify(vec![signed], Eligible::for_tests(used, vec![now.clone()]), &facts) else {
            refused += 1;
            continue;
        };
        let (used, both) = (grant.elevation(), grant.role());
        assert!(allowed.0, "seed {seed}: it runs, and the approved role refuses it");
        if exact.is_set() {
            let same = asked.command().resolved_words() == used.command().resolved_words()
                && (asked.run_as().uid(), asked.run_as().gid()) == (used.run_as().uid(), used.run_as().gid());
            assert!(same, "seed {seed}: an exact grant serves another command");
        }
        for role in [&then, &now] {
            assert_eq!(not_wider(both, role), Ok(()), "seed {seed}");
            // What is permitted beside the command under both is permitted under each.
            assert!(Manner::of(both, used).is_err() || Manner::of(role, used).is_ok(), "seed {seed}");
        }
        ran += 1;
        narrowed += u32::from(then.digest != now.digest);
    }
    assert!(ran > 1000 && refused > 1000 && narrowed > 300, "{ran} ran, {refused} were refused, {narrowed} narrowed");
}
