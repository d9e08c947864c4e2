use jit_sudo::elevation::Elevation;
use jit_sudo::grant::{GrantTerms, VerifiedGrant};
use jit_sudo::policy::Role;

fn forge(elevation: Elevation, role: Role, terms: GrantTerms) -> VerifiedGrant {
    VerifiedGrant { elevation, role, terms }
}

fn main() {}
