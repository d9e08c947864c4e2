use jit_core::names::Person;
use jit_sudo::elevation::Caller;

fn forge(person: Person, another: Caller) -> Caller {
    Caller { person, ..another }
}

fn main() {}
