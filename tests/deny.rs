//! Checks the rules of deny.toml and the declared Rust version against what cargo resolves for this machine. cargo-deny checks
//! the same file and more (`make deny`), but compiling it takes longer than most of `make check`.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "deny/licences.rs"]
mod licences;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// The packages that run as root for users, or inside other programs.
const PRIVILEGED: [&str; 2] = ["jit-sudo", "pam_jit_sudo"];

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    which: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    rust_version: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

fn deny() -> Deny {
    toml::from_str(&read("deny.toml")).unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Returns what cargo resolves for this machine: crates for other platforms may not have been downloaded.
fn metadata() -> Metadata {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
    let text = cargo(&["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host]);
    let metadata: Metadata = serde_json::from_str(&text).unwrap();
    assert!(metadata.packages.len() > 50, "cargo resolves more than that");
    metadata
}

fn cargo(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "cargo {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Metadata {
    fn package(&self, id: &str) -> &Package {
        self.packages.iter().find(|package| package.id == id).unwrap()
    }

    fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Package> {
        self.packages.iter().filter(move |package| package.name == name)
    }

    /// Returns the names of the packages that depend on this one directly.
    fn needing(&self, id: &str) -> BTreeSet<&str> {
        let needs = |node: &&Node| node.deps.iter().any(|dependency| dependency.pkg == id);
        self.resolve.nodes.iter().filter(needs).map(|node| self.package(&node.id).name.as_str()).collect()
    }

    /// Returns the names of everything that a package is built with; its tests do not count.
    fn tree<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut names = BTreeSet::new();
        let mut left: Vec<&Package> = self.of_name(name).collect();
        let mut seen = BTreeSet::new();
        while let Some(package) = left.pop() {
            if !seen.insert(&package.id) {
                continue;
            }
            names.insert(package.name.as_str());
            let node = self.resolve.nodes.iter().find(|node| node.id == package.id).unwrap();
            let built = node
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
            left.extend(built.map(|dependency| self.package(&dependency.pkg)));
        }
        assert!(names.contains(name), "cargo knows no {name}");
        names
    }
}

/// Returns the crates under terms that deny.toml does not allow.
fn licence_faults(metadata: &Metadata, allowed: &BTreeSet<String>) -> Vec<String> {
    let fault = |package: &Package| {
        let licence = package.license.as_deref().unwrap_or("none");
        (!licences::granted(licence, allowed)).then(|| format!("{} {}: {licence}", package.name, package.version))
    };
    metadata.packages.iter().filter_map(fault).collect()
}

/// Returns the violations of bans: only its wrappers may use a banned crate, and no privileged package.
fn ban_faults(metadata: &Metadata, bans: &[Ban]) -> Vec<String> {
    let mut faults = Vec::new();
    for ban in bans {
        for package in metadata.of_name(&ban.name) {
            let users = metadata.needing(&package.id);
            let others = users.into_iter().filter(|user| !ban.wrappers.contains(*user));
            faults.extend(others.map(|user| format!("{user} uses {}", ban.name)));
        }
        let privileged = PRIVILEGED.into_iter().filter(|program| metadata.tree(program).contains(ban.name.as_str()));
        faults.extend(privileged.map(|program| format!("{} is in the tree of {program}", ban.name)));
    }
    faults
}

/// Returns the crates with more than one version that is not skipped.
fn doubled<'a>(metadata: &'a Metadata, skip: &[Skip]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let skipped = |package: &Package| {
        skip.iter().filter_map(|skip| skip.which.split_once('@')).any(|(name, version)| {
            let version_begins = package.version.strip_prefix(version);
            name == package.name && version_begins.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| !skipped(package)) {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

/// Returns the sources in a Cargo.lock, of every platform, that are not allowed.
fn foreign_sources(lock: &str, allowed: &BTreeSet<String>) -> Vec<String> {
    let lock: toml::Table = toml::from_str(lock).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let sources = packages.iter().filter_map(|package| package.get("source")).map(|source| source.as_str().unwrap());
    let foreign = |source: &&str| !source.strip_prefix("registry+").is_some_and(|registry| allowed.contains(registry));
    sources.filter(foreign).map(str::to_owned).collect()
}

/// Parses a version; `1.88` and `1.88.0` are the same.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// Returns the crates that require a later Rust than the declared one.
fn too_new(metadata: &Metadata, declared: &str) -> Vec<String> {
    let wants = |package: &Package| Some(format!("{} wants Rust {}", package.name, package.rust_version.as_ref()?));
    let newer = |package: &&Package| {
        package.rust_version.as_deref().is_some_and(|version| numbers(version) > numbers(declared))
    };
    metadata.packages.iter().filter(newer).filter_map(wants).collect()
}

fn declared() -> String {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    manifest["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned()
}

#[test]
fn every_crate_has_a_licence_that_is_allowed() {
    let (metadata, mut allowed) = (metadata(), deny().licenses.allow);
    let faults = licence_faults(&metadata, &allowed);
    assert!(faults.is_empty(), "not allowed by deny.toml: {faults:#?}");
    allowed.remove("Zlib");
    assert!(!licence_faults(&metadata, &allowed).is_empty(), "foldhash is under Zlib alone");
}

#[test]
fn every_crate_comes_from_crates_io() {
    let allowed = deny().sources.allow_registry;
    assert_eq!(foreign_sources(&read("Cargo.lock"), &allowed), Vec::<String>::new());
    let git = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://example.invalid/a#0123\"\n";
    assert_eq!(foreign_sources(git, &allowed).len(), 1);
    let registry = git.replace("git+", "registry+");
    assert_eq!(foreign_sources(&registry, &allowed).len(), 1);
}

#[test]
fn a_banned_crate_is_used_only_by_its_wrappers_and_never_by_privileged_packages() {
    let (metadata, mut deny) = (metadata(), deny());
    let faults = ban_faults(&metadata, &deny.bans.deny);
    assert!(faults.is_empty(), "{faults:#?}");
    // The check finds a violation where there is one.
    deny.bans.deny = vec![Ban { name: "clap".into(), wrappers: BTreeSet::new() }];
    assert!(ban_faults(&metadata, &deny.bans.deny).contains(&"jitctl uses clap".to_owned()));
    let wrappers = metadata.packages.iter().map(|package| package.name.clone()).collect();
    deny.bans.deny = vec![Ban { name: "rusqlite".into(), wrappers }];
    assert_eq!(ban_faults(&metadata, &deny.bans.deny), ["rusqlite is in the tree of jit-sudo"]);
}

#[test]
fn no_crate_has_two_versions_without_a_reason() {
    let (metadata, deny) = (metadata(), deny());
    assert_eq!(doubled(&metadata, &deny.bans.skip), BTreeMap::new());
    for skip in &deny.bans.skip {
        let others: Vec<Skip> = self::deny().bans.skip.into_iter().filter(|other| other.which != skip.which).collect();
        assert!(!doubled(&metadata, &others).is_empty(), "{} is not there twice: take it out of deny.toml", skip.which);
    }
}

#[test]
fn no_crate_requires_a_later_rust_than_declared() {
    let (metadata, declared) = (metadata(), declared());
    assert_eq!(too_new(&metadata, &declared), Vec::<String>::new(), "Cargo.toml declares {declared}");
    assert!(!too_new(&metadata, "1.0").is_empty());
}

#[test]
fn the_documents_name_the_declared_rust_version() {
    let sentence = format!("You need Rust {} or later", declared());
    assert!(read("CONTRIBUTING.md").contains(&sentence), "CONTRIBUTING.md does not say: {sentence}");
}
