//! jitctl, the unprivileged program: reads the arguments, asks the broker, shows the answer.

use std::process::ExitCode;

fn main() -> ExitCode {
    jitctl::complete_if_asked();
    jitctl::run(std::env::args_os(), &jitctl::Broker::installed())
}
