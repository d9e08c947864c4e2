//! No grant yet: ask for one on the spot, with what the caller said on the command line or types now, and wait for it.

use std::io::{IsTerminal, Write};

use crate::activation::{Activation, Urgency, Wanted, request};
use crate::cli::{ActivationWish, Asking, PasswordFrom, Run, Wait};
use crate::clock::duration::{self, spell};
use crate::escape::Word;
use crate::grant::lifecycle::RequestState;
use crate::grant::verify::NoGrant;
use crate::names::GrantId;
use crate::policy::Role;
use crate::policy::judge::Eligible;
use crate::refusal::Refusal;
use crate::run::Scene;
use crate::run::approval::Approval;
use crate::store::Which;
use sys::terminal::{Echo, Terminal};

/// How often a question is put again when the answer is none.
const TRIES: usize = 3;

/// Leads to a grant that covers what `refused` asks, or refuses as before.
pub(super) fn activate(refused: NoGrant, run: &Run, scene: &Scene<'_>) -> Result<Eligible, Refusal> {
    let mut wish = run.activation.clone();
    let manner = manner(&wish, &run.asking);
    let Some(role) = choose(&refused, &wish).cloned().filter(|_| manner != Manner::Refuse) else {
        return Err(Refusal::NoGrant(Box::new(refused)));
    };
    if let Some((id, left)) = waiting_already(&role, &refused.eligible, &wish, manner, scene)? {
        say(&format!("jit-sudo: you have asked for this already, by request {id}\n"));
        let limit = limit(&wish, &role, manner).map(|limit| limit.min(left));
        Approval { id, role: &role, limit }.await_it(scene)?;
        return Ok(refused.eligible);
    }
    say(&offer_text(&role, refused.eligible.roles().len(), &wish, manner));
    if manner == Manner::Ask && complete(&mut wish, &role).is_none() {
        return Err(Refusal::NoGrant(Box::new(refused)));
    }
    let elevation = refused.eligible.elevation();
    let wanted = Wanted {
        role: &role,
        command: Some(elevation.command()),
        run_as: elevation.run_as(),
        duration: wish.duration,
        start: None,
        reason: wish.reason.clone().map(Word),
        ticket: wish.ticket.clone().map(Word),
        one_shot: false,
        urgency: if wish.break_glass { Urgency::BreakGlass } else { Urgency::Ordinary },
    };
    match request(scene.host, scene.policy, elevation.caller(), &wanted, &scene.host.now()?)? {
        Activation::Granted(_) => {}
        Activation::Pending(id) => Approval { id, role: &role, limit: limit(&wish, &role, manner) }.await_it(scene)?,
    }
    Ok(refused.eligible)
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
    let there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
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

/// The role that was named, or the narrowest; in an emergency the narrowest that has a glass to break.
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

/// A pending request of the caller for the very same, and for how many seconds it still waits: who comes back to it asks
/// nobody twice.
fn waiting_already(
    role: &Role,
    eligible: &Eligible,
    wish: &ActivationWish,
    manner: Manner,
    scene: &Scene<'_>,
) -> Result<Option<(GrantId, u64)>, Refusal> {
    let nothing_new = ActivationWish { role: None, wait: Wait::Unsaid, ..wish.clone() } == ActivationWish::default();
    if manner != Manner::Ask || !nothing_new {
        return Ok(None);
    }
    let elevation = eligible.elevation();
    let words = elevation.command().resolved_words();
    let now = scene.host.now()?.wall.seconds();
    let Ok(requests) = scene.host.store().requests(Which::OfUser(elevation.caller().uid()), now) else {
        return Ok(None); // unreadable requests are no reason not to make a new one
    };
    let same = requests.into_iter().map(|request| (request.state, request.terms)).find(|(state, terms)| {
        *state == RequestState::Pending
            && terms.role == role.name
            && terms.argv == words
            && &terms.run_as == elevation.run_as().name()
    });
    Ok(same.map(|(_, terms)| (terms.id, u64::try_from(terms.deadline.saturating_sub(now)).unwrap_or(0))))
}

/// How long to wait for approvers, in seconds; `None` where nobody said that we should.
fn limit(wish: &ActivationWish, role: &Role, manner: Manner) -> Option<u64> {
    match (wish.wait, manner) {
        (Wait::AtMost(seconds), _) => Some(seconds),
        (Wait::AsLongAsPending, _) | (Wait::Unsaid, Manner::Ask) => Some(role.activation.request_lifetime),
        (Wait::Unsaid, Manner::Told | Manner::Refuse) => None,
    }
}

fn offer_text(role: &Role, choices: usize, wish: &ActivationWish, manner: Manner) -> String {
    let name = &role.name;
    let which = if choices > 1 && wish.role.is_none() {
        format!("{name}, the narrowest of {choices} that fit")
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
    let leave = if manner == Manner::Ask { " (^C to leave)" } else { "" };
    format!("jit-sudo: no active grant; asking for role {which}{approval}{leave}\n")
}

/// Who may approve, as the policy names them.
pub(super) fn approvers(role: &Role) -> Vec<String> {
    role.activation.approvers.iter().map(ToString::to_string).collect()
}

/// Asks at the terminal for what the role demands and the command line did not say; `None` when the person left.
fn complete(wish: &mut ActivationWish, role: &Role) -> Option<()> {
    let terminal = Terminal::controlling().ok()?;
    let rules = &role.activation;
    let most = rules.maximum_duration;
    if wish.reason.is_none() && (rules.require_justification || wish.break_glass) {
        wish.reason = Some(ask(&terminal, "reason: ", |text| match text.trim() {
            "" => Err("a reason is required".to_owned()),
            _ => Ok(text.into()),
        })?);
    }
    if wish.duration.is_none() {
        let question = format!("duration, at most {0} [{0}]: ", spell(most));
        wish.duration = Some(ask(&terminal, &question, |text| span(text, most))?);
    }
    if let Some(pattern) = rules.ticket.as_ref().filter(|_| wish.ticket.is_none()) {
        let question = format!("ticket, such as {}: ", pattern.as_str());
        wish.ticket = Some(ask(&terminal, &question, |text| {
            if pattern.matches(text) { Ok(text.into()) } else { Err(format!("it must match {}", pattern.as_str())) }
        })?);
    }
    Some(())
}

/// A duration as typed; nothing for the longest.
fn span(text: &str, most: u64) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(most);
    }
    match duration::seconds(text) {
        Ok(0) => Err("a duration of 0 is no grant".to_owned()),
        Ok(seconds) if seconds > most => Err(format!("the role is granted for at most {}", spell(most))),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
}

/// One answer that `read` accepts; `None` when the person left, or gave no such answer in the end.
fn ask<T>(terminal: &Terminal, question: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    for _ in 0..TRIES {
        let line = terminal.read_answer(question.as_bytes(), Echo::Shown, None).ok()?;
        match std::str::from_utf8(line.as_bytes().trim_ascii()).map_err(|_| "it is not UTF-8 text".to_owned()) {
            Ok(text) => match read(text) {
                Ok(answer) => return Some(answer),
                Err(complaint) => say(&format!("jit-sudo: {complaint}\n")),
            },
            Err(complaint) => say(&format!("jit-sudo: {complaint}\n")),
        }
    }
    None
}

/// Words for the person, on standard error.
pub(super) fn say(text: &str) {
    // A terminal that is gone needs no words.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_takes_the_longest_duration_and_nothing_exceeds_it() {
        assert_eq!(span("", 3600), Ok(3600));
        assert_eq!(span("15m", 3600), Ok(900));
        for text in ["0", "2h", "-5m", "ten", "10000y", "1h1", "\u{0}"] {
            assert!(span(text, 3600).is_err(), "{text}");
        }
    }

    #[test]
    fn nobody_is_asked_and_nothing_is_requested_with_dash_n() {
        let asking = Asking { non_interactive: true, ..Asking::default() };
        let wish = ActivationWish { reason: Some("x".into()), break_glass: true, ..ActivationWish::default() };
        assert!(manner(&wish, &asking) == Manner::Refuse);
    }
}
