//! jit-sudo, setuid root: sanitize the process, run, exit as the command did.

#![no_main]

use std::io::Write;

use jit_sudo::cli::{self, Invocation};
use jit_sudo::refusal::Refusal;
use jit_sudo::run::{listing, run, validate};
use jit_sudo::session::{ExitStatus, stand_apart};

sys::program!(run_and_exit);

fn run_and_exit() -> ! {
    jit_sudo::bug::speak_plainly("jit-sudo");
    // A bug is a refusal like any other: nothing runs that was not recorded, and the status is 1.
    let status = match std::panic::catch_unwind(jit_sudo_main) {
        Ok(Ok(status)) => status,
        Ok(Err(refusal)) => {
            refusal.tell();
            ExitStatus::Code(1)
        }
        Err(_) => ExitStatus::Code(1),
    };
    status.exit()
}

fn jit_sudo_main() -> Result<ExitStatus, Refusal> {
    let inherited = sys::sanitize()?;
    stand_apart();
    match cli::parse(&inherited.arguments)? {
        Invocation::Run(wanted) => run(&wanted, &inherited),
        Invocation::List(wanted) => listing::list(&wanted, &inherited),
        Invocation::Validate(wanted) => validate::validate(&wanted, &inherited),
        Invocation::InvalidateCache => validate::forget(validate::Extent::ThisSession, &inherited),
        Invocation::RemoveCache => validate::forget(validate::Extent::Everything, &inherited),
        Invocation::Version => say(&cli::version()),
        Invocation::Help(name) => say(&cli::help(name)),
    }
}

fn say(text: &str) -> Result<ExitStatus, Refusal> {
    // A reader that went away (| head) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitStatus::Code(0))
}
