use serde_json::Map;

use super::*;
use crate::policy::power::{InvalidPower, role_digest};
use crate::policy::{EnvironmentOptions, Policy, PolicyText, VariableRules};

fn role(text: &str) -> Role {
    let text = format!("[roles.ops]\neligible = [\"alice\"]\n{text}");
    let file = PolicyText { path: "/etc/p.toml".into(), text };
    Policy::parse(&[file]).unwrap_or_else(|error| panic!("{error}")).roles()[0].clone()
}

/// Returns the role `now`, narrowed for a grant that was approved while the role was `then`.
fn left(now: &str, then: &str) -> Option<Narrowed> {
    role(now).narrowed(&RolePower::of(&role(then)))
}

const ID: &str = "commands = [\"/usr/bin/id\"]\n";

#[test]
fn a_role_text_round_trips_and_other_bytes_are_rejected() {
    let power =
        RolePower::of(&role("commands = [\"/usr/bin/id **\", \"!/usr/bin/id -u\"]\nrun_as = \"ALL\"\numask = \"077\""));
    let bytes = power.encode().unwrap();
    assert_eq!(RolePower::named(&role_digest(&bytes), &bytes), Ok(power));
    for index in 0..bytes.len() {
        let mut other = bytes.clone();
        other[index] ^= 1;
        assert_eq!(RolePower::named(&role_digest(&bytes), &other), Err(InvalidPower), "byte {index}");
    }
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("{\"authenticate\"", "{\"admin\":1,\"authenticate\""),
        ("\"umask\":", "\"unmask\":1,\"umask\":"),
        ("\"0077\"", "\"077\""),
        ("{\"authenticate\":true,", "{"),
        ("\":", "\" :"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert!(RolePower::decode(other.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn the_digest_depends_only_on_what_the_role_permits() {
    let plain = role(ID).digest;
    assert_eq!(plain.len(), 64);
    for same in ["passprompt = \"x\"\n", "description = \"d\"\n", "[roles.ops.activation]\nmaximum_duration = \"2h\"\n"]
    {
        assert_eq!(role(&format!("{ID}{same}")).digest, plain, "{same}");
    }
    for other in [
        "setenv = true\n",
        "run_as = \"ALL\"\n",
        "run_as_groups = \"ALL\"\n",
        "hosts = [\"web*\"]\n",
        "noexec = true\n",
        "on_expiry = \"finish\"\n",
        "authenticate = false\n",
        "env_keep = [\"X\"]\n",
        "secure_path = \"/bin\"\n",
        "runcwd = \"*\"\n",
        "set_logname = false\n",
    ] {
        assert_ne!(role(&format!("{ID}{other}")).digest, plain, "{other}");
    }
}

#[test]
fn the_stricter_value_of_each_option_applies() {
    let both = |now: &str, then: &str| left(&format!("{ID}{now}"), &format!("{ID}{then}")).unwrap().both;
    for (wide, narrow) in [
        ("authenticate = false\n", ""),
        ("", "noexec = true\n"),
        ("on_expiry = \"finish\"\n", ""),
        ("on_expiry = \"finish\"\n", "on_expiry = \"freeze\"\n"),
        ("setenv = true\n", "setenv = false\n"),
        ("env_reset = false\n", ""),
        ("set_logname = false\n", ""),
        ("closefrom_override = true\n", ""),
        ("user_command_timeouts = true\n", ""),
        ("command_timeout = \"1h\"\n", "command_timeout = \"1m\"\n"),
        ("", "command_timeout = \"1m\"\n"),
        ("umask = \"0\"\n", ""),
        ("umask_override = true\n", ""),
        ("", "requiretty = true\n"),
        ("use_pty = false\n", ""),
        ("rlimit_nproc = \"9,9\"\n", "rlimit_nproc = \"5,6\"\n"),
        ("rlimit_nproc = \"user\"\n", "rlimit_nproc = \"5,6\"\n"),
    ] {
        let expected = RolePower { options: Map::new(), ..RolePower::of(&role(&format!("{ID}{narrow}"))) };
        for (now, then) in [(wide, narrow), (narrow, wide)] {
            let left = both(now, then);
            assert_eq!(RolePower { options: Map::new(), ..RolePower::of(&left) }, expected, "{now}{then}");
            let usual =
                Options { setenv: left.options.setenv, ..role(&format!("{ID}{narrow}")).options.as_ref().clone() };
            assert_eq!(*left.options, usual, "{now}{then}");
        }
    }
}

#[test]
fn a_variable_must_be_permitted_by_both_roles() {
    let perl = (&b"PERL5LIB"[..], &b"/home/alice"[..]);
    let format = (&b"FOO"[..], &b"%s/x"[..]);
    for (then, now, (name, value)) in [
        ("env_reset = false\n", "env_keep = [\"PERL5LIB\"]\n", perl),
        ("env_keep = [\"FOO\"]\nenv_check = [\"FOO\"]\n", "env_keep = [\"FOO\"]\n", format),
        ("env_reset = false\nenv_delete = [\"FOO\"]\n", "env_keep = [\"FOO\"]\n", format),
    ] {
        let passes = |role: &Role| VariableRules::of(role, &EnvironmentOptions::default()).let_through(name, value);
        let (then, now) = (format!("{ID}{then}"), format!("{ID}{now}"));
        assert!(passes(&role(&now)) && !passes(&role(&then)), "{then}{now}");
        for (then, now) in [(&then, &now), (&now, &then)] {
            assert!(!passes(&left(now, then).unwrap().both), "{then}{now}");
        }
    }
}

#[test]
fn the_names_stay_the_callers_only_where_each_role_lets_them() {
    let keeps = |role: &Role| VariableRules::of(role, &EnvironmentOptions::default()).keeps_names();
    let (cleaned, callers, reset) = ("env_reset = false\n", "env_reset = false\nset_logname = false\n", "");
    for (then, now, expected) in
        [(cleaned, reset, false), (cleaned, callers, false), (callers, reset, true), (callers, callers, true)]
    {
        for (then, now) in [(then, now), (now, then)] {
            let left = left(&format!("{ID}{now}"), &format!("{ID}{then}")).unwrap();
            assert_eq!(keeps(&left.both), expected, "{then}{now}");
        }
    }
}

#[test]
fn an_option_that_came_later_leaves_the_digests_of_before() {
    let text = String::from_utf8(RolePower::of(&role(ID)).encode().unwrap()).unwrap();
    assert!(!text.contains("set_logname"), "{text}");
    let text =
        String::from_utf8(RolePower::of(&role(&format!("{ID}set_logname = false\n"))).encode().unwrap()).unwrap();
    assert!(text.contains("\"set_logname\":false") && RolePower::decode(text.as_bytes()).is_ok(), "{text}");
    let usual = text.replace("\"set_logname\":false", "\"set_logname\":true");
    assert!(RolePower::decode(usual.as_bytes()).is_err(), "one role has one text");
}

#[test]
fn lists_keep_what_both_have() {
    let (one, two) = (format!("{ID}env_keep = [\"A\", \"B\"]\n"), format!("{ID}env_keep = [\"B\", \"C\"]\n"));
    let both = left(&one, &two).unwrap().both;
    let passes = |name: &[u8]| VariableRules::of(&both, &EnvironmentOptions::default()).let_through(name, b"x");
    assert!(passes(b"B") && !passes(b"A") && !passes(b"C"));
    let path = |text: &str| format!("{ID}secure_path = \"{text}\"\n");
    let left_path = left(&path("/usr/bin:/bin"), &path("/bin:/sbin")).unwrap().both.options.path_variable();
    assert_eq!(left_path, "/bin");
    assert!(left(&path("/usr/bin"), &path("/bin")).is_none());
    let directory = |text: &str| format!("{ID}runcwd = \"{text}\"\n");
    assert!(left(&directory("/srv"), &directory("/tmp")).is_none());
    assert_eq!(
        left(&directory("*"), &directory("/tmp")).unwrap().both.options.runcwd,
        role(&directory("/tmp")).options.runcwd
    );
}

#[test]
fn all_commands_remain_only_if_both_roles_allow_all() {
    let all = "commands = \"ALL\"\n";
    for (now, then, every) in [(all, all, true), (all, ID, false), (ID, all, false), (ID, ID, false)] {
        let left = left(now, then).unwrap();
        assert_eq!(left.both.allows_everything(), every);
        assert_eq!(left.both.lets_set_variables(), every);
        assert_eq!(left.approved.allows_everything(), then == all);
    }
}

#[test]
fn the_intersection_uses_the_rules_of_either_role() {
    let all = "commands = \"ALL\"\nrun_as = \"ALL\"\n";
    let common = |now: &str, then: &str| left(now, then).unwrap().in_common();
    for (now, then) in [(all, ID), (ID, all)] {
        let common = common(now, then).unwrap();
        assert_eq!(common.commands, role(ID).commands);
        assert_eq!((common.run_as, common.options.setenv), (role(ID).run_as, None));
    }
    assert_eq!(common(all, all).unwrap().options.setenv, None);
    assert_eq!(common(&format!("{all}setenv = true"), ID).unwrap().options.setenv, Some(false));
    assert!(common(ID, "commands = [\"/usr/bin/w\"]").is_none());
    assert!(common("commands = \"ALL\"\nrun_as = [\"bob\"]", ID).is_none());
}

#[test]
fn roles_with_the_same_description_are_the_same() {
    let told = |more: &str| {
        let power = RolePower::of(&role(&format!("commands = \"ALL\"\n{more}")));
        (power.commands.clone(), power.run_as.as_written(), power.particulars())
    };
    assert!(told("").2.is_empty());
    for more in [
        "authenticate = false",
        "noexec = true",
        "on_expiry = \"finish\"",
        "leftovers = \"keep\"",
        "on_removal = \"finish\"",
        "run_as_groups = [\"web\"]",
        "hosts = [\"web*\"]",
        "run_as = [\"bob\"]",
        "setenv = true",
    ] {
        assert_ne!(told(more), told(""), "{more}");
    }
}
