//! Recordings of sessions: asciicast v2, one file a session, written while it happens and sealed by its digest.
//! May not: know a policy, a journal or a clock; where the file lies and what time it is come in as arguments.

mod cast;
mod recorder;

pub use cast::{Environment, Header};
pub use recorder::{Blank, Limits, Recorder, RecordingError, Seal};
