//! Has a sandboxed program compile the policy from the texts of its files, and accepts only an answer that the reader of
//! the pure crate validates.
//! May not: read the texts.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use super::HostError;
use crate::programs::{Unanswered, ask};
use crate::session::refuge;
use jit_core::places::COMPILER;
use jit_core::policy::compiled::{InvalidAnswer, STILL_PRIVILEGED, Uncompiled, answer_limit, read_answer, request};
use jit_core::policy::{Policy, PolicyText};
use sys::process::WaitEvent;

/// The timeout for a policy of any size, and what each MiB of its files adds.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_PER_MIB: Duration = Duration::from_secs(2);

/// Why `jit-sudo-compile` did not compile the policy.
#[derive(Debug)]
pub enum CompilerError {
    /// It gave no answer.
    Unanswered(Unanswered),
    /// Its answer is invalid.
    Invalid(InvalidAnswer),
}

impl CompilerError {
    /// Returns whether the program is missing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unanswered(Unanswered::Start(error)) if error.kind() == ErrorKind::NotFound)
    }
}

impl fmt::Display for CompilerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy was not compiled: {COMPILER} ")?;
        let unanswered = match self {
            Self::Invalid(invalid) => return write!(f, "gave an invalid answer: {invalid}"),
            Self::Unanswered(unanswered) => unanswered,
        };
        match unanswered {
            Unanswered::Start(error) => write!(f, "cannot be started: {error}"),
            Unanswered::Late(patience) => write!(f, "did not end within {} s and was killed", patience.as_secs()),
            Unanswered::Long(limit) => write!(f, "answered with more than {limit} bytes and was killed"),
            Unanswered::Ended(WaitEvent::Exited(STILL_PRIVILEGED)) => {
                f.write_str("cannot give up root: this user namespace has no uid 65534")
            }
            Unanswered::Ended(WaitEvent::Exited(status)) => write!(f, "ended with status {status}"),
            Unanswered::Ended(WaitEvent::Signaled { signal, .. }) => write!(f, "was killed by signal {signal}"),
            Unanswered::Ended(WaitEvent::Stopped(_) | WaitEvent::Continued) => f.write_str("did not end"),
            Unanswered::System(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

/// Compiles the policy of these files.
pub(super) fn compile(files: &[PolicyText]) -> Result<Policy, HostError> {
    let request = request(files)?;
    let mib = u32::try_from(request.len() >> 20).unwrap_or(u32::MAX);
    let patience = PATIENCE.saturating_add(PATIENCE_PER_MIB.saturating_mul(mib));
    let answer = ask(COMPILER, &request, refuge().as_ref(), patience, answer_limit(files))
        .map_err(|unanswered| HostError::Compiler(CompilerError::Unanswered(unanswered)))?;
    read_answer(&answer, files).map_err(|error| match error {
        Uncompiled::Policy(error) => HostError::Policy(error),
        Uncompiled::Answer(invalid) => HostError::Compiler(CompilerError::Invalid(invalid)),
    })
}
