//! Who decides a request, and how it was decided, for the user who waits for it.

use jit_core::clock::Timestamp;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::escape::{Word, escape};
use jit_core::grant::{Approval, GrantTerms};
use jit_core::names::GrantId;
use jit_core::policy::{Principal, Role};

use crate::console::{self, Console};
use crate::run::RunContext;

/// How many members of a group are named.
const NAMED: usize = 4;

/// The seconds of a day.
const DAY: i64 = 86_400;

/// Says that a grant was given: by whom, for how long, and until when. Says nothing where it cannot be read: the run reads it again.
pub(super) fn tell(id: &GrantId, context: &RunContext<'_>, console: &mut Console) {
    let store = context.host.store();
    let (Ok(now), Ok(Some(grant)), Ok(approvals)) = (context.host.now(), store.grant(id), store.approvals(id)) else {
        return;
    };
    let Ok(request) = store.request(id, now.seconds()) else { return };
    console.say(&console::line(sentence(&grant.terms, request.terms.duration, &approvals, now.seconds())));
}

fn sentence(grant: &GrantTerms, asked: Seconds, approvals: &[Approval], now: i64) -> String {
    let span = Seconds::between(grant.starts, grant.expires);
    let by: Vec<String> = approvals.iter().map(approved_by).collect();
    let given = if by.is_empty() { "given".to_owned() } else { format!("approved by {}", by.join(" and ")) };
    let asked = if span == asked { String::new() } else { format!(" (you asked for {})", spell(asked)) };
    format!(
        "grant {} of role {} {given} for {}, until {}{asked}",
        grant.id,
        grant.role,
        spell(span),
        end(grant.expires, now)
    )
}

fn approved_by(approval: &Approval) -> String {
    let terms = &approval.terms;
    let name = Word::from(terms.approver.as_str());
    if terms.comment.as_bytes().is_empty() { name.to_string() } else { format!("{name} (\"{}\")", terms.comment) }
}

/// Returns the time of day of an end within a day, and otherwise the date too. This program does not read the caller's time zone.
fn end(expires: i64, now: i64) -> String {
    let whole = Timestamp::from_seconds(expires).to_the_second();
    let time = whole.split_once('T').and_then(|(_, time)| time.strip_suffix('Z')).map(|time| format!("{time} UTC"));
    time.filter(|_| (0..DAY).contains(&expires.saturating_sub(now))).unwrap_or(whole)
}

/// Returns who may approve a request of `requester` for `role`: a group by the names of its members, as far as it lists them.
pub(super) fn named_approvers(role: &Role, requester: &str) -> Vec<String> {
    let named = |principal: &Principal| match principal {
        Principal::Group(name) => {
            let members = sys::users::group_by_name(name.as_str()).ok().flatten().map(|group| group.members);
            of_group(&principal.to_string(), &members.unwrap_or_default(), requester)
        }
        other => other.to_string(),
    };
    role.activation.approvers.iter().map(named).collect()
}

fn of_group(group: &str, members: &[String], requester: &str) -> String {
    let others: Vec<String> =
        members.iter().filter(|name| *name != requester).map(|name| escape(name.as_bytes())).collect();
    match others.len() {
        0 => group.to_owned(),
        1..=NAMED => format!("{} (of {group})", others.join(", ")),
        count => format!(
            "{} and {} others (of {group})",
            others.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "),
            count - NAMED
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_its_members_without_the_requester() {
        let members = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(of_group("%leads", &members(&["bob", "alice", "carol"]), "alice"), "bob, carol (of %leads)");
        assert_eq!(of_group("%leads", &members(&["alice"]), "alice"), "%leads");
        assert_eq!(
            of_group("%leads", &members(&["a", "b", "c", "d", "e", "f"]), "x"),
            "a, b, c, d and 2 others (of %leads)"
        );
        assert_eq!(of_group("%leads", &members(&["a\x1b"]), "x"), "a\\x1b (of %leads)");
    }

    #[test]
    fn an_end_on_another_day_has_its_date() {
        assert_eq!(end(1_600_000_010, 1_600_000_000), "12:26:50 UTC");
        assert_eq!(end(1_600_086_400, 1_600_000_000), "2020-09-14T12:26:40Z");
    }
}
