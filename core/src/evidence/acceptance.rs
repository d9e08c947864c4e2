//! Root's acceptance of the host's state, which clears alarms and resets the latest time.

/// The code of the alert with which root accepts the state of the host.
pub const ACCEPTED: &str = "state-accepted";

/// Returns the latest time after a record. Root's acceptance resets it: otherwise a clock that was once far in the
/// future would count for ever.
pub fn high_after(high: i64, kind: &str, code: Option<&str>, time: i64) -> i64 {
    if accepts(kind, code) { time } else { high.max(time) }
}

/// Returns whether a record is root's acceptance of the host's state.
pub fn accepts(kind: &str, code: Option<&str>) -> bool {
    kind == "alert" && code == Some(ACCEPTED)
}
