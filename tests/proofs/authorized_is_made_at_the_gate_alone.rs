use jit_core::policy::Role;
use jit_sudo::auth::Authenticated;
use jit_sudo::authorized::{Authorized, ExecPlan, Power};

fn forge(plan: ExecPlan, role: Role, authenticated: Authenticated) -> Authorized {
    Authorized { plan, role, power: Power::Standing, authenticated }
}

fn main() {}
