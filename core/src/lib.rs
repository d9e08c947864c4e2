//! The decisions and proofs of jit-sudo, independent of a host: nothing here reads a file, asks a name service or a
//! clock, or calls C. `jit-sudo` and its broker use it to act, `jitctl` to display and verify.

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
