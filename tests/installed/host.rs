//! Installation, and the private root itself: files of the administrator are kept, and the host stays unchanged.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use harness::{Output, PrivateRoot};

use crate::own_root;

pub(crate) const INSTALL: &str = "make --silent -C /run/private-root/project install CARGO_TARGET_DIR=/run/private-root/target PROFILE=${PROFILE:-dev}";

#[test]
fn installing_again_keeps_what_the_administrator_wrote() {
    let root = own_root();
    root.script("echo '# mine' >> /etc/jit-sudo/policy.toml; echo '# mine' >> /etc/pam.d/jit-sudo; echo '# mine' > /etc/jit-sudo/policy.d/mine.toml");
    let key = root.read("/var/lib/jit-sudo/host_key.pub");
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "dev".to_owned());
    let said = root.command("root", ["sh", "-c", INSTALL]).env("PROFILE", profile).run();
    assert!(said.succeeded().contains("kept /etc/jit-sudo/policy.toml"), "{said:?}");
    for file in ["/etc/jit-sudo/policy.toml", "/etc/pam.d/jit-sudo"] {
        assert!(root.read(file).ends_with("# mine\n"), "{file} was overwritten");
        assert!(!root.read(&format!("{file}.new")).contains("# mine"), "{file}.new");
    }
    assert_eq!(root.read("/var/lib/jit-sudo/host_key.pub"), key, "the host has a new key");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn the_installed_files_have_the_owners_and_modes_that_they_need() {
    let root = PrivateRoot::start();
    for (path, mode) in [
        ("/usr/bin/jit-sudo", 0o4755),
        ("/usr/libexec/jit-sudo/jit-sudo-broker", 0o4755),
        ("/usr/bin/jitctl", 0o755),
        ("/etc/jit-sudo", 0o711),
        ("/etc/jit-sudo/policy.d", 0o700),
        ("/etc/jit-sudo/hooks.d", 0o711),
        ("/etc/jit-sudo/policy.toml", 0o640),
        ("/var/lib/jit-sudo", 0o700),
        ("/var/lib/jit-sudo/host_key", 0o600),
        ("/var/lib/jit-sudo/journal.db", 0o600),
    ] {
        let status = std::fs::metadata(root.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((status.uid(), status.gid(), status.mode() & 0o7777), (0, 0, mode), "{path}: {:o}", status.mode());
    }
}

/// Returns the paths of files and links below the directory, relative to it.
fn files(root: &PrivateRoot, directory: &str) -> BTreeSet<String> {
    let found = root.script(&format!("cd {directory} && find . ! -type d -printf '/%P\\n'"));
    found.lines().map(str::to_owned).collect()
}

/// Reports whether the file in the private root is the machine's own, which something outside may have changed meanwhile.
fn is_of_the_host(root: &PrivateRoot, file: &str) -> bool {
    let written = |path: &Path| path.symlink_metadata().and_then(|status| status.modified()).ok();
    let inside = written(&root.path(file));
    inside.is_some() && inside == written(Path::new(file))
}

/// Runs `make` with these arguments in the private root.
fn make(root: &PrivateRoot, words: &str) -> Output {
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "dev".to_owned());
    let line = format!(
        "make --silent -C /run/private-root/project CARGO_TARGET_DIR=/run/private-root/target PROFILE={profile} {words}"
    );
    root.as_root(["sh", "-c", &line])
}

#[test]
fn uninstalling_from_an_image_keeps_only_policy_and_evidence() {
    let root = own_root();
    root.script("touch /run/before");
    make(&root, "install DESTDIR=/root/image").succeeded();
    let installed = files(&root, "/root/image");
    for file in [
        "/usr/bin/jit-sudo",
        "/usr/bin/jit-sudoedit",
        "/usr/bin/jitctl",
        "/usr/libexec/jit-sudo/jit-sudo-broker",
        "/usr/libexec/jit-sudo/jit-sudo-enforcer",
        "/usr/libexec/jit-sudo/jit-sudo-hooks",
        "/usr/libexec/jit-sudo/jit-sudo-compile",
        "/usr/libexec/jit-sudo/jit-sudo-shrink",
        "/usr/libexec/jit-sudo/pam.d/jit-sudo",
        "/usr/libexec/jit-sudo/pam.d/jit-sudo-i",
        "/usr/libexec/jit-sudo/pam.d/other",
        "/usr/share/man/man5/jit-sudo-policy.5",
        "/usr/share/man/man8/jit-sudo.8",
        "/usr/share/man/man8/jit-sudoedit.8",
        "/usr/share/man/man8/jitctl.8",
        "/usr/share/man/man8/pam_jit_sudo.8",
        "/usr/libexec/jit-sudo/jit-sudo-host-key",
        "/usr/share/bash-completion/completions/jit-sudo",
        "/usr/share/bash-completion/completions/jitctl",
        "/usr/share/fish/vendor_completions.d/jit-sudo.fish",
        "/usr/share/fish/vendor_completions.d/jitctl.fish",
        "/usr/share/zsh/vendor-completions/_jit-sudo",
        "/usr/share/zsh/vendor-completions/_jitctl",
        "/etc/jit-sudo/policy.toml",
        "/etc/pam.d/jit-sudo",
        "/etc/pam.d/jit-sudo-i",
    ] {
        assert!(installed.contains(file), "{file} is not installed: {installed:?}");
    }
    assert!(installed.iter().any(|file| file.ends_with("/security/pam_jit_sudo.so")), "{installed:?}");
    assert_eq!(installed.len(), 27, "{installed:?}");
    let newer = root.script("find /etc /usr /var/lib /srv /opt -newer /run/before ! -type d");
    let elsewhere: Vec<_> = newer.lines().filter(|file| !is_of_the_host(&root, file)).collect();
    assert!(elsewhere.is_empty(), "an installation with DESTDIR reached out of it: {elsewhere:?}");

    make(&root, "uninstall DESTDIR=/root/image").succeeded();
    let kept = ["/etc/jit-sudo/policy.toml", "/etc/pam.d/jit-sudo", "/etc/pam.d/jit-sudo-i"];
    assert_eq!(files(&root, "/root/image"), kept.into_iter().map(str::to_owned).collect());
}

#[test]
fn programs_are_not_installed_in_paths_other_than_they_were_built_for() {
    let root = own_root();
    for words in ["PREFIX=/usr/local", "SYSCONFDIR=/usr/local/etc", "STATEDIR=/srv/jit-sudo"] {
        let refused = make(&root, &format!("install DESTDIR=/root/image {words}"));
        assert!(!refused.status.success(), "{words}");
        assert!(refused.stdout.contains("were built for other directories"), "{words}: {refused:?}");
        assert!(!root.path("/root/image").exists(), "{words}");
    }
}

#[test]
fn man_finds_every_page() {
    let root = own_root();
    for page in ["5 jit-sudo-policy", "8 jit-sudo", "8 jit-sudoedit", "8 jitctl", "8 pam_jit_sudo"] {
        root.script(&format!("man -w {page} && man {page} | grep -q ."));
    }
}

#[test]
fn uninstalling_keeps_policy_and_evidence() {
    let root = own_root();
    let words = ["make", "--silent", "-C", "/run/private-root/project", "uninstall"];
    assert!(root.as_root(words).succeeded().contains("kept"));
    for gone in ["/usr/bin/jit-sudo", "/usr/bin/jitctl", "/usr/libexec/jit-sudo"] {
        assert!(!root.path(gone).exists(), "{gone}");
    }
    for kept in ["/etc/jit-sudo/policy.toml", "/var/lib/jit-sudo/journal.db"] {
        assert!(root.path(kept).exists(), "{kept}");
    }
}

#[test]
fn a_private_root_changes_nothing_of_the_host() {
    let seen = || {
        let files = "find /etc /usr/bin /usr/libexec /var/lib/jit-sudo /etc/jit-sudo -xdev -printf '%p %i %m %U %s %C@\\n' 2>/dev/null | sort; cat /proc/self/mounts; hostname";
        Command::new("sh").args(["-c", files]).output().unwrap().stdout
    };
    let before = seen();
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "touch", "/etc/made-inside", "/usr/bin/made-inside"]).succeeded();
    assert!(root.path("/etc/made-inside").exists());
    drop(root);
    assert!(before == seen(), "the host's files, mounts or name have changed");
}

/// The script that the Debian package runs before it is unpacked.
const PREINST: &str = include_str!("../../packaging/debian/jit-sudo.preinst");

#[test]
fn an_upgrade_closes_every_directory_that_the_new_version_refuses_and_no_other() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.write("/root/preinst", 0o755, PREINST);
    for directory in ["/etc/jit-sudo/policy.d", "/etc/jit-sudo/hooks.d"] {
        for group in ["root", "adm"] {
            for mode in ["700", "711", "710", "750", "704", "755"] {
                let state = || root.script(&format!("stat -c '%a %G' {directory}")).trim().to_owned();
                let is_served = || {
                    let run = root.run_as(&person.name, ["jit-sudo", "-n", "true"]).stderr;
                    let doctor = root.as_root(["jitctl", "doctor"]).stdout;
                    !(run + &doctor).contains(&format!("{directory} is open to other users"))
                };
                root.script(&format!("chown root:{group} {directory}; chmod {mode} {directory}"));
                let (before, was_served) = (state(), is_served());
                root.script("/root/preinst upgrade 1");
                assert!(is_served(), "{directory} with {before} is refused after the upgrade: {}", state());
                assert!(!was_served || state() == before, "{directory} with {before} has become {}", state());
            }
        }
        root.script(&format!("chown root:root {directory}; chmod 711 {directory}"));
    }
}
