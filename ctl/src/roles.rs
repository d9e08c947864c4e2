//! The roles that the caller could activate, and why a command may or may not run.

use jit_core::escape::command_line;
use jit_core::wire::{CommandWords, RoleInfo, Roles, Why, WhyInfo};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::WhyWords;
use crate::grant_text;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use crate::surface::Tone;
use crate::table::Column::{Key, Text, Value};
use crate::table::{Entry, Fields, Listing};
use crate::when;

/// `jitctl roles`
pub(crate) fn list(broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let roles = broker.ask(&Roles {})?;
    let text =
        if roles.is_empty() { "no role is open to you on this host\n".to_owned() } else { table(&roles, screen) };
    Ok(Report::done(Output::Roles(roles), text))
}

pub(crate) fn table(roles: &[RoleInfo], screen: &Screen) -> String {
    let mut listing = Listing::new([
        Key("ROLE"),
        Value("RUN AS", 4),
        Value("UP TO", 1),
        Text("NEEDS", 2),
        Text("COMMANDS", 3),
        Text("DESCRIPTION", 5),
    ]);
    for role in roles {
        listing.row([
            role.name.as_str().into(),
            Entry::lines(&role.run_as),
            if role.standing { "always".into() } else { when::spell(role.maximum_duration).into() },
            needs_entry(role),
            Entry::lines(&role.commands),
            role.description.as_str().into(),
        ]);
    }
    listing.render(screen)
}

/// `jitctl why`: the exit status is 0 only when the command may run now.
pub(crate) fn why(words: WhyWords, broker: &Broker) -> Result<Report, Trouble> {
    let (environment, command) = grant_text::variables_first(words.command);
    let command = CommandWords {
        run_as: words.run_as,
        run_as_group: words.run_as_group,
        directory: words.directory,
        environment,
        command,
    };
    let why = broker.ask(&Why { user: words.for_user, command })?;
    let text = reasons(&why);
    let allowed = why.allowed;
    let hint = why.hint.clone();
    let report = Report::done(Output::Why(why), text);
    if allowed {
        return Ok(report);
    }
    let notice = Notice { message: "this command may not run now".to_owned(), hint };
    Ok(report.but(Exit::Refused, notice))
}

fn needs_entry(role: &RoleInfo) -> Entry {
    if role.standing { Entry::toned(&needs(role).join(", "), Tone::Good) } else { Entry::lines(&needs(role)) }
}

/// Describes what the user must provide to use the role, depending on whether they are standing or eligible.
pub(crate) fn needs(role: &RoleInfo) -> Vec<String> {
    match (role.standing, role.authenticate) {
        (true, true) => vec!["password".to_owned()],
        (true, false) => vec!["nothing".to_owned()],
        (false, _) => asked_of_eligible(role),
    }
}

/// Describes what an activation requires.
pub(crate) fn asked_of_eligible(role: &RoleInfo) -> Vec<String> {
    let mut needs = Vec::new();
    if role.require_justification {
        needs.push("reason".to_owned());
    }
    if let Some(pattern) = &role.ticket {
        needs.push(format!("ticket {pattern}"));
    }
    if role.require_approval {
        let signed = match (role.signed_approvals, role.user_verification, role.approval_authentication) {
            (true, true, _) => ", signed with a key that verifies its user",
            (true, false, _) => ", signed",
            (false, _, true) => ", each with the approver's password",
            (false, _, false) => "",
        };
        needs.push(format!("{}{signed}", approvals(role.approvals, &role.approvers)));
    }
    if role.authenticate {
        needs.push("password".to_owned());
    }
    if role.break_glass {
        needs.push("(or break-glass)".to_owned());
    }
    if role.one_shot {
        needs.push("(one run)".to_owned());
    }
    if role.exact_command {
        needs.push("(exact command)".to_owned());
    }
    if needs.is_empty() {
        needs.push("nothing".to_owned());
    }
    needs
}

/// `2 approvals (bob, %sre-leads)`
pub(crate) fn approvals(count: u32, approvers: &[String]) -> String {
    let what = if count == 1 { "approval" } else { "approvals" };
    format!("{count} {what} ({})", approvers.join(", "))
}

fn reasons(why: &WhyInfo) -> String {
    let mut fields = Fields::default();
    fields.add("allowed", if why.allowed { "yes" } else { "no" });
    fields.add("because", &why.because);
    fields.add("command", command_line(why.command.iter().map(|word| word.as_os_str())));
    fields.add("run as", &why.run_as);
    fields.maybe("role", why.role.as_ref().map(|role| role.as_str()));
    fields.maybe("grant", why.grant.as_ref().map(|id| id.as_str()));
    if !why.approvers.is_empty() {
        fields.add("approvers", why.approvers.join(", "));
    }
    for (index, role) in why.roles.iter().enumerate() {
        let rule = role.rule.as_ref().map(|rule| format!(", by the rule {}", clean(rule))).unwrap_or_default();
        let verdict = format!("{}: {}{rule}", role.role, clean(&role.verdict));
        fields.add(if index == 0 { "roles" } else { "" }, verdict);
    }
    if let (true, Some(hint)) = (why.allowed, &why.hint) {
        fields.add("type", hint);
    }
    fields.render()
}
