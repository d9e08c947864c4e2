//! Grants in force: list, release, revoke.

use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::names::GrantId;
use jit_core::wire::{GrantInfo, Grants, Release, Revoke, RevokeTarget};

use crate::broker::Broker;
use crate::cli::{ListWords, ReleaseWords, RevokeWords};
use crate::grant_text;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::{Notice, Trouble};
use crate::statement::{NewStatement, Way, say, unsigned};
use crate::table::Column::{Key, Text, Value};
use crate::table::Listing;
use crate::when;

/// `jitctl grants`
pub(crate) fn list(words: &ListWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let grants = broker.ask_all(|before| Grants { all: words.all, before })?;
    let text = if grants.is_empty() {
        if words.all { "no grants\n" } else { "no active grants\n" }.to_owned()
    } else {
        table(&grants, screen)
    };
    Ok(Report::done(Output::Grants(grants), text))
}

/// `jitctl release`
pub(crate) fn release(words: ReleaseWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let id = match words.place {
        None => {
            unsigned(&words.signed)?;
            None
        }
        Some(place) => {
            let saying = NewStatement { kind: StatementKind::Release, reason: Word::default(), signed: words.signed };
            match say(place, saying, broker, screen)? {
                Way::Printed(report) => return Ok(report),
                Way::Stated(info) => return Ok(ended_report(info.ended, "released")),
                Way::Plain(id) => Some(id),
            }
        }
    };
    let ended = broker.ask(&Release { id })?;
    Ok(ended_report(ended, "released"))
}

/// `jitctl revoke`
pub(crate) fn revoke(words: RevokeWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let target = match (words.place, words.user, words.all) {
        (Some(place), None, false) => {
            let reason = words.reason.clone();
            let saying = NewStatement { kind: StatementKind::Revocation, reason, signed: words.signed };
            match say(place, saying, broker, screen)? {
                Way::Printed(report) => return Ok(report),
                Way::Stated(info) => return Ok(ended_report(info.ended, "revoked")),
                Way::Plain(id) => RevokeTarget::Id(id),
            }
        }
        (None, user, all) => {
            unsigned(&words.signed)?;
            match (user, all) {
                (Some(user), false) => RevokeTarget::User(user),
                (None, true) => RevokeTarget::All,
                _ => return Err(one_target()),
            }
        }
        _ => return Err(one_target()),
    };
    let ended = broker.ask(&Revoke { target, reason: words.reason })?;
    Ok(ended_report(ended, "revoked"))
}

fn one_target() -> Trouble {
    Trouble::Usage(Notice::new("say one of ID, --user and --all"))
}

fn ended_report(ended: Vec<GrantId>, how: &str) -> Report {
    let text = if ended.is_empty() {
        format!("no active grant, nothing {how}\n")
    } else {
        ended.iter().map(|id| format!("grant {id}: {how}\n")).collect()
    };
    Report::done(Output::Ended(ended), text)
}

pub(crate) fn table(grants: &[GrantInfo], screen: &Screen) -> String {
    let mut listing = Listing::new([
        Key("ID"),
        Value("STATE", 1),
        Value("HOLDER", 3),
        Value("ROLE", 2),
        Value("RUN AS", 6),
        Value("UNTIL", 4),
        Value("RUNS", 8),
        Value("SERVES", 7),
        Text("COMMAND", 5),
    ]);
    for grant in grants {
        let terms = grant_text::narrowed(grant.one_shot, grant.exact);
        let ended =
            grant.ended.as_ref().filter(|_| matches!(grant.grant.as_deref(), Some("revoked" | "released" | "used")));
        let until = match (grant.grant.as_deref(), grant.starts, grant.expires) {
            _ if ended.is_some() => {
                format!("ended {}", when::short_relative(ended.map_or(0, |end| end.at), screen.now))
            }
            (Some("scheduled"), Some(starts), _) => format!("from {}", when::short_relative(starts, screen.now)),
            (_, _, Some(expires)) => when::short_relative(expires, screen.now),
            _ => "-".to_owned(),
        };
        listing.row([
            grant.id.as_str().into(),
            grant_text::state_entry(grant),
            grant.requester.as_str().into(),
            grant.role.as_str().into(),
            grant.run_as.as_str().into(),
            until.into(),
            grant.runs.to_string().into(),
            if terms.is_empty() { "any run" } else { &terms }.into(),
            grant_text::matter(grant).into(),
        ]);
    }
    listing.render(screen)
}
