use jit_sudo::authorized::{Authorized, EnvironmentPolicy};

fn variables(authorized: &Authorized) -> Vec<Vec<u8>> {
    match authorized.plan().environment() {
        EnvironmentPolicy::Role(callers) => callers.variables().map(|(name, _)| name.to_vec()).collect(),
        EnvironmentPolicy::Exact(named) => named.variables().map(|(name, _)| name.to_vec()).collect(),
    }
}

fn take_back(authorized: &mut Authorized) {
    authorized.elevation().take_environment();
}

fn main() {}
