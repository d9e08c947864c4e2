//! Rows of the compiled policy: `policy_settings`, `policy_role` and `policy_principal`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::names::hexadecimal;
use super::{Power, Table};
use crate::escape::hex;
use crate::evidence::policy_history::PolicyHistory;
use crate::policy::{SourceFile, StoredRole, policy_digest, settings_digest, stamp_seal};

/// A row of `policy_settings`.
#[derive(Debug, Clone, Copy)]
pub struct SettingsRow<'r> {
    /// The digest of the policy.
    pub policy: &'r [u8],
    /// The settings.
    pub body: &'r [u8],
    /// Their digest.
    pub sha256: &'r [u8],
    /// The format of the stored bodies.
    pub format: &'r str,
    /// The stamp that distinguishes these files from later versions.
    pub stamp: &'r str,
    /// The seal that binds the two to the policy.
    pub seal: &'r [u8],
    /// The files with their digests, as JSON: an object of paths and lower-case hexadecimal.
    pub files: &'r str,
}

/// A row of `policy_role`.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRoleRow<'r> {
    /// Its name.
    pub name: &'r str,
    /// Its full contents.
    pub body: &'r [u8],
    /// The digest of name and body.
    pub sha256: &'r [u8],
    /// The same digest without the position in the files.
    pub digest: &'r [u8],
}

/// A row of `policy_principal`.
#[derive(Debug, Clone, Copy)]
pub struct PrincipalRow<'r> {
    /// The user or group that is looked up.
    pub principal: &'r str,
    /// `standing` or `eligible`.
    pub kind: &'r str,
    /// The role.
    pub role: &'r str,
}

/// What the records say of these tables, and which rows were found.
#[derive(Default)]
pub(super) struct PolicyTables {
    history: Option<PolicyHistory>,
    settings: u64,
    files: BTreeMap<String, String>,
    /// The files on disk, if the compiled policy is expected to be theirs.
    disk: Option<OnDisk>,
    /// The hash over the lines of all roles.
    lines: Sha256,
    met: BTreeSet<String>,
    /// Role, kind and principal, from the roles.
    principals: BTreeSet<(String, String, String)>,
    /// Whether `policy_role` has a difference.
    named: bool,
}

/// The files on disk.
struct OnDisk {
    /// Their digests by path.
    digests: BTreeMap<String, String>,
    /// The digest of the policy that they compile to.
    policy: String,
}

/// The digest of the power that a compiled role gives.
#[derive(Deserialize)]
struct Compiled<'a> {
    digest: &'a str,
}

impl Power {
    /// Sets the present files of the policy, if the compiled policy is expected to be theirs; called before the rows of
    /// the policy.
    pub fn files(&mut self, files: Option<Vec<SourceFile>>) {
        self.policy.disk = files.map(|files| OnDisk {
            digests: files.iter().map(|file| (file.path.to_string(), hex(&file.sha256))).collect(),
            policy: hex(&policy_digest(&files)),
        });
    }

    /// Sets what the records say of policies; called before the rows of the compiled policy.
    pub fn policies(&mut self, history: Option<PolicyHistory>) {
        self.policy.files = history.as_ref().and_then(|history| history.last().files.clone()).unwrap_or_default();
        self.policy.history = history.filter(|history| !history.is_unknown());
    }

    /// Compares the next row.
    pub fn policy_settings(&mut self, row: &SettingsRow<'_>) {
        self.policy.settings = self.policy.settings.saturating_add(1);
        if self.policy.settings > 1 {
            let what = "there is another row before it".to_owned();
            self.differs(Table::PolicySettings, &hexadecimal(row.policy), what);
            return;
        }
        if let Err(what) = self.compare_settings(row) {
            self.differs(Table::PolicySettings, &hexadecimal(row.policy), what);
        }
        if let Err(what) = self.compare_files(row) {
            self.differs(Table::PolicySettings, &hexadecimal(row.policy), what);
        }
    }

    fn compare_settings(&self, row: &SettingsRow<'_>) -> Result<(), String> {
        let policy: [u8; 32] = row.policy.try_into().map_err(|_| "the digest of the policy is not valid")?;
        let sha256 = settings_digest(&policy, row.body);
        if row.sha256 != sha256 {
            return Err("its bytes have another digest".to_owned());
        }
        if self
            .key
            .as_ref()
            .is_some_and(|key| stamp_seal(key, &policy, &sha256, row.format, row.stamp)[..] != *row.seal)
        {
            return Err("its seal is not by the journal's key".to_owned());
        }
        let Some(last) = self.policy.history.as_ref().map(PolicyHistory::last) else { return Ok(()) };
        match &last.policy {
            None => return Err("the journal has no record of it".to_owned()),
            Some(named) if *named != hex(&policy) => return Err(format!("the last policy record is of {named}")),
            Some(_) => {}
        }
        if last.settings_sha256.as_ref().is_some_and(|recorded| *recorded != hex(&sha256)) {
            return Err("they are not those of its record".to_owned());
        }
        Ok(())
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_policy_settings(&mut self) {
        let policy = self.policy.history.as_ref().and_then(|history| history.last().policy.clone());
        if let (0, Some(policy)) = (self.policy.settings, policy) {
            self.differs(Table::PolicySettings, &policy, "its row is missing".to_owned());
        }
        self.end_of_files();
    }

    /// Reports each file that differs. Fails when the row's list of files is invalid.
    fn compare_files(&mut self, row: &SettingsRow<'_>) -> Result<(), String> {
        let files: Option<BTreeMap<String, String>> = serde_json::from_str(row.files).ok();
        // Another text for the same files could hide a file behind another one with the same name.
        let written =
            |files: &BTreeMap<String, String>| serde_json::to_string(files).is_ok_and(|text| text == row.files);
        let files = files.filter(written).ok_or("its list of files is not valid")?;
        for (path, sha256) in files {
            let recorded = self.recorded_otherwise(&path, &sha256);
            let disk = self.policy.disk.as_mut().and_then(|disk| match disk.digests.remove(&path) {
                Some(digest) if digest == sha256 => None,
                Some(_) => Some("the file itself has another digest, but counts as compiled"),
                None => Some("the file no longer exists, but counts as compiled"),
            });
            if let Some(what) = recorded.or(disk) {
                self.differs(Table::PolicyFile, &path, what.to_owned());
            }
        }
        Ok(())
    }

    fn recorded_otherwise(&mut self, path: &str, sha256: &str) -> Option<&'static str> {
        // Without a complete list nothing is known.
        let last = self.policy.history.as_ref()?.last();
        match self.policy.files.remove(path) {
            Some(recorded) if recorded == sha256 => None,
            Some(_) => Some("its digest is not that of the last policy record"),
            None if last.policy.is_some() && last.files.is_none() => None,
            None => Some("the last policy record does not have it"),
        }
    }

    fn end_of_files(&mut self) {
        let missing = std::mem::take(&mut self.policy.files);
        for path in missing.keys() {
            self.differs(Table::PolicyFile, path, "it is missing there".to_owned());
        }
        let Some(disk) = self.policy.disk.take() else { return };
        for path in disk.digests.into_keys().filter(|path| !missing.contains_key(path)) {
            self.differs(Table::PolicyFile, &path, "it counts as compiled, but is missing there".to_owned());
        }
        let last = self.policy.history.as_ref().and_then(|history| history.last().policy.clone());
        if let Some(last) = last.filter(|last| *last != disk.policy) {
            let what = format!("the files themselves are those of policy {}, and count as compiled", disk.policy);
            self.differs(Table::PolicySettings, &last, what);
        }
    }

    /// Compares the next row, in the order of their names by bytes.
    pub fn policy_role(&mut self, row: &PolicyRoleRow<'_>) {
        if let Err(what) = self.compare_policy_role(row) {
            self.policy.named = true;
            self.differs(Table::PolicyRole, row.name, what);
        }
    }

    fn compare_policy_role(&mut self, row: &PolicyRoleRow<'_>) -> Result<(), String> {
        let tables = &mut self.policy;
        let role = StoredRole::of(row.name, row.body);
        // A role that cannot be parsed counts with its stored digest: the damage is reported anyway.
        let digest = role.as_ref().map_or_else(|| hexadecimal(row.digest), |role| hex(&role.digest));
        for part in [&digest, "  ", row.name, "\n"] {
            tables.lines.update(part);
        }
        tables.met.insert(row.name.to_owned());
        let role = role.ok_or("its bytes are not a role")?;
        let name = row.name;
        let found = role.principals.into_iter().map(|(who, kind)| (name.to_owned(), kind.to_owned(), who));
        tables.principals.extend(found);
        if row.sha256 != crate::policy::row_digest(name, row.body) || row.digest != role.digest {
            return Err("its bytes have another digest".to_owned());
        }
        match tables.history.as_ref().and_then(|history| history.role(name)) {
            Some(None) => Err("no policy record has added it".to_owned()),
            Some(Some(recorded)) if recorded != digest => Err("it is not that of the policy records".to_owned()),
            Some(Some(_)) => Ok(()),
            None => {
                let power = serde_json::from_slice::<Compiled<'_>>(row.body).ok();
                let power = power.as_ref().map(|role| role.digest);
                let held = tables.history.as_ref().and_then(|history| history.held_otherwise(name, &digest, power));
                held.map_or(Ok(()), |seq| Err(format!("record {seq} names it with another digest")))
            }
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_policy_roles(&mut self) {
        let tables = &mut self.policy;
        let digest = hex(&<[u8; 32]>::from(std::mem::take(&mut tables.lines).finalize()));
        let Some(history) = &tables.history else { return };
        let (last, met) = (history.last(), &tables.met);
        let missing: BTreeSet<String> =
            history.present().filter(|name| !met.contains(*name)).map(str::to_owned).collect();
        let differs = last.roles_sha256.as_ref().is_some_and(|recorded| *recorded != digest);
        let policy = last.policy.clone().unwrap_or_default();
        let unnamed = differs && missing.is_empty() && !tables.named;
        let ghosts: Vec<(String, u64)> =
            history.held().filter(|(name, _)| !met.contains(*name)).map(|(name, seq)| (name.to_owned(), seq)).collect();
        for (name, seq) in ghosts {
            self.differs(Table::PolicyRole, &name, format!("record {seq} names it, and the policy does not have it"));
        }
        for name in missing {
            self.differs(Table::PolicyRole, &name, "its row is missing".to_owned());
        }
        if unnamed {
            let what = format!("the roles together are not those of the record of policy {policy}");
            self.differs(Table::PolicyRole, "(all)", what);
        }
    }

    /// Compares the next row.
    pub fn policy_principal(&mut self, row: &PrincipalRow<'_>) {
        let key = (row.role.to_owned(), row.kind.to_owned(), row.principal.to_owned());
        if !self.policy.principals.remove(&key) {
            let who = crate::escape::escape(row.principal.as_bytes());
            self.differs(Table::PolicyPrincipal, row.role, format!("the role does not name '{who}' there"));
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_policy_principals(&mut self) {
        for (role, kind, who) in std::mem::take(&mut self.policy.principals) {
            let who = crate::escape::escape(who.as_bytes());
            self.differs(Table::PolicyPrincipal, &role, format!("the {kind} row of '{who}' is missing"));
        }
    }
}
