use jit_core::grant::Approval;
use jit_sudo::verify::{Act, Attested, Consent, Shown};

fn forge(approval: Approval, act: Act) -> Attested {
    Attested { approval, act }
}

fn agree(uid: u32, shown: Shown) -> Consent {
    Consent { uid, shown }
}

fn main() {}
