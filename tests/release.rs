//! `packaging/release` in a small project of its own: what it writes, and what it rejects without having written anything.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n- It runs.\n\n## 0.1.0 - 2026-01-01\n\n- It is there.\n";
const MANIFEST: &str = "[workspace]\n\n[workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[package]\n\
                        name = \"sample\"\nversion.workspace = true\nedition.workspace = true\n";

struct Project {
    top: PathBuf,
}

impl Project {
    /// Creates a project where version 0.1.0 is tagged, and something has changed since.
    fn new(name: &str) -> Self {
        let top = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release").join(name);
        if top.exists() {
            fs::remove_dir_all(&top).unwrap();
        }
        for directory in ["src", "packaging"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        let project = Self { top };
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/release"),
            project.top.join("packaging/release"),
        )
        .unwrap();
        project.write("src/lib.rs", "");
        project.write("Cargo.toml", MANIFEST);
        project.write("CHANGELOG.md", CHANGELOG);
        succeeded(project.command(env!("CARGO"), &["generate-lockfile", "--offline"]));
        project.git(&["init", "--quiet"]);
        project.commit("begin");
        project.git(&["tag", "v0.1.0"]);
        project
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.top.join(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.top.join(path)).unwrap()
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    fn git(&self, words: &[&str]) -> String {
        succeeded(self.command("git", words))
    }

    fn release(&self, words: &[&str]) -> Output {
        self.command(self.top.join("packaging/release").to_str().unwrap(), words)
    }

    /// Returns a command that uses no settings of the user or host.
    fn command(&self, program: &str, words: &[&str]) -> Output {
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(&self.top)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "a maintainer");
            command.env(format!("GIT_{role}_EMAIL"), "maintainer@example.invalid");
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn refuses(&self, words: &[&str], why: &str) {
        let (head, tree) = (self.git(&["rev-parse", "HEAD"]), self.git(&["status", "--porcelain"]));
        let output = self.release(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{words:?}: {said}");
        assert_eq!((self.git(&["rev-parse", "HEAD"]), self.git(&["status", "--porcelain"])), (head, tree));
    }
}

#[track_caller]
fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_release_is_one_commit_with_its_version_everywhere() {
    let project = Project::new("made");
    let said = succeeded(project.release(&["0.2.0"]));
    assert!(said.contains("git tag --sign v0.2.0 "), "{said}");
    assert_eq!(project.git(&["log", "-1", "--format=%s"]), "release: 0.2.0\n");
    assert_eq!(project.git(&["rev-list", "--count", "v0.1.0..HEAD"]), "1\n");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    for path in ["Cargo.toml", "Cargo.lock"] {
        let text = project.read(path);
        assert!(text.contains("version = \"0.2.0\"") && !text.contains("0.1.0"), "{path}: {text}");
    }
    let changelog = project.read("CHANGELOG.md");
    let (before, after) = changelog.split_once("\n## 0.2.0 - 20").expect("a section with a date");
    assert!(
        before.ends_with("\n## Unreleased\n") && after[9..].starts_with("\n- It runs.\n\n## 0.1.0 - "),
        "{changelog}"
    );
    assert_eq!(project.git(&["tag"]), "v0.1.0\n");
}

#[test]
fn an_invalid_or_earlier_version_is_rejected() {
    let project = Project::new("versions");
    for words in [&[][..], &["0.2"], &["v0.2.0"], &["0.02.0"], &["0.2.0-rc1"], &["0.2.0", "0.3.0"], &["0.2.0\n0.3.0"]] {
        project.refuses(words, "which version?");
    }
    project.refuses(&["0.1.0"], "v0.1.0 is a tag already");
    project.refuses(&["0.0.9"], "v0.1.0 is later than 0.0.9");
    project.git(&["tag", "v0.10.0"]);
    project.refuses(&["0.9.0"], "v0.10.0 is later than 0.9.0");
    project.git(&["tag", "--delete", "v0.1.0", "v0.10.0"]);
    project.refuses(&["0.1.0"], "CHANGELOG.md has a section for 0.1.0 already");
}

#[test]
fn a_tree_with_changes_or_without_changelog_entries_is_rejected() {
    let project = Project::new("trees");
    project.write("new", "");
    project.refuses(&["0.2.0"], "there are changes that are not committed");
    fs::remove_file(project.top.join("new")).unwrap();
    project.write("CHANGELOG.md", &CHANGELOG.replace("- It runs.\n\n", ""));
    project.commit("no news");
    project.refuses(&["0.2.0"], "CHANGELOG.md has nothing under Unreleased");
}
