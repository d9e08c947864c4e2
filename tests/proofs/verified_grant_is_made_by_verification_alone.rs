use jit_sudo::elevation::Elevation;
use jit_core::grant::GrantTerms;
use jit_sudo::verify::VerifiedGrant;
use jit_core::policy::Role;

fn forge(elevation: Elevation, role: Role, terms: GrantTerms) -> VerifiedGrant {
    VerifiedGrant { elevation, role, terms }
}

fn main() {}
