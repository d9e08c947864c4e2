//! Checks the system clock, which determines when grants end.

use jit_core::wire::Finding;

use super::{bad, good, warning};
use crate::when;

const AREA: &str = "clock";

/// 2025-01-01: no build of this program is older.
const PAST: i64 = 1_735_689_600;

pub(super) fn look() -> Vec<Finding> {
    if when::now() < PAST {
        return vec![bad(AREA, "the clock is before 2025", "set it: timedatectl set-time 'YYYY-MM-DD hh:mm'")];
    }
    vec![match sys::time::is_synchronised() {
        Ok(true) => good(AREA, "something keeps it synchronised"),
        Ok(false) if !sys::time::is_kept() => warning(
            AREA,
            "nothing keeps the clock synchronised, and it does not run while the host is off: grants of an earlier boot do not count",
            "systemctl enable --now systemd-timesyncd, or install chrony",
        ),
        Ok(false) => warning(
            AREA,
            "nothing keeps the clock synchronised, and grants end by it",
            "systemctl enable --now systemd-timesyncd, or install chrony",
        ),
        Err(error) => {
            warning(AREA, format!("the kernel does not tell whether it is synchronised: {error}"), "timedatectl")
        }
    }]
}
