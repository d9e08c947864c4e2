//! Root's word that the state of the host is right as it stands, by which alarms end and the clock begins anew.

/// The code of the alert by which root says that the state of the host is right as it stands.
pub const ACCEPTED: &str = "state-accepted";

/// The high water after a record. With root's word for the clock it begins anew: otherwise a clock that once stood far in
/// the future would count for ever.
pub fn high_after(high: i64, kind: &str, code: Option<&str>, time: i64) -> i64 {
    if accepts(kind, code) { time } else { high.max(time) }
}

/// Whether a record is root's acceptance of the host's state.
pub fn accepts(kind: &str, code: Option<&str>) -> bool {
    kind == "alert" && code == Some(ACCEPTED)
}
