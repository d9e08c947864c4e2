//! The protocol between `jitctl` and the broker: one question as a line of JSON, one reply as another. Each verb is a type that
//! names the type of its answer. Times are UTC seconds since 1970, durations are seconds, texts that may contain any byte are
//! escaped (see [`crate::escape`]). Fields may be added; none is renamed or removed within a major version.

mod reply;
mod verb;

mod approvals;
mod audit;
mod backup;
mod described_host;
mod grants;
mod host;
mod key;
mod pam;
mod policy;
mod recordings;
mod requests;
mod review;
mod roles;
mod sealing;
mod sessions;
mod verification;

pub use self::approvals::*;
pub use self::audit::*;
pub use self::backup::*;
pub use self::described_host::*;
pub use self::grants::*;
pub use self::host::*;
pub use self::key::*;
pub use self::pam::*;
pub use self::policy::*;
pub use self::recordings::*;
pub use self::reply::{Failure, Reply};
pub use self::requests::*;
pub use self::review::*;
pub use self::roles::*;
pub use self::sealing::*;
pub use self::sessions::*;
pub use self::verb::{Question, Verb};
pub use self::verification::*;
pub use crate::evidence::record::{Act, Purpose};

/// The longest question in bytes; a longer one is rejected.
pub const REQUEST_LIMIT: usize = 4 << 20;

#[cfg(test)]
mod tests;
