//! The evidence: records, their hash chain, the durable journal and its log sinks.
//! May not: decide anything about a run, or read a clock (time comes in as a `Moment`).

mod approved;
pub mod backup;
pub mod bucket;
pub mod checkpoint;
mod claim;
mod columns;
mod decided;
mod epochs;
mod error;
mod forks;
mod history;
mod hook_failures;
pub mod journal;
mod left_run;
pub mod listing;
pub mod open_run;
pub mod precedent;
mod process_limit;
mod provenance;
pub mod prune;
pub mod recorded;
mod recordings;
pub mod retention;
mod salvage;
#[cfg(test)]
pub(crate) mod sample;
pub mod sink;
pub mod state_checks;
mod tables;
#[cfg(test)]
mod tests;
mod verification;

pub use approved::{RecordedApprovals, approved_as};
pub use checkpoint::Due;
pub use claim::{
    AskedInRecords, InRecords, OpenInRecords, RequestInRecords, asked_in_records, asked_since, by_statements, claim,
    empowered, grants_beginning_with, in_records, now, of_this_host, open_in_records, request_in_records,
};
pub use epochs::CurrentEpoch;
pub use error::JournalError;
pub use forks::Traces;
pub use journal::{Journal, SCHEMA, Started, Written, in_force, is_set_up, set_up};
pub use listing::{Between, Filter, Order, Page, Stored, Whose};
pub use open_run::{Intervened, OpenRun, Phase, Process, RunKey, Supervisor, Sweep, Wish};
pub use precedent::Precedent;
pub use retention::CutOff;
pub use salvage::{Gap, Salvaged};
pub use state_checks::origin;
pub use verification::{Known, unaltered};
