//! Backups of the database, and what is saved of a damaged one. `restore` and `audit-salvage` work where nothing else does: they
//! open the database themselves.

use std::path::Path;

use super::Context;
use super::audit::{checkpoint, record_info};
use super::failure::Refused;
use crate::audit::Journal;
use crate::elevation::Caller;
use crate::host::Host;
use jit_core::escape::Word;
use jit_core::evidence::record::Backup;
use jit_core::wire::{BackupInfo, GapInfo, RestoreInfo, SalvagePage};

impl Context<'_> {
    /// Makes a backup, and records it. A backup that cannot be recorded stays: it is as good as any.
    pub(super) fn back_up(&self, file: &Word) -> Result<BackupInfo, Refused> {
        let path = file.as_os_str();
        let head = self.host.back_up(self.journal, Path::new(&path))?;
        let (uid, user) = (self.caller.uid(), Word::from(self.caller.name().as_str()));
        let backup = Backup { uid, user, file: file.clone(), through: head.seq, head: head.hash };
        let written = self.journal.tell_backup(self.now.moment(), backup)?;
        let _ = self.journal.mirror(&[written]);
        Ok(BackupInfo { file: file.clone(), through: head.seq, head: head.hash.to_string() })
    }
}

/// Puts a backup in the place of the database.
pub(super) fn restore(caller: &Caller, file: &Word) -> Result<RestoreInfo, Refused> {
    let restored = Host::restore(caller.host(), Path::new(&file.as_os_str()))?;
    Ok(RestoreInfo {
        through: restored.head.seq,
        head: restored.head.hash.to_string(),
        former: restored.former.map(|path| Word::from(path.as_os_str())),
        known: restored.known.map(|known| known.seq),
    })
}

/// Reads what can be read of the journal.
pub(super) fn salvage(caller: &Caller, from: u64) -> Result<SalvagePage, Refused> {
    let host = Host::open(caller.host())?;
    // The anchor may be missing or unreadable as well.
    let anchor = host.anchored().unwrap_or_default();
    let salvaged = Journal::new(host.database(), caller.host(), Vec::new()).salvage(from, anchor)?;
    Ok(SalvagePage {
        records: salvaged.records.into_iter().map(record_info).collect(),
        checkpoints: salvaged.checkpoints.iter().map(checkpoint).collect(),
        gaps: salvaged.gaps.into_iter().map(|gap| GapInfo { first: gap.first, last: gap.last, why: gap.why }).collect(),
        next: salvaged.next,
        open_end: salvaged.open_end,
    })
}
