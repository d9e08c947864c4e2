//! A host key that is sealed to a TPM: the disk alone does not contain it, and everything else is as with a key that is not sealed.
//! The TPM is swtpm(8).

use harness::{Output, PrivateRoot};

use crate::{both_say_intact, granted, own_root, request};

const STATE: &str = "/var/lib/jit-sudo";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];
const CURE: &str = "/usr/libexec/jit-sudo/jit-sudo-host-key unseal";

/// Starts the TPM of which the state is in a directory, runs the program that seals the key, and shuts the TPM down (TPM2_Shutdown) as a
/// host does: without a resource manager in the kernel nobody else frees its sessions.
const WITH_TPM: &str = r#"
at=/run/$1; shift; mkdir -p "$at"
swtpm socket --tpm2 --tpmstate "dir=$at" --server "type=unixio,path=$at/tpm" --ctrl "type=unixio,path=$at/tpm.ctrl" \
    --flags not-need-init --daemon --pid "file=$at/pid"
until [ -s "$at/pid" ] && [ -S "$at/tpm" ]; do sleep 0.05; done
tpm=$(cat "$at/pid")
SYSTEMD_TPM2_DEVICE=swtpm:path=$at/tpm /usr/libexec/jit-sudo/jit-sudo-host-key "$@"
status=$?
python3 -c 'import socket, sys
tpm = socket.socket(socket.AF_UNIX)
tpm.connect(sys.argv[1])
tpm.sendall(bytes.fromhex("80010000000c000001450000"))
tpm.recv(64)' "$at/tpm"
kill "$tpm"
while kill -0 "$tpm" 2>/dev/null; do sleep 0.05; done
exit "$status"
"#;

/// Runs the program that seals the key, with one of the TPMs.
fn host_key(root: &PrivateRoot, tpm: &str, words: &[&str]) -> Output {
    root.as_root([&["sh", "-c", WITH_TPM, "sh", tpm][..], words].concat())
}

fn sealed() -> PrivateRoot {
    let root = own_root();
    host_key(&root, "tpm", &["seal", "--with-key=tpm2"]).succeeded();
    root
}

/// Returns the names of the files of the private host key.
fn files(root: &PrivateRoot) -> String {
    let found = "find /var/lib/jit-sudo /run/jit-sudo -name 'host_key*' ! -name '*.pub'";
    let text =
        root.script(&format!("{{ {found} -empty -printf '%p:empty\\n' ; {found} ! -empty -print; }} 2>/dev/null || :"));
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

const BOTH: &str = "/run/jit-sudo/host_key /var/lib/jit-sudo/host_key.sealed";

fn doctor(root: &PrivateRoot) -> Output {
    root.as_root(["jitctl", "doctor"])
}

#[test]
fn a_sealed_key_is_not_on_the_disk_and_signs_as_before() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.script(&format!("ln {STATE}/host_key /root/kept; cp /root/kept /root/copy"));
    host_key(&root, "tpm", &["seal", "--with-key=tpm2"]).succeeded();
    assert_eq!(files(&root), BOTH);
    let modes =
        root.script("cmp /root/copy /run/jit-sudo/host_key; stat -c '%a %U' /run/jit-sudo /run/jit-sudo/host_key");
    assert_eq!(modes.split_whitespace().collect::<Vec<_>>(), ["700", "root", "600", "root"]);
    let kept = std::fs::read(root.path("/root/kept")).unwrap();
    assert!(kept.iter().all(|byte| *byte == 0), "the key in the file is overwritten");
    let sealed = std::fs::read(root.path(&format!("{STATE}/host_key.sealed"))).unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("OPENSSH"));
    root.run_as(&person.name, RUN).succeeded();
    request(&root, &person, "self-service", &[]);
    root.run_as(&person.name, RUN).succeeded();
    both_say_intact(&root);
    assert!(doctor(&root).stdout.contains("signs for this host"));
    host_key(&root, "tpm", &["seal"]).refused("is sealed already");
    // Another installation or an upgrade makes no other key.
    root.as_root(["jitctl", "key", "init"]).succeeded();
    assert_eq!(files(&root), BOTH);
}

#[test]
fn after_a_boot_nothing_is_signed_before_the_tpm_has_unsealed_the_key() {
    let root = sealed();
    let person = granted(&root, "self-service");
    // The runtime directory is in memory.
    root.script("settle; rm -r /run/jit-sudo");
    host_key(&root, "other", &["unseal"]).refused("cannot be unsealed on this host");
    let said = doctor(&root);
    assert!(said.stdout.contains("is sealed in /var/lib/jit-sudo/host_key.sealed, and was not unsealed"), "{said:?}");
    assert!(said.stdout.contains(CURE), "{said:?}");
    let asked = root.run_as(&person.name, ["jitctl", "request", "--role", "self-service", "--reason", "x"]);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    root.as_root(["jitctl", "key", "init"]).refused("was not unsealed since the boot");
    assert_eq!(files(&root), "/var/lib/jit-sudo/host_key.sealed", "no other key is made");
    root.run_as(&person.name, RUN).succeeded();
    host_key(&root, "tpm", &["unseal"]).succeeded();
    assert_eq!(files(&root), BOTH);
    request(&root, &person, "self-service", &[]);
    both_say_intact(&root);
}

#[test]
fn a_rotation_and_a_retirement_leave_nothing_of_the_sealed_key() {
    let root = sealed();
    let rotate = ["jitctl", "key", "rotate", "--yes", "--reason", "yearly"];
    root.as_root(rotate).succeeded();
    assert_eq!(files(&root), "/var/lib/jit-sudo/host_key /var/lib/jit-sudo/host_key.sealed:empty");
    let said = doctor(&root);
    assert!(said.stdout.contains("is not sealed since it was replaced"), "{said:?}");
    both_say_intact(&root);
    host_key(&root, "tpm", &["unseal"]).succeeded();
    host_key(&root, "tpm", &["seal", "--with-key=tpm2"]).succeeded();
    assert_eq!(files(&root), BOTH);
    both_say_intact(&root);
    host_key(&root, "tpm", &["open"]).succeeded();
    assert_eq!(files(&root), "/var/lib/jit-sudo/host_key");
    both_say_intact(&root);
    host_key(&root, "tpm", &["seal", "--with-key=tpm2"]).succeeded();
    root.as_root(["jitctl", "key", "retire", "--yes", "--reason", "scrapped"]).succeeded();
    assert_eq!(files(&root), "");
}

#[test]
fn a_key_that_could_not_be_unsealed_again_is_not_sealed() {
    let root = own_root();
    root.script(&format!("cp {STATE}/host_key /root/copy"));
    // The program is found before the genuine one.
    root.write("/usr/sbin/systemd-creds", 0o755, "#!/bin/sh\necho other\n");
    host_key(&root, "tpm", &["seal", "--with-key=tpm2"]).refused("is not the key of this host");
    root.script(&format!("cmp {STATE}/host_key /root/copy; rm /usr/sbin/systemd-creds"));
    // Without PCRs, systemd 252 seals what it does not unseal.
    let without = host_key(&root, "tpm", &["seal", "--with-key=tpm2", "--tpm2-pcrs="]);
    if without.status.code() != Some(0) {
        root.script(&format!("cmp {STATE}/host_key /root/copy"));
        host_key(&root, "tpm", &["seal", "--with-key=tpm2"]).succeeded();
    }
    assert_eq!(files(&root), BOTH);
}
