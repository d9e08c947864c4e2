//! The journal, read. Records come with their exact bytes; nothing in them is hidden, and nothing is trusted.

mod record;

use std::collections::BTreeMap;

use jit_sudo::broker::wire::{Answer, Ask, RecordPage};

use crate::cli::{AuditListWords, AuditShowWords};
use crate::door::{Broker, answer};
use crate::screen::{Report, Screen, clean};
use crate::speech::{Exit, Notice, Trouble};
use crate::table::Listing;
use record::Record;

/// `jitctl audit list`: one line a record, the oldest first.
pub(crate) fn list(words: AuditListWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let newest = words.after.is_none();
    let limit = words.limit;
    let ask = Ask::AuditList { after: words.after.unwrap_or(0), limit, newest, kind: words.kind, user: words.user };
    let page = answer!(broker.ask(&ask)?, Answer::Records(page) => page);
    let mut text = if page.records.is_empty() { "no records\n".to_owned() } else { table(&page, screen) };
    if page.more && screen.out.is_terminal() {
        text.push_str(&more(&page, newest));
    }
    Ok(Report::done(Answer::Records(page), text))
}

/// `jitctl audit show`
pub(crate) fn show(words: AuditShowWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let page = answer!(broker.ask(&Ask::AuditShow { what: words.what })?, Answer::Records(page) => page);
    let records: Vec<String> = page.records.iter().map(|info| Record::read(info).details(screen.now)).collect();
    let text = if records.is_empty() { "no records\n".to_owned() } else { records.join("\n") };
    Ok(Report::done(Answer::Records(page), text))
}

/// `jitctl audit verify`: the status is 0 only for an intact chain.
pub(crate) fn verify(broker: &Broker) -> Result<Report, Trouble> {
    let verified = answer!(broker.ask(&Ask::AuditVerify {})?, Answer::Verified(verified) => verified);
    let (intact, records, head) = (verified.intact, verified.records, clean(&verified.head));
    let bad = verified.first_bad.clone().unwrap_or_else(|| "the broker does not say where".to_owned());
    let report = |text| Report::done(Answer::Verified(verified), text);
    if intact {
        return Ok(report(format!("chain intact: {records} records, head {head}\n")));
    }
    let notice = Notice::new(format!("chain broken: {}", clean(&bad)))
        .with_hint("compare with the sequence numbers and heads in the copies outside this host, such as syslog");
    Ok(report(String::new()).but(Exit::Refused, notice))
}

fn table(page: &RecordPage, screen: &Screen) -> String {
    let records: Vec<Record> = page.records.iter().map(Record::read).collect();
    // An `end` has only the uid; its `start` is often on the same page and has the name too.
    let names: BTreeMap<u64, String> = records.iter().filter_map(Record::identity).collect();
    let mut listing = Listing::new(["SEQ", "TIME", "KIND", "USER", "WHAT"], 1);
    for record in &records {
        let name = record.uid().and_then(|uid| names.get(&uid).cloned());
        listing.row([
            record.seq().to_string().into(),
            record.time(screen.now).into(),
            record.kind().into(),
            name.unwrap_or_else(|| record.user()).into(),
            record.summary(screen.now).into(),
        ]);
    }
    listing.render(screen)
}

fn more(page: &RecordPage, newest: bool) -> String {
    let seqs = page.records.iter().map(|record| record.seq);
    match (seqs.clone().min(), seqs.max()) {
        (Some(first), _) if newest => {
            format!("\nolder records exist: jitctl audit list --after 0 (this page begins at {first})\n")
        }
        (_, Some(last)) => format!("\nmore records follow: jitctl audit list --after {last}\n"),
        _ => String::new(),
    }
}
