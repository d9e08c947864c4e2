//! What happened, as evidence: the records, their chain, the durable journal and its mirrors (sinks).
//! May not: decide anything about a run, or read a clock (time comes in as a `Moment`).

pub mod chain;
pub mod journal;
pub mod listing;
pub mod open_run;
pub mod record;
pub mod redact;
#[cfg(test)]
mod sample;
pub mod sink;

pub use chain::{FirstBad, Verified};
pub use journal::{Journal, JournalError, SCHEMA, Started, Written, set_up};
pub use listing::{Filter, Order, Page, Stored};
pub use open_run::{Process, Supervisor, Sweep};
pub use record::{Digest, Event, Record};
