//! -b: the caller gets the shell back as soon as the command begins; a child of ours completes the run. It is forked before
//! anything is opened, because a database connection must not be used across a fork.

use std::os::fd::AsFd;

use crate::console::Console;
use crate::refusal::Refusal;
use crate::run::perform;
use crate::session::{ExitStatus, LaunchError};
use jit_core::cli::Run;
use jit_core::policy::PolicyReader;
use sys::exec::ExecError;
use sys::poll::{pipe, read, write};
use sys::process::{WaitEvent, Waiting, fork, wait};
use sys::sanitize::Inherited;

/// Waits until nothing can deny the run in the child any more, and returns; or exits as the child did.
pub(super) fn run(run: &Run, inherited: &Inherited, console: &mut Console) -> Result<ExitStatus, Refusal> {
    let failed = |what| move |error| Refusal::Host(crate::host::HostError::System(what, error));
    let (begun, tell) = pipe().map_err(failed("make a pipe"))?;
    let child = fork(|| {
        let told = || drop(write(tell.as_fd(), b"!"));
        let answer = perform(run, inherited, console, told);
        inherited.leave_root();
        let status = answer.unwrap_or_else(|refusal| {
            refusal.tell(PolicyReader::root(inherited.identity.uid()).as_ref(), console);
            refusal.exit_status()
        });
        status.exit()
    })
    .map_err(|error| Refusal::Launch(LaunchError::Exec(ExecError::unborn(&error))))?;
    drop(tell);

    if matches!(read(begun.as_fd(), &mut [0]), Ok(1)) {
        return Ok(ExitStatus::Code(0));
    }
    match wait(child, Waiting::ForEnd).map_err(failed("wait for the run"))? {
        Some((WaitEvent::Exited(code), _)) => Ok(ExitStatus::Code(code)),
        Some((WaitEvent::Signaled { signal, .. }, _)) => Ok(ExitStatus::Signal(signal)),
        _ => Ok(ExitStatus::Code(1)),
    }
}
