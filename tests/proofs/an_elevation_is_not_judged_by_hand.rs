use jit_core::policy::Role;
use jit_sudo::elevation::Elevation;
use jit_sudo::judge::{Eligible, Standing};

fn standing(elevation: Elevation, role: Role) -> Standing {
    Standing { elevation, role }
}

fn eligible(elevation: Elevation, roles: Vec<Role>) -> Eligible {
    Eligible { elevation, roles }
}

fn main() {}
