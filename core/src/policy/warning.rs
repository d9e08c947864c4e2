//! Warnings about valid but unwise policies: shown by `jitctl policy check`, never by a run.

use std::borrow::Cow;

use super::command_rule::CommandRule;
use super::pattern::name_matches;
use super::principal::Principal;
use super::program_path::Effect;
use super::role::Role;
use super::settings::Settings;

/// Variables with which a caller can run code of their own inside the command.
const DANGEROUS: [&str; 12] = [
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "BASH_ENV",
    "ENV",
    "IFS",
    "PERL5LIB",
    "PYTHONPATH",
    "RUBYLIB",
    "NODE_OPTIONS",
    "GCONV_PATH",
    "SHELLOPTS",
];

/// Returns all warnings, in the order of the files.
pub(super) fn of(settings: &Settings, roles: &[Role]) -> Vec<String> {
    let mut warnings: Vec<String> =
        dangerous(&settings.options.env_keep).map(|text| format!("env_keep in [defaults] {text}")).collect();
    for role in roles {
        warnings.extend(
            of_role(settings, role).into_iter().map(|text| format!("{}: role '{}' {text}", role.source, role.name)),
        );
    }
    warnings
}

fn of_role(settings: &Settings, role: &Role) -> Vec<String> {
    let mut warnings = Vec::new();
    if role.eligible.is_empty() && role.standing.is_empty() {
        warnings.push("names no user: neither eligible nor standing".to_owned());
    }
    if role.commands.iter().all(|rule| rule.effect() == Effect::Deny) {
        warnings.push("has only rules that deny, so it allows nothing".to_owned());
    }
    if role.run_as.names_nobody() {
        warnings.push("has a run_as that includes no user: exclude users from \"ALL\"".to_owned());
    }
    warnings.extend(subtraction(role));
    warnings.extend(role.commands.iter().filter_map(rule_warning));
    let own: Vec<Cow<'_, str>> =
        role.options.env_keep.iter().filter(|name| !settings.options.env_keep.contains(name)).cloned().collect();
    warnings.extend(dangerous(&own).map(|text| format!("has an env_keep that {text}")));
    if role.options.setenv == Some(true) && !role.commands.iter().any(CommandRule::means_all) {
        warnings
            .push("lets the caller set any variable (setenv), with which most commands can run any other".to_owned());
    }
    if let Some(pattern) = &role.activation.ticket {
        let text = pattern.as_str();
        if !(text.starts_with('^') && text.ends_with('$')) {
            warnings.push(format!(
                "has a ticket pattern '{text}' that is not anchored by ^ and $, so any text around a match passes"
            ));
        }
    }
    if !role.authenticate
        && !role.activation.require_approval
        && role.eligible.named().any(|principal| *principal == Principal::All)
    {
        warnings.push("gives all users its commands without a password or an approval".to_owned());
    }
    warnings.extend(quorum(role));
    warnings
}

/// Warns about commands that are excluded from ALL, which is easy to bypass: sudoers(5), "Limitations of the '!'
/// operator".
fn subtraction(role: &Role) -> Option<String> {
    let from_all = role.commands.iter().position(CommandRule::means_all)?;
    let denied = role.commands.iter().skip(from_all).find(|rule| rule.effect() == Effect::Deny && !rule.means_all())?;
    let allows = role.commands.iter().any(|rule| rule.means_all() && rule.effect() == Effect::Allow);
    allows.then(|| format!("excludes '{denied}' from ALL, which a copy or a shell bypasses"))
}

fn rule_warning(rule: &CommandRule) -> Option<String> {
    let text = rule.to_string();
    if text.contains('[') && !text.contains("\\[") {
        return Some(format!("has a rule '{text}' with '[', which is an ordinary character here"));
    }
    let path = rule.literal_path().filter(|_| rule.effect() == Effect::Allow)?;
    let linked = ["/bin", "/sbin", "/lib"].iter().find(|directory| path.starts_with(directory))?;
    Some(format!(
        "has a rule '{text}': where {linked} is a link to /usr{linked}, the path of its programs begins with /usr{linked}"
    ))
}

fn dangerous(patterns: &[Cow<'_, str>]) -> impl Iterator<Item = String> {
    patterns.iter().filter_map(|pattern| {
        let name = DANGEROUS.iter().find(|name| name_matches(pattern, name.as_bytes()))?;
        Some(format!("keeps {name} ('{pattern}'), with which a caller can run their own code"))
    })
}

/// Warns about a number of approvals that cannot be reached: users never approve their own requests.
fn quorum(role: &Role) -> Option<String> {
    let terms = &role.activation;
    if !terms.require_approval
        || terms.approvers.iter().any(Principal::is_plural)
        || terms.approvers.len() > terms.approvals as usize
    {
        return None;
    }
    let stuck = terms.approvers.iter().find(|approver| role.eligible.named().any(|known| known == *approver))?;
    let root_too = if role.run_as.is_anyone() { " as anyone" } else { "" };
    Some(format!(
        "can never be activated{root_too} by {stuck}, who is needed as an approver and may not approve their own request"
    ))
}
