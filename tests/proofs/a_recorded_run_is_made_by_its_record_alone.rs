use jit_sudo::audit::recorded::Recorded;
use jit_sudo::authorized::Authorized;

fn forge(authorized: Authorized, another: Recorded) -> Recorded {
    Recorded { authorized, ..another }
}

fn main() {}
