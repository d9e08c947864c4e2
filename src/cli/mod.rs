//! temporary
use std::ffi::OsString;
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum Mode { Command, LoginShell, Shell }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum PasswordFrom { Terminal, Stdin, Askpass }
#[derive(Clone, Debug, Default)] pub struct EnvironmentWish { pub preserve_all: bool, pub preserve: Vec<OsString>, pub set: Vec<(OsString, OsString)> }
#[derive(Clone, Debug)] pub struct Common { pub non_interactive: bool, pub password_from: PasswordFrom, pub prompt: Option<OsString>, pub ignore_cache: bool, pub no_update: bool }
#[derive(Clone, Debug, Default)] pub struct ActivationWish { pub reason: Option<OsString>, pub ticket: Option<OsString>, pub duration: Option<u64>, pub role: Option<OsString>, pub wait: Option<Option<u64>> }
impl ActivationWish { pub fn is_wished(&self) -> bool { self.reason.is_some() } }
#[derive(Clone, Debug)] pub struct Run { pub common: Common, pub run_as: Option<OsString>, pub run_as_group: Option<OsString>, pub mode: Mode, pub environment: EnvironmentWish, pub set_home: bool, pub preserve_groups: bool, pub directory: Option<OsString>, pub background: bool, pub command: Vec<OsString>, pub activation: ActivationWish }
#[derive(Debug)] pub struct UsageError;
impl std::fmt::Display for UsageError { fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
