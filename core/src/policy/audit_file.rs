//! Parses the table `[audit]`.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::error::PolicyError;
use super::options::variable_pattern;
use super::principal::Principal;
use super::recording::RecordingMode;
use super::settings::{AuditSettings, JsonFile, SyslogFormat, SyslogMode};
use super::table::Table;
use crate::clock::duration;

/// Its keys.
pub(super) const KEYS: &[&str] = &[
    "syslog",
    "syslog_format",
    "journald",
    "auditd",
    "json_file",
    "json_file_size",
    "json_file_count",
    "redact",
    "readers",
    "recording",
    "recording_limit",
    "recording_reserve",
    "user_recordings",
    "user_recordings_per_day",
    "keep",
    "epoch",
    "user_storage",
    "user_storage_per_day",
];

pub(super) fn read(table: &Table<'_>, audit: &mut AuditSettings) -> Result<(), PolicyError> {
    if let Some(value) = table.parsed("syslog", syslog)? {
        audit.syslog = value;
    }
    if let Some(value) = table.parsed("syslog_format", syslog_format)? {
        audit.syslog_format = value;
    }
    if let Some(value) = table.boolean("journald")? {
        audit.journald = value;
    }
    if let Some(value) = table.boolean("auditd")? {
        audit.auditd = value;
    }
    read_json_file(table, audit)?;
    if let Some(value) = table.each("redact", variable_pattern)? {
        audit.redact = value;
    }
    if let Some(value) = table.each("readers", Principal::parse)? {
        audit.readers = value;
    }
    if let Some(value) = table.parsed("recording", RecordingMode::parse)? {
        audit.recording.mode = value;
    }
    if let Some(value) = table.parsed("recording_limit", size)? {
        audit.recording.limit = value;
    }
    if let Some(value) = table.parsed("recording_reserve", size)? {
        audit.recording.reserve = value;
    }
    if let Some(value) = table.parsed("user_recordings", storage)? {
        audit.recording.per_user.at_once = value;
    }
    if let Some(value) = table.parsed("user_recordings_per_day", storage)? {
        audit.recording.per_user.per_day = value;
    }
    if let Some(value) = table.parsed("user_storage", storage)? {
        audit.storage.at_once = value;
    }
    if let Some(value) = table.parsed("user_storage_per_day", storage)? {
        audit.storage.per_day = value;
    }
    if let Some(value) = table.parsed("epoch", epoch)? {
        audit.epoch = Duration::from_secs(value);
    }
    audit.keep = table.parsed("keep", duration::days)?.map(Duration::from);
    Ok(())
}

/// Parses the length of an epoch, in seconds. Each epoch adds a record; root can forge what was recorded in the present one.
fn epoch(text: &str) -> Result<u64, &'static str> {
    let length = duration::seconds(text).map(|length| length.0).ok().filter(|length| (1..=7 * 86_400).contains(length));
    length.ok_or("must be a duration such as \"1h\", from \"1s\" to \"7d\"")
}

fn read_json_file(table: &Table<'_>, audit: &mut AuditSettings) -> Result<(), PolicyError> {
    if let Some(path) = table.parsed("json_file", file_path)? {
        audit.json_file = Some(JsonFile { path, size: 100 << 20, count: 10 });
    }
    let (size, count) = (table.parsed("json_file_size", size)?, table.number("json_file_count", 1..1_001)?);
    match &mut audit.json_file {
        Some(file) => {
            file.size = size.unwrap_or(file.size);
            file.count = count.unwrap_or(file.count);
            Ok(())
        }
        None if size.is_some() => Err(table.invalid("json_file_size", "has no effect without json_file")),
        None if count.is_some() => Err(table.invalid("json_file_count", "has no effect without json_file")),
        None => Ok(()),
    }
}

fn syslog(text: &str) -> Result<SyslogMode, &'static str> {
    match text {
        "mirror" => Ok(SyslogMode::Mirror),
        "required" => Ok(SyslogMode::Required),
        "off" => Ok(SyslogMode::Off),
        _ => Err("must be \"mirror\", \"required\" or \"off\""),
    }
}

fn syslog_format(text: &str) -> Result<SyslogFormat, &'static str> {
    match text {
        "json" => Ok(SyslogFormat::Json),
        "sudo" => Ok(SyslogFormat::Sudo),
        _ => Err("must be \"json\" or \"sudo\""),
    }
}

fn file_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    let canonical = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && canonical && path.file_name().is_some() && !text.ends_with('/') && !text.contains('\0') {
        Ok(path.to_owned())
    } else {
        Err("must be the absolute path of a file, without '..'")
    }
}

/// Parses a number of bytes, or of KiB, MiB or GiB with K, M or G: at least 4096 bytes.
fn size(text: &str) -> Result<u64, &'static str> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (text.get(..text.len() - 1), 10),
        Some(b'M') => (text.get(..text.len() - 1), 20),
        Some(b'G') => (text.get(..text.len() - 1), 30),
        _ => (Some(text), 0),
    };
    let number = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|size| (4096..=1 << 40).contains(size))
        .ok_or("must be a size such as \"100M\", from \"4K\" to \"1024G\"")
}

/// Parses a storage size; less than the minimum could not hold one request.
fn storage(text: &str) -> Result<u64, &'static str> {
    size(text).ok().filter(|size| *size >= 1 << 20).ok_or("must be a size such as \"2M\", from \"1M\" to \"1024G\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_bounds() {
        assert_eq!(
            (size("4096"), size("4K"), size("100M"), size("2G")),
            (Ok(4096), Ok(4096), Ok(100 << 20), Ok(2 << 30))
        );
        for bad in ["", "M", "1", "4095", "-4K", "+4K", "4 K", "4k", "1.5M", "99999999999999999999G", "17179869184G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_epoch_lasts_a_second_to_a_week() {
        assert_eq!((epoch("1s"), epoch("1h"), epoch("7d")), (Ok(1), Ok(3600), Ok(604_800)));
        for bad in ["", "0s", "1h ", "604801s", "8d", "1", "-1h", "500ms", "never"] {
            assert!(epoch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_has_an_absolute_path() {
        assert!(file_path("/var/log/jit-sudo/audit.jsonl").is_ok());
        for bad in ["", "/", "audit", "/var/log/", "/var/../log/a", "./a", "/var/./a\0"] {
            assert!(file_path(bad).is_err(), "{bad}");
        }
    }
}
