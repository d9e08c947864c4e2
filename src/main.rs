//! jit-sudo, setuid root: sanitize the process, run, exit as the command did.

use std::io::Write;

use jit_sudo::cli::{self, Invocation};
use jit_sudo::refusal::Refusal;
use jit_sudo::run::{listing, run, validate};
use jit_sudo::session::ExitStatus;

fn main() {
    let status = jit_sudo_main().unwrap_or_else(|refusal| {
        refusal.tell();
        ExitStatus::Code(1)
    });
    status.exit()
}

fn jit_sudo_main() -> Result<ExitStatus, Refusal> {
    let inherited = sys::sanitize()?;
    match cli::parse(&inherited.arguments)? {
        Invocation::Run(wanted) => run(&wanted, &inherited),
        Invocation::List(wanted) => listing::list(&wanted, &inherited),
        Invocation::Validate(wanted) => validate::validate(&wanted, &inherited),
        Invocation::InvalidateCache => validate::forget(validate::Extent::ThisSession, &inherited),
        Invocation::RemoveCache => validate::forget(validate::Extent::Everything, &inherited),
        Invocation::Version => say(&cli::version()),
        Invocation::Help => say(&cli::help()),
    }
}

fn say(text: &str) -> Result<ExitStatus, Refusal> {
    // A reader that went away (| head) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitStatus::Code(0))
}
