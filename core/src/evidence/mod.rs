//! Evidence of what happened: records, their chain, the host's signatures on it, and which power the records say that
//! each user had. Knows no database: callers pass bytes, and rows to compare with them.

pub mod acceptance;
mod backup_event;
mod canonical;
pub mod certificate;
pub mod chain;
pub mod checkpoint;
pub mod clock_event;
mod copies;
mod difference;
mod digest;
mod edit_event;
pub mod epoch_event;
mod epochs;
mod faults;
pub mod filter;
pub mod fork_event;
mod forks;
mod grant_event;
mod mark;
mod policies;
mod policy_event;
pub mod policy_history;
mod policy_keys;
pub mod power;
pub mod precedent;
pub mod proof;
mod prune_event;
pub mod record;
pub mod redact;
mod review_event;
mod run_event;
mod session_event;
mod signers;

pub use chain::Verified;
pub use checkpoint::Checkpoint;
pub use digest::Digest;
pub use epochs::{FoundEpoch, FoundLine, Sealing};
pub use faults::{FirstBad, Inconsistencies};
pub use forks::FoundFork;
pub use mark::Mark;
pub use proof::{Proven, Signed};
pub use record::{Event, Record};
pub use signers::Signers;
