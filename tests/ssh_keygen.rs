//! The host's signatures and its key file have OpenSSH's own formats: a stock `ssh-keygen` verifies them here, as docs/formats.md
//! promises.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jit_core::escape::Word;
use jit_core::grant::sshsig::{Namespace, armor};
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{CommandTerms, GrantTerms, HostDescriptor, HostKey, SignedGrant};
use jit_core::names::{GrantId, RoleName, UserName};

const GRANT: &str = "jit-sudo/grant/v1";

#[test]
fn a_grant_of_the_host_is_verified_by_ssh_keygen() {
    let place = Place::new("grant");
    let key = HostKey::from_seed([7; 32]);
    let signed = SignedGrant::issue(&terms(&key), &key).unwrap();
    place.allow(&key, GRANT);
    place.write("grant.sig", armor(signed.signature()).as_bytes());

    let good = place.verify("grant.sig", GRANT, signed.bytes());
    assert!(good.status.success(), "{}", told(&good));
    assert!(told(&good).contains("Good \"jit-sudo/grant/v1\" signature for host"), "{}", told(&good));
    assert!(told(&good).contains(&key.fingerprint()), "{}", told(&good));
}

#[test]
fn ssh_keygen_rejects_other_bytes_another_purpose_and_another_host() {
    let place = Place::new("refused");
    let key = HostKey::from_seed([7; 32]);
    let signed = SignedGrant::issue(&terms(&key), &key).unwrap();
    place.allow(&key, GRANT);
    place.write("grant.sig", armor(signed.signature()).as_bytes());

    let later = String::from_utf8(signed.bytes().to_vec()).unwrap().replace("1800003600", "1900003600");
    assert_ne!(later.as_bytes(), signed.bytes());
    assert!(!place.verify("grant.sig", GRANT, later.as_bytes()).status.success());
    assert!(!place.verify("grant.sig", "jit-sudo/approval/v1", signed.bytes()).status.success());

    let other = HostKey::from_seed([8; 32]);
    place.write("other.sig", armor(&other.sign(Namespace::Grant, signed.bytes())).as_bytes());
    assert!(!place.verify("other.sig", GRANT, signed.bytes()).status.success());
}

#[test]
fn every_purpose_has_the_namespace_that_ssh_keygen_requires() {
    let place = Place::new("purposes");
    let key = HostKey::from_seed([7; 32]);
    for purpose in [
        Namespace::Grant,
        Namespace::Approval,
        Namespace::Request,
        Namespace::Checkpoint,
        Namespace::Epoch,
        Namespace::Statement,
    ] {
        place.allow(&key, purpose.as_str());
        place.write("message.sig", armor(&key.sign(purpose, b"message")).as_bytes());
        let answer = place.verify("message.sig", purpose.as_str(), b"message");
        assert!(answer.status.success(), "{}: {}", purpose.as_str(), told(&answer));
    }
}

#[test]
fn the_host_verifies_a_signature_of_ssh_keygen() {
    let place = Place::new("signed");
    let key = HostKey::from_seed([9; 32]);
    place.write_key(&key);
    place.write("message", b"by another program");
    let signed =
        place.keygen(&["-Y", "sign", "-f", "host_key", "-n", "jit-sudo/approval/v1", "message"]).output().unwrap();
    assert!(signed.status.success(), "{}", told(&signed));
    let text = fs::read_to_string(place.0.join("message.sig")).unwrap();

    let ours = armor(&key.sign(Namespace::Approval, b"by another program"));
    assert_eq!(text, ours, "ed25519 is deterministic, so the same message has the same signature");
}

#[test]
fn ssh_keygen_reads_the_key_file() {
    let place = Place::new("key");
    let key = HostKey::from_seed([42; 32]);
    place.write_key(&key);

    let public = place.keygen(&["-y", "-f", "host_key"]).output().unwrap();
    assert!(public.status.success(), "{}", told(&public));
    assert_eq!(String::from_utf8_lossy(&public.stdout).trim_end(), key.public_line());

    let listed = place.keygen(&["-l", "-f", "host_key"]).output().unwrap();
    assert_eq!(told(&listed).trim_end(), format!("256 {} jit-sudo host key (ED25519)", key.fingerprint()));
}

#[test]
fn a_key_file_of_ssh_keygen_is_accepted() {
    let place = Place::new("foreign");
    let made = place.keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "jit-sudo host key", "-f", "host_key"]).output();
    assert!(made.unwrap().status.success());
    let key = HostKey::from_openssh(&fs::read_to_string(place.0.join("host_key")).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(place.0.join("host_key.pub")).unwrap().trim_end(), key.public_line());
}

#[test]
fn the_example_in_the_document_matches_the_program() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formats.md")).unwrap();
    let key = HostKey::from_seed([7; 32]);
    let bytes = String::from_utf8(encode(&terms(&key)).unwrap()).unwrap();
    let written: String = document.lines().map(str::trim).collect();
    assert!(written.contains(&bytes), "docs/formats.md does not show this grant: {bytes}");
}

/// Returns the grant that docs/formats.md shows.
fn terms(key: &HostKey) -> GrantTerms {
    GrantTerms {
        approvals: vec!["34857caa15656bfe1181fd853939a1ba027cd4ad8a58d8d78d6c20f527f4e44d".to_owned()],
        approvers: vec![UserName::parse("bob").unwrap()],
        boot_deadline: 7_200_000_000,
        boot_id: "0d5e0b7c-1f0a-4c1e-9d50-1a2b3c4d5e6f".to_owned(),
        break_glass: Flag::No,
        command: Some(CommandTerms {
            argv: ["/usr/bin/systemctl", "restart", "nginx"].map(Word::from).to_vec(),
            cwd: Word::from("/home/alice"),
            environment: vec![Word::from("SYSTEMD_COLORS=0")],
            path: Word::from("/usr/bin/systemctl"),
            program: "a3d987dd3f9ec0610dc13b7fdccef84895628065434f44247a65ef0d2a341b3c".to_owned(),
            run_as_gid: 0,
            run_as_groups: vec![0],
            run_as_uid: 0,
        }),
        critical: Vec::new(),
        exact: Flag::Yes,
        expires: 1_800_003_600,
        extends: None,
        extensions: Extensions::new(),
        host: HostDescriptor::of(key, "web1", "3d1219c7c4c5404aaa1f6d2a48adfda4").id,
        id: GrantId::parse("7r1eg3w07r").unwrap(),
        issued: 1_800_000_000,
        one_shot: Flag::No,
        request: "e291e9f102967822da411498894aad2111f2be64fb352f7f99d1489cb49e27d4".to_owned(),
        role: RoleName::parse("web-ops").unwrap(),
        role_digest: "6e9ba6d1ce61ee4b53dc6ed1ca27b0ab5f1fc2e5b6c0dba57c5be4d3ad1d3a6e".to_owned(),
        run_as: UserName::parse("root").unwrap(),
        starts: 1_800_000_000,
        this_boot: Flag::No,
        uid: 1000,
        user: UserName::parse("alice").unwrap(),
        version: VERSION,
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A directory for one test, removed when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ssh-keygen-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    /// Writes a key with mode 0600: ssh-keygen rejects a key that others could read.
    fn write_key(&self, key: &HostKey) {
        self.write("host_key", key.to_openssh(0x1234_5678).as_bytes());
        fs::set_permissions(self.0.join("host_key"), Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the file of allowed signers: this key, for this purpose only.
    fn allow(&self, key: &HostKey, namespace: &str) {
        self.write("allowed_signers", format!("host namespaces=\"{namespace}\" {}\n", key.public_line()).as_bytes());
    }

    fn verify(&self, signature: &str, namespace: &str, message: &[u8]) -> Output {
        self.write("message", message);
        self.keygen(&["-Y", "verify", "-f", "allowed_signers", "-I", "host", "-n", namespace, "-s", signature])
            .stdin(File::open(self.0.join("message")).unwrap())
            .output()
            .unwrap()
    }

    fn keygen(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ssh-keygen");
        command.args(words).current_dir(&self.0).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &self.0);
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
