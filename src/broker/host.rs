//! Diagnosis of this host for root, from the inside. It works when other functions fail, continues after each fault, and changes
//! nothing: it names the fix.

use std::fmt::Display;

use super::failure::Refused;
use super::roles::policy_warnings;
use crate::audit::Journal;
use crate::audit::state_checks::ClockDoubt;
use crate::auth::stack::succeeds_unproved;
use crate::elevation::Caller;
use crate::host::{Host, HostError, RESERVE, RESERVE_SIZE, SALVAGE, lost_sealing_key, writable};
use jit_core::clock::duration::Seconds;
use jit_core::places::{CONFIGURATION, KEY_SEALER, STATE};
use jit_core::policy::{AuditSettings, Policy, PolicyReader, SyslogMode};
use jit_core::wire::{Finding, Severity};

/// Below this many free bytes a warning is given: a day of recordings may fill the disk.
const SPACE: u64 = 256 << 20;

/// The findings so far.
struct Findings {
    found: Vec<Finding>,
    reader: PolicyReader,
}

/// Examines the host, for root.
pub(super) fn examine(caller: &Caller, reader: PolicyReader) -> Result<Vec<Finding>, Refused> {
    let mut findings = Findings { found: Vec::new(), reader };
    let policy = match Host::parsed_policy() {
        Ok((policy, files)) => {
            findings.good("policy", format!("{} roles in {}", policy.roles().len(), files.join(", ")));
            Some(policy)
        }
        // jitctl itself reports a missing program, with the fix.
        Err(HostError::Compiler(error)) if error.is_missing() => None,
        Err(error) => {
            findings.fault("policy", &error);
            None
        }
    };
    match Host::open_or_begin(caller.host(), caller.uid()) {
        Ok(host) => findings.inside(&host, policy.as_ref()),
        Err(error) => findings.fault("state", &error),
    }
    findings.hooks();
    Ok(findings.found)
}

impl Findings {
    fn inside(&mut self, host: &Host, policy: Option<&Policy>) {
        let nothing = AuditSettings::default();
        let audit = policy.map_or(&nothing, |policy| &policy.settings().audit);
        match host.is_read_only() {
            Ok(false) => self.good("state", format!("{STATE} is root's alone")),
            Ok(true) => {
                let said = format!("{STATE} is mounted read-only: nothing can be recorded, so nothing runs");
                self.add("state", Severity::Error, said, Some(writable()));
            }
            Err(error) => self.fault("state", &error),
        }
        self.database(host);
        self.compiled(host);
        self.key(host);
        let journal = host.journal(audit);
        self.sealing_key(host, &journal);
        self.anchor(host, &journal);
        self.clock(host, &journal);
        self.retention(host, audit, &journal);
        self.approvers(host, policy);
        self.mirrors(host, audit, &journal);
        self.cgroups();
        if let Some(policy) = policy {
            self.pam(policy);
        }
    }

    /// Reports PAM services that may succeed without checking a secret. Only the lines of the stack show that.
    fn pam(&mut self, policy: &Policy) {
        let roles = policy.roles().iter();
        let mut services: Vec<&str> = roles
            .flat_map(|role| [role.pam_service.as_deref(), role.options.pam_login_service.as_deref()])
            .flatten()
            .collect();
        services.extend(["jit-sudo", "jit-sudo-i"]);
        services.sort_unstable();
        services.dedup();
        let open: Vec<&str> =
            services.into_iter().filter(|service| succeeds_unproved(service, &Host::pam_service)).collect();
        if open.is_empty() {
            return self.good("PAM", "each service succeeds only if a module that checks a secret succeeds");
        }
        for service in open {
            let said = format!(
                "the auth stack of service {service} succeeds where every module that is known to check a secret fails: whatever is typed may count as a password"
            );
            let fix =
                format!("make the module that checks it required in /etc/pam.d/{service}, with pam_deny.so behind it");
            self.add("PAM", Severity::Warning, said, Some(fix));
        }
    }

    fn database(&mut self, host: &Host) {
        match host.database().integrity() {
            Ok(faults) if faults.is_empty() => self.good("database", "every page and the schema are valid"),
            Ok(faults) => {
                let shown = jit_core::escape::escape(faults.join("; ").as_bytes());
                self.add("database", Severity::Error, shown, Some(SALVAGE.to_owned()));
            }
            Err(error) => self.fault("database", &error.into()),
        }
        match host.free_space() {
            Ok(free) if free >= SPACE => self.good("space", format!("{} MiB are free for {STATE}", free >> 20)),
            Ok(free) => {
                let said = format!("{} MiB are free for {STATE}; without free space no command runs", free >> 20);
                self.add(
                    "space",
                    Severity::Warning,
                    said,
                    Some("jitctl audit prune --keep 400d, or a larger disk".to_owned()),
                );
            }
            Err(error) => self.fault("space", &error),
        }
        match host.reserved() {
            reserved if reserved >= RESERVE_SIZE => {
                self.good("reserve", format!("grants and sessions can be ended on a full disk ({STATE}/{RESERVE})"));
            }
            reserved => {
                let said = format!(
                    "{STATE}/{RESERVE} holds {} of {} KiB: on a full disk the end of a grant or session may not be recorded",
                    reserved >> 10,
                    RESERVE_SIZE >> 10
                );
                self.add("reserve", Severity::Warning, said, Some("jitctl sweep, when there is free space".to_owned()));
            }
        }
    }

    /// Compares the compiled policy with its files, where they count as compiled.
    fn compiled(&mut self, host: &Host) {
        match host.compiled_otherwise() {
            Ok(None) => self.good("compiled policy", "it matches the files, or the next command compiles them"),
            Ok(Some(how)) => {
                let fix = "jitctl audit verify; touch /etc/jit-sudo/policy.toml has the files compiled anew";
                self.add("compiled policy", Severity::Error, how, Some(fix.to_owned()));
            }
            Err(error) => self.fault("compiled policy", &error),
        }
    }

    fn key(&mut self, host: &Host) {
        match host.key_is_private().and_then(|()| host.key()) {
            Ok(_) if host.is_to_be_sealed() => {
                let said = "the key of this host is not sealed since it was replaced".to_owned();
                let fix = format!("{KEY_SEALER} seal");
                self.add("key", Severity::Warning, said, Some(fix));
            }
            Ok(key) => self.good("key", format!("{} signs for this host", key.fingerprint())),
            Err(error) => self.fault("key", &error),
        }
    }

    fn sealing_key(&mut self, host: &Host, journal: &Journal<'_>) {
        let found = journal.epoch().map_err(HostError::from).and_then(|current| match current {
            Some(current) => host.has_sealing_key(&current).map(|has| Some((current, has))),
            None => Ok(None),
        });
        let (said, fix) = match found {
            Ok(Some((current, true))) => {
                let (number, key) = (current.epoch.number, current.epoch.key.fingerprint());
                match host.other_sealing_keys(&current) {
                    Ok(left) if left.is_empty() => {}
                    Ok(left) => return self.left_keys(&left),
                    Err(error) => return self.fault("sealing key", &error),
                }
                return self.good("sealing key", format!("{key} signs the journal in epoch {number}"));
            }
            Ok(Some((current, false))) => (
                format!("the journal is not signed: {}", lost_sealing_key(&current)),
                "jitctl audit verify, then jitctl key accept --reason 'WHY', which begins another line of sealing keys",
            ),
            Ok(None) => ("the journal certifies no sealing key".to_owned(), "jitctl key init"),
            Err(error) => return self.fault("sealing key", &error),
        };
        self.add("sealing key", Severity::Error, said, Some(fix.to_owned()));
    }

    fn left_keys(&mut self, left: &[String]) {
        let said = format!("not erased in {STATE}: {}, which sign nothing any more", left.join(", "));
        self.add("sealing key", Severity::Warning, said, Some("jitctl sweep".to_owned()));
    }

    fn anchor(&mut self, host: &Host, journal: &Journal<'_>) {
        match host.tend(journal).and_then(|()| Ok(journal.restored()?)) {
            Ok(None) => self.fork(journal),
            Ok(Some(how)) => self.fault("anchor", &HostError::Restored(how)),
            Err(error) => self.fault("anchor", &error),
        }
    }

    /// Reports records that a power failure has lost, which root has not accepted.
    fn fork(&mut self, journal: &Journal<'_>) {
        match journal.unaccepted_fork() {
            Ok(None) => self.good("anchor", "the database has every record that its anchor names"),
            Ok(Some(seq)) => {
                let said = format!("records before record {seq} were lost, and root has not accepted that");
                let fix = "jitctl audit verify --anchor FILE, with heads of another host, then jitctl key accept --reason 'WHY'";
                self.add("anchor", Severity::Warning, said, Some(fix.to_owned()));
            }
            Err(error) => self.fault("anchor", &error.into()),
        }
    }

    /// Compares the clock with the records. Whether the clock is right cannot be determined here.
    fn clock(&mut self, host: &Host, journal: &Journal<'_>) {
        let doubt = host.now().and_then(|now| Ok(journal.clock_in_doubt(now.moment())?));
        let (doubt, severity, effect) = match doubt {
            Ok(None) => {
                return self.good("journal clock", "the clock stands after every record and was not set forward");
            }
            Ok(Some(doubt @ ClockDoubt::Behind(_))) => {
                (doubt, Severity::Error, "grants that began before may not serve, and no old record is removed")
            }
            Ok(Some(doubt @ ClockDoubt::Ahead(_))) => (doubt, Severity::Warning, "no old record is removed"),
            Err(error) => return self.fault("journal clock", &error),
        };
        self.add("journal clock", severity, format!("{doubt}: {effect}"), Some(doubt.cure().to_owned()));
    }

    /// Reports records that are kept although they are old enough by the wall clock.
    fn retention(&mut self, host: &Host, audit: &AuditSettings, journal: &Journal<'_>) {
        let Some(keep) = audit.keep.map(|keep| Seconds(keep.as_secs())) else { return };
        let held = host.now().and_then(|now| {
            let old = journal.cut_off(keep, now.moment())?;
            let gone = journal.prunable(old, now.moment())?.or(journal.pruned()?).map_or(0, |mark| mark.seq);
            Ok(journal.held_back(keep, gone, now.moment())?)
        });
        match held {
            Ok(0) => self.good("retention", "every record that is old enough may be removed"),
            Ok(held) => {
                let said = format!(
                    "{held} records are older than keep by the clock alone and are not removed: nothing proves how long the host was off"
                );
                let fix = "if the clock is right: jitctl key accept --reason 'WHY'; a time service that synchronises the clock proves it from now on";
                self.add("retention", Severity::Warning, said, Some(fix.to_owned()));
            }
            Err(error) => self.fault("retention", &error),
        }
    }

    fn approvers(&mut self, host: &Host, policy: Option<&Policy>) {
        let approvers = match host.approvers() {
            Ok(approvers) => approvers,
            Err(error) => return self.fault("approvers", &error),
        };
        let warnings = policy.map_or_else(Vec::new, |policy| policy_warnings(policy, &approvers));
        for warning in warnings {
            self.add("policy", Severity::Warning, warning, None);
        }
    }

    fn mirrors(&mut self, host: &Host, audit: &AuditSettings, journal: &Journal<'_>) {
        for mirror in host.mirrors(audit, journal) {
            let required = mirror.name == "syslog" && audit.syslog == SyslogMode::Required;
            let worst = if required { Severity::Error } else { Severity::Warning };
            match mirror.fault {
                None => self.good(mirror.name, "accepts records and has all of them"),
                Some(fault) => {
                    let after = if required { ": the policy requires it, so nothing runs" } else { "" };
                    self.add(mirror.name, worst, format!("{fault}{after}"), Some(mirror.fix));
                }
            }
        }
    }

    fn cgroups(&mut self) {
        match crate::session::can_found() {
            Ok(()) => self.good("cgroups", "each command has a control group of its own"),
            Err(error) => {
                let said = format!(
                    "no control group of version 2 can be made ({error}): the end of a grant finds what runs under it through /proc"
                );
                let fix =
                    "mount cgroup2 at /sys/fs/cgroup: systemd.unified_cgroup_hierarchy=1 on the kernel's command line";
                self.add("cgroups", Severity::Warning, said, Some(fix.to_owned()));
            }
        }
    }

    fn hooks(&mut self) {
        match crate::hooks::fault() {
            None => self.good("hooks", "hooks can run"),
            Some((said, fix)) => self.add("hooks", Severity::Warning, said, Some(fix)),
        }
    }

    fn good(&mut self, area: &str, message: impl Display) {
        self.add(area, Severity::Good, message, None);
    }

    /// Adds an error of the host with its fix.
    fn fault(&mut self, area: &str, error: &HostError) {
        let fix = error
            .cure()
            .or_else(|| Some(format!("look at {STATE} and {CONFIGURATION}, and at the kernel's log for the disk")));
        let words = error.words().map(|words| words.told_to(&self.reader).to_owned());
        self.add(area, Severity::Error, words.unwrap_or_else(|| error.to_string()), fix);
    }

    fn add(&mut self, area: &str, severity: Severity, message: impl Display, fix: Option<String>) {
        self.found.push(Finding { area: area.to_owned(), severity, message: message.to_string(), fix });
    }
}
