use jit_sudo::auth::Authenticated;
use jit_sudo::authorized::Authorized;
use jit_core::clock::Now;
use jit_core::grant::SignedGrant;

fn slip(grant: SignedGrant, proof: Authenticated, now: &Now) {
    let _ = Authorized::by_grant(grant, proof, now);
}

fn main() {}
