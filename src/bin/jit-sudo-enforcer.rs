//! jit-sudo-enforcer, not setuid, started by root's own programs alone: end a run when its grant ends, and exit when nobody of it
//! is left.

fn main() {
    let status = match sys::sanitize(c"jit-sudo-enforcer") {
        Ok(inherited) => jit_sudo::run::enforcer::serve(&inherited),
        Err(_) => 1,
    };
    sys::process::exit_now(status)
}
