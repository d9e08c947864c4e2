//! Tests how keys are parsed, written and rejected.

use super::super::compiled::parsed;
use super::super::{Policy, PolicyError, PolicyReader, PolicyText};
use super::variables::ENV_CHECK;
use super::*;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    parsed(&[PolicyText { path: "/etc/p.toml".into(), text: text.to_owned() }])
}

fn role(defaults: &str, own: &str) -> Options {
    let text = format!("[defaults]\n{defaults}\n[roles.r]\ncommands = \"ALL\"\n{own}\n");
    parse(&text).unwrap_or_else(|error| panic!("{error}")).roles()[0].options.as_ref().clone()
}

#[test]
fn every_key_can_be_set_and_round_trips() {
    let text = r#"
        env_reset = false
        env_keep = ["A", "B_*=()*"]
        env_check = []
        env_delete = ["X"]
        setenv = true
        secure_path = "/a:/b"
        set_logname = false
        set_home = true
        always_set_home = true
        umask = "077"
        umask_override = true
        use_pty = false
        runcwd = "~www-data"
        closefrom = 5
        closefrom_override = true
        command_timeout = "1h"
        user_command_timeouts = true
        rlimit_as = "infinity"
        rlimit_core = "1,2"
        rlimit_cpu = "user"
        rlimit_data = "default"
        rlimit_fsize = "1"
        rlimit_locks = "1"
        rlimit_memlock = "1"
        rlimit_nofile = "500,1000"
        rlimit_nproc = "1"
        rlimit_rss = "1"
        rlimit_stack = "1"
        requiretty = true
        rootpw = true
        targetpw = true
        timestamp_timeout = "until-reboot"
        timestamp_type = "global"
        passwd_tries = 1
        passwd_timeout = "1s"
        passprompt = "%p: "
        passprompt_override = true
        badpass_message = "no"
        lecture = "once"
        lecture_file = "/etc/lecture"
        pam_login_service = "login"
        editor = "/usr/bin/vi:/usr/bin/ed"
        env_editor = false
    "#;
    for key in OPTIONS {
        assert!(text.contains(&format!(" {key} = ")), "{key}");
    }
    let options = role(text, "");
    let changed = options.changed();
    assert_eq!(changed.len(), serde_json::to_value(&options).unwrap().as_object().unwrap().len(), "{changed:?}");
    let back: Options = serde_json::from_value(Value::Object(changed)).unwrap();
    assert_eq!(back, options);
    assert!(Options::default().changed().is_empty(), "{:?}", Options::default().changed());
}

#[test]
fn a_role_overrides_options_and_adds_to_lists() {
    let options = role("env_keep = [\"A\", \"B\"]\numask = \"027\"", "env_keep = [\"C\", \"!A\"]\numask = \"0777\"");
    assert_eq!((options.env_keep, options.umask.bits()), (vec!["B".into(), "C".into()], None));
    assert_eq!(role("env_keep = [\"A\"]", "env_keep = [\"!*\", \"D\"]").env_keep, ["D"]);
    assert_eq!(role("", "env_check = [\"MINE\"]").env_check.len(), ENV_CHECK.len() + 1);
}

#[test]
fn impossible_values_are_reported() {
    for line in [
        "umask = \"8\"",
        "umask = \"01777\"",
        "umask = 22",
        "umask = \"-22\"",
        "runcwd = \"tmp\"",
        "runcwd = \"/tmp/../etc\"",
        "runcwd = \"~a b\"",
        "closefrom = 2",
        "closefrom = 99999999",
        "command_timeout = \"5\"",
        "rlimit_nofile = \"2,1\"",
        "timestamp_type = \"kernel\"",
        "timestamp_timeout = \"-1\"",
        "passwd_tries = 0",
        "passprompt = \"\\u001b[31m\"",
        "lecture = true",
        "lecture_file = \"lecture\"",
        "pam_login_service = \"../x\"",
        "editor = \"vi\"",
        "secure_path = \"\"",
        "env_keep = [\"\"]",
        "env_keep = [\"=x\"]",
        "env_delete = \"X\"",
    ] {
        let key = line.split(' ').next().unwrap();
        for place in ["[defaults]\n", "[roles.r]\ncommands = \"ALL\"\n"] {
            let (error, reader) = (parse(&format!("{place}{line}\n")).unwrap_err(), PolicyReader::of(&[]));
            assert!(error.words().told_to(&reader).contains(key), "{line}: {error}");
        }
    }
}
