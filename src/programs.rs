//! Where our own programs lie. Nothing about them is asked of a name that a process gives itself.

use std::io::{self, Seek, Write};
use std::process::{Command, Stdio};

use sys::process::{Pid, spawn_apart};
use sys::programs::Programs;

/// The program that people call.
pub const JIT_SUDO: &str = match option_env!("JIT_SUDO_PROGRAM") {
    Some(path) => path,
    None => "/usr/bin/jit-sudo",
};

/// The one that answers jitctl and the PAM module.
const BROKER: &str = match option_env!("JIT_SUDO_BROKER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-broker",
};

/// The one that ends runs in time.
const ENFORCER: &str = match option_env!("JIT_SUDO_ENFORCER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-enforcer",
};

/// The one that runs the administrator's hooks.
pub const HOOK_RUNNER: &str = match option_env!("JIT_SUDO_HOOK_RUNNER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-hooks",
};

/// The one that compresses recordings.
pub const SHRINKER: &str = match option_env!("JIT_SUDO_SHRINKER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-shrink",
};

/// Starts the enforcer in a session of its own, with `order` as its standard input, and does not wait.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn start_enforcer(order: &[u8]) -> io::Result<Pid> {
    let mut file = sys::sealed::memory_file("order")?;
    file.write_all(order)?;
    file.rewind()?;
    let mut command = Command::new(ENFORCER);
    command.env_clear().current_dir("/").stdin(file).stdout(Stdio::null()).stderr(Stdio::null());
    spawn_apart(&mut command)
}

/// All that may hold what others on the host wait for, or end what must end in time. They go on where everything around them is
/// frozen, and are ended after it.
pub fn ours() -> Programs {
    Programs::at(&OURS)
}

/// Their paths.
pub const OURS: [&str; 5] = [JIT_SUDO, BROKER, ENFORCER, HOOK_RUNNER, SHRINKER];

/// Tells which processes run them: by looking, or by asking a process that may look.
pub trait Ours {
    /// Looks which files lie there now; comes before [`Self::run_by`].
    fn look(&self);

    /// Which of them a process runs with the rights of root, by its path. One that nobody can tell is taken for another.
    fn run_by(&self, pid: Pid) -> Option<&'static str>;
}

impl Ours for Programs {
    fn look(&self) {
        self.look();
    }

    fn run_by(&self, pid: Pid) -> Option<&'static str> {
        self.run_by(pid)
    }
}
