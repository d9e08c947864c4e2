//! Pseudo-terminals: we keep the leader, and the follower becomes the command's terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::{Gid, Uid, fchown};

use crate::kernel::check;
use crate::terminal::{Attributes, WindowSize, set_window};

/// A new pseudo-terminal, both sides close-on-exec and no process's controlling terminal.
#[derive(Debug)]
pub struct Pty {
    /// Our side.
    pub leader: OwnedFd,
    /// The command's side.
    pub follower: OwnedFd,
    /// The follower's path, such as `/dev/pts/3`.
    pub name: PathBuf,
}

impl Pty {
    /// Opens a pair. The follower belongs to `owner`, and to `group` (usually `tty`) if given. It gets `attributes`,
    /// those of the user's terminal, if there is one.
    ///
    /// The follower is opened through the leader (TIOCGPTPEER), never by its path.
    pub fn open(
        window: WindowSize,
        attributes: Option<&Attributes>,
        owner: u32,
        group: Option<u32>,
    ) -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let leader = posix_openpt(flags)?;
        grantpt(&leader)?;
        unlockpt(&leader)?;
        // SAFETY: the descriptor is a leader; TIOCGPTPEER takes open flags as an integer.
        let follower = check(unsafe { libc::ioctl(leader.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) })?;
        // SAFETY: the kernel has just made the descriptor and nothing else owns it.
        let follower = unsafe { OwnedFd::from_raw_fd(follower) };
        let name = PathBuf::from(ptsname_r(&leader)?);
        if let Some(attributes) = attributes {
            attributes.apply_now(follower.as_fd())?;
        }
        set_window(follower.as_fd(), window)?;
        fchown(follower.as_fd(), Some(Uid::from_raw(owner)), group.map(Gid::from_raw))?;
        // SAFETY: `leader` is open and given up here, so that the descriptor has one owner.
        let leader = unsafe { OwnedFd::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(leader)) };
        Ok(Self { leader, follower, name })
    }

    /// Returns the path of the follower.
    pub fn name(&self) -> &Path {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::{Terminal, window};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_follower_matches_its_path_and_belongs_to_the_owner() {
        let size = WindowSize { rows: 40, columns: 132, width: 0, height: 0 };
        let pty = Pty::open(size, None, 65534, None).unwrap();
        let node = std::fs::metadata(pty.name()).unwrap();
        assert_eq!(node.uid(), 65534);
        let terminal = Terminal::new(pty.follower.try_clone().unwrap()).unwrap();
        assert_eq!(terminal.device(), node.rdev());
        assert_eq!(terminal.name().unwrap(), pty.name);
        assert_eq!(window(pty.leader.as_fd()).unwrap(), size);
    }
}
