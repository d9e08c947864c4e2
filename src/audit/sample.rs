//! Journals for the tests of this module.

use crate::audit::checkpoint::Due;
use crate::audit::error::JournalError;
use crate::audit::history::last;
use crate::audit::journal::{Journal, Started, Written};
use crate::audit::open_run::Process;
use crate::database::Durability;
use jit_core::clock::Timestamp;
use jit_core::evidence::record::Event;
use jit_core::evidence::{Mark, Record};
use jit_core::grant::{HostDescriptor, HostKey};
pub(crate) use jit_core::samples::*;

pub(super) const SELF: Process = Process { pid: 4242, start: 1_000, namespace: None };

/// Starts a run at `second` and leaves it open.
pub(crate) fn started(journal: &Journal<'_>, run: &str, second: i64) -> Started {
    journal.start(&moment(second), start(run), SELF, |_| Ok::<_, JournalError>(())).unwrap().0
}

/// Signs the last record as the host at `second`.
pub(super) fn seal(journal: &Journal<'_>, second: i64) {
    let key = HostKey::from_seed([HOST_SEED; 32]);
    let last = journal.unsealed(moment(second).wall, Due::Now).unwrap().unwrap();
    let (grown, id) =
        (journal.grown(last).unwrap().unwrap(), HostDescriptor::of(&key, "web1", "machine").host_id().unwrap());
    assert!(journal.seal((last, &grown), &moment(second), &key, (&key, &id)).unwrap().is_some());
}

/// Prunes as the host at `second`.
pub(super) fn prune(journal: &Journal<'_>, second: i64, last: Mark, before: Timestamp) -> Written {
    prune_with(journal, second, last, before, &HostKey::from_seed([HOST_SEED; 32]))
}

/// Does the same with this sealing key.
pub(super) fn prune_with(
    journal: &Journal<'_>,
    second: i64,
    last: Mark,
    before: Timestamp,
    sealing: &HostKey,
) -> Written {
    let key = HostKey::from_seed([HOST_SEED; 32]);
    let id = HostDescriptor::of(&key, "web1", "machine").host_id().unwrap();
    journal.prune(&moment(second), last, (0, "root"), before, sealing, (&key, &id)).unwrap().unwrap().0
}

/// Appends `count` records of all kinds but that of a pruning, which the host signs.
pub(super) fn fill(journal: &Journal<'_>, count: usize) {
    let write = |tx: &rusqlite::Transaction<'_>| {
        for mut event in events().into_iter().cycle().take(count) {
            if let Event::Fork(fork) = &mut event {
                let last = last(tx)?.map_or(0, |last| last.mark.seq);
                (fork.continues, fork.highest) = (last, last);
            }
            if let Event::Prune(_) = event {
                event = events().remove(2);
            }
            let _ = journal.append(tx, &moment(1), event)?;
        }
        Ok::<_, JournalError>(())
    };
    journal.database.write(Durability::Ordered, write).unwrap();
}

/// Returns the codes of alerts; a fork has no code.
pub(super) fn codes(written: &[Written]) -> Vec<String> {
    let code = |written: &Written| match Record::decode(&written.body).unwrap().event {
        Event::Alert(alert) => alert.code,
        Event::Fork(_) => "fork".to_owned(),
        other => panic!("{other:?}"),
    };
    written.iter().map(code).collect()
}
