//! The work that nobody waits for, for a timer: what dead supervisors left, compression, retention.

use std::path::Path;

use super::Context;
use super::failure::Refused;
use crate::host::Encoding;
use crate::shrink::{WORTH, finish};
use jit_core::places::SHRINKER;
use jit_core::wire::SweepInfo;

impl Context<'_> {
    /// One thing after the other; what was done stays done when a later one fails. That retention was refused is told beside it.
    pub(super) fn sweep(&self) -> Result<SweepInfo, Refused> {
        let closed = self.host.close_every_lost(self.journal)?;
        let strays = self.host.end_strays(self.journal)?;
        let running = self.journal.open_runs()?;
        let (lost, left) = (count(closed.runs), count(closed.left + strays));
        let mut info = SweepInfo { lost, left, shelved: 0, compressed: 0, pruned: None, refused: None };
        for run in self.host.abandoned_recordings(&|run| running.iter().any(|open| open.run == run))? {
            self.host.shelve_recording(&run)?;
            info.shelved += 1;
        }
        for recording in self.host.finished_recordings()? {
            let plain = recording.encoding == Encoding::Plain && recording.bytes >= WORTH;
            info.compressed += u64::from(plain && finish(Path::new(SHRINKER), &recording.run));
        }
        if self.policy.settings().audit.keep.is_some() {
            match self.prune(None, false) {
                Ok(pruned) => info.pruned = Some(pruned),
                // What else there is to do does not wait for a clock or for evidence that somebody has to look at.
                Err(refused) if ["clock", "not-intact"].contains(&refused.failure.code.as_str()) => {
                    info.refused = Some(refused.failure);
                }
                Err(error) => return Err(error),
            }
        }
        self.host.database().tidy();
        Ok(info)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
