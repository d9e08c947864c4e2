use jit_sudo::auth::Authenticated;
use jit_sudo::authorized::Authorized;
use jit_sudo::clock::Moment;
use jit_sudo::grant::VerifiedGrant;

fn twice(grant: VerifiedGrant, one: Authenticated, two: Authenticated, now: &Moment) {
    let _ = Authorized::by_grant(grant, one, now, None);
    let _ = Authorized::by_grant(grant, two, now, None);
}

fn main() {}
