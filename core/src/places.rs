//! The paths of programs and directories, set when the programs are built (Makefile).

/// The directory of the configuration.
pub const CONFIGURATION: &str = match option_env!("JIT_SUDO_SYSCONFDIR") {
    Some(directory) => directory,
    None => "/etc/jit-sudo",
};

/// The directory for the state of jit-sudo: mode 0700, owner root.
pub const STATE: &str = match option_env!("JIT_SUDO_STATEDIR") {
    Some(directory) => directory,
    None => "/var/lib/jit-sudo",
};

/// The directory for what lasts until the host shuts down: mode 0700, owner root, in memory.
pub const RUNTIME: &str = "/run/jit-sudo";

/// The directory of the administrator's hooks.
pub const HOOKS: &str = match option_env!("JIT_SUDO_HOOKSDIR") {
    Some(directory) => directory,
    None => "/etc/jit-sudo/hooks.d",
};

/// The directory of our PAM services: links to those of `/etc/pam.d`, and an `other` that denies.
pub const PAM_SERVICES: &str = match option_env!("JIT_SUDO_PAM_SERVICES") {
    Some(directory) => directory,
    None => "/usr/libexec/jit-sudo/pam.d",
};

/// The program that users call.
pub const JIT_SUDO: &str = match option_env!("JIT_SUDO_PROGRAM") {
    Some(path) => path,
    None => "/usr/bin/jit-sudo",
};

/// The broker, which answers jitctl and the PAM module.
pub const BROKER: &str = match option_env!("JIT_SUDO_BROKER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-broker",
};

/// The enforcer, which ends runs in time.
pub const ENFORCER: &str = match option_env!("JIT_SUDO_ENFORCER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-enforcer",
};

/// The program that runs the administrator's hooks.
pub const HOOK_RUNNER: &str = match option_env!("JIT_SUDO_HOOK_RUNNER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-hooks",
};

/// The one that compiles the policy.
pub const COMPILER: &str = match option_env!("JIT_SUDO_COMPILER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-compile",
};

/// The one that compresses recordings.
pub const SHRINKER: &str = match option_env!("JIT_SUDO_SHRINKER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-shrink",
};

/// The one that seals and unseals the host key.
pub const KEY_SEALER: &str = match option_env!("JIT_SUDO_KEY_SEALER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-host-key",
};
