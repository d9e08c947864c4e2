//! Requests a missing grant on the spot, with what the caller gave on the command line or types now, and waits for it.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::activation::apart::request_apart;
use crate::activation::{Activation, ActivationError, Urgency, Wanted};
use crate::console::{self, Console};
use crate::judge::Eligible;
use crate::refusal::Refusal;
use crate::run::RunContext;
use crate::run::approval::await_approval;
use crate::verify::NoGrant;
use crate::verify::command_terms;
use jit_core::cli::{ActivationWish, Asking, PasswordFrom, Run, Wait};
use jit_core::clock::duration::{self, Seconds, spell};
use jit_core::escape::Word;
use jit_core::grant::RequestTerms;
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::GrantId;
use jit_core::policy::Role;
use sys::poll::{PollEntry, poll};
use sys::terminal::{Echo, Terminal};

/// How often an invalid answer is asked for again.
const TRIES: usize = 3;

/// Input that follows a line within this time was pasted with it.
const PASTED: Duration = Duration::from_millis(20);

/// Leads to a grant that covers `refused`, or denies as before.
pub(super) fn activate(
    refused: NoGrant,
    run: &Run,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Eligible, Refusal> {
    let wish = &run.activation;
    let mode = mode(wish, &run.asking);
    let Some(role) = choose(&refused, wish).cloned() else { return Err(Refusal::NoGrant(Box::new(refused))) };
    let id = match (asked_before(&refused, &role, wish, context)?, mode) {
        (Some(id), _) => id,
        (None, OfferMode::Refuse) => return Err(Refusal::NoGrant(Box::new(refused))),
        (None, OfferMode::Told | OfferMode::Ask) => match ask_now(&refused, &role, wish, mode, context, console)? {
            Some(Activation::Granted(_)) => return Ok(refused.eligible),
            Some(Activation::Pending(id)) => id,
            None => return Err(Refusal::NoGrant(Box::new(refused))),
        },
    };
    let approvers = approvers(&role);
    let state = match limit(wish, &role, mode) {
        Some(limit) => await_approval(&id, &approvers, limit, context, console)?,
        None => RequestState::Pending,
    };
    match state {
        RequestState::Approved => Ok(refused.eligible),
        RequestState::Pending => Err(Refusal::Pending(Box::new(refused), id, approvers)),
        state => Err(Refusal::Activation(ActivationError::NotGranted(id, state))),
    }
}

/// Returns a pending request for the role that would serve: a second one would only be more work for its approvers.
fn asked_before(
    refused: &NoGrant,
    role: &Role,
    wish: &ActivationWish,
    context: &RunContext<'_>,
) -> Result<Option<GrantId>, Refusal> {
    if wish.break_glass {
        return Ok(None); // break-glass does not wait
    }
    let elevation = refused.eligible.elevation();
    let now = context.host.now()?.seconds();
    let pending = context.host.store().pending_for(elevation.caller().person(), &role.name, now)?;
    let very = command_terms(elevation, role).ok();
    let serves = |terms: &RequestTerms| !terms.exact.is_set() || (very.is_some() && terms.command == very);
    Ok(pending.filter(|request| serves(&request.terms)).map(|request| request.terms.id))
}

/// Makes the request, with what was given on the command line or is typed now; `None` when the user declines.
fn ask_now(
    refused: &NoGrant,
    role: &Role,
    wish: &ActivationWish,
    mode: OfferMode,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Option<Activation>, Refusal> {
    let mut wish = wish.clone();
    console.say(&offer_text(role, refused.eligible.roles().len(), &wish, mode));
    if mode == OfferMode::Ask && complete(&mut wish, role, console).is_none() {
        return Ok(None);
    }
    let elevation = refused.eligible.elevation();
    let wanted = Wanted {
        role,
        elevation: Some(elevation),
        run_as: elevation.run_as(),
        duration: wish.duration,
        start: None,
        reason: wish.reason.map(Word),
        ticket: wish.ticket.map(Word),
        one_shot: false,
        urgency: if wish.break_glass { Urgency::BreakGlass } else { Urgency::Ordinary },
    };
    Ok(Some(request_apart(context.host, elevation.caller(), &wanted, &context.host.now()?)?))
}

/// How far to go without a grant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfferMode {
    /// The caller gave nothing about a grant, and no user can be prompted.
    Refuse,
    /// Everything was given on the command line.
    Told,
    /// A user is at the terminal.
    Ask,
}

fn mode(wish: &ActivationWish, asking: &Asking) -> OfferMode {
    // The password is asked for on the controlling terminal: without one, a grant made now could not be used.
    let there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && Terminal::controlling().is_ok();
    let wished = *wish != ActivationWish::default();
    if asking.non_interactive {
        OfferMode::Refuse // -n never waits and never opens a request
    } else if there && asking.password_from == PasswordFrom::Terminal {
        OfferMode::Ask
    } else if wished {
        OfferMode::Told
    } else {
        OfferMode::Refuse
    }
}

/// Returns the named role, or the narrowest; with break-glass the narrowest that permits it.
fn choose<'r>(refused: &'r NoGrant, wish: &ActivationWish) -> Option<&'r Role> {
    let roles = refused.eligible.roles();
    match &wish.role {
        Some(name) => roles.iter().find(|role| &role.name == name),
        None => {
            let urgent = roles.iter().find(|role| wish.break_glass && role.activation.break_glass);
            urgent.or(roles.first())
        }
    }
}

/// Returns how long to wait for approvers; `None` when not to wait.
fn limit(wish: &ActivationWish, role: &Role, mode: OfferMode) -> Option<Seconds> {
    match (wish.wait, mode) {
        (_, OfferMode::Refuse) | (Wait::Unsaid, OfferMode::Told) => None,
        (Wait::AtMost(seconds), _) => Some(seconds),
        (Wait::AsLongAsPending, _) | (Wait::Unsaid, OfferMode::Ask) => Some(role.activation.request_lifetime),
    }
}

fn offer_text(role: &Role, choices: usize, wish: &ActivationWish, mode: OfferMode) -> String {
    let (name, span) = (&role.name, spell(role.activation.maximum_duration));
    let which = if choices > 1 && wish.role.is_none() {
        format!("{name}, the narrowest of {choices} that fit,")
    } else {
        name.to_string()
    };
    let approval = if wish.break_glass {
        "; this is break-glass: at once, with an alert to everybody, and reviewed afterwards".to_owned()
    } else if role.activation.require_approval {
        format!(", to be approved by {}", approvers(role).join(" or "))
    } else {
        String::new()
    };
    let leave = if mode == OfferMode::Ask { " (^C to leave)" } else { "" };
    console::line(format_args!("no active grant; asking for role {which} for at most {span}{approval}{leave}"))
}

fn approvers(role: &Role) -> Vec<String> {
    role.activation.approvers.iter().map(ToString::to_string).collect()
}

/// Prompts for what the role requires and the command line did not contain; `None` when the user declines.
fn complete(wish: &mut ActivationWish, role: &Role, console: &mut Console) -> Option<()> {
    let terminal = Terminal::controlling().ok()?;
    let rules = &role.activation;
    let (most, unsaid) = (rules.maximum_duration, *wish == ActivationWish::default());
    // Typed before the question, so not its answer: with a block of pasted lines, the line after this command.
    let _ = terminal.flush_input();
    if wish.reason.is_none() && (rules.require_justification || wish.break_glass) {
        wish.reason = Some(ask(&terminal, console, "reason: ", |text| match text.trim() {
            "" => Err("a reason is required".to_owned()),
            _ if was_pasted(&terminal) => Err("several lines were pasted, of which none is the reason".to_owned()),
            _ => Ok(text.into()),
        })?);
    }
    // A caller who gave any of these options on the command line is not asked for the optional ones.
    if wish.duration.is_none() && unsaid {
        let question = format!("duration, at most {0} [{0}]: ", spell(most));
        wish.duration = Some(ask(&terminal, console, &question, |text| span(text, most))?);
    }
    if let Some(pattern) = rules.ticket.as_ref().filter(|_| wish.ticket.is_none()) {
        let question = format!("ticket, such as {}: ", pattern.as_str());
        wish.ticket = Some(ask(&terminal, console, &question, |text| {
            if pattern.matches(text) { Ok(text.into()) } else { Err(format!("it must match {}", pattern.as_str())) }
        })?);
    }
    Some(())
}

/// Whether more input follows a line at once, as no person types it. Discards it.
fn was_pasted(terminal: &Terminal) -> bool {
    let mut entries = [PollEntry::reading(terminal.as_fd())];
    let follows = poll(&mut entries, Some(PASTED)).is_ok_and(|ready| ready > 0);
    follows && terminal.flush_input().is_ok()
}

/// Parses a duration as typed; an empty text means the longest.
fn span(text: &str, most: Seconds) -> Result<Seconds, String> {
    if text.is_empty() {
        return Ok(most);
    }
    match duration::seconds(text) {
        Ok(Seconds::ZERO) => Err("the duration must be longer than 0".to_owned()),
        Ok(seconds) if seconds > most => Err(format!("the role is granted for at most {}", spell(most))),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
}

/// Prompts until `read` accepts the answer; `None` when the user declines, or after too many invalid answers.
fn ask<T>(
    terminal: &Terminal,
    console: &mut Console,
    question: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    for _ in 0..TRIES {
        let line = terminal.read_answer(question.as_bytes(), Echo::Shown, None).ok()?;
        match std::str::from_utf8(line.as_bytes().trim_ascii()).map_err(|_| "it is not UTF-8 text".to_owned()) {
            Ok(text) => match read(text) {
                Ok(answer) => return Some(answer),
                Err(complaint) => console.say(&console::line(complaint)),
            },
            Err(complaint) => console.say(&console::line(complaint)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_takes_the_longest_duration_and_nothing_exceeds_it() {
        assert_eq!(span("", Seconds(3600)), Ok(Seconds(3600)));
        assert_eq!(span("15m", Seconds(3600)), Ok(Seconds(900)));
        for text in ["0", "2h", "-5m", "ten", "10000y", "1h1", "\u{0}"] {
            assert!(span(text, Seconds(3600)).is_err(), "{text}");
        }
    }

    #[test]
    fn dash_n_neither_prompts_nor_requests() {
        let asking = Asking { non_interactive: true, ..Asking::default() };
        let wish = ActivationWish { reason: Some("x".into()), break_glass: true, ..ActivationWish::default() };
        assert!(mode(&wish, &asking) == OfferMode::Refuse);
    }
}
