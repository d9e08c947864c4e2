//! The decisions on a pending request: approve, deny, cancel.

use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::names::IdPrefix;
use jit_core::wire::{Approve, Cancel, Deny, Show};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::{ApproveWords, CancelWords, DenyWords};
use crate::grant_text;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::signed_approvals;
use crate::speech::{Notice, Trouble};
use crate::statement::{NewStatement, Way, say};
use crate::typed::RequestSource;

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
    let text = grant_text::after_approval(&info, screen.now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::pending;

    #[test]
    fn a_report_below_the_quorum_says_what_is_missing() {
        assert_eq!(
            grant_text::after_approval(&pending(), 0),
            "request 0123456789 of alice for web-ops: approval 0 of 2 given, 2 still missing (bob, %sre)\n"
        );
    }

    #[test]
    fn a_narrowed_grant_says_so() {
        let mut info = pending();
        info.state = "approved".into();
        info.grant = Some("active".into());
        info.one_shot = true;
        let text = grant_text::after_approval(&info, 0);
        assert_eq!(text, "request 0123456789 of alice for web-ops: approved, the grant is active (one run)\n");
    }
}
