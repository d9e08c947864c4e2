//! jitctl: the unprivileged front door.
fn main() {}
