//! What happened, as evidence: the records, their chain, the durable journal and its mirrors (sinks).
//! May not: decide anything about a run, or read a clock (time comes in as a `Moment`).

pub mod bucket;
mod canonical;
pub mod chain;
pub mod checkpoint;
mod claim;
pub mod custody;
mod edit_event;
pub mod filter;
mod footage;
mod grant_event;
pub mod journal;
mod left_run;
pub mod listing;
mod mark;
mod misfits;
pub mod open_run;
mod policies;
mod policy_event;
pub mod policy_history;
pub mod power;
pub mod precedent;
pub mod proof;
mod provenance;
pub mod prune;
pub mod record;
pub mod recorded;
pub mod redact;
mod review_event;
mod run_event;
#[cfg(test)]
pub(crate) mod sample;
mod session_event;
pub mod sink;
mod tables;
#[cfg(test)]
mod tests;
mod verification;

pub use chain::{FirstBad, Verified};
pub use checkpoint::{Checkpoint, Due};
pub use claim::{claim, empowered, now, of_this_host};
pub use journal::{Journal, JournalError, SCHEMA, Started, Written, in_force, set_up};
pub use listing::{Between, Filter, Order, Page, Stored, Whose};
pub use mark::Mark;
pub use misfits::Misfits;
pub use open_run::{OpenRun, Process, Supervisor, Sweep, Which, Wish};
pub use precedent::Precedent;
pub use proof::{Proven, Signed, Signers};
pub use record::{Digest, Event, Record};
pub use verification::Known;
