//! `jitctl-at BROKER WORDS…`: jitctl with another broker, for the tests; the product itself has no such broker.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next();
    match (program, words.next()) {
        (Some(program), Some(broker)) => {
            jitctl::run(std::iter::once(program).chain(words), &jitctl::Broker::at(Path::new(&broker)))
        }
        _ => ExitCode::from(2),
    }
}
