//! What `jitctl doctor` checks and no run needs: disk space, access to the key, log sinks that are behind.
//! May not: change anything.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::key_place::host_key_file;
use super::{Host, HostError};
use crate::audit::sink::journald;
use crate::audit::sink::json_file::directory_of;
use crate::audit::sink::syslog::DEV_LOG;
use crate::audit::{Journal, Sent};
use jit_core::places::PAM_SERVICES;
use jit_core::policy::{AuditSettings, SyslogMode};
use sys::trusted::{TrustError, free_space, is_read_only};

/// A log sink that the policy names.
pub struct Mirror {
    /// Its name in `[audit]`.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: Option<String>,
    /// The command or advice that fixes it.
    pub fix: String,
}

/// The code of the alert that the file of a log sink is not written.
const NOT_WRITTEN: &str = "log-file-open";

/// The longest PAM service file, in bytes.
const SERVICE_LIMIT: u64 = 64 << 10;

impl Host {
    /// Returns the text of a PAM service, from where libpam reads it; `None` where there is none.
    pub fn pam_service(name: &str) -> Option<String> {
        if name.contains('/') {
            return None;
        }
        let read = |directory: &Path| {
            let mut text = String::new();
            let file = std::fs::File::open(directory.join(name)).ok()?;
            file.take(SERVICE_LIMIT).read_to_string(&mut text).ok()?;
            Some(text)
        };
        [PAM_SERVICES, "/etc/pam.d", "/usr/lib/pam.d"].iter().find_map(|directory| read(Path::new(directory)))
    }

    /// Whether the state directory is on a read-only file system.
    pub fn is_read_only(&self) -> Result<bool, HostError> {
        is_read_only(self.state.path()).map_err(|error| HostError::System("look at the state's file system", error))
    }

    /// Returns the free space of the file system of the state directory, in bytes.
    pub fn free_space(&self) -> Result<u64, HostError> {
        let failed = |error| HostError::System("ask for the free space", error);
        let directory = fs::File::open(self.state.path()).map_err(failed)?;
        free_space(directory.as_fd()).map_err(failed)
    }

    /// Checks that only root can read the host key.
    pub fn key_is_private(&self) -> Result<(), HostError> {
        Ok(host_key_file(&self.state)?.private()?)
    }

    /// Returns the log sinks, and for each whether it accepts records and has received all of them.
    pub fn mirrors(&self, audit: &AuditSettings, journal: &Journal<'_>) -> Vec<Mirror> {
        let wanted = [
            (
                audit.syslog != SyslogMode::Off,
                "syslog",
                Some(DEV_LOG),
                "start the syslog daemon: systemctl start rsyslog",
            ),
            (audit.journald, "journald", Some(journald::SOCKET), "systemctl start systemd-journald"),
            (audit.auditd, "auditd", None, "systemctl start auditd"),
            (
                audit.json_file.is_some(),
                "json_file",
                None,
                "check that the directory of json_file exists and has free space",
            ),
        ];
        let wanted = wanted.into_iter().filter(|(wanted, ..)| *wanted);
        wanted
            .map(|(_, name, socket, fix)| {
                let deaf = socket.and_then(|path| Some((path, listens(path).err()?)));
                if let ("json_file", Err(error)) = (name, Self::log_file_is_closed(audit)) {
                    let fix = error.cure().unwrap_or_default();
                    return Mirror { name, fault: Some(format!("{error}: nothing is written")), fix };
                }
                if let Some((path, error)) = deaf {
                    let fault = Some(format!("no daemon listens at {path}: {error}"));
                    return Mirror { name, fault, fix: fix.to_owned() };
                }
                let fault = self.behind(name, journal).map(|count| format!("{count} records have not arrived"));
                let fix = if socket.is_some() { restart(name) } else { fix.to_owned() };
                Mirror { name, fault, fix }
            })
            .collect()
    }

    /// Checks that only root can write to the directory of `json_file`, and only root and its group can list it. A missing
    /// directory may be created later.
    pub fn log_file_is_closed(audit: &AuditSettings) -> Result<(), HostError> {
        match audit.json_file.as_ref().map(directory_of) {
            None | Some(Ok(_) | Err(TrustError::Missing { .. })) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Records an alert if that is not so, unless an earlier one is among the newest.
    pub fn tell_of_log_file(&self, audit: &AuditSettings, journal: &Journal<'_>) -> Result<(), HostError> {
        let Err(error) = Self::log_file_is_closed(audit) else { return Ok(()) };
        let sentence = format!("{error}: no record is written to json_file");
        let written = journal.alert_once(&self.clocks()?, NOT_WRITTEN, &sentence)?;
        let _ = journal.mirror(written.as_slice()); // the journal has it; a sink never decides
        Ok(())
    }

    /// Returns the number of records that a sink lacks; `None` where it lacks none, or never received one.
    fn behind(&self, name: &str, journal: &Journal<'_>) -> Option<u64> {
        let text = fs::read(self.state.path().join(format!("sent-{name}"))).ok()?;
        journal.count(Sent::parse(name, &text)?.last.seq, u64::MAX).ok().filter(|count| *count > 0)
    }
}

/// Returns the advice for a daemon that listens and lacks records. They are kept for the next record.
fn restart(sink: &str) -> String {
    let unit = if sink == "syslog" { "rsyslog" } else { "systemd-journald" };
    format!("nothing, unless they do not arrive with the next record; then: systemctl restart {unit}")
}

fn listens(path: &str) -> std::io::Result<()> {
    UnixDatagram::unbound()?.connect(path)
}
