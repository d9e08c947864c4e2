//! jit-sudo-hooks, not setuid, started only by root's own programs: runs the hooks for committed events, and exits.

fn main() {
    let status = match sys::sanitize(c"jit-sudo-hooks") {
        Ok(inherited) => jit_sudo::hooks::serve(&inherited),
        Err(_) => 1,
    };
    sys::process::exit_now(status)
}
