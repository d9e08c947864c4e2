//! The host that a document is for: a descriptor inside the signed bytes, whose id can be recomputed by any reader.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::digest;
use super::public_key::PublicKey;
use super::ssh_wire::push_string;
use super::{HostPublicKey, sshsig::public_blob};
use crate::escape::hex;

/// The host id. It covers the key and the machine, so that neither a copied database nor a copied key alone makes a
/// grant valid on another machine. 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostId(String);

/// A host as it describes itself. Only a signature with its key proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostDescriptor {
    /// The host id, computed from `key` and `machine`.
    pub id: String,
    /// Its public key: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// A digest of its machine-id(5), which itself is confidential; lower-case hexadecimal.
    pub machine: String,
    /// Its name.
    pub name: String,
}

impl HostId {
    /// Returns the lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Computes the id from a key, as OpenSSH encodes it, and the digest of a machine-id.
    pub fn of(key: &[u8], machine: &[u8; 32]) -> Self {
        let mut bytes = b"jit-sudo host v2\0".to_vec();
        push_string(&mut bytes, key);
        push_string(&mut bytes, machine);
        Self(hex(&digest(&bytes)))
    }
}

impl HostDescriptor {
    /// Describes the host that has this key, this name and this machine-id.
    pub fn of(key: &HostPublicKey, name: &str, machine_id: &str) -> Self {
        let machine = digest(&[b"jit-sudo machine v2\0", machine_id.as_bytes()].concat());
        let blob = public_blob(key.verifying());
        Self {
            id: HostId::of(&blob, &machine).0,
            key: format!("ssh-ed25519 {}", Base64::encode_string(&blob)),
            machine: hex(&machine),
            name: name.to_owned(),
        }
    }

    /// Returns the same with its id, which needs no check; `None` when the name cannot be displayed.
    pub fn with_id(key: &HostPublicKey, name: &str, machine_id: &str) -> Option<(HostId, Self)> {
        let host = Self::of(key, name, machine_id);
        host.is_showable().then(|| (HostId(host.id.clone()), host))
    }

    /// Returns the host id, if it matches key and machine.
    pub fn host_id(&self) -> Option<HostId> {
        let machine = crate::escape::unhex(&self.machine)?;
        let id = HostId::of(&self.public_key()?.blob(), &machine);
        let plain = hex(&machine) == self.machine && self.is_showable();
        (plain && id.0 == self.id).then_some(id)
    }

    fn is_showable(&self) -> bool {
        !self.name.chars().any(char::is_control)
    }

    /// Returns the key, if it is an ed25519 key in canonical form.
    pub fn public_key(&self) -> Option<PublicKey> {
        let (algorithm, encoded) = self.key.split_once(' ')?;
        let key = PublicKey::from_words(algorithm, encoded).filter(|key| matches!(key, PublicKey::Plain(_)))?;
        (encoded == Base64::encode_string(&key.blob())).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::HostKey;

    fn described(seed: u8, name: &str, machine: &str) -> HostDescriptor {
        HostDescriptor::of(&HostKey::from_seed([seed; 32]), name, machine)
    }

    #[test]
    fn another_machine_or_another_key_is_another_host() {
        let id = |seed, machine| described(seed, "web1", machine).host_id().unwrap();
        assert_eq!(id(1, "m"), id(1, "m"));
        assert_ne!(id(1, "m"), id(1, "n"));
        assert_ne!(id(1, "m"), id(2, "m"));
        assert_eq!(described(1, "web2", "m").id, described(1, "web1", "m").id);
    }

    #[test]
    fn a_descriptor_with_a_wrong_id_is_rejected() {
        let good = described(1, "web1", "m");
        let other = described(2, "web1", "n");
        for bad in [
            HostDescriptor { key: other.key.clone(), ..good.clone() },
            HostDescriptor { machine: other.machine.clone(), ..good.clone() },
            HostDescriptor { id: other.id, ..good.clone() },
            HostDescriptor { machine: good.machine.to_uppercase(), ..good.clone() },
            HostDescriptor { machine: String::new(), ..good.clone() },
            HostDescriptor { key: format!("{} comment", good.key), ..good.clone() },
            HostDescriptor { key: good.key.replace("ssh-ed25519 ", "ssh-ed25519  "), ..good.clone() },
            HostDescriptor { name: "web1\n".into(), ..good.clone() },
        ] {
            assert_eq!(bad.host_id(), None, "{bad:?}");
        }
        assert!(good.host_id().is_some());
    }

    #[test]
    fn the_machine_id_itself_is_not_disclosed() {
        assert!(!serde_json::to_string(&described(1, "web1", "3d1219c7c4c5")).unwrap().contains("3d1219c7c4c5"));
    }
}
