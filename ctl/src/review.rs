//! Reviews: break-glass grants, unused eligibility, and assignments to confirm.

use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::names::{IdPrefix, RoleName};
use jit_core::wire::{
    AssignmentInfo, Certify, DebtInfo, ReviewAssignments, ReviewCertify, ReviewDebts, ReviewSettle, ReviewUnused, Show,
};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::ReviewWords;
use crate::grant_text;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::{Notice, Trouble};
use crate::statement::{NewStatement, Way, say, unsigned};
use crate::surface::Tone;
use crate::table::Column::{Key, Text, Value};
use crate::table::{Entry, Listing};
use crate::when;

/// `jitctl review`
pub(crate) fn review(words: ReviewWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let verdict = match (words.confirm, words.remove) {
        (true, _) => Some(Certify::Confirm),
        (_, true) => Some(Certify::Remove),
        (false, false) => None,
    };
    if words.id.is_none() {
        unsigned(&words.signed)?;
    }
    match (words.id, words.unused, words.recertify, verdict) {
        (Some(id), None, None, _) => {
            let comment = spoken(words.comment)?;
            let saying = NewStatement { kind: StatementKind::Review, reason: comment.clone(), signed: words.signed };
            let info = match say(id, saying, broker, screen)? {
                Way::Printed(report) => return Ok(report),
                Way::Stated(info) => broker.ask(&Show { id: IdPrefix::from(&info.id) })?,
                Way::Plain(id) => broker.ask_person(&ReviewSettle { id, comment })?,
            };
            let text = format!("break-glass grant {} of {}: reviewed\n", info.id, clean(info.requester.as_str()));
            Ok(Report::done(Output::grant(info), text))
        }
        (None, Some(since), None, _) => {
            let rows = broker.ask(&ReviewUnused { since })?;
            let none = format!("no eligibility was unused for {}\n", when::spell(since));
            Ok(listed(rows, &none, screen))
        }
        (None, None, Some(role), Some(verdict)) => {
            let role = role.ok_or_else(|| Trouble::Usage(Notice::new("name the role: --recertify ROLE")))?;
            certify(role, words.holder, verdict, spoken(words.comment)?, broker, screen)
        }
        (None, None, Some(role), None) => {
            let rows = broker.ask(&ReviewAssignments { role })?;
            Ok(listed(rows, "no assignments\n", screen))
        }
        _ => debts(broker, screen),
    }
}

fn debts(broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let debts = broker.ask(&ReviewDebts {})?;
    let mut text =
        if debts.is_empty() { "nothing waits for a review\n".to_owned() } else { debt_table(&debts, screen) };
    if screen.out.is_terminal() && debts.iter().any(|debt| debt.may_review) {
        text.push_str("\n* you may review: jitctl audit show ID, then jitctl review ID --comment TEXT\n");
    }
    Ok(Report::done(Output::Debts(debts), text))
}

fn certify(
    role: RoleName,
    holder: Option<String>,
    verdict: Certify,
    comment: Word,
    broker: &Broker,
    screen: &Screen,
) -> Result<Report, Trouble> {
    let ask = ReviewCertify { role, holder, verdict, comment };
    let rows = broker.ask(&ask)?;
    let report = listed(rows, "no assignments\n", screen);
    Ok(match verdict {
        Certify::Confirm => report,
        Certify::Remove => {
            let text = format!("{}\nproposed; the policy itself is root's to change\n", report.text);
            Report { text, ..report }
        }
    })
}

fn spoken(comment: Option<Word>) -> Result<Word, Trouble> {
    comment.ok_or_else(|| Trouble::Usage(Notice::new("say what you found: --comment TEXT")))
}

fn listed(rows: Vec<AssignmentInfo>, none: &str, screen: &Screen) -> Report {
    let text = if rows.is_empty() { none.to_owned() } else { table(&rows, screen) };
    Report::done(Output::Assignments(rows), text)
}

pub(crate) fn debt_table(debts: &[DebtInfo], screen: &Screen) -> String {
    let mut listing = Listing::new([
        Key("ID"),
        Value("BY", 1),
        Value("ROLE", 2),
        Value("WHEN", 3),
        Value("RUNS", 6),
        Text("REVIEWERS", 5),
        Text("WHAT", 4),
    ]);
    for debt in debts {
        let mark = if debt.may_review { " *" } else { "" };
        let command =
            if debt.command.is_empty() { "(the whole role)".to_owned() } else { grant_text::line(&debt.command) };
        listing.row([
            debt.id.as_str().into(),
            debt.user.as_str().into(),
            debt.role.as_str().into(),
            when::relative(debt.at, screen.now).into(),
            debt.runs.to_string().into(),
            format!("{}{mark}", debt.reviewers.join(", ")).into(),
            Entry::lines(&[command, debt.reason.to_string()]),
        ]);
    }
    listing.render(screen)
}

pub(crate) fn table(rows: &[AssignmentInfo], screen: &Screen) -> String {
    let mut listing = Listing::new([
        Key("ROLE"),
        Value("WHO", 1),
        Value("HOW", 4),
        Value("LAST USED", 2),
        Value("REVIEW", 3),
        Value("BY", 6),
        Text("COMMENT", 5),
    ]);
    for row in rows {
        let standing = row.assignment == "standing";
        let used = match row.last_used {
            Some(time) => when::relative(time, screen.now),
            None if standing => "-".to_owned(),
            None => "never".to_owned(),
        };
        let (by, comment) = match &row.reviewed {
            Some(said) => (format!("{}, {}", said.by, when::relative(said.at, screen.now)), said.reason.to_string()),
            None => ("-".to_owned(), String::new()),
        };
        listing.row([
            row.role.as_str().into(),
            row.holder.as_str().into(),
            row.assignment.as_str().into(),
            used.into(),
            verdict(row),
            by.into(),
            comment.into(),
        ]);
    }
    listing.render(screen)
}

fn verdict(row: &AssignmentInfo) -> Entry {
    match row.verdict.as_deref() {
        Some("confirmed") => Entry::toned("confirmed", Tone::Good),
        Some(other) => Entry::toned(&other.replace('-', " "), Tone::Bad),
        None => Entry::toned("open", Tone::Waiting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Format;
    use crate::surface::Surface;

    const DOCUMENT: Screen =
        Screen { format: Format::Text, out: Surface::Pipe, err: Surface::Pipe, width: None, now: 100_000 };

    fn assignment() -> AssignmentInfo {
        AssignmentInfo {
            role: RoleName::parse("web-ops").unwrap(),
            holder: "%web".into(),
            assignment: "eligible".into(),
            last_used: None,
            verdict: None,
            reviewed: None,
        }
    }

    #[test]
    fn an_assignment_without_a_review_is_open() {
        let report = listed(vec![assignment()], "none\n", &DOCUMENT);
        for part in ["web-ops", "%web", "eligible", "never", "open"] {
            assert!(report.text.contains(part), "{part} is not in\n{}", report.text);
        }
        assert_eq!(listed(Vec::new(), "none\n", &DOCUMENT).text, "none\n");
    }

    #[test]
    fn a_review_is_shown_beside_the_assignment_and_escaped() {
        let mut row = assignment();
        row.verdict = Some("removal-proposed".into());
        let said =
            jit_core::wire::EndedInfo { by: "bob\x1b[2J".into(), at: 99_940, reason: "left\n".into(), key: None };
        row.reviewed = Some(said);
        let text = table(&[row], &DOCUMENT);
        assert!(text.contains("removal proposed") && text.contains("left\\x0a"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
}
