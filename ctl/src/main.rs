//! jitctl, the unprivileged program: read the words, ask the broker, show the answer.

use std::process::ExitCode;

fn main() -> ExitCode {
    jitctl::complete_if_asked();
    jitctl::run(std::env::args_os(), &jitctl::Broker::installed())
}
