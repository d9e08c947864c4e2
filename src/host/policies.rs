//! The policy of this host: its files, when they are compiled again, and the record of each change.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use super::compiler::compile;
use super::{APPROVERS, Host, HostError, POLICY, POLICY_DIRECTORY, POLICY_LIMIT};
use crate::audit::{Journal, Written};
use crate::database::Durability;
use crate::elevation::Caller;
use crate::policy_index::{self, Compiled, PolicyIndex, Stamp as PolicyStamp};
use jit_core::escape::Word;
use jit_core::evidence::Event;
use jit_core::evidence::record::{CompiledBy, PolicyRecord};
use jit_core::grant::approvers::APPROVERS_LIMIT;
use jit_core::places::CONFIGURATION;
use jit_core::policy::{AuditSettings, Policy, PolicyText, SourceFile, policy_digest};
use sys::trusted::{Stamp, TrustError, TrustedDirectory, TrustedFile};

/// How often the files are read again when they change during compilation.
const ATTEMPTS: u32 = 16;

impl Host {
    /// Returns the compiled policy; compiles it when one of its files has changed, and names `caller` in the record of that.
    pub fn policy(&self, caller: Option<&Caller>) -> Result<PolicyIndex<'_>, HostError> {
        for _ in 0..ATTEMPTS {
            let sources = Sources::find()?;
            let (text, key) = (sources.stamp(), self.journal_key()?);
            let stamp = PolicyStamp { text: &text, key: &key };
            if let Some(current) = PolicyIndex::current(self.database.connection(), &stamp)? {
                return Ok(current);
            }
            self.compile(&sources, caller)?;
        }
        Err(HostError::Unsettled)
    }

    /// Returns the policy as it was compiled last, for a process that continues a run; the start of a run compiles the policy.
    pub fn last_policy(&self) -> Result<PolicyIndex<'_>, HostError> {
        Ok(PolicyIndex::open(self.database.connection())?)
    }

    /// Does the same as [`Self::policy`] without changing anything: where a file has changed, it compiles into `memory`, an empty
    /// database. No command may run by such a policy, because no record names it.
    pub fn policy_aside<'a>(&'a self, memory: &'a Connection) -> Result<PolicyIndex<'a>, HostError> {
        let sources = Sources::find()?;
        let (text, key) = (sources.stamp(), self.journal_key()?);
        let stamp = PolicyStamp { text: &text, key: &key };
        match PolicyIndex::current(self.database.connection(), &stamp)? {
            Some(current) => Ok(current),
            None => {
                let (policy, files) = sources.read()?;
                Ok(PolicyIndex::aside(memory, &Compiled { policy: &policy, files: &files, stamp })?)
            }
        }
    }

    /// Returns the files as they are on the disk, where the compiled policy counts as theirs; `None` where it has to be compiled
    /// again, or cannot be read.
    ///
    /// # Errors
    /// Fails when a file cannot be read, or when users other than root could have written it.
    pub fn compiled_files(&self) -> Result<Option<OnDisk>, HostError> {
        let sources = Sources::find()?;
        let (stamp, key) = (sources.stamp(), self.journal_key()?);
        if !policy_index::is_stored(self.database.connection(), &PolicyStamp { text: &stamp, key: &key })? {
            return Ok(None);
        }
        let files = sources.texts()?.into_iter().map(|(_, source)| source).chain(approvers()?).collect();
        Ok(Some(OnDisk { stamp, files }))
    }

    /// Returns how the compiled policy, or the last record of one, differs from the files that it counts as compiled from; `None`
    /// where neither does.
    ///
    /// # Errors
    /// Those of [`Self::compiled_files`]; also fails when the database cannot be read.
    pub fn compiled_otherwise(&self) -> Result<Option<String>, HostError> {
        let Some(on_disk) = self.compiled_files()? else { return Ok(None) };
        let db = self.database.connection();
        let stored = policy_index::stored_files(db)?;
        let other = on_disk.files.iter().find(|file| stored.get(&file.path.to_string()) != Some(&file.sha256));
        if let Some(file) = other {
            return Ok(Some(format!("{} differs from the file that the policy in force was compiled from", file.path)));
        }
        let (files, now) = (policy_digest(&on_disk.files), policy_index::stored_policy(db)?);
        let recorded = Journal::new(&self.database, &self.name, Vec::new()).last_policy()?;
        if now != Some(files) || recorded.is_some_and(|recorded| recorded.0 != files) {
            return Ok(Some("the policy in force or its record does not match the files".to_owned()));
        }
        Ok(None)
    }

    fn journal_key(&self) -> Result<[u8; 32], HostError> {
        Ok(Journal::new(&self.database, &self.name, Vec::new()).redaction_key()?)
    }

    /// Parses the installed policy from its files, and returns it with their paths, for a check.
    pub fn parsed_policy() -> Result<(Policy, Vec<String>), HostError> {
        let sources = Sources::find()?;
        let paths = sources.files.iter().map(|file| file.path().display().to_string()).collect();
        Ok((sources.read()?.0, paths))
    }

    /// Stores the policy of these files and records the change, in one transaction; does nothing where another process did so
    /// meanwhile, or where the files have changed again.
    fn compile(&self, sources: &Sources, caller: Option<&Caller>) -> Result<(), HostError> {
        let (policy, files) = sources.read()?;
        let (text, key) = (sources.stamp(), self.journal_key()?);
        let stamp = PolicyStamp { text: &text, key: &key };
        let compiled = Compiled { policy: &policy, files: &files, stamp };
        let before = PolicyIndex::open(self.database.connection()).ok().map(|index| index.settings().audit.clone());
        let now = &policy.settings().audit;
        let journal = self.journal(now);
        // A changed clock or an older copy of the database shows in the last record, so this comes before the next record.
        let moment = self.notice(&journal)?;
        let by = compiled_by(caller);
        let written = self.database.write(Durability::Synced, |tx| {
            if policy_index::is_stored(tx, &stamp)? || Sources::find()?.stamp() != text {
                return Ok(None);
            }
            let Some(change) = policy_index::store(tx, &compiled)? else { return Ok(None) };
            Ok::<_, HostError>(Some(journal.append(
                tx,
                &moment,
                Event::Policy(Box::new(PolicyRecord::new(change, by))),
            )?))
        })?;
        if let Some(written) = written {
            self.announce(&journal, std::slice::from_ref(&written)); // running commands check whether their role still applies
            self.tell_former(&written, before.filter(|before| before != now));
            let _ = self.tell_of_log_file(now, &journal); // the sweep tries again
        }
        Ok(())
    }

    /// Sends the record of the change to the sinks that the new policy no longer names, as their last record.
    fn tell_former(&self, written: &Written, former: Option<AuditSettings>) {
        if let Some(audit) = former {
            let _ = self.journal_without_hooks(&audit).mirror(std::slice::from_ref(written));
        }
    }
}

/// The files of the policy as they are on the disk.
pub struct OnDisk {
    /// Distinguishes them from later ones.
    pub stamp: String,
    /// The files with their digests, followed by the list of the approvers' keys.
    pub files: Vec<SourceFile>,
}

/// Returns who has the policy compiled.
fn compiled_by(caller: Option<&Caller>) -> CompiledBy {
    CompiledBy {
        caller: caller.map(|caller| Word::from(caller.name().as_str())),
        caller_uid: caller.map(Caller::uid),
        loginuid: sys::procfs::login_uid(),
    }
}

/// policy.toml, then policy.d/*.toml in name order; the directory may be missing. Also the list of the approvers' keys.
struct Sources {
    files: Vec<TrustedFile>,
    approvers: Option<Stamp>,
}

impl Sources {
    fn find() -> Result<Self, HostError> {
        let configuration = TrustedDirectory::open(Path::new(CONFIGURATION))?;
        let mut files = vec![configuration.file(POLICY.as_ref())?];
        match configuration.directory(POLICY_DIRECTORY.as_ref()) {
            Ok(directory) => {
                directory.closed()?;
                for name in directory.entries()? {
                    let text = name.to_string_lossy();
                    if text.ends_with(".toml") && !text.starts_with('.') {
                        files.push(directory.file(&name)?);
                    }
                }
            }
            Err(TrustError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Most runs need no signature, so the metadata of the list is enough to detect a change.
        let approvers = match std::fs::symlink_metadata(approvers_path()) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(HostError::System("look at the list of approvers' keys", error)),
        };
        Ok(Self { files, approvers })
    }

    /// Returns a text that changes whenever a file is edited, replaced, added or removed: ctime cannot be set back without the
    /// raw disk.
    fn stamp(&self) -> String {
        let mut text = String::new();
        let mut add = |path: &Path, s: Stamp| {
            // Writing to a string does not fail.
            let _ =
                writeln!(text, "{}\t{}\t{}\t{}\t{}\t{}", path.display(), s.dev, s.ino, s.size, s.mtime_ns, s.ctime_ns);
        };
        self.files.iter().for_each(|file| add(file.path(), file.stamp()));
        self.approvers.into_iter().for_each(|stamp| add(&approvers_path(), stamp));
        text
    }

    /// Returns the policy, and the digests of the files, followed by that of the list of the approvers' keys.
    fn read(&self) -> Result<(Policy, Vec<SourceFile>), HostError> {
        let (texts, mut sources): (Vec<_>, Vec<_>) = self.texts()?.into_iter().unzip();
        sources.extend(approvers()?);
        Ok((compile(&texts)?, sources))
    }

    /// Returns each file with its digest.
    fn texts(&self) -> Result<Vec<(PolicyText, SourceFile)>, HostError> {
        let read = |file: &TrustedFile| {
            let path = file.path().to_owned();
            let bytes = file.read(POLICY_LIMIT)?;
            let source = source(file, &bytes);
            let text = String::from_utf8(bytes).map_err(|_| HostError::PolicyEncoding(path.display().to_string()))?;
            Ok((PolicyText { path, text }, source))
        };
        self.files.iter().map(read).collect()
    }
}

/// Returns the list as far as it counts: a list that users other than root could have written counts as missing, as it does for a
/// run.
fn approvers() -> Result<Option<SourceFile>, HostError> {
    let read = TrustedFile::open(&approvers_path()).and_then(|file| Ok(source(&file, &file.read(APPROVERS_LIMIT)?)));
    match read {
        Ok(source) => Ok(Some(source)),
        Err(error @ TrustError::Io { .. }) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

fn source(file: &TrustedFile, bytes: &[u8]) -> SourceFile {
    SourceFile {
        path: Word::from(file.path().as_os_str()),
        sha256: Sha256::digest(bytes).into(),
        written: i64::try_from(file.stamp().mtime_ns.div_euclid(1000)).unwrap_or_default(),
        owner: file.owner(),
    }
}

fn approvers_path() -> PathBuf {
    Path::new(CONFIGURATION).join(APPROVERS)
}
