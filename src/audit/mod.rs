//! What happened, as evidence: the records, their chain, the durable journal and its mirrors (sinks).
//! May not: decide anything about a run, or read a clock (time comes in as a `Moment`).

pub mod chain;
pub mod custody;
pub mod flood;
mod grant_event;
pub mod journal;
pub mod listing;
mod mark;
pub mod open_run;
pub mod precedent;
pub mod record;
pub mod recorded;
pub mod redact;
mod review_event;
mod run_event;
#[cfg(test)]
mod sample;
pub mod sink;
#[cfg(test)]
mod tests;

pub use chain::{FirstBad, Verified};
pub use journal::{Journal, JournalError, SCHEMA, Started, Written, set_up};
pub use listing::{Filter, Order, Page, Stored};
pub use mark::Mark;
pub use open_run::{Process, Supervisor, Sweep};
pub use precedent::Precedent;
pub use record::{Digest, Event, Record};
