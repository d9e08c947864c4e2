//! jit-sudo-broker, setuid root: sanitize the process, answer one question, exit.

use jit_sudo::refusal::Refusal;

fn main() {
    let status = match sys::sanitize() {
        Ok(inherited) => jit_sudo::broker::serve(&inherited),
        Err(error) => {
            Refusal::from(error).tell();
            1
        }
    };
    sys::process::exit_now(status)
}
