//! An act that ends something must not fail because it cannot be recorded. Where the file system is full it may use the reserve;
//! where even that does not help, the processes are ended without a record, and the caller is told so.

use super::Context;
use super::failure::{Refused, refused};
use crate::audit::OpenRun;
use crate::database::Unwritten;
use crate::host::Loan;
use jit_core::names::GrantId;

/// How an attempt to answer a question records what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    /// As always: both or neither.
    Required,
    /// The journal cannot be written. What can be ended without it is ended.
    Impossible,
}

/// The attempts to answer one question.
pub(super) struct Attempts {
    loan: Option<Loan>,
    recording: Recording,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { loan: None, recording: Recording::Required }
    }

    pub(super) fn recording(&self) -> Recording {
        self.recording
    }

    /// Returns the part of the reserve that this attempt may use.
    pub(super) fn loan(&self) -> Option<&Loan> {
        self.loan.as_ref()
    }

    /// Returns whether an act that ends something is to be attempted once more after this error, and prepares the attempt.
    pub(super) fn another(&mut self, refused: &Refused) -> bool {
        let Some(unwritten) = refused.unwritten.filter(|_| self.recording == Recording::Required) else { return false };
        if unwritten == Unwritten::Full {
            self.loan = self.loan.take().or_else(Loan::begin);
            if self.loan.as_mut().is_some_and(Loan::take_more) {
                return true;
            }
        }
        self.recording = Recording::Impossible;
        true
    }
}

impl Context<'_> {
    /// Ends runs whose end cannot be recorded now: a run that goes on would be worse. Returns the answer for the caller. `left`
    /// tells what could not be done.
    pub(super) fn end_unrecorded(&self, runs: &[OpenRun], left: &str, error: &Refused) -> Refused {
        for run in runs {
            let user = self.known_run(&run.run).ok().flatten().map(|known| known.start.user).unwrap_or_default();
            let by = self.caller.name();
            self.host.end_now(self.journal, run);
            let sentence = format!("{by} has ended run {} of {user}, and this cannot be recorded", run.run);
            self.host.alert(&format!("{sentence}: {}", error.failure.message));
        }
        let ended: Vec<&str> = runs.iter().map(|run| run.run.as_str()).collect();
        let what = match ended.as_slice() {
            [] => "no session was running".to_owned(),
            [one] => format!("the session of run {one} was ended"),
            several => format!("the sessions of runs {} were ended", several.join(", ")),
        };
        let answer = refused("not-recorded", format!("{what}, but {left}: {}", error.failure.message));
        error.failure.hint.iter().fold(answer, |answer, hint| answer.hint(hint))
    }

    /// Returns the living runs under these grants, or under grants that these extend.
    pub(super) fn runs_under(&self, ids: &[GrantId]) -> Result<Vec<OpenRun>, Refused> {
        let mut found = Vec::new();
        for run in self.journal.living_runs()? {
            let mut next = run.grant.clone();
            while let Some(id) = next {
                if ids.contains(&id) {
                    found.push(run);
                    break;
                }
                next = self.extension(&id)?.map(|grant| grant.terms.id);
            }
        }
        Ok(found)
    }
}
