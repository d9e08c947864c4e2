//! Why a command could not be started.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::authorized::ProgramFault;
use crate::edit::EditError;
use crate::recording::RecordingError;
use jit_core::escape::Word;
use sys::exec::ExecError;

/// Why the command could not be started.
#[derive(Debug)]
pub enum LaunchError {
    /// An argument or variable holds a NUL byte.
    Nul,
    /// The recorded environment is for an editor and this is the command, or the reverse.
    OtherEnvironment,
    /// The program is not the file that was opened, or cannot be read.
    Script(String),
    /// The program, or what executes it, is not trusted.
    Program(ProgramFault),
    /// The kernel refused a step before exec.
    Exec(ExecError),
    /// The process that supervises a run on a terminal cannot be started.
    Unsupervised(ExecError),
    /// No file can be edited; the reason for the last one.
    Edit(EditError),
    /// The policy demands a recording, and it cannot be made.
    Unrecorded(RecordingError),
    /// The kernel refused to enter a directory or to execute the program.
    Path(&'static str, PathBuf, ExecError),
    /// Without CAP_KILL and a control group, nothing could end a command of this user.
    Endless(String),
    /// A terminal, pipe or process could not be made.
    System(&'static str, io::Error),
    /// The command was started, but how it ended is unknown: the process that waited for it was killed.
    Lost(&'static str, io::Error),
}

impl LaunchError {
    /// Whether the command may have run.
    pub fn has_begun(&self) -> bool {
        matches!(self, Self::Lost(..))
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul => f.write_str("an argument or variable holds a NUL byte"),
            Self::OtherEnvironment => f.write_str("the recorded environment belongs to another program"),
            Self::Script(cause) => f.write_str(cause),
            Self::Program(fault) => fault.fmt(f),
            Self::Exec(error) | Self::Unsupervised(error) => error.fmt(f),
            Self::Edit(error) => error.fmt(f),
            Self::Unrecorded(error) => write!(f, "{error}, and nothing may run unrecorded"),
            Self::Path(what, path, error) => {
                write!(f, "unable to {what} {}: {}", Word::from(path.as_os_str()), error.reason())
            }
            Self::Endless(user) => write!(
                f,
                "a command of {user} could not be ended: jit-sudo has neither the capability CAP_KILL nor a control group"
            ),
            Self::System(what, error) | Self::Lost(what, error) => write!(f, "unable to {what}: {error}"),
        }
    }
}
