//! The kernel's clocks, in microseconds. Never reads `TZ` (CVE-2014-9680): local time is for unprivileged programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
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

/// Whether the wall clock tells how long the machine was off: it was set at the boot from a clock that has a battery, or that a
/// hypervisor provides, or something has set it since. Without such a clock, as on a Raspberry Pi, a system continues with the time
/// at which it was shut down.
pub fn is_kept() -> bool {
    is_synchronised().unwrap_or(false) || is_set_by_rtc(Path::new(RTC)) || is_set_by_hypervisor(Path::new(CLOCKS))
}

/// The real-time clocks (Documentation/ABI/testing/sysfs-class-rtc).
const RTC: &str = "/sys/class/rtc";

/// The clocks that the kernel can count by (Documentation/ABI/stable/sysfs-devices-system-clocksource).
const CLOCKS: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";

/// The clocks of hypervisors, which also tell the wall clock at the boot: those of KVM, Xen and Hyper-V.
const HYPERVISORS: [&str; 4] = ["kvm-clock", "xen", "hyperv_clocksource_tsc_page", "hyperv_clocksource_msr"];

/// Whether the system time was set from one of the real-time clocks in this directory.
fn is_set_by_rtc(clocks: &Path) -> bool {
    let is_source = |clock: PathBuf| fs::read_to_string(clock.join("hctosys")).is_ok_and(|text| text.trim() == "1");
    fs::read_dir(clocks).is_ok_and(|mut found| found.any(|clock| clock.is_ok_and(|clock| is_source(clock.path()))))
}

fn is_set_by_hypervisor(clocks: &Path) -> bool {
    fs::read_to_string(clocks).is_ok_and(|text| text.split_ascii_whitespace().any(|clock| HYPERVISORS.contains(&clock)))
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
    fn a_clock_with_a_battery_or_of_a_hypervisor_sets_the_time_at_the_boot() {
        let place = std::env::temp_dir().join(format!("jit-sudo-rtc-{}", std::process::id()));
        let (used, unused, list) = (place.join("used"), place.join("unused"), place.join("list"));
        for (rtc, text) in [(&used, "1\n"), (&unused, "0\n")] {
            fs::create_dir_all(rtc.join("rtc0")).unwrap();
            fs::write(rtc.join("rtc0/hctosys"), text).unwrap();
        }
        assert!(is_set_by_rtc(&used) && !is_set_by_rtc(&unused) && !is_set_by_rtc(&place.join("none")));
        for (text, expected) in [("tsc kvm-clock \n", true), ("tsc hpet acpi_pm \n", false), ("", false)] {
            fs::write(&list, text).unwrap();
            assert_eq!(is_set_by_hypervisor(&list), expected, "{text}");
        }
        assert!(!is_set_by_hypervisor(&place.join("none")));
        fs::remove_dir_all(&place).unwrap();
    }

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
