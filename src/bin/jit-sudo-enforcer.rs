//! jit-sudo-enforcer, not setuid, started only by root's own programs: ends a run when its grant ends, and exits when none of its
//! processes is left.

fn main() {
    let status = match sys::sanitize(c"jit-sudo-enforcer") {
        Ok(inherited) => jit_sudo::run::enforcer::serve(&inherited),
        Err(_) => 1,
    };
    sys::process::exit_now(status)
}
