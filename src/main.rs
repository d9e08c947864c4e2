//! jit-sudo, setuid root: sanitize the process, run, exit as the command did.

#![no_main]

use std::io::Write;

use jit_sudo::cli::{self, Invocation};
use jit_sudo::policy::PolicyReader;
use jit_sudo::refusal::Refusal;
use jit_sudo::run::{listing, run, validate};
use jit_sudo::session::{ExitStatus, stand_apart};
use sys::Inherited;

sys::program!(run_and_exit);

fn run_and_exit() -> ! {
    jit_sudo::bug::speak_plainly("jit-sudo");
    // A bug is a refusal like any other: nothing runs that was not recorded, and the status is 1.
    std::panic::catch_unwind(jit_sudo_main).unwrap_or(ExitStatus::Code(1)).exit()
}

fn jit_sudo_main() -> ExitStatus {
    let (answer, reader) = match sys::sanitize(c"jit-sudo") {
        Ok(mut inherited) => {
            stand_apart(&mut inherited);
            (answer(&inherited), PolicyReader::root(&inherited.identity))
        }
        Err(error) => (Err(error.into()), None),
    };
    answer.unwrap_or_else(|refusal| {
        refusal.tell(reader.as_ref());
        ExitStatus::Code(1)
    })
}

fn answer(inherited: &Inherited) -> Result<ExitStatus, Refusal> {
    match cli::parse(&inherited.arguments)? {
        Invocation::Run(wanted) => run(&wanted, inherited),
        Invocation::List(wanted) => listing::list(&wanted, inherited),
        Invocation::Validate(wanted) => validate::validate(&wanted, inherited),
        Invocation::InvalidateCache => validate::forget(validate::Extent::ThisSession, inherited),
        Invocation::RemoveCache => validate::forget(validate::Extent::Everything, inherited),
        Invocation::Version => say(&cli::version()),
        Invocation::Help(name) => say(&cli::help(name)),
    }
}

fn say(text: &str) -> Result<ExitStatus, Refusal> {
    // A reader that went away (| head) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitStatus::Code(0))
}
