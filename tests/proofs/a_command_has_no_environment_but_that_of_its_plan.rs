use std::ffi::OsString;

use jit_sudo::audit::Journal;
use jit_sudo::audit::recorded::Recorded;
use jit_sudo::authorized::Authorized;
use jit_sudo::authorized::environment::{CommandEnvironment, RunEnvironment};
use jit_core::clock::Moment;
use sys::sanitize::Inherited;

fn as_it_came(journal: &Journal<'_>, authorized: Authorized, inherited: Inherited, moment: &Moment) {
    let _ = Recorded::commit(journal, authorized, inherited.environment, String::new(), &[], moment, |_| ());
}

fn by_hand(entries: Vec<OsString>) -> RunEnvironment {
    RunEnvironment::Command(CommandEnvironment(entries))
}

fn main() {}
