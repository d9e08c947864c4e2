//! Pending requests.

use jit_core::wire::{GrantInfo, Requests};

use crate::broker::Broker;
use crate::cli::ListWords;
use crate::grant_text;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::table::Column::{Key, Text, Value};
use crate::table::{Entry, Listing};
use crate::when;

/// `jitctl requests`
pub(crate) fn list(words: &ListWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let requests = broker.ask_all(|before| Requests { all: words.all, before })?;
    let mut text = if requests.is_empty() {
        if words.all { "no requests\n" } else { "no pending requests\n" }.to_owned()
    } else {
        table(&requests, screen)
    };
    if screen.out.is_terminal() && requests.iter().any(|request| request.may_decide) {
        text.push_str("\n* you may decide: jitctl show ID, then jitctl approve ID or jitctl deny ID --reason TEXT\n");
    }
    Ok(Report::done(Output::Requests(requests), text))
}

pub(crate) fn table(requests: &[GrantInfo], screen: &Screen) -> String {
    let mut listing = Listing::new([
        Key("ID"),
        Value("STATE", 1),
        Value("BY", 2),
        Value("ROLE", 3),
        Value("FOR", 6),
        Value("ASKED", 7),
        Value("APPROVED", 4),
        Text("WHAT", 5),
    ]);
    for request in requests {
        let mark = if request.may_decide { " *" } else { "" };
        listing.row([
            request.id.as_str().into(),
            grant_text::state_entry(request),
            request.requester.as_str().into(),
            request.role.as_str().into(),
            when::spell(request.duration).into(),
            when::relative(request.requested, screen.now).into(),
            format!("{}/{}{mark}", request.approvals_given(), request.approvals_needed).into(),
            Entry::lines(&[grant_text::matter(request), request.reason.to_string()]),
        ]);
    }
    listing.render(screen)
}
