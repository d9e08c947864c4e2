//! The evidence: records, their hash chain, the durable journal and its log sinks.
//! May not: decide anything about a run, or read a clock (time comes in as a `Moment`).

mod alert_once;
mod altered;
mod approved;
pub mod backup;
pub mod bucket;
pub mod checkpoint;
mod claim;
mod clock_checks;
mod columns;
mod decided;
mod distrust;
mod epochs;
mod error;
mod fault;
mod forks;
mod grant_records;
mod history;
mod hook_failures;
mod host_identity;
mod indexes;
pub mod journal;
mod key_life;
mod last_intervention;
mod left_run;
pub mod listing;
mod lost_run;
mod meta;
pub mod open_run;
pub mod precedent;
mod process_limit;
mod provenance;
pub mod proving;
pub mod prune;
pub mod recorded;
mod recordings;
pub mod retention;
mod rows;
mod salvage;
#[cfg(test)]
pub(crate) mod sample;
mod sent;
mod session_wish;
pub mod sink;
pub mod state_checks;
mod tables;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(test)]
mod tree_tests;
mod verification;
mod verified_records;

pub use altered::Altered;
pub use approved::{RecordedApprovals, approved_as};
pub use checkpoint::Due;
pub use claim::{asked_since, claim, empowered, now, of_this_host};
pub use epochs::CurrentEpoch;
pub use error::JournalError;
pub use forks::Traces;
pub use grant_records::{
    AskedInRecords, InRecords, OpenInRecords, RequestInRecords, asked_in_records, base_in_records, by_statements,
    grants_beginning_with, in_records, open_in_records, request_in_records,
};
pub use journal::{Journal, SCHEMA, Started, Written, in_force, is_set_up, set_up};
pub use key_life::{Retired, Unended};
pub use listing::{Between, Filter, Order, Page, Stored, Whose};
pub use lost_run::{Sweep, is_one_lost};
pub use open_run::{Intervened, OpenRun, Phase, Process, RunKey, Supervisor};
pub use precedent::Precedent;
pub use proving::{NoProof, TreeProof};
pub use retention::CutOff;
pub use salvage::{Gap, Salvaged};
pub use sent::Sent;
pub use session_wish::Wish;
pub use state_checks::origin;
pub use tree::Grown;
pub use verification::Known;
pub use verified_records::VerifiedRecords;
