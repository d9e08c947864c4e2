use jit_sudo::auth::Authenticated;

fn forge(uid: u32, another: Authenticated) -> Authenticated {
    Authenticated { uid, ..another }
}

fn main() {}
