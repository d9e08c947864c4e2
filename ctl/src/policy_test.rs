//! `policy show` and `policy test`: the policy in force through the broker, files that are not installed with the
//! caller's privileges. Runs no command and creates no request.

use std::path::Path;

use jit_core::clock::duration::Seconds;
use jit_core::escape::{Word, command_line, escape};
use jit_core::names::UserName;
use jit_core::policy::{Policy, UNTIL_REBOOT};
use jit_core::wire::{CommandWords, Evaluation, PolicyShow, PolicyShown, PolicyTest, RoleDetails, SettingsInfo};
use serde::Deserialize;

use crate::broker::Broker;
use crate::cases::{Case, evaluation};
use crate::clean::clean;
use crate::cli::{PolicyShowWords, PolicyTestWords};
use crate::output::{Difference, Expectations, Output};
use crate::policy;
use crate::roles;
use crate::screen::Report;
use crate::speech::{Exit, Notice, Trouble};
use crate::table::Fields;
use crate::when;

/// `jitctl policy show`
pub(crate) fn show(words: PolicyShowWords, broker: &Broker) -> Result<Report, Trouble> {
    let whole = words.role.is_none();
    let shown = broker.ask(&PolicyShow { role: words.role })?;
    let text = in_words(&shown, whole);
    Ok(Report::done(Output::Policy(Box::new(shown)), text))
}

/// `jitctl policy test`
pub(crate) fn test(words: PolicyTestWords, broker: &Broker) -> Result<Report, Trouble> {
    let judge = match words.policy.as_slice() {
        [] => Judge::Installed(broker),
        files => Judge::Files(Box::new(policy::parse_files(files)?)),
    };
    match &words.file {
        Some(file) => expectations(file, &judge),
        None => {
            let asked = CommandQuestion {
                user: words.user.map_or_else(own_name, |user| Ok(user.to_string()))?,
                groups: None,
                run_as: words.run_as.map(|word| word.to_string()),
                run_as_group: None,
                host: None,
                command: words.command,
            };
            let evaluation = judge.evaluation(&asked)?;
            let text = told(&evaluation);
            let allowed = evaluation.verdict != "denied";
            let report = Report::done(Output::Evaluation(Box::new(evaluation)), text);
            Ok(if allowed { report } else { report.but(Exit::Refused, Notice::new("the policy does not allow it")) })
        }
    }
}

/// A question from the command line or from a file.
struct CommandQuestion {
    user: String,
    groups: Option<Vec<String>>,
    run_as: Option<String>,
    run_as_group: Option<String>,
    host: Option<String>,
    command: Vec<Word>,
}

/// The source of answers.
enum Judge<'a> {
    Installed(&'a Broker),
    Files(Box<Policy>),
}

impl Judge<'_> {
    fn evaluation(&self, asked: &CommandQuestion) -> Result<Evaluation, Trouble> {
        match self {
            Self::Installed(broker) => {
                if asked.groups.is_some() || asked.host.is_some() || asked.run_as_group.is_some() {
                    return Err(bad_case(
                        "groups, run_as_group and host go with --policy: the installed policy judges real people here",
                    ));
                }
                let user = UserName::parse(&asked.user).map_err(|error| bad_case(&error.to_string()))?;
                let run_as = asked.run_as.as_deref().map(Word::from);
                let command = CommandWords { run_as, command: asked.command.clone(), ..CommandWords::default() };
                Ok(broker.ask(&PolicyTest { user, command })?)
            }
            Self::Files(policy) => {
                let case = Case {
                    user: asked.user.clone(),
                    groups: asked.groups.clone(),
                    run_as: asked.run_as.clone(),
                    run_as_group: asked.run_as_group.clone(),
                    host: asked.host.clone().map_or_else(this_host, Ok)?,
                    command: asked.command.clone(),
                };
                evaluation(policy, &case).map_err(|error| bad_case(&error.to_string()))
            }
        }
    }
}

/// A file of expected answers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedFile {
    case: Vec<ExpectedCase>,
}

/// One `[[case]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedCase {
    user: String,
    groups: Option<Vec<String>>,
    run_as: Option<String>,
    run_as_group: Option<String>,
    host: Option<String>,
    command: CommandText,
    expect: String,
}

/// Arguments separated by single spaces, or a list of arguments.
#[derive(Deserialize)]
#[serde(untagged)]
enum CommandText {
    Line(String),
    Words(Vec<String>),
}

fn expectations(file: &Path, judge: &Judge<'_>) -> Result<Report, Trouble> {
    let name = escape(file.as_os_str().as_encoded_bytes());
    let expected: ExpectedFile = toml::from_str(&policy::read(file)?.text).map_err(|error| {
        let first = error.message().lines().next().unwrap_or_default().to_owned();
        let line = error.span().and_then(|span| policy::read(file).ok().map(|text| line_of(&text.text, span.start)));
        bad_case(&format!("{name}:{}: {first}", line.unwrap_or(1)))
    })?;
    let (cases, mut differences) = (expected.case.len(), Vec::new());
    for (index, case) in expected.case.into_iter().enumerate() {
        let place = format!("{name}, case {}", index + 1);
        if !is_answer(&case.expect) {
            let what = clean(&case.expect);
            return Err(bad_case(&format!("{place}: expect is \"{what}\"; write standing, eligible:ROLE or denied")));
        }
        let asked = CommandQuestion {
            user: case.user,
            groups: case.groups,
            run_as: case.run_as,
            run_as_group: case.run_as_group,
            host: case.host,
            command: match case.command {
                CommandText::Line(line) => line.split(' ').filter(|word| !word.is_empty()).map(Word::from).collect(),
                CommandText::Words(words) => words.iter().map(|word| Word::from(word.as_str())).collect(),
            },
        };
        // A question that cannot be evaluated, for example for a missing program, differs from the expected answer.
        let (found, because) = match judge.evaluation(&asked) {
            Ok(evaluation) => (evaluation.answer(), evaluation.because),
            Err(trouble) => ("error".to_owned(), trouble.notice().message),
        };
        if found != case.expect {
            let run_as = asked.run_as.as_deref().unwrap_or("root");
            let line = command_line(asked.command.iter().map(Word::as_os_str));
            let question = format!("{} as {run_as}: {line}", asked.user);
            differences.push(Difference { place, question, expected: case.expect, found, because });
        }
    }
    Ok(compared(Expectations { cases, differences }))
}

fn compared(expectations: Expectations) -> Report {
    let (cases, wrong) = (expectations.cases, expectations.differences.len());
    if wrong == 0 {
        let text = format!("{cases} of {cases} answers are as expected\n");
        return Report::done(Output::Expectations(expectations), text);
    }
    let mut text = String::new();
    for Difference { place, question, expected, found, because } in &expectations.differences {
        let [question, because] = [question, because].map(|text| clean(text));
        text.push_str(&format!("{place}: {question}\n  expected {expected}, found {}: {because}\n", clean(found)));
    }
    let notice = Notice::new(format!("{wrong} of {cases} answers are not as expected"));
    Report::done(Output::Expectations(expectations), text).but(Exit::Refused, notice)
}

fn is_answer(text: &str) -> bool {
    let role = |name| jit_core::names::RoleName::parse(name).is_ok();
    matches!(text, "standing" | "denied") || text.strip_prefix("eligible:").is_some_and(role)
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn bad_case(why: &str) -> Trouble {
    Trouble::Local("bad-case", Notice::new(why))
}

fn own_name() -> Result<String, Trouble> {
    crate::cases::own_name().map_err(|error| bad_case(&format!("your user name is not known: {error}")))
}

fn this_host() -> Result<String, Trouble> {
    crate::cases::this_host().map_err(|error| bad_case(&format!("the host name is not known: {error}")))
}

fn told(evaluation: &Evaluation) -> String {
    let mut fields = Fields::default();
    fields.add("verdict", &evaluation.verdict);
    fields.add("because", &evaluation.because);
    fields.add("user", &evaluation.user);
    fields.add("run as", &evaluation.run_as);
    fields.add("command", command_line(evaluation.command.iter().map(Word::as_os_str)));
    for (index, role) in evaluation.roles.iter().enumerate() {
        fields.add(if index == 0 { "roles" } else { "" }, role.as_str());
    }
    if let Some(terms) = &evaluation.terms {
        fields.add("up to", if terms.standing { "always".to_owned() } else { when::spell(terms.maximum_duration) });
        fields.add("needs", roles::needs(terms).join(", "));
    }
    fields.render()
}

fn in_words(shown: &PolicyShown, whole: bool) -> String {
    let mut parts = Vec::new();
    if whole {
        let mut named = Fields::default();
        named.add("policy", &shown.sha256);
        parts.push(named.render() + &settings(&shown.settings));
    }
    parts.extend(shown.roles.iter().map(role));
    parts.join("\n")
}

fn settings(settings: &SettingsInfo) -> String {
    let mut fields = Fields::default();
    fields.add("secure_path", &settings.secure_path);
    let remembered = Some(settings.timestamp_timeout).filter(|seconds| *seconds != UNTIL_REBOOT);
    fields.add("timestamp_timeout", remembered.map_or_else(|| "until-reboot".to_owned(), when::spell));
    fields.add("passwd_tries", settings.passwd_tries.to_string());
    fields.add("passwd_timeout", when::spell(settings.passwd_timeout));
    fields.add("grace_period", format!("{}ms", settings.grace_period_ms));
    fields.add("env_keep", settings.env_keep.join(" "));
    options(&mut fields, &settings.options);
    fields.add("request_rate", format!("{} an hour", settings.request_rate));
    fields.add("syslog", &settings.syslog);
    if let Some(format) = &settings.syslog_format {
        fields.add("syslog_format", format);
    }
    let mirrors = [(settings.journald, "journald"), (settings.auditd, "auditd")];
    for (_, name) in mirrors.into_iter().filter(|(on, _)| *on) {
        fields.add(name, "yes");
    }
    if let Some(file) = &settings.json_file {
        fields.add("json_file", file);
    }
    fields.add("redact", settings.redact.join(" "));
    fields.add("readers", people(&settings.readers));
    fields.add("recording", &settings.recording);
    fields.add("recording_limit", size(settings.recording_limit));
    fields.add("recording_reserve", size(settings.recording_reserve));
    fields.render()
}

fn role(role: &RoleDetails) -> String {
    let (terms, mut fields) = (&role.terms, Fields::default());
    fields.add("role", terms.name.as_str());
    if !terms.description.is_empty() {
        fields.add("description", &terms.description);
    }
    fields.add("defined in", &role.source);
    fields.add("eligible", people(&role.eligible));
    fields.add("standing", people(&role.standing_for));
    fields.add("run as", terms.run_as.join(", "));
    if !role.run_as_groups.is_empty() {
        fields.add("with groups", role.run_as_groups.join(", "));
    }
    fields.add("hosts", role.hosts.join(", "));
    for (index, rule) in terms.commands.iter().enumerate() {
        fields.add(if index == 0 { "commands" } else { "" }, rule);
    }
    fields.add("up to", when::spell(terms.maximum_duration));
    fields.add("needs", roles::asked_of_eligible(terms).join(", "));
    fields.add("request lives", when::spell(role.request_lifetime));
    fields.add("on expiry", &role.on_expiry);
    fields.add("on removal", &role.on_removal);
    fields.add("leftovers", &role.leftovers);
    fields.add("order", role.order.to_string());
    fields.add(
        "recorded",
        if role.record_input { format!("{}, with what is typed", role.record) } else { role.record.clone() },
    );
    fields.add("observers", people(&role.observers));
    fields.maybe("pam service", role.pam_service.as_ref());
    fields.add("env_keep", role.env_keep.join(" "));
    fields.add("setenv", if role.setenv { "yes" } else { "no" });
    options(&mut fields, &role.options);
    fields.add("noexec", if role.noexec { "yes" } else { "no" });
    fields.render()
}

/// Shows the options as the policy spells them.
fn options(fields: &mut Fields, options: &serde_json::Map<String, serde_json::Value>) {
    for (key, value) in options {
        let shown = match (value.as_str(), value.as_u64()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(u64::MAX)) => "until-reboot".to_owned(),
            (None, Some(seconds)) if SPANS.contains(&key.as_str()) => when::spell(Seconds(seconds)),
            (None, _) => value.to_string(),
        };
        fields.add(key, shown);
    }
}

/// Options that are durations.
const SPANS: [&str; 3] = ["timestamp_timeout", "passwd_timeout", "command_timeout"];

/// Formats a size as the policy spells it.
fn size(bytes: u64) -> String {
    let unit =
        [("G", 30), ("M", 20)].into_iter().find(|(_, shift)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    let (unit, shift) = unit.unwrap_or(("K", 10));
    format!("{}{unit}", bytes >> shift)
}

fn people(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_answer_is_one_of_three_forms() {
        for good in ["standing", "denied", "eligible:web-ops"] {
            assert!(is_answer(good), "{good}");
        }
        for bad in ["", "eligible", "eligible:", "eligible:a b", "allowed", "Denied"] {
            assert!(!is_answer(bad), "{bad}");
        }
    }

    #[test]
    fn differences_are_listed_with_status_1() {
        let difference = Difference {
            place: "e.toml, case 2".into(),
            question: "alice as root: /bin/ls".into(),
            expected: "denied".into(),
            found: "standing".into(),
            because: "role ops is standing".into(),
        };
        let report = compared(Expectations { cases: 3, differences: vec![difference] });
        assert_eq!(report.exit, Exit::Refused);
        assert_eq!(
            report.text,
            "e.toml, case 2: alice as root: /bin/ls\n  expected denied, found standing: role ops is standing\n"
        );
        assert_eq!(compared(Expectations { cases: 3, differences: Vec::new() }).exit, Exit::Done);
    }
}
