use jit_sudo::auth::Authenticated;
use jit_sudo::authorized::{Authorized, Power};
use jit_sudo::elevation::Elevation;
use jit_core::policy::Role;

fn forge(elevation: Elevation, role: Role, authenticated: Authenticated) -> Authorized {
    Authorized { elevation, role, power: Power::Standing, authenticated }
}

fn main() {}
