//! jit-sudo-hooks, not setuid, started by root's own programs alone: run the hooks for what was committed, and exit.

fn main() {
    let status = match sys::sanitize(c"jit-sudo-hooks") {
        Ok(inherited) => jit_sudo::hooks::serve(&inherited),
        Err(_) => 1,
    };
    sys::process::exit_now(status)
}
