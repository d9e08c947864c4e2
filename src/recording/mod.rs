//! Recordings of sessions: asciicast v2, one file a session, written as it happens and sealed by its digest.
//! May not: know a policy, a journal or a clock; the path of the file and the time are passed in.

mod cast;
mod recorder;

pub use cast::{Environment, Header};
pub use recorder::{Blank, Limits, Recorder, RecordingError, Seal};
