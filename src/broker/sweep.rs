//! The work that nobody waits for, for a timer: what dead supervisors left, compression, retention.

use std::path::Path;

use super::Desk;
use super::failure::{Refused, refused};
use super::wire::{Answer, SweepInfo};
use crate::clock::Timestamp;
use crate::host::{Encoding, SHRINKER};
use crate::shrink::{WORTH, finish};

impl Desk<'_> {
    /// One thing after the other; what was done stays done when a later one fails.
    pub(super) fn sweep(&self) -> Result<Answer, Refused> {
        if self.caller.uid() != 0 {
            return Err(refused("not-root", "only root may sweep"));
        }
        let open = self.journal.open_runs()?.len();
        self.host.close_every_lost(self.journal)?;
        let running = self.journal.open_runs()?;
        let lost = open.saturating_sub(running.len());
        let mut info = SweepInfo { lost: count(lost), shelved: 0, compressed: 0, pruned: None, recordings_removed: 0 };
        for run in self.host.abandoned_recordings(&|run| running.iter().any(|open| open.run == run))? {
            self.host.shelve_recording(&run)?;
            info.shelved += 1;
        }
        for recording in self.host.shelf()? {
            let plain = recording.encoding == Encoding::Plain && recording.bytes >= WORTH;
            info.compressed += u64::from(plain && finish(Path::new(SHRINKER), &recording.run));
        }
        if let Some(keep) = self.policy.settings().audit.keep {
            if let Answer::Pruned(pruned) = self.audit_prune(Some(keep.as_secs()), false)? {
                info.pruned = Some(pruned);
            }
            let seconds = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
            info.recordings_removed = self.drop_recordings(self.moment.wall.plus_seconds(-seconds))?;
        }
        self.host.database().tidy();
        Ok(Answer::Swept(info))
    }

    /// Removes recordings that were finished before and whose run is no longer in the journal: without their seal they
    /// prove nothing.
    fn drop_recordings(&self, before: Timestamp) -> Result<u64, Refused> {
        let mut removed = 0;
        for recording in self.host.shelf()? {
            if recording.finished < before && self.journal.by_run(&recording.run)?.records.is_empty() {
                self.host.remove_recording(&recording)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
