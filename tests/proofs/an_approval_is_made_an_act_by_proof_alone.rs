use jit_sudo::grant::{Act, Approval, Attested, Consent, Shown};

fn forge(approval: Approval, act: Act) -> Attested {
    Attested { approval, act }
}

fn agree(uid: u32, shown: Shown) -> Consent {
    Consent { uid, shown }
}

fn main() {}
