//! Signs with the user's own key, by ssh-keygen(1).

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use jit_core::escape::{escape, hex};
use jit_core::grant::sshsig::{self, Namespace};
use jit_core::names::UserName;

use crate::speech::{Notice, Trouble};

/// Signs with ssh-keygen and checks the result, so that a signature that the host would refuse is refused here.
pub(crate) fn sign(key: &Path, purpose: Namespace, body: &str) -> Result<String, Trouble> {
    let shown = escape(key.as_os_str().as_encoded_bytes());
    let failed = |cause: &str| {
        Trouble::Local("not-signed", Notice::new(format!("ssh-keygen cannot sign with {shown}: {cause}")))
    };
    let system = |error| failed(&sys::plain_words(&error));
    let directory = SigningDir::new().map_err(system)?;
    let file = directory.0.join("approval");
    fs::write(&file, body).map_err(system)?;
    let status = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", purpose.as_str(), "-f"])
        .args([key, &file])
        .stdin(terminal())
        .stdout(Stdio::null())
        .status()
        .map_err(system)?;
    if !status.success() {
        return Err(failed("it has said why"));
    }
    let signature = fs::read_to_string(directory.0.join("approval.sig")).map_err(system)?;
    let made = sshsig::dearmor(&signature).is_some_and(|blob| sshsig::signer(purpose, body.as_bytes(), &blob).is_ok());
    if made { Ok(signature) } else { Err(failed("only ed25519 keys serve, and a security key must be touched")) }
}

/// Returns the standard input for ssh-keygen: it prompts for the PIN of a security key or the passphrase of a file only
/// on a terminal, and our own standard input need not be one.
fn terminal() -> Stdio {
    fs::File::open("/dev/tty").map_or_else(|_| Stdio::null(), Stdio::from)
}

/// A private directory for the text to be signed; removed when the value is dropped.
struct SigningDir(PathBuf);

impl SigningDir {
    fn new() -> io::Result<Self> {
        let name: [u8; 8] = sys::random::random()?;
        let path = std::env::temp_dir().join(format!("jitctl-{}", hex(&name)));
        // Fails if it exists, so that no other user can have put anything in it.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for SigningDir {
    fn drop(&mut self) {
        // What remains is an approval and its signature, which are not secret.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the user's name as the environment gives it; the host compares it with the key.
pub(crate) fn account() -> Option<UserName> {
    ["LOGNAME", "USER"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().and_then(|value| UserName::parse(&value).ok()))
}
