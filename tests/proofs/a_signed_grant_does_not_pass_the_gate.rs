use jit_sudo::auth::Authenticated;
use jit_sudo::authorized::Authorized;
use jit_sudo::clock::Moment;
use jit_sudo::grant::SignedGrant;

fn slip(grant: SignedGrant, proof: Authenticated, now: &Moment) {
    let _ = Authorized::by_grant(grant, proof, now, None);
}

fn main() {}
