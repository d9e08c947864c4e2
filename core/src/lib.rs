//! What jit-sudo decides and proves, without a host: nothing here reads a file, asks a name service or a clock, or calls C.
//! `jit-sudo` and its broker act on it, `jitctl` shows and verifies with it.

pub mod budget;
pub mod cli;
pub mod clock;
pub mod escape;
pub mod evidence;
pub mod grant;
pub mod names;
pub mod places;
pub mod policy;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
pub mod wire;
