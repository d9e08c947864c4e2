use jit_sudo::grant::{Act, Approval, Attested, Consent};

fn forge(approval: Approval, act: Act) -> Attested {
    Attested { approval, act }
}

fn agree(uid: u32, request: [u8; 32]) -> Consent {
    Consent { uid, request }
}

fn main() {}
