//! Whole policies: their meaning, and the message for each mistake.

mod answers;
mod manual;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::compiled::parsed;
use super::*;
use crate::clock::duration::Seconds;

fn files(texts: &[&str]) -> Vec<PolicyText> {
    let file = |(number, text): (usize, &&str)| PolicyText {
        path: PathBuf::from(format!("/etc/p{number}.toml")),
        text: (*text).to_owned(),
    };
    texts.iter().enumerate().map(file).collect()
}

fn policy(text: &str) -> Policy {
    parsed(&files(&[text])).unwrap_or_else(|error| panic!("{error}"))
}

fn mistake(text: &str) -> String {
    match parsed(&files(&[text])) {
        Err(error) => whole(&error),
        Ok(_) => panic!("accepted: {text}"),
    }
}

/// Returns the message for a reader of the policy; also checks that the message for other users contains only the
/// position.
fn whole(error: &PolicyError) -> String {
    let (words, cause) = (error.words(), error.cause());
    let reader = PolicyReader::of(&[]);
    let place = words.told_to(&reader).strip_suffix(cause.told_to(&reader)).unwrap();
    assert_eq!(error.to_string(), format!("{place}the policy has an error"));
    assert_eq!(format!("{error:?}{words:?}"), format!("PolicyError({error})PolicyWords(…)"));
    words.told_to(&reader).to_owned()
}

fn role(text: &str) -> Role {
    policy(text).roles()[0].clone()
}

/// Returns a role with one more line, which is to be wrong.
fn with(line: &str) -> String {
    format!("[roles.r]\neligible = [\"alice\"]\ncommands = [\"/usr/bin/id\"]\n{line}\n")
}

const WHOLE: &str = r##"
[defaults]
maximum_duration      = "1h"
require_justification = true
authenticate          = true
record                = "none"
on_expiry             = "terminate"
secure_path           = "/usr/sbin:/usr/bin"
timestamp_timeout     = "0s"
passwd_tries          = 2
passwd_timeout        = "1m30s"
grace_period          = "250ms"
env_keep              = ["LC_*"]
request_lifetime      = "2d"

[audit]
syslog  = "required"
redact  = ["*_TOKEN"]
readers = ["%adm", "#7"]

[roles.web-ops]
description = "Restart and inspect the web tier"
eligible    = ["alice", "%web"]
standing    = ["deploy"]
run_as      = ["root", "#33"]
run_as_groups = ["www-data"]
hosts       = ["web*"]
commands    = [
  "/usr/bin/systemctl restart nginx",
  "/usr/bin/journalctl -u nginx *",
  { path = "/usr/bin/less", args = ["/var/log/*"], sha256 = "abababababababababababababababababababababababababababababababab" },
  "!/usr/bin/journalctl -u nginx -f",
]
env_keep    = ["LANG"]
setenv      = false
noexec      = false

[roles.web-ops.activation]
maximum_duration      = "2h"
require_justification = false
ticket                = '^OPS-[0-9]+$'
require_approval      = true
approvers             = ["bob", "%sre-leads"]
approvals             = 2
signed_approvals      = false
approval_authentication = false
user_verification     = false
request_lifetime      = "24h"
one_shot              = true
exact_command         = true
break_glass           = false
pam_service           = "jit-sudo-strong"
authenticate          = false
"##;

#[test]
fn every_key_is_parsed() {
    let policy = policy(WHOLE);
    let settings = policy.settings();
    assert_eq!(settings.options.path_variable(), "/usr/sbin:/usr/bin");
    assert_eq!((settings.options.timestamp_timeout, settings.options.passwd_timeout), (Seconds(0), Seconds(90)));
    assert_eq!((settings.options.passwd_tries, settings.grace_period), (2, Duration::from_millis(250)));
    assert_eq!(
        (settings.audit.syslog, settings.audit.redact.as_slice()),
        (SyslogMode::Required, &["*_TOKEN".to_owned()][..])
    );
    assert_eq!(settings.audit.readers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["%adm", "#7"]);
    let role = &policy.roles()[0];
    assert_eq!((role.name.as_str(), role.description.as_str()), ("web-ops", "Restart and inspect the web tier"));
    assert_eq!(
        (role.eligible.lines().len(), role.standing.lines().len(), role.commands.len(), policy.rule_count()),
        (2, 1, 4, 4)
    );
    assert_eq!(
        (role.run_as.as_written(), role.run_as_groups.as_written()),
        (vec!["root".into(), "#33".into()], vec!["www-data".into()])
    );
    assert_eq!(role.options.env_keep, ["LC_*", "LANG"]);
    assert_eq!(
        (role.authenticate, role.lets_set_variables(), role.pam_service.as_deref()),
        (false, false, Some("jit-sudo-strong"))
    );
    let terms = &role.activation;
    assert_eq!((terms.maximum_duration, terms.request_lifetime, terms.approvals), (Seconds(7200), Seconds(86_400), 2));
    assert_eq!(
        (terms.require_justification, terms.require_approval, terms.one_shot, terms.exact_command),
        (false, true, true, true)
    );
    assert_eq!(terms.approvers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["bob", "%sre-leads"]);
    assert_eq!(role.source, Source { file: "/etc/p0.toml".into(), line: 21 });
    assert_eq!(role.commands[0].to_string(), "/usr/bin/systemctl restart nginx");
    assert!(policy.warnings().is_empty(), "{:?}", policy.warnings());
}

#[test]
fn missing_keys_have_defaults() {
    let policy =
        policy("[defaults]\nmaximum_duration = \"30m\"\nrequest_lifetime = \"1h\"\n[roles.r]\ncommands = \"ALL\"\n");
    assert_eq!(*policy.settings(), Settings::default());
    let role = &policy.roles()[0];
    assert_eq!(role.run_as.as_written(), ["root"]);
    assert_eq!((role.hosts.as_written(), role.authenticate, role.options.setenv), (vec!["*".to_owned()], true, None));
    assert_eq!((role.activation.maximum_duration, role.activation.request_lifetime), (Seconds(1800), Seconds(3600)));
    assert!(role.activation.require_justification && !role.activation.require_approval && !role.activation.one_shot);
    assert_eq!((role.activation.approvals, role.activation.approvers.len()), (1, 0));
    assert!(role.commands[0].means_all());
    assert!(parsed(&[]).unwrap().roles().is_empty());
    assert!(self::policy("").roles().is_empty());
}

#[test]
fn defaults_of_a_later_file_apply_to_an_earlier_one() {
    let roles = with("");
    let policy =
        parsed(&files(&[&roles, "[defaults]\nauthenticate = false\n", "[defaults]\nmaximum_duration = \"5m\"\n"]))
            .unwrap();
    assert!(!policy.roles()[0].authenticate);
    assert_eq!(policy.roles()[0].activation.maximum_duration, Seconds(300));
    let text = |role: &str| format!("[roles.{role}]\ncommands = [\"ALL\"]\n");
    let policy = parsed(&files(&[&format!("{}{}", text("z"), text("b")), &text("a")])).unwrap();
    assert_eq!(policy.roles().iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["z", "b", "a"]);
}

#[test]
fn mistakes_are_reported_with_file_line_and_cause() {
    assert_eq!(
        mistake(&with("[roles.r.activation]\naprovers = [\"bob\"]")),
        "/etc/p0.toml:5: unknown key 'aprovers' in [roles.r.activation]; did you mean 'approvers'?"
    );
    assert_eq!(
        mistake(&with("ticket = \"x\"")),
        "/etc/p0.toml:4: unknown key 'ticket' in [roles.r]; it belongs in [roles.NAME.activation]"
    );
    assert_eq!(mistake("[role.x]\n"), "/etc/p0.toml:1: unknown key 'role'; did you mean 'roles'?");
    assert_eq!(mistake("\nsyslog = \"off\"\n"), "/etc/p0.toml:2: unknown key 'syslog'; it belongs in [audit]");
    assert_eq!(
        mistake("[defaults]\npaswd_tries = 3\n"),
        "/etc/p0.toml:2: unknown key 'paswd_tries' in [defaults]; did you mean 'passwd_tries'?"
    );
    assert_eq!(mistake("[audit]\ncolour = 1\n"), "/etc/p0.toml:2: unknown key 'colour' in [audit]");
    assert_eq!(
        mistake("[roles.r]\ncommands = [\n  \"/usr/bin/id\",\n  \"id\",\n]\n"),
        "/etc/p0.toml:4: command 'id' in [roles.r]: does not begin with an absolute path"
    );
    assert_eq!(
        mistake("[roles.r]\ncommands = [\n  \"/usr/bin/id\",\n  { path = \"/x\", arg = [] },\n]\n"),
        "/etc/p0.toml:4: unknown key 'arg' in [roles.r] commands; did you mean 'args'?"
    );
    assert!(mistake("[roles.r\n").starts_with("/etc/p0.toml:1: "));
    let error = parsed(&files(&["[defaults]\npasswd_tries = 3\npasswd_tries = 4\n"])).unwrap_err();
    assert_eq!((error.line, error.column > 0), (3, true), "{error}");
    assert!(!mistake("a = [1,\n2\n\x1b]31m\n").contains('\x1b'));
}

#[test]
fn repetitions_are_reported_with_both_positions() {
    let (one, two) = (with(""), format!("\n\n{}", with("")));
    let error = parsed(&files(&[&one, &two])).unwrap_err();
    assert_eq!(whole(&error), "/etc/p1.toml:3: role 'r' is already defined at /etc/p0.toml:1");
    let error =
        parsed(&files(&["[defaults]\nauthenticate = true\n", "[defaults]\nauthenticate = true\n"])).unwrap_err();
    assert_eq!(whole(&error), "/etc/p1.toml:2: authenticate in [defaults] is already defined at /etc/p0.toml:2");
    assert!(
        mistake(&with("authenticate = false\n[roles.r.activation]\nauthenticate = true"))
            .contains("is also in [roles.r]")
    );
    assert!(mistake(&format!("{}{}", with(""), with(""))).starts_with("/etc/p0.toml:5: "));
}

#[test]
fn record_is_set_in_a_role_or_the_defaults() {
    let found = |text: &str| {
        let recording = policy(text).roles()[0].recording.clone();
        (recording.record, recording.input)
    };
    assert_eq!(found(&with("")), (Record::Tty, false));
    assert_eq!(found(&with("record = \"none\"")), (Record::None, false));
    assert_eq!(found(&with("[roles.r.activation]\nrecord = \"all\"\nrecord_input = true")), (Record::All, true));
    let defaults = "[defaults]\nrecord = \"all\"\nrecord_input = true\n";
    assert_eq!(found(&format!("{defaults}{}", with("record_input = false"))), (Record::All, false));
    let sentence = mistake(&with("record = \"tty\"\n[roles.r.activation]\nrecord = \"tty\""));
    assert!(sentence.contains("is also in [roles.r]"), "{sentence}");
    for (line, why) in [
        ("record = true", "must be a string"),
        ("record = \"TTY\"", "must be \"none\", \"tty\" or \"all\""),
        ("record_input = \"yes\"", "must be true or false"),
        ("observers = [\"a b\"]", "observers"),
        ("[audit]\nrecording = \"lax\"", "must be \"best-effort\" or \"strict\""),
        ("[audit]\nrecording_limit = \"1GB\"", "must be a size"),
    ] {
        let sentence = mistake(&with(line));
        assert!(sentence.contains(why), "{sentence}");
    }
    let audit = "[audit]\nrecording = \"strict\"\nrecording_limit = \"5M\"\nrecording_reserve = \"4K\"\n";
    let settings = policy(audit).settings().audit.recording;
    assert_eq!((settings.mode, settings.limit, settings.reserve), (RecordingMode::Strict, 5 << 20, 4096));
}

#[test]
fn noexec_is_set_in_a_role_or_the_defaults() {
    let found = |text: &str| policy(text).roles()[0].noexec;
    assert!(!found(&with("")) && found(&with("noexec = true")));
    assert!(found(&with("[defaults]\nnoexec = true")));
    assert!(!found(&with("noexec = false\n[defaults]\nnoexec = true")));
}

#[test]
fn on_expiry_is_set_in_a_role_its_activation_or_the_defaults() {
    let found = |text: &str| policy(text).roles()[0].on_expiry;
    assert_eq!(found(&with("")), OnExpiry::Terminate);
    assert_eq!(found(&with("on_expiry = \"freeze\"")), OnExpiry::Freeze);
    assert_eq!(found(&with("[roles.r.activation]\non_expiry = \"finish\"")), OnExpiry::Finish);
    assert_eq!(found(&format!("[defaults]\non_expiry = \"freeze\"\n{}", with(""))), OnExpiry::Freeze);
    let both = "on_expiry = \"freeze\"\n[roles.r.activation]\non_expiry = \"finish\"";
    assert!(mistake(&with(both)).contains("is also in [roles.r]"));
    assert!(mistake(&with("on_expiry = \"Freeze\"")).contains("must be \"terminate\", \"freeze\" or \"finish\""));
}

#[test]
fn incomplete_approval_settings_are_rejected() {
    let terms = |text: &str| mistake(&with(&format!("[roles.r.activation]\n{text}")));
    assert!(terms("require_approval = true").contains("approvers names no user"));
    assert!(terms("require_approval = true\napprovers = []").contains("approvers names no user"));
    assert!(terms("approvers = [\"bob\"]").contains("unless require_approval is true"));
    assert!(terms("approvals = 2").contains("unless require_approval is true"));
    assert!(terms("signed_approvals = true").contains("unless require_approval is true"));
    assert!(terms("approval_authentication = true").contains("unless require_approval is true"));
    assert!(terms("user_verification = true").contains("unless signed_approvals is true"));
    assert!(
        terms("require_approval = true\napprovers = [\"bob\"]\nuser_verification = true")
            .contains("user_verification in [roles.r.activation]: has no effect unless signed_approvals is true")
    );
    assert!(
        terms("require_approval = true\napprovers = [\"bob\", \"bob\"]\napprovals = 2")
            .contains("2 can never be reached: approvers names only 1")
    );
    assert!(terms("require_approval = true\napprovers = [\"bob\"]\napprovals = 0").contains("from 1 to 100, not 0"));
    assert!(terms("require_approval = true\napprovers = [\"bob\"]\napprovals = -1").contains("not -1"));
    assert!(terms("require_approval = true\napprovers = [\"bob\"]\napprovals = 1.5").contains("not 1.5"));
    role(&with("[roles.r.activation]\nrequire_approval = true\napprovers = [\"%sre\"]\napprovals = 3"));
    role(&with("[roles.r.activation]\nrequire_approval = true\napprovers = [\"bob\", \"#9\"]\napprovals = 2"));
}

#[test]
fn two_approvals_require_authentication_by_default() {
    let asks = |defaults: &str, terms: &str| {
        let terms = format!("[roles.r.activation]\nrequire_approval = true\napprovers = [\"%sre\"]\n{terms}");
        role(&format!("[defaults]\n{defaults}\n{}", with(&terms))).activation.approval_authentication
    };
    let (on, off) = ("approval_authentication = true", "approval_authentication = false");
    for (defaults, terms, expected) in [
        ("", "", false),
        ("", "approvals = 1", false),
        ("", "approvals = 2", true),
        ("", on, true),
        ("", "approvals = 2\napproval_authentication = false", false),
        (on, "", true),
        (off, "approvals = 3", false),
        (off, "approvals = 3\napproval_authentication = true", true),
        (on, off, false),
    ] {
        assert_eq!(asks(defaults, terms), expected, "{defaults}; {terms}");
    }
    // A default applies only to roles that require approval.
    assert!(!role(&format!("[defaults]\n{on}\n{}", with(""))).activation.approval_authentication);
    assert!(!role(&format!("[defaults]\n{on}\n{}", with("[roles.r.activation]"))).activation.approval_authentication);
}

#[test]
fn user_verification_requires_signed_approvals() {
    let demands = |defaults: &str, terms: &str| {
        let terms = format!("[roles.r.activation]\nrequire_approval = true\napprovers = [\"%sre\"]\n{terms}");
        role(&format!("[defaults]\n{defaults}\n{}", with(&terms))).activation.user_verification
    };
    let (on, signed) = ("user_verification = true", "signed_approvals = true");
    assert!(!demands("", signed));
    assert!(demands("", &format!("{signed}\n{on}")));
    assert!(demands(on, signed));
    assert!(!demands(on, ""));
    assert!(!demands(on, &format!("{signed}\nuser_verification = false")));
}

#[test]
fn invalid_values_are_rejected() {
    for line in [
        "run_as = []",
        "eligible = [\"!bob\"]",
        "order = -1",
        "order = \"1\"",
        "commands = [{ path_glob = \"bin/*\" }]",
        "commands = [{ path = \"/bin/x\", args_regex = \"(\" }]",
        "commands = [{ path = \"/bin/x\", digests = [\"md5:00\"] }]",
        "commands = [{ path = \"/bin/x\", path_glob = \"/bin/y\" }]",
        "run_as = [\"#-1\"]",
        "run_as = [\"ALL\", \"bob\"]",
        "run_as = \"bob\"",
        "run_as = [\"\"]",
        "run_as = 0",
        "run_as_groups = [\"#4294967295\"]",
        "hosts = []",
        "hosts = [\"\"]",
        "hosts = [\"!web\"]",
        "hosts = [\"web 1\"]",
        "hosts = \"web\"",
        "env_keep = [\"=B\"]",
        "env_keep = [\"\"]",
        "env_keep = [\"A B\"]",
        "setenv = \"yes\"",
        "setenv = 1",
        "standing = [\"+\"]",
        "description = \"a\\nb\"",
        "description = 5",
        "pam_service = \"../x\"",
        "pam_service = \"\"",
        "authenticate = \"no\"",
        "activation = true",
        "standing = [[\"a\"]]",
        "standing = [1]",
        "standing = \"alice\"",
        "[roles.r.activation]\nmaximum_duration = \"0s\"",
        "[roles.r.activation]\nmaximum_duration = \"367d\"",
        "[roles.r.activation]\nmaximum_duration = 60",
        "[roles.r.activation]\nmaximum_duration = \"1\"",
        "[roles.r.activation]\nrequest_lifetime = \"0s\"",
        "[roles.r.activation]\nticket = \"(\"",
        "[roles.r.activation]\nticket = \"a{1000}{1000}{1000}\"",
        "[defaults]\nsecure_path = \"\"",
        "[defaults]\nsecure_path = \"/bin:.\"",
        "[defaults]\nsecure_path = \"/bin:\"",
        "[defaults]\nsecure_path = \"/bin:/../x\"",
        "[defaults]\npasswd_tries = 0",
        "[defaults]\npasswd_tries = 11",
        "[defaults]\ngrace_period = \"61s\"",
        "[defaults]\ngrace_period = \"5\"",
        "[defaults]\ntimestamp_timeout = -1",
        "[audit]\nsyslog = \"on\"",
        "[audit]\nsyslog = true",
        "[audit]\nreaders = [\"\"]",
        "[roles.\"a b\"]",
        "[roles.x]",
        "[roles.x]\ncommands = []",
        "[roles.x]\ncommands = \"/bin/id\"",
        "[roles.x]\ncommands = [{ args = [] }]",
        "[roles.x]\ncommands = [5]",
        "[roles.x]\ncommands = [{ path = \"/bin/id\", args = [1] }]",
        "[roles.x]\ncommands = [{ path = \"/bin/id\", sha256 = \"12\" }]",
        "[roles]\ny = 1",
        "[[roles.x.activation]]",
    ] {
        let sentence = mistake(&with(line));
        assert!(sentence.starts_with("/etc/p0.toml:") && !sentence.contains('\n'), "{line}: {sentence}");
    }
}

#[test]
fn tickets_are_whole_short_and_printable() {
    let Some(ticket) = role(WHOLE).activation.ticket else { panic!() };
    assert!(ticket.matches("OPS-12"));
    for text in ["OPS-", "XOPS-1", "OPS-1\n", "OPS-1 OPS-2", "", &format!("OPS-{}", "1".repeat(300))] {
        assert!(!ticket.matches(text), "{text:?}");
    }
}

#[test]
fn unwise_policies_cause_warnings() {
    let one = |text: &str, part: &str| {
        let warnings = policy(text).warnings();
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:?}");
    };
    one("[roles.r]\ncommands = [\"ALL\"]", "/etc/p0.toml:1: role 'r' names no user");
    one(&with("env_keep = [\"LD_*\"]"), "keeps LD_PRELOAD ('LD_*')");
    one("[defaults]\nenv_keep = [\"*\"]", "env_keep in [defaults] keeps LD_PRELOAD");
    one(&with("setenv = true"), "lets the caller set any variable");
    one(&with("[roles.r.activation]\nticket = \"OPS\""), "is not anchored by ^ and $");
    one("[roles.r]\nstanding=[\"a\"]\ncommands = [\"ALL\", \"!/usr/bin/su\"]", "excludes '!/usr/bin/su' from ALL");
    one("[roles.r]\nstanding=[\"a\"]\ncommands = [\"!/usr/bin/su\"]", "only rules that deny");
    one("[roles.r]\nstanding=[\"a\"]\ncommands = [\"/bin/ls\"]", "/bin is a link to /usr/bin");
    one("[roles.r]\nstanding=[\"a\"]\ncommands = [\"/usr/bin/x [0-9]\"]", "'[', which is an ordinary character");
    one(
        &with("[roles.r.activation]\nrequire_approval = true\napprovers = [\"alice\"]"),
        "can never be activated by alice",
    );
    assert!(policy(&with("")).warnings().is_empty());
}

#[test]
fn random_changes_to_a_policy_never_panic_and_errors_stay_one_line() {
    let mut numbers = fastrand::Rng::with_seed(1);
    let mut random = move |bound: usize| numbers.usize(..bound);
    let lines: Vec<&str> = WHOLE.lines().collect();
    let pieces = [
        "\"", "'", "[", "]", "=", "{", "}", "\n", "\\", "#", "!", "*", "\u{1b}", "é", "0", "-", "[[", "\"\"\"", ".",
        "\u{0}", "\u{202e}",
    ];
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut text: String = match random(3) {
            0 => lines.iter().filter(|_| random(4) > 0).map(|line| format!("{line}\n")).collect(),
            1 => WHOLE.chars().take(random(WHOLE.len())).collect(),
            _ => WHOLE.to_owned(),
        };
        for _ in 0..random(4) {
            let at = (0..=random(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.insert_str(at, pieces[random(pieces.len())]);
        }
        match parsed(&files(&[&text])) {
            Ok(_) => accepted += 1,
            Err(error) => {
                let sentence = whole(&error);
                assert!(sentence.len() < 2000 && !sentence.chars().any(char::is_control), "{sentence}");
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn deep_and_large_files_are_rejected_or_parsed() {
    for text in [
        "[".repeat(200_000),
        format!("a = {}", "[".repeat(200_000)),
        format!("{}=1", "a.".repeat(100_000)),
        format!("a = {}", "{a=".repeat(50_000)),
    ] {
        assert!(mistake(&text).len() < 2000);
    }
    let many = format!("[roles.r]\ncommands = [{}]\n", "\"/bin/x a\",".repeat(100_000));
    assert_eq!(policy(&many).rule_count(), 100_000);
    assert!(mistake(&format!("[roles.r]\n{} = 1", "k".repeat(1 << 20))).len() < 2000);
    assert!(mistake(&format!("[roles.r]\nrun_as = [\"{}\"]", "u".repeat(1 << 20))).len() < 2000);
}
