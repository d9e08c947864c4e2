//! Checks what the product needs of the kernel: control of a command and its descendants, terminals to record on, seccomp
//! and Landlock.

use std::fs::{File, OpenOptions, read_to_string};
use std::path::Path;

use jit_core::wire::{Finding, Severity};

use super::{bad, finding, good, warning};

const AREA: &str = "kernel";

const MACHINE_ID: &str = "/etc/machine-id";

const SET_UP: &str = "systemd-machine-id-setup, then jitctl key accept --reason 'WHY'";

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// clone3(2) with CLONE_INTO_CGROUP: a command starts in its control group.
const WANTED: (u32, u32) = (5, 7);

pub(super) fn look() -> Vec<Finding> {
    [vec![release(), proc(), machine_id(), terminals(), seccomp(), landlock()], calls(), capabilities()].concat()
}

fn release() -> Finding {
    let text = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = text.trim();
    match version(text) {
        Some(version) if version >= WANTED => good(AREA, format!("Linux {text}")),
        Some(_) => warning(
            AREA,
            format!("Linux {text} is older than 5.7: a command cannot be born in a control group of its own"),
            "boot a newer kernel",
        ),
        None => warning(AREA, "its version cannot be read", "mount -t proc proc /proc"),
    }
}

/// The major and minor number.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Needed to find descendants and the caller's terminal.
fn proc() -> Finding {
    if !Path::new("/proc/self/stat").exists() || !Path::new(BOOT_ID).exists() {
        return bad("proc", "/proc is not mounted, or not wholly", "mount -t proc proc /proc");
    }
    match sys::time::boot_id() {
        Ok(_) => good("proc", "/proc is mounted"),
        Err(error) => bad(
            "proc",
            format!("{BOOT_ID} cannot be used ({error}): every run is refused"),
            format!("findmnt {BOOT_ID}, and umount {BOOT_ID}"),
        ),
    }
}

/// machine-id(5), which distinguishes this host from a copy of it.
fn machine_id() -> Finding {
    match sys::machine::machine_id() {
        Ok(Some(_)) => return good("machine-id", format!("{MACHINE_ID} names this machine")),
        Ok(None) => {}
        Err(error) => {
            let cure = format!("{SET_UP}; only root may be able to write to it, and it may be no link");
            return bad("machine-id", format!("{error}: every request and grant is refused"), cure);
        }
    }
    warning(
        "machine-id",
        format!(
            "{MACHINE_ID} is no file of 32 hexadecimal digits: a copy of this host that keeps its key passes for it"
        ),
        SET_UP,
    )
}

/// Names the optional system calls that this kernel lacks.
fn calls() -> Vec<Finding> {
    let note = |name| {
        let effect = match name {
            "clone3" => "a command enters its control group itself, before it changes its user",
            _ => "a process is known by its number and start alone, which is looked at before each signal",
        };
        finding("system calls", Severity::Note, format!("{name} is missing: {effect}"), None)
    };
    sys::calls::missing().into_iter().map(note).collect()
}

fn terminals() -> Finding {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/ptmx");
    match opened.and_then(|_: File| std::fs::metadata("/dev/pts").map(drop)) {
        Ok(()) => good("terminals", "a session can have a terminal of its own to be recorded on"),
        Err(error) => bad(
            "terminals",
            format!("no pseudo-terminal can be made ({error}): nothing runs on a terminal, and no session is recorded"),
            "mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts",
        ),
    }
}

fn seccomp() -> Finding {
    let actions = read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "errno") {
        good("seccomp", "filters can be set")
    } else {
        warning(
            "seccomp",
            "the kernel has no seccomp filters: roles with noexec do not run, and the relay process of a session can still start programs",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

/// The second sandbox of our processes that run beside a command; without it only the first one protects.
fn landlock() -> Finding {
    match sys::sandbox::landlock_version() {
        Ok(version) => good(
            "landlock",
            format!("version {version}: processes beside a command open no file that they do not need"),
        ),
        Err(error) => finding(
            "landlock",
            Severity::Note,
            format!(
                "the kernel has no Landlock ({error}): processes beside a command may open files that they do not need"
            ),
            Some("boot a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= of its command line".to_owned()),
        ),
    }
}

/// The most that set-user-ID programs can have here (capabilities(7)), by number, and the effect of each missing one.
const CAPABILITIES: [(u32, &str, Severity, &str); 8] = [
    (7, "CAP_SETUID", Severity::Error, "no command can run as anybody"),
    (6, "CAP_SETGID", Severity::Error, "no command can run as anybody"),
    (
        5,
        "CAP_KILL",
        Severity::Error,
        "no process that has become another user can be ended, and without control groups no command starts",
    ),
    (1, "CAP_DAC_OVERRIDE", Severity::Warning, "files and terminals of callers cannot be opened for them"),
    (3, "CAP_FOWNER", Severity::Warning, "the copies of files that users edit cannot be made: -e is refused"),
    (
        24,
        "CAP_SYS_RESOURCE",
        Severity::Note,
        "hard limits cannot be raised: a user with one of file size or CPU time, or few open files (ulimit -Hf, -Ht, -Hn), is refused",
    ),
    (23, "CAP_SYS_NICE", Severity::Note, "a nice value cannot be lowered: a user with a high one holds locks longer"),
    (
        29,
        "CAP_AUDIT_WRITE",
        Severity::Note,
        "auditd = true has no effect, and PAM modules cannot tell the kernel's audit",
    ),
];

/// Many containers lack the last ones, and are safe.
fn capabilities() -> Vec<Finding> {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let Some(bounds) = bounding_set(&status) else { return Vec::new() };
    let missing = CAPABILITIES.iter().filter(|(number, ..)| bounds >> number & 1 == 0);
    let told = |(_, name, severity, effect): &(u32, &str, Severity, &str)| {
        let fix = (*severity > Severity::Note).then(|| format!("give this host or container {name}"));
        finding("capabilities", *severity, format!("{name} is missing: {effect}"), fix)
    };
    missing.map(told).collect()
}

fn bounding_set(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounding_set_is_read_from_the_status_of_a_process() {
        assert_eq!(bounding_set("Name:\tx\nCapBnd:\t000001fffeffffff\n"), Some(0x1ff_feff_ffff));
        assert_eq!(bounding_set("CapBnd:\tzz\n"), None);
    }

    #[test]
    fn versions_are_read_and_compared_by_number() {
        assert_eq!(version("6.18.5"), Some((6, 18)));
        assert_eq!(version("5.10.0-28-amd64"), Some((5, 10)));
        assert!(version("5.10.0").unwrap() > WANTED && version("4.19-x").unwrap() < WANTED);
        for text in ["", "x", "6", "99999999999.1"] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
