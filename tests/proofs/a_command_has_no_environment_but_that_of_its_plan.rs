use std::ffi::OsString;

use jit_sudo::audit::{Journal, Process};
use jit_sudo::audit::recorded::Recorded;
use jit_sudo::authorized::Authorized;
use jit_sudo::authorized::environment::{CommandEnvironment, RunEnvironment};
use jit_core::clock::Moment;
use jit_core::names::RunId;
use sys::sanitize::Inherited;

fn as_it_came(journal: &Journal<'_>, authorized: Authorized, inherited: Inherited, by: (RunId, Process), moment: &Moment) {
    let _ = Recorded::commit(journal, authorized, inherited.environment, by, &[], moment);
}

fn by_hand(entries: Vec<OsString>) -> RunEnvironment {
    RunEnvironment::Command(CommandEnvironment(entries))
}

fn main() {}
