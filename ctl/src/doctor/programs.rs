//! Checks the installed programs: each exists, only root can write to it, and it is set-user-ID where it must be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jit_core::escape::command_line;
use jit_core::wire::Finding;
use sys::trusted::{TrustError, TrustedFile};

use super::{AGAIN, bad, good, warning};

const AREA: &str = "programs";

/// The privilege with which a program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Root,
    Callers,
}

/// `broker` is the path where jitctl finds it; its companions are beside it, and jit-sudo is beside jitctl.
pub(super) fn look(broker: &Path) -> Vec<Finding> {
    let beside = |path: &Path, name: &str| path.with_file_name(name);
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/jitctl"));
    let mut findings = Vec::new();
    for (path, right) in [
        (beside(&own, "jit-sudo"), Right::Root),
        (broker.to_owned(), Right::Root),
        (beside(broker, "jit-sudo-enforcer"), Right::Callers),
        (beside(broker, "jit-sudo-hooks"), Right::Callers),
        (beside(broker, "jit-sudo-compile"), Right::Callers),
        (beside(broker, "jit-sudo-shrink"), Right::Callers),
    ] {
        findings.extend(fault(&path, right));
    }
    if findings.is_empty() {
        findings.push(good(AREA, "all are there, and set-user-ID where they must be"));
    }
    if is_held_down() {
        findings.push(warning(
            AREA,
            "this process may gain no privilege (no_new_privs), as in some containers and services: here jit-sudo works for root alone",
            "start the container or the service without NoNewPrivileges",
        ));
    }
    findings
}

fn fault(path: &Path, right: Right) -> Option<Finding> {
    let word = command_line([path.as_os_str()]);
    let setuid = if right == Right::Root { format!(" && chmod 4755 {word}") } else { String::new() };
    if let Err(error) = TrustedFile::open(path) {
        let fix = match &error {
            TrustError::NotRootOwned { path: culprit, .. } if culprit == path => {
                format!("chown root:root {word}{setuid}")
            }
            TrustError::NotRootOwned { path, .. } => format!("chown root:root {}", command_line([path.as_os_str()])),
            TrustError::Writable { path, .. } => format!("chmod go-w {}", command_line([path.as_os_str()])),
            _ => AGAIN.to_owned(),
        };
        return Some(bad(AREA, error.to_string(), fix));
    }
    let mode = fs::metadata(path).ok()?.permissions().mode();
    if right == Right::Root && mode & 0o4000 == 0 {
        return Some(bad(AREA, format!("{path:?} has no set-user-ID bit"), format!("chmod 4755 {word}")));
    }
    if right == Right::Root && sys::mount::is_nosuid(path).unwrap_or(false) {
        let fix = format!("mount -o remount,suid \"$(findmnt -n -o TARGET -T {word})\"");
        return Some(bad(AREA, format!("{path:?} lies on a file system that is mounted with nosuid"), fix));
    }
    None
}

fn is_held_down() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("NoNewPrivs:").is_some_and(|value| value.trim() == "1"))
}
