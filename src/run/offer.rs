//! Requests a missing grant on the spot, with what the caller gave on the command line or types now, and waits for it.

use std::cell::Cell;
use std::io::IsTerminal;

use crate::activation::apart::request_apart;
use crate::activation::wish::first_served;
use crate::activation::{Activation, ActivationError, Urgency, Wanted};
use crate::console::{self, Console};
use crate::host::HostError;
use crate::judge::Eligible;
use crate::programs::Attention;
use crate::refusal::{Left, LeftAt, Refusal};
use crate::run::RunContext;
use crate::run::approval::await_approval;
use crate::run::decision::{self, named_approvers};
use crate::verify::NoGrant;
use crate::verify::command_terms;
use jit_core::cli::{ActivationWish, Asking, PasswordFrom, Run, Wait};
use jit_core::clock::duration::{self, Seconds, spell};
use jit_core::escape::Word;
use jit_core::grant::RequestTerms;
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::GrantId;
use jit_core::policy::Role;
use sys::terminal::{Echo, Held, PasswordError, Terminal, Wish};

/// Leads to a grant that covers `refused`, or denies as before. From the first question to the end of the wait the terminal is
/// [held](Held).
pub(super) fn activate(
    refused: NoGrant,
    run: &Run,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Eligible, Refusal> {
    let wish = &run.activation;
    let mode = mode(wish, &run.asking);
    let Some(role) = choose(&refused, wish).cloned() else { return Err(Refusal::NoGrant(Box::new(refused))) };
    let before = asked_before(&refused, &role, wish, context)?;
    if before.is_none() && mode == OfferMode::Refuse {
        return Err(Refusal::NoGrant(Box::new(refused)));
    }
    let approvers = named_approvers(&role, refused.eligible.elevation().caller().name().as_str());
    let limit = limit(wish, &role, mode);
    let terminal = (mode == OfferMode::Ask || limit.is_some()).then(Terminal::controlling).and_then(Result::ok);
    let held = Held::of(terminal.as_ref()).map_err(|error| HostError::System("hold the terminal", error))?;
    let id = match before {
        Some(id) => id,
        None => match ask_now(&refused, (&role, &approvers), wish, mode, &held, context, console)? {
            Some(Activation::Granted(id)) => {
                if mode == OfferMode::Ask {
                    decision::tell(&id, context, console);
                }
                return Ok(refused.eligible);
            }
            Some(Activation::Pending(id)) => id,
            None => return Err(Refusal::NoGrant(Box::new(refused))),
        },
    };
    let state = match limit {
        Some(limit) => await_approval(&id, &approvers, limit, &held, context, console)?,
        None => RequestState::Pending,
    };
    match state {
        RequestState::Approved => {
            if limit.is_some() {
                decision::tell(&id, context, console);
            }
            Ok(refused.eligible)
        }
        RequestState::Pending => Err(Refusal::Pending(Box::new(refused), id, approvers)),
        state => {
            let closed = context.host.store().request(&id, context.host.now()?.seconds()).ok();
            let closed = closed.and_then(|request| request.ended);
            Err(Refusal::Activation(ActivationError::NotGranted(id, state, closed)))
        }
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

/// Makes the request, with what was given on the command line or is typed now; `None` where no answer can be read.
fn ask_now(
    refused: &NoGrant,
    (role, approvers): (&Role, &[String]),
    wish: &ActivationWish,
    mode: OfferMode,
    held: &Held<'_>,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Option<Activation>, Refusal> {
    let mut wish = wish.clone();
    console.say(&offer_text(role, refused.eligible.roles().len(), approvers, &wish, mode));
    if mode == OfferMode::Ask {
        match complete(&mut wish, role, held, console) {
            Ok(()) => {}
            Err(PasswordError::Interrupted(signal)) => return Err(left(Some(signal), LeftAt::Offer)),
            Err(PasswordError::EndOfInput) => return Err(left(None, LeftAt::Offer)),
            Err(PasswordError::TimedOut | PasswordError::TooLong | PasswordError::Io(_)) => return Ok(None),
        }
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
    let signal = Cell::new(None);
    let leaves = || {
        match held.wish() {
            Ok(Some(Wish::End(ending))) => signal.set(Some(ending)),
            // Stopped here, where no transaction is open, this process blocks no other.
            Ok(Some(Wish::Stop(stop))) => drop(context.host.database().at_rest(|| held.stop(stop))),
            Ok(None) | Err(_) => {}
        }
        signal.get().is_some()
    };
    let attention = Attention { other: held.signals(), leaves: &leaves };
    match request_apart(context.host, elevation.caller(), &wanted, &context.host.now()?, &attention) {
        Err(ActivationError::Left) => Err(left(signal.get(), LeftAt::Request)),
        activation => Ok(Some(activation?)),
    }
}

fn left(signal: Option<i32>, at: LeftAt) -> Refusal {
    Refusal::Left(Left { signal, at })
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

/// Returns the named role, or the narrowest that serves; with break-glass the narrowest that permits it.
fn choose<'r>(refused: &'r NoGrant, wish: &ActivationWish) -> Option<&'r Role> {
    let roles = refused.eligible.roles();
    match &wish.role {
        Some(name) => roles.iter().find(|role| &role.name == name),
        None => {
            let urgent = roles.iter().find(|role| wish.break_glass && role.activation.break_glass);
            urgent.or_else(|| first_served(roles, refused.eligible.elevation()))
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

fn offer_text(role: &Role, choices: usize, approvers: &[String], wish: &ActivationWish, mode: OfferMode) -> String {
    let name = &role.name;
    let span = match wish.duration {
        Some(asked) => format!("for {}", spell(asked)),
        None => format!("for at most {}", spell(role.activation.maximum_duration)),
    };
    let which = if choices > 1 && wish.role.is_none() {
        format!("{name}, the narrowest of {choices} that fit,")
    } else {
        name.to_string()
    };
    let approval = if wish.break_glass {
        "; this is break-glass: at once, with an alert to everybody, and reviewed afterwards".to_owned()
    } else if role.activation.require_approval {
        format!(", to be approved by {}", approvers.join(" or "))
    } else {
        String::new()
    };
    let leave = if mode == OfferMode::Ask { " (^C to leave)" } else { "" };
    console::line(format_args!("no active grant; asking for role {which} {span}{approval}{leave}"))
}

/// Prompts for what the role requires and the command line did not contain.
fn complete(
    wish: &mut ActivationWish,
    role: &Role,
    held: &Held<'_>,
    console: &mut Console,
) -> Result<(), PasswordError> {
    let rules = &role.activation;
    let (most, unsaid) = (rules.maximum_duration, *wish == ActivationWish::default());
    if wish.reason.is_none() && (rules.require_justification || wish.break_glass) {
        wish.reason = Some(ask(held, console, "reason: ", |text, more| match text {
            "" => Err("a reason is required".to_owned()),
            _ if more => Err("several lines were pasted, of which none is the reason".to_owned()),
            _ => Ok(text.into()),
        })?);
    }
    // A caller who gave any of these options on the command line is not asked for the optional ones.
    if wish.duration.is_none() && unsaid {
        let question = format!("duration, at most {0} [{0}]: ", spell(most));
        wish.duration = Some(ask(held, console, &question, |text, _| span(text, most))?);
    }
    if let Some(pattern) = rules.ticket.as_ref().filter(|_| wish.ticket.is_none()) {
        let question = format!("ticket, such as {}: ", pattern.example());
        wish.ticket = Some(ask(held, console, &question, |text, _| {
            if pattern.matches(text) { Ok(text.into()) } else { Err(format!("it must match {}", pattern.as_str())) }
        })?);
    }
    Ok(())
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

/// Prompts until `read` accepts the answer; it learns whether more lines followed at once. An invalid answer loses nothing of what
/// was answered before.
fn ask<T>(
    held: &Held<'_>,
    console: &mut Console,
    question: &str,
    read: impl Fn(&str, bool) -> Result<T, String>,
) -> Result<T, PasswordError> {
    loop {
        let complaint = match held.ask(question.as_bytes(), Echo::Shown, None) {
            Ok(answer) => match legible(answer.text.as_bytes()).and_then(|text| read(text, answer.more)) {
                Ok(accepted) => return Ok(accepted),
                Err(complaint) => complaint,
            },
            Err(error @ PasswordError::TooLong) => error.to_string(),
            Err(error) => return Err(error),
        };
        console.say(&console::line(complaint));
    }
}

/// Returns the text of an answer. The terminal itself edits the line, and does not know the arrow keys: it passes them on.
fn legible(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line.trim_ascii()).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.chars().any(char::is_control) {
        return Err(
            "it has control characters, as those of the arrow keys; Backspace and ^W delete, ^U deletes all".to_owned()
        );
    }
    Ok(text)
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
    fn an_answer_with_control_characters_is_refused() {
        assert_eq!(legible(b"  two words \t").as_deref(), Ok("two words"));
        for line in [&b"to \x1b[D look"[..], b"a\x7f", b"a\tb", b"\xc2\x9b31m", b"\xff"] {
            assert!(legible(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn dash_n_neither_prompts_nor_requests() {
        let asking = Asking { non_interactive: true, ..Asking::default() };
        let wish = ActivationWish { reason: Some("x".into()), break_glass: true, ..ActivationWish::default() };
        assert!(mode(&wish, &asking) == OfferMode::Refuse);
    }
}
