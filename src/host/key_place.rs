//! Where the private host key is: in the state directory or, if root has sealed it, in the runtime directory, in which it is unsealed at
//! boot. The program `jit-sudo-host-key` seals and unseals it.
//! May not: seal, unseal, or run a program that does.

use std::path::Path;

use super::{HOST_KEY, Host, HostError, KEY_LIMIT};
use jit_core::grant::HostKey;
use jit_core::grant::hostkey::InvalidHostKey;
use jit_core::places::{RUNTIME, STATE};
use sys::trusted::{TrustError, TrustedDirectory, TrustedFile};

/// The sealed host key. The file is empty after a rotation, until the new key is sealed.
pub(super) const SEALED: &str = "host_key.sealed";

/// Opens the file of the private host key. A key in the state directory comes first: a rotation puts the new one there.
pub(super) fn host_key_file(state: &TrustedDirectory) -> Result<TrustedFile, HostError> {
    let in_runtime = || TrustedDirectory::open(Path::new(RUNTIME))?.file(HOST_KEY.as_ref());
    let missing = |error: &TrustError| matches!(error, TrustError::Missing { .. });
    let opened = match state.file(HOST_KEY.as_ref()) {
        Err(error) if missing(&error) => in_runtime(),
        opened => opened,
    };
    opened.map_err(|error| match error {
        error if !missing(&error) => HostError::Trust(error),
        _ if is_sealed() => HostError::Sealed,
        _ => HostError::NoKey(HOST_KEY),
    })
}

/// Returns the text of the private host key.
pub(super) fn host_key_text(state: &TrustedDirectory) -> Result<String, HostError> {
    Ok(String::from_utf8(host_key_file(state)?.read(KEY_LIMIT)?).map_err(|_| InvalidHostKey)?)
}

/// Whether there is a host key, unsealed or sealed.
pub(super) fn has_host_key() -> bool {
    let exists = |directory: &str| Path::new(directory).join(HOST_KEY).exists();
    exists(STATE) || exists(RUNTIME) || is_sealed()
}

fn is_sealed() -> bool {
    std::fs::metadata(Path::new(STATE).join(SEALED)).is_ok_and(|file| file.len() > 0)
}

impl Host {
    /// Returns the private host key; `None` if it is missing, sealed or damaged.
    pub(super) fn stored_host_key(&self) -> Result<Option<HostKey>, HostError> {
        let file = match host_key_file(&self.state) {
            Ok(file) => file,
            Err(HostError::NoKey(_) | HostError::Sealed) => return Ok(None),
            Err(error) => return Err(error),
        };
        file.private()?;
        let text = String::from_utf8(file.read(KEY_LIMIT)?).map_err(|_| InvalidHostKey);
        Ok(text.and_then(|text| HostKey::from_openssh(&text)).ok())
    }

    /// Whether the key lies unsealed in the state directory of a host that seals it.
    pub fn is_to_be_sealed(&self) -> bool {
        [SEALED, HOST_KEY].iter().all(|name| Path::new(STATE).join(name).exists())
    }

    /// Erases the unsealed key of a host that seals it, and the sealed one. What remains says that the host seals its key.
    pub(super) fn erase_sealed(&self) -> Result<(), HostError> {
        match TrustedDirectory::open(Path::new(RUNTIME)) {
            Ok(runtime) => runtime.erase(HOST_KEY.as_ref())?,
            Err(TrustError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if is_sealed() {
            self.state.erase(SEALED.as_ref())?;
            self.state.create(SEALED.as_ref(), b"", 0o600)?;
        }
        Ok(())
    }
}
