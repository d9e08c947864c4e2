//! Reads the journal. Records come with their exact bytes; this module hides nothing in them and trusts nothing in them.

pub(crate) mod anchor;
pub(crate) mod bundle;
mod export;
mod origins;
mod proofs;
mod record;
mod sealing;
mod verify;

use std::collections::BTreeMap;

use jit_core::escape::Word;
use jit_core::wire::{AuditList, AuditPrune, AuditShow, PruneInfo, RecordPage};

use crate::broker::Broker;
use crate::cli::{AuditListWords, AuditPruneWords, AuditSearchWords, AuditShowWords, RecordSelection};
use crate::output::Output;
use crate::replay::search;
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::table::Column::{Key, Text, Value};
use crate::table::Listing;
use crate::when;
use record::Record;

pub(crate) use export::export;
pub(crate) use proofs::{check_proof, hash_lines, prove};
pub(crate) use verify::{key_lines as verify_key_lines, verify};

/// `jitctl audit list`: one line per record, the oldest first.
pub(crate) fn list(words: AuditListWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    listing(&words.which, None, "list", broker, screen)
}

/// `jitctl audit search`: the same for the records that contain a text.
pub(crate) fn search(words: AuditSearchWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    if words.recordings {
        return search::report(&words.text.as_os_str().to_string_lossy(), broker, screen);
    }
    listing(&words.which, Some(words.text), "search TEXT", broker, screen)
}

/// `jitctl audit show`
pub(crate) fn show(words: AuditShowWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let page = broker.ask(&AuditShow { what: words.what })?;
    let records: Vec<String> = page.records.iter().map(|info| Record::read(info).details(screen.now)).collect();
    let text = if records.is_empty() { "no records\n".to_owned() } else { records.join("\n") };
    Ok(Report::done(Output::Records(page), text))
}

/// `jitctl audit prune`
pub(crate) fn prune(words: &AuditPruneWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let ask = AuditPrune { keep: words.keep, dry_run: words.dry_run };
    let info = broker.ask(&ask)?;
    let before = when::short(info.before, screen.now);
    let mut text = match (info.records, info.done) {
        (0, _) => format!("nothing to remove: no complete segment between checkpoints is older than {before}\n"),
        (count, true) => format!(
            "{count} records up to number {}{} were removed, all older than {before}\n",
            info.through,
            with_recordings(info.recordings)
        ),
        (count, false) => format!("{count} records up to number {} would go, all older than {before}\n", info.through),
    };
    text.push_str(&held(&info));
    Ok(Report::done(Output::Pruned(info), text))
}

/// Says which records are kept because only the wall clock says that they are old.
pub(crate) fn held(info: &PruneInfo) -> String {
    match info.held {
        0 => String::new(),
        held => format!(
            "{held} older {} kept: only the clock says so, because nothing proves how long the host was off; if the clock \
             is right: jitctl key accept --reason 'WHY'\n",
            if held == 1 { "record is" } else { "records are" }
        ),
    }
}

fn with_recordings(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => " and 1 recording".to_owned(),
        count => format!(" and {count} recordings"),
    }
}

fn listing(
    which: &RecordSelection,
    text: Option<Word>,
    verb: &str,
    broker: &Broker,
    screen: &Screen,
) -> Result<Report, Trouble> {
    let newest = which.after.is_none();
    let page = collect(which, text, broker)?;
    let mut text = if page.records.is_empty() { "no records\n".to_owned() } else { table(&page, screen) };
    if page.more && screen.out.is_terminal() {
        let on = page.looked_at;
        text.push_str(&match newest {
            true => format!("\nolder records exist: jitctl audit {verb} --before {on}\n"),
            false => format!("\nmore records follow: jitctl audit {verb} --after {on}\n"),
        });
    }
    Ok(Report::done(Output::Records(page), text))
}

/// Requests records until the limit is reached or there are no more: the broker examines a limited number for each
/// answer.
fn collect(which: &RecordSelection, text: Option<Word>, broker: &Broker) -> Result<RecordPage, Trouble> {
    let newest = which.after.is_none();
    let filter = which.filter(text);
    let (mut after, mut before) = (which.after.unwrap_or(0), which.before);
    let mut all = RecordPage { records: Vec::new(), more: true, looked_at: 0 };
    while all.more && all.records.len() < which.limit as usize {
        let left = u32::try_from(all.records.len()).map_or(0, |have| which.limit.saturating_sub(have));
        let ask = AuditList {
            after,
            limit: left,
            newest,
            kind: which.kind.clone(),
            user: which.user.clone(),
            before,
            filter: Box::new(filter.clone()),
        };
        let page = broker.ask(&ask)?;
        let stuck = page.looked_at == all.looked_at;
        (all.more, all.looked_at) = (page.more && !stuck, page.looked_at);
        if newest {
            before = Some(page.looked_at);
            all.records.splice(0..0, page.records);
        } else {
            after = page.looked_at;
            all.records.extend(page.records);
        }
    }
    Ok(all)
}

pub(crate) fn table(page: &RecordPage, screen: &Screen) -> String {
    let records: Vec<Record> = page.records.iter().map(Record::read).collect();
    let mut listing = Listing::new([Key("SEQ"), Value("TIME", 3), Value("KIND", 1), Value("USER", 2), Text("WHAT", 4)]);
    for (record, name) in records.iter().zip(names(&records)) {
        listing.row([
            record.seq().to_string().into(),
            record.time(screen.now).into(),
            record.kind().into(),
            name.into(),
            record.summary(screen.now).into(),
        ]);
    }
    listing.render(screen)
}

/// Returns for each record the user's name at that time. An `end` has only the uid; its `start` or its grant is often on
/// the same page and has the name.
fn names(records: &[Record]) -> Vec<String> {
    let known: BTreeMap<(String, u64), String> = records.iter().flat_map(Record::names).collect();
    let beside = |record: &Record| record.matters().into_iter().find_map(|matter| known.get(&matter).cloned());
    let name = |record: &Record| record.named().or_else(|| beside(record)).unwrap_or_else(|| record.user());
    records.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use jit_core::wire::RecordInfo;

    use super::*;

    #[test]
    fn a_reassigned_uid_gets_no_name() {
        let bodies = [
            r#"{"kind":"request","grant":"g","uid":7,"user":"alice"}"#,
            r#"{"kind":"approval","grant":"g","uid":8,"user":"bob"}"#,
            r#"{"kind":"start","grant":"g","run":"a","uid":7,"user":"alice"}"#,
            r#"{"kind":"end","grant":"g","run":"b","uid":7}"#,
            r#"{"kind":"end","run":"a","uid":7}"#,
            r#"{"kind":"end","run":"c","uid":7}"#,
            r#"{"kind":"start","run":"d","uid":7,"user":"eve"}"#,
            r#"{"kind":"end","run":"d","uid":7}"#,
            r#"{"kind":"policy"}"#,
        ];
        let infos = bodies.map(|body| RecordInfo { seq: 1, body: body.to_owned(), hash: String::new() });
        let records: Vec<Record> = infos.iter().map(Record::read).collect();
        assert_eq!(names(&records), ["alice", "bob", "alice", "alice", "alice", "#7", "eve", "eve", "-"]);
    }
}
