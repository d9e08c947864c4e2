//! The kernel's clocks, in microseconds. Never reads `TZ` (CVE-2014-9680): local time is for unprivileged programs.

use std::fs;
use std::io;
use std::sync::OnceLock;

use crate::kernel::check;

/// Returns the wall clock, in microseconds since 1970 UTC; negative before.
pub fn realtime_us() -> i64 {
    read(libc::CLOCK_REALTIME)
}

/// Returns microseconds since boot, sleep included; no user can set this clock.
pub fn boottime_us() -> i64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Returns the id of this boot, a UUID in lower case. Read once: no process outlives its boot.
///
/// # Errors
/// When `/proc` is missing or contains something else.
pub fn boot_id() -> io::Result<String> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(id) = KNOWN.get() {
        return Ok(id.clone());
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = text.trim_end_matches('\n');
    if id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        Ok(KNOWN.get_or_init(|| id.to_owned()).clone())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/sys/kernel/random/boot_id holds no id of the boot"))
    }
}

/// Returns whether the kernel considers the wall clock synchronised (adjtimex(2)): it does while a daemon synchronises
/// it.
///
/// # Errors
/// Those of adjtimex(2).
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: timex is integers, for which zero is valid.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` lives through the call; with `modes` 0 nothing is set, which needs no privilege.
    let answer = check(unsafe { libc::adjtimex(&raw mut state) })?;
    Ok(answer != libc::TIME_ERROR)
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call. Both clocks exist since Linux 2.6.39, so it cannot fail; if it did, the
    // time would be 0, which no window of validity contains.
    let _ = check(unsafe { libc::clock_gettime(clock, &raw mut time) });
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward() {
        let (wall, boot) = (realtime_us(), boottime_us());
        assert!(wall > 1_700_000_000_000_000);
        assert!(boot > 0 && boottime_us() >= boot);
    }

    #[test]
    fn boot_id_does_not_change() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
