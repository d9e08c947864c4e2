//! Periodic maintenance, started by a timer: cleans up after dead supervisors, compresses recordings, and applies retention.

use std::path::Path;

use super::Context;
use super::failure::{Refused, refused};
use crate::host::{Encoding, end_overdue_apart};
use crate::shrink::{WORTH, finish};
use jit_core::evidence::Elsewhere;
use jit_core::evidence::record::Confirmation;
use jit_core::places::SHRINKER;
use jit_core::wire::SweepInfo;

impl Context<'_> {
    /// Runs all steps in order. A failure does not undo the earlier steps. If retention is refused, the answer contains the reason.
    pub(super) fn sweep(&self) -> Result<SweepInfo, Refused> {
        end_overdue_apart(); // first, because the other steps may wait for processes of users
        let verified = self.verify_and_alert()?;
        let closed = self.host.close_every_lost(self.journal)?;
        let strays = self.host.end_strays(self.journal)?;
        self.host.tell_of_log_file(&self.policy.settings().audit, self.journal)?;
        let running = self.journal.open_runs()?;
        let (lost, left) = (count(closed.runs), count(closed.left + strays));
        let mut info = SweepInfo { lost, left, shelved: 0, compressed: 0, pruned: None, refused: None };
        for run in self.host.abandoned_recordings(&|run| running.iter().any(|open| open.run == *run))? {
            self.host.finish_recording(&run)?;
            info.shelved += 1;
        }
        for recording in self.host.finished_recordings()? {
            let plain = recording.encoding == Encoding::Plain && recording.bytes >= WORTH;
            info.compressed += u64::from(plain && finish(Path::new(SHRINKER), &recording.run));
        }
        // Once in each boot: the age of records counts by it.
        if sys::time::is_synchronised().is_ok_and(|synchronised| synchronised) {
            let written = self.journal.confirm_clock(self.now.moment(), Confirmation::Synchronised)?;
            let _ = self.journal.mirror(written.as_slice()); // the journal has it; a sink never decides
        }
        match (verified, self.keep()) {
            // Damaged evidence or a doubtful clock must be examined by the administrator; it does not stop the sweep.
            (Err(bad), _) => info.refused = Some(bad.failure),
            (Ok(()), None) => {}
            (Ok(()), Some(keep)) => match self.prune_intact(keep, false) {
                Ok(pruned) => info.pruned = Some(pruned),
                Err(refused) if refused.failure.code == "clock" => info.refused = Some(refused.failure),
                Err(error) => return Err(error),
            },
        }
        // The key of a host on which nothing happens is replaced here.
        self.host.advance_epoch(self.journal)?;
        self.host.fill_reserve();
        self.host.database().tidy();
        Ok(info)
    }
}

impl Context<'_> {
    /// Verifies the journal. If it is not intact, records an alert; where that is impossible, syslog gets it.
    fn verify_and_alert(&self) -> Result<Result<(), Refused>, Refused> {
        let Err(bad) = self.prove(Vec::new(), Vec::new(), &Elsewhere::default(), Vec::new())? else {
            return Ok(Ok(()));
        };
        let sentence = format!("the journal is not intact: {bad}");
        match self.journal.tell_altered(self.now.moment(), &sentence) {
            Ok(told) => drop(self.journal.mirror(&[told])),
            Err(_) => self.host.alert(&sentence),
        }
        Ok(Err(refused("not-intact", sentence).hint("jitctl audit verify")))
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
