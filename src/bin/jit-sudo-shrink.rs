//! jit-sudo-shrink, not setuid, started by root's own programs alone: compress one finished recording, and exit.

fn main() {
    let status = match sys::sanitize(c"jit-sudo-shrink") {
        Ok(inherited) => jit_sudo::shrink::serve(&inherited),
        Err(_) => 1,
    };
    sys::process::exit_now(status)
}
