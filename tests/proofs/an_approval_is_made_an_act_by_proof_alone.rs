use jit_core::grant::{Approval, Means};
use jit_sudo::verify::{Act, Attested, Consent, Shown};

fn forge(approval: Approval, act: Act) -> Attested {
    Attested { approval, act }
}

fn agree(uid: u32, shown: Shown) -> Consent {
    Consent { uid, shown }
}

fn act(uid: u32, means: Means) -> Act {
    Act { uid, means }
}

fn main() {}
