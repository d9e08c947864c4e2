use jit_sudo::auth::Authenticated;
use jit_sudo::authorized::Authorized;
use jit_core::clock::Now;
use jit_sudo::verify::VerifiedGrant;

fn twice(grant: VerifiedGrant, one: Authenticated, two: Authenticated, now: &Now) {
    let _ = Authorized::by_grant(grant, one, now);
    let _ = Authorized::by_grant(grant, two, now);
}

fn main() {}
