//! jit-sudo, setuid root: sanitize the process, run, exit as the command did.

#![no_main]

use jit_core::cli::{self, CalledAs, Invocation};
use jit_core::policy::PolicyReader;
use jit_sudo::console::{Console, speak_as};
use jit_sudo::refusal::Refusal;
use jit_sudo::run::{listing, run, validate};
use jit_sudo::session::{ExitStatus, stand_apart};
use sys::Inherited;

sys::program!(run_and_exit);

fn run_and_exit() -> ! {
    jit_sudo::bug::speak_plainly("jit-sudo");
    // A bug denies like any other refusal: nothing runs that was not recorded, and the status is 1.
    std::panic::catch_unwind(jit_sudo_main).unwrap_or(ExitStatus::Code(1)).exit()
}

fn jit_sudo_main() -> ExitStatus {
    // Nothing has taken it before.
    let Some(mut console) = Console::of_this_process() else { return ExitStatus::Code(1) };
    speak_as(std::env::args_os().next().map_or(CalledAs::JitSudo, |name| CalledAs::of(&name)));
    let (answer, reader) = match sys::sanitize(c"jit-sudo") {
        Ok(mut inherited) => {
            let answer = answer(&mut inherited, &mut console);
            inherited.leave_root();
            (answer, PolicyReader::root(inherited.identity.uid()))
        }
        Err(error) => (Err(error.into()), None),
    };
    answer.unwrap_or_else(|refusal| {
        refusal.tell(reader.as_ref(), &mut console);
        refusal.exit_status()
    })
}

/// What needs no privilege is printed without it, in the caller's control group and under the caller's limits.
fn answer(inherited: &mut Inherited, console: &mut Console) -> Result<ExitStatus, Refusal> {
    let text = match cli::parse(&inherited.arguments)? {
        Invocation::Run(wanted) => return run(&wanted, stand_apart(inherited), console),
        Invocation::List(wanted) => return listing::list(&wanted, stand_apart(inherited), console),
        Invocation::Validate(wanted) => return validate::validate(&wanted, stand_apart(inherited), console),
        Invocation::InvalidateCache => return validate::forget(validate::Extent::ThisSession, stand_apart(inherited)),
        Invocation::RemoveCache => return validate::forget(validate::Extent::Everything, stand_apart(inherited)),
        Invocation::Version(name) => cli::version(name),
        Invocation::Help(name) => cli::help(name),
    };
    inherited.leave_root();
    console.print(&text);
    Ok(ExitStatus::Code(0))
}
