//! Checks the PAM services as libpam reads them: each exists and only root can write to it, and every file and module
//! that it names exists. Does not judge the meaning of a stack, which the administrator decides.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jit_core::escape::{command_line, escape};
use jit_core::places::CONFIGURATION;
use jit_core::wire::Finding;
use sys::trusted::{TrustError, TrustedFile};

use super::{AGAIN, bad, good};

const AREA: &str = "PAM";

/// Directories of modules, on the distributions that we know; `*` is one directory.
const MODULES: [&str; 6] = [
    "/lib/*/security",
    "/usr/lib/*/security",
    "/lib64/security",
    "/usr/lib64/security",
    "/lib/security",
    "/usr/lib/security",
];

/// The maximum size of a file, and the maximum number of files in a stack.
const LENGTH: usize = 1 << 20;
const FILES: usize = 64;

/// Directories of services; the first that has the service counts (pam.conf(5)). Ours are beside our configuration.
fn places() -> [PathBuf; 3] {
    [Path::new(CONFIGURATION).with_file_name("pam.d"), PathBuf::from("/etc/pam.d"), PathBuf::from("/usr/lib/pam.d")]
}

pub(super) fn look(services: &[String]) -> Vec<Finding> {
    let (places, modules) = (places(), module_directories());
    let ours = places[0].display().to_string();
    let mut stack = Stack { places, modules, seen: BTreeSet::new(), findings: Vec::new() };
    for service in services {
        if !stack.read(service) {
            let name = escape(service.as_bytes());
            stack.findings.push(bad(
                AREA,
                format!("there is no service {name} in {ours}, so the service \"other\" applies"),
                format!("{AGAIN}, or write {ours}/{name}"),
            ));
        }
    }
    if stack.findings.is_empty() {
        let names: Vec<String> = services.iter().map(|service| escape(service.as_bytes())).collect();
        stack.findings.push(good(AREA, format!("the services {} are complete", names.join(", "))));
    }
    stack.findings
}

struct Stack {
    places: [PathBuf; 3],
    modules: Vec<PathBuf>,
    seen: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Stack {
    /// Checks one file and all that it includes; false if no directory has it.
    fn read(&mut self, service: &str) -> bool {
        if service.contains('/') || self.seen.len() >= FILES {
            return true;
        }
        let Some(path) = self.places.iter().map(|place| place.join(service)).find(|path| path.exists()) else {
            return false;
        };
        if !self.seen.insert(service.to_owned()) {
            return true;
        }
        match text(&path) {
            Ok(text) => self.lines(&path, &text),
            Err(error) => self.distrust(&error),
        }
        true
    }

    fn lines(&mut self, path: &Path, text: &str) {
        for line in text.replace("\\\n", " ").lines() {
            match Line::of(line) {
                Some(Line::Include(name)) if !self.read(name) => {
                    let (from, name) = (path.display(), escape(name.as_bytes()));
                    let said = format!("{from} includes {name}, which is not there: PAM refuses everybody");
                    self.findings.push(bad(AREA, said, format!("restore /etc/pam.d/{name}")));
                }
                Some(Line::Module { name, optional: false }) if !self.has(name) => {
                    let (from, name) = (path.display(), escape(name.as_bytes()));
                    let said = format!("{from} names the module {name}, which is not installed");
                    self.findings.push(bad(AREA, said, format!("install the package of {name}, or take the line out")));
                }
                _ => {}
            }
        }
    }

    fn has(&self, module: &str) -> bool {
        let path = Path::new(module);
        if path.is_absolute() { path.exists() } else { self.modules.iter().any(|place| place.join(path).exists()) }
    }

    fn distrust(&mut self, error: &TrustError) {
        let fix = match error {
            TrustError::NotRootOwned { path, .. } => format!("chown root:root {}", command_line([path.as_os_str()])),
            TrustError::Writable { path, .. } => format!("chmod go-w {}", command_line([path.as_os_str()])),
            _ => AGAIN.to_owned(),
        };
        self.findings.push(bad(AREA, error.to_string(), fix));
    }
}

/// A line that refers to a file or module.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Include(&'a str),
    Module { name: &'a str, optional: bool },
}

impl<'a> Line<'a> {
    /// pam.conf(5): `@include FILE`, `TYPE include FILE`, `TYPE CONTROL MODULE …`, where CONTROL may be in brackets.
    fn of(line: &'a str) -> Option<Self> {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (first, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim_start();
        if first == "@include" {
            return Some(Self::Include(rest.split_whitespace().next()?));
        }
        let (control, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => rest.split_once(char::is_whitespace)?,
        };
        let name = rest.split_whitespace().next()?;
        match control {
            "include" | "substack" => Some(Self::Include(name)),
            _ => Some(Self::Module { name, optional: first.starts_with('-') }),
        }
    }
}

/// Some distributions have links to generated files here; only root may be able to write to their targets too.
fn text(path: &Path) -> Result<String, TrustError> {
    let real = fs::canonicalize(path).map_err(|error| TrustError::Io { path: path.to_owned(), error })?;
    let bytes = TrustedFile::open(&real)?.read(LENGTH)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn module_directories() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for place in MODULES {
        match place.split_once("/*/") {
            None => found.push(PathBuf::from(place)),
            Some((above, below)) => {
                let entries = fs::read_dir(above).into_iter().flatten().flatten();
                found.extend(entries.map(|entry| entry.path().join(below)).filter(|path| path.is_dir()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pam_are_read_as_libpam_does() {
        let module = |name, optional| Some(Line::Module { name, optional });
        assert_eq!(Line::of("@include common-auth"), Some(Line::Include("common-auth")));
        assert_eq!(Line::of("auth\tsubstack password-auth"), Some(Line::Include("password-auth")));
        assert_eq!(Line::of("auth [success=1 default=ignore] pam_unix.so nullok"), module("pam_unix.so", false));
        assert_eq!(Line::of("-session optional pam_systemd.so"), module("pam_systemd.so", true));
        assert_eq!(Line::of("session required pam_env.so readenv=1 # x"), module("pam_env.so", false));
        for line in ["", "# auth required x.so", "auth", "auth required", "auth [success=1", "@include"] {
            assert_eq!(Line::of(line), None, "{line}");
        }
    }

    #[test]
    fn a_missing_service_is_an_error() {
        let findings = look(&["no-such-service-here".to_owned()]);
        assert!(findings[0].message.contains("no-such-service-here"), "{findings:?}");
    }
}
