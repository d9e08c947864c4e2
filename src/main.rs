//! jit-sudo, setuid root: sanitize the process, run, exit as the command did.
fn main() {}
