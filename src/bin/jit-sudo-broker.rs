//! jit-sudo-broker, setuid root: sanitize the process, answer one question, exit.

#![no_main]

use jit_sudo::console::Console;
use jit_sudo::refusal::Refusal;

sys::program!(answer_and_exit);

fn answer_and_exit() -> ! {
    jit_sudo::bug::speak_plainly("jit-sudo-broker");
    let serve = || match sys::sanitize(c"jit-sudo-broker") {
        Ok(mut inherited) => {
            // Until a question arrives, the process stays in the caller's control group, so that callers cannot collect idle
            // processes of ours.
            let question = jit_sudo::broker::hear(&inherited);
            jit_sudo::session::stand_apart(&mut inherited);
            jit_sudo::broker::serve(question, &inherited)
        }
        Err(error) => {
            let _ = Console::of_this_process().map(|mut console| Refusal::from(error).tell(None, &mut console));
            1
        }
    };
    sys::process::exit_now(std::panic::catch_unwind(serve).unwrap_or(1))
}
