//! Where things lie, fixed when the programs are built (Makefile).

/// The administrator's directory.
pub const CONFIGURATION: &str = match option_env!("JIT_SUDO_SYSCONFDIR") {
    Some(directory) => directory,
    None => "/etc/jit-sudo",
};

/// Our own directory: 0700 root.
pub const STATE: &str = match option_env!("JIT_SUDO_STATEDIR") {
    Some(directory) => directory,
    None => "/var/lib/jit-sudo",
};

/// The administrator's hooks.
pub const HOOKS: &str = match option_env!("JIT_SUDO_HOOKSDIR") {
    Some(directory) => directory,
    None => "/etc/jit-sudo/hooks.d",
};

/// Our own PAM services: links to those of `/etc/pam.d`, beside an `other` that refuses.
pub const PAM_SERVICES: &str = match option_env!("JIT_SUDO_PAM_SERVICES") {
    Some(directory) => directory,
    None => "/usr/libexec/jit-sudo/pam.d",
};

/// The program that people call.
pub const JIT_SUDO: &str = match option_env!("JIT_SUDO_PROGRAM") {
    Some(path) => path,
    None => "/usr/bin/jit-sudo",
};

/// The one that answers jitctl and the PAM module.
pub const BROKER: &str = match option_env!("JIT_SUDO_BROKER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-broker",
};

/// The one that ends runs in time.
pub const ENFORCER: &str = match option_env!("JIT_SUDO_ENFORCER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-enforcer",
};

/// The one that runs the administrator's hooks.
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
