//! A request from another host, as text or to be signed. Everything shown here is part of what the host signed and an
//! approval names by its digest, or states what this machine knows of that host.

use std::path::Path;

use jit_core::escape::{Word, hex};
use jit_core::grant::{RequestTerms, digest};
use jit_core::policy::{Leftovers, OnExpiry, OnRemoval, RolePower};
use jit_core::wire::{Background, BoundInfo, GrantInfo};

use crate::armor::{self, Request};
use crate::clean::clean;
use crate::grant_text::{self, bound_fields, exact_word, exact_words};
use crate::known_hosts::Host;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::surface::Tone;
use crate::table::Fields;
use crate::when;

/// Reads the request from standard input, to be signed by the user. Its host must be one for which the user may sign.
///
/// # Errors
/// The text is not a complete request, or the key of its host has changed, is another host's, or cannot be compared.
pub(crate) fn to_sign(screen: &Screen) -> Result<Request, Trouble> {
    let request = armor::request(&armor::read::<&Path>(&[])?)?;
    let host = Host::meet(&request.terms.host, &request.host_key, &request.rotations)?;
    host.may_be_signed_for()?;
    if let Some(warning) = host.warning().or_else(|| host.uncompared()) {
        screen.alarm(&warning);
    }
    Ok(request)
}

/// `jitctl show -` of a request.
pub(crate) fn show(request: &Request, screen: &Screen) -> Result<Report, Trouble> {
    let host = Host::meet(&request.terms.host, &request.host_key, &request.rotations)?;
    if let Some(warning) = host.warning() {
        screen.alarm(&warning);
    }
    let text = described(request, &host, screen);
    Ok(Report::done(Output::grant(as_info(request, &host)), text))
}

/// Returns the form for programs. Its state on its host, its approvers and earlier runs are not known here.
fn as_info(request: &Request, host: &Host<'_>) -> GrantInfo {
    let terms = request.terms.clone();
    let role = &request.role;
    let (role_commands, role_run_as) = (texts(&role.commands), role.run_as.as_written());
    GrantInfo {
        break_glass: terms.break_glass.is_set(),
        command: terms.argv().to_vec(),
        id: terms.id,
        state: "unknown".into(),
        grant: None,
        host: Some(host.info()),
        requester: terms.user,
        requester_uid: terms.uid,
        role: terms.role,
        run_as: terms.run_as.to_string(),
        command_bytes: None,
        sha256: terms.command.as_ref().map(|command| command.program.clone()),
        bound: terms.command.map(BoundInfo::from),
        reason: terms.reason,
        ticket: (!terms.ticket.as_bytes().is_empty()).then_some(terms.ticket),
        duration: terms.duration,
        requested: terms.created,
        deadline: terms.deadline,
        starts: (terms.start > 0).then_some(terms.start),
        expires: None,
        one_shot: terms.one_shot.is_set(),
        exact: terms.exact.is_set(),
        approvals_needed: terms.needed,
        approvers: Vec::new(),
        approvals: Vec::new(),
        may_decide: false,
        ended: None,
        runs: 0,
        background: Some(Background {
            role_commands,
            role_run_as,
            role_options: role.particulars(),
            ..Background::default()
        }),
        extends: terms.extends,
        extended_by: None,
        signed_approvals: true,
        role_changed: false,
    }
}

fn described(request: &Request, host: &Host<'_>, screen: &Screen) -> String {
    let name = clean(&request.terms.host.name);
    let mut text = host_fields(request, host).render_on(screen);
    text.push('\n');
    text.push_str(&request_fields(request, screen.now).render_on(screen));
    text.push_str("\nthe requested role; an approval gives no more than this:\n");
    text.push_str(&role_fields(&request.role, &request.terms.role_digest).render_on(screen));
    text.push_str(&format!("\nnot part of this text: the state of the request on {name}, and who may approve it\n"));
    text.push_str("to approve: jitctl approve - --key FILE, with this text again;\n");
    text.push_str("            then there: jitctl import\n");
    text
}

fn host_fields(request: &Request, host: &Host<'_>) -> Fields {
    let mut fields = Fields::default();
    fields.add("from host", &request.terms.host.name);
    fields.add("host key", request.host_key.fingerprint());
    let (words, tone) = host.in_words();
    fields.toned("known here", words, tone);
    fields.add("host id", &request.terms.host.id);
    grant_text::unknown(&mut fields, &request.additions);
    fields
}

fn request_fields(request: &Request, now: i64) -> Fields {
    let terms = &request.terms;
    let mut fields = Fields::default();
    fields.add("id", terms.id.as_str());
    fields.add("requester", format!("{} (uid {})", clean(terms.user.as_str()), terms.uid));
    fields.add("role", terms.role.as_str());
    fields.add("run as", terms.run_as.as_str());
    if terms.argv().is_empty() {
        fields.add("command", "(the whole role)");
    } else {
        fields.add("command", grant_text::line(terms.argv()));
        exact_words(&mut fields, terms.argv());
    }
    if let Some(command) = &terms.command {
        bound_fields(&mut fields, &command.argv, &BoundInfo::from(command.clone()));
        if !grant_text::is_of_nothing(&command.program) {
            fields.add("program sha256", &command.program);
        }
    }
    fields.add("reason", terms.reason.to_string());
    fields.maybe("ticket", (!terms.ticket.as_bytes().is_empty()).then(|| terms.ticket.to_string()));
    fields.add(
        "approvals",
        if terms.needed == 0 { "none needed".to_owned() } else { format!("{} needed", terms.needed) },
    );
    times(&mut fields, terms, now);
    grant_text::unknown(&mut fields, &terms.extensions);
    fields.add("request digest", hex(&digest(request.bytes.as_bytes())));
    fields
}

fn times(fields: &mut Fields, terms: &RequestTerms, now: i64) {
    fields.add("duration", when::spell(terms.duration));
    let narrowed = grant_text::narrowed(terms.one_shot.is_set(), terms.exact.is_set());
    fields.add("serves", if narrowed.is_empty() { "any number of runs of the role's commands" } else { &narrowed });
    if terms.break_glass.is_set() {
        fields.toned("break-glass", "yes: nobody is asked for approval", Tone::Bad);
    }
    fields.maybe("extends", terms.extends.as_ref().map(|id| format!("grant {id}, and its runs go on")));
    fields.add("requested", when::long(terms.created, now));
    fields.maybe("starts", (terms.start > 0).then(|| when::long(terms.start, now)));
    let tone = if terms.deadline <= now { Tone::Bad } else { Tone::Plain };
    fields.toned("deadline", when::long(terms.deadline, now), tone);
}

/// Returns what the role allows beyond this request: every part of its text except options with their usual values.
fn role_fields(role: &RolePower, digest: &str) -> Fields {
    let mut fields = Fields::default();
    fields.add("role", role.name.as_str());
    for (index, rule) in role.commands.iter().enumerate() {
        exact_word(&mut fields, if index == 0 { "allows" } else { "" }, &Word::from(rule.to_string().as_str()));
        fields.maybe("   means", rule.meaning());
    }
    fields.add("as", role.run_as.as_written().join(", "));
    fields.add("groups", besides(&role.run_as_groups.as_written()));
    fields.add("on hosts", role.hosts.as_written().join(", "));
    fields.add("password", if role.authenticate { "asked for" } else { "not asked for" });
    fields.add("programs", if role.noexec { "may start no others" } else { "may start others" });
    fields.add(
        "on expiry",
        match role.on_expiry {
            OnExpiry::Terminate => "a running command is ended",
            OnExpiry::Freeze => "a running command is stopped until the grant is extended",
            OnExpiry::Finish => "a running command may go on to its end",
        },
    );
    if role.on_removal == OnRemoval::Finish {
        fields.add("on removal", "a running command of a user who loses the role may go on until the grant ends");
    }
    if role.leftovers == Leftovers::Keep {
        fields.add("left running", "what a finished command leaves running may continue");
    }
    grant_text::options(&mut fields, "with", &role.changed_options());
    fields.add("role digest", digest);
    fields
}

fn besides(texts: &[String]) -> String {
    if texts.is_empty() { "none besides the user's own".to_owned() } else { texts.join(", ") }
}

fn texts<T: ToString>(things: &[T]) -> Vec<String> {
    things.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
pub(crate) mod tests;
