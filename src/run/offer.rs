//! No grant yet: ask for one on the spot, with what the caller said on the command line or types now.

use std::io::{IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use crate::activation::{Activation, ActivationError, Wanted, request, wait};
use crate::cli::{ActivationWish, Asking, PasswordFrom, Run, Wait};
use crate::clock::duration::spell;
use crate::escape::Word;
use crate::grant::lifecycle::RequestState;
use crate::grant::verify::NoGrant;
use crate::names::GrantId;
use crate::policy::Role;
use crate::policy::judge::Eligible;
use crate::refusal::Refusal;
use crate::run::Scene;
use sys::terminal::Terminal;

/// Leads to a grant that covers what `refused` asks, or refuses as before.
pub(super) fn activate(refused: NoGrant, run: &Run, scene: &Scene<'_>) -> Result<Eligible, Refusal> {
    let wish = &run.activation;
    let manner = manner(wish, &run.asking);
    let Some(role) = choose(&refused, wish).cloned() else { return Err(Refusal::NoGrant(Box::new(refused))) };
    let id = match (asked_before(&refused, &role, scene)?, manner) {
        (Some(id), _) => id,
        (None, Manner::Refuse) => return Err(Refusal::NoGrant(Box::new(refused))),
        (None, Manner::Told | Manner::Ask) => match ask_now(&refused, &role, wish, manner, scene)? {
            Some(Activation::Granted(_)) => return Ok(refused.eligible),
            Some(Activation::Pending(id)) => id,
            None => return Err(Refusal::NoGrant(Box::new(refused))),
        },
    };
    match await_approval(&id, &role, wish.wait, manner, scene)? {
        RequestState::Approved => Ok(refused.eligible),
        RequestState::Pending => Err(Refusal::Pending(Box::new(refused), id, approvers(&role))),
        state => Err(Refusal::Activation(ActivationError::NotGranted(id, state))),
    }
}

/// A request for the role that waits already: asking again would only give its approvers two to decide.
fn asked_before(refused: &NoGrant, role: &Role, scene: &Scene<'_>) -> Result<Option<GrantId>, Refusal> {
    let (uid, now) = (refused.eligible.elevation().caller().uid(), scene.host.now()?.wall.seconds());
    let pending = scene.host.store().pending_for(uid, &role.name, now)?;
    Ok(pending.map(|request| request.terms.id))
}

/// Makes the request, with what was said on the command line or is typed now; `None` when the person leaves.
fn ask_now(
    refused: &NoGrant,
    role: &Role,
    wish: &ActivationWish,
    manner: Manner,
    scene: &Scene<'_>,
) -> Result<Option<Activation>, Refusal> {
    let (mut reason, mut ticket) = (wish.reason.clone().map(Word), wish.ticket.clone().map(Word));
    if manner == Manner::Ask {
        say(&offer_text(role, refused.eligible.roles().len()));
        if role.activation.require_justification && reason.is_none() {
            reason = ask("reason: ");
            if reason.is_none() {
                return Ok(None);
            }
        }
        if role.activation.ticket.is_some() && ticket.is_none() {
            ticket = ask("ticket: ");
        }
    }
    let elevation = refused.eligible.elevation();
    let wanted = Wanted {
        role,
        command: Some(elevation.command()),
        run_as: elevation.run_as(),
        duration: wish.duration,
        start: None,
        reason,
        ticket,
        one_shot: false,
    };
    Ok(Some(request(scene.host, scene.policy, elevation.caller(), &wanted, &scene.host.now()?)?))
}

fn approvers(role: &Role) -> Vec<String> {
    role.activation.approvers.iter().map(ToString::to_string).collect()
}

/// How far we may go without a grant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The caller said nothing about a grant, and nobody is there to be asked.
    Refuse,
    /// Everything was said on the command line.
    Told,
    /// A person is at the terminal.
    Ask,
}

fn manner(wish: &ActivationWish, asking: &Asking) -> Manner {
    // The password is asked for on the controlling terminal: without one, a grant made now would serve nobody.
    let there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && Terminal::controlling().is_ok();
    let wished = *wish != ActivationWish::default();
    if asking.non_interactive {
        Manner::Refuse // -n never waits and never opens a request
    } else if there && asking.password_from == PasswordFrom::Terminal {
        Manner::Ask
    } else if wished {
        Manner::Told
    } else {
        Manner::Refuse
    }
}

/// The role that was named, or the narrowest.
fn choose<'r>(refused: &'r NoGrant, wish: &ActivationWish) -> Option<&'r Role> {
    let roles = refused.eligible.roles();
    match &wish.role {
        Some(name) => roles.iter().find(|role| &role.name == name),
        None => roles.first(),
    }
}

fn offer_text(role: &Role, choices: usize) -> String {
    let span = spell(role.activation.maximum_duration);
    let others = if choices > 1 { ", the narrowest that fits" } else { "" };
    let approval = if role.activation.require_approval {
        format!(", approved by {}", approvers(role).join(" or "))
    } else {
        String::new()
    };
    format!(
        "jit-sudo: no active grant; asking for role {}{others} for at most {span}{approval} (^C to leave)\n",
        role.name
    )
}

/// Waits where the caller wants to, and returns the state that the request has then.
fn await_approval(
    id: &GrantId,
    role: &Role,
    wish: Wait,
    manner: Manner,
    scene: &Scene<'_>,
) -> Result<RequestState, Refusal> {
    let lifetime = Duration::from_secs(role.activation.request_lifetime);
    let limit = match (wish, manner) {
        (_, Manner::Refuse) | (Wait::Unsaid, Manner::Told) => return Ok(RequestState::Pending),
        (Wait::AtMost(seconds), _) => Duration::from_secs(seconds),
        (Wait::AsLongAsPending, _) | (Wait::Unsaid, Manner::Ask) => lifetime,
    };
    let deadline = Instant::now() + limit;
    let counts = manner == Manner::Ask;
    let names = approvers(role).join(" or ");
    say(&format!("jit-sudo: request {id} waits for the approval of {names}; ^C leaves it pending\n"));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if counts {
            say(&format!("\r\x1b[K{} left ", spell(left.as_secs())));
        }
        let state = wait(scene.host, id, left.min(Duration::from_secs(1)))?;
        if state != RequestState::Pending || left.is_zero() {
            if counts {
                say("\r\x1b[K");
            }
            return Ok(state);
        }
    }
}

/// One line from standard input, which is a terminal; `None` when it is empty or at its end.
fn ask(question: &str) -> Option<Word> {
    say(question);
    let mut line = Vec::new();
    let mut byte = [0];
    let mut input = std::io::stdin().lock();
    while line.len() <= crate::activation::WORDS_LIMIT && matches!(input.read(&mut byte), Ok(1)) && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    let text = line.trim_ascii().to_vec();
    (!text.is_empty()).then(|| Word(std::os::unix::ffi::OsStringExt::from_vec(text)))
}

fn say(text: &str) {
    // A terminal that is gone needs no words.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
