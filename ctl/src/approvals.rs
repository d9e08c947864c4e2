//! The decisions on a pending request: approve, deny, cancel.

use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::names::IdPrefix;
use jit_core::wire::{Approve, Cancel, Deny, GrantInfo, Show};

use crate::broker::Broker;
use crate::cli::{ApproveWords, CancelWords, DenyWords, RequestSource};
use crate::output::Output;
use crate::screen::{Report, Screen, clean};
use crate::show;
use crate::signed_approvals;
use crate::speech::{Notice, Trouble};
use crate::statement::{NewStatement, Way, say};
use crate::when;

/// `jitctl approve`
pub(crate) fn approve(words: ApproveWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let id = match (words.place.clone(), words.key.clone()) {
        (RequestSource::Text, _) => return signed_approvals::approve_elsewhere(words, screen),
        (RequestSource::Here(id), Some(key)) => return signed_approvals::approve_here(id, words, &key, broker, screen),
        (RequestSource::Here(id), None) => id,
    };
    let ApproveWords { duration, one_shot, exact, comment, approver, unsigned, .. } = words;
    if approver.is_some() || unsigned {
        let notice = Notice::new("without a key, the kernel identifies the approver");
        return Err(Trouble::Usage(notice.with_hint("add --key FILE, or leave --as and --unsigned")));
    }
    let info = broker.ask_person(&Approve { id, duration, one_shot, exact, comment })?;
    let text = after_approval(&info, screen.now);
    Ok(Report::done(Output::grant(info), text))
}

/// `jitctl deny`
pub(crate) fn deny(words: DenyWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let saying = NewStatement { kind: StatementKind::Denial, reason: words.reason.clone(), signed: words.signed };
    let info = match say(words.place, saying, broker, screen)? {
        Way::Printed(report) => return Ok(report),
        Way::Stated(info) => broker.ask(&Show { id: IdPrefix::from(&info.id) })?,
        Way::Plain(id) => broker.ask(&Deny { id, reason: words.reason })?,
    };
    let text = format!("request {} of {} for {}: denied\n", info.id, clean(info.requester.as_str()), info.role);
    Ok(Report::done(Output::grant(info), text))
}

/// `jitctl cancel`
pub(crate) fn cancel(words: CancelWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let saying = NewStatement { kind: StatementKind::Cancellation, reason: Word::default(), signed: words.signed };
    let info = match say(words.place, saying, broker, screen)? {
        Way::Printed(report) => return Ok(report),
        Way::Stated(info) => broker.ask(&Show { id: IdPrefix::from(&info.id) })?,
        Way::Plain(id) => broker.ask(&Cancel { id })?,
    };
    let text = format!("request {} for {}: cancelled\n", info.id, info.role);
    Ok(Report::done(Output::grant(info), text))
}

/// What an approval changed.
pub(crate) fn after_approval(info: &GrantInfo, now: i64) -> String {
    let who = clean(info.requester.as_str());
    let head = format!("request {} of {who} for {}", info.id, info.role);
    if info.state == "pending" {
        let missing =
            usize::try_from(info.approvals_needed).unwrap_or(usize::MAX).saturating_sub(info.approvals_given());
        return format!(
            "{head}: approval {} of {} given, {missing} still missing ({})\n",
            info.approvals_given(),
            info.approvals_needed,
            show::approvers(info)
        );
    }
    let mut text = format!("{head}: {}", clean(&info.state));
    if info.grant.is_some() {
        text.push_str(&format!(", the grant is {}", clean(show::state(info))));
    }
    if let (Some("scheduled"), Some(starts)) = (info.grant.as_deref(), info.starts) {
        text.push_str(&format!(" from {}", when::short_relative(starts, now)));
    }
    if let Some(expires) = info.expires {
        text.push_str(&format!(" until {}", when::short_relative(expires, now)));
    }
    let terms = show::narrowed(info.one_shot, info.exact);
    if !terms.is_empty() {
        text.push_str(&format!(" ({terms})"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::pending;

    #[test]
    fn a_report_below_the_quorum_says_what_is_missing() {
        assert_eq!(
            after_approval(&pending(), 0),
            "request 0123456789 of alice for web-ops: approval 0 of 2 given, 2 still missing (bob, %sre)\n"
        );
    }

    #[test]
    fn a_narrowed_grant_says_so() {
        let mut info = pending();
        info.state = "approved".into();
        info.grant = Some("active".into());
        info.one_shot = true;
        let text = after_approval(&info, 0);
        assert_eq!(text, "request 0123456789 of alice for web-ops: approved, the grant is active (one run)\n");
    }
}
