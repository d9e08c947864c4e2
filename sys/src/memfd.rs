//! Sends datagrams that are too long for a socket as a sealed file in memory (memfd_create(2), unix(7)).

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Creates an unnamed file in memory, close-on-exec.
pub fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Sends `bytes` over a connected socket as a sealed file, which cannot be changed.
pub fn send_sealed(socket: &UnixDatagram, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::from(memfd_create("message", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let fds = [file.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&[])], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{IoSliceMut, Read};
    use std::os::fd::{FromRawFd, OwnedFd};

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    #[test]
    fn bytes_beyond_any_datagram_arrive_whole_and_sealed() {
        let (here, there) = UnixDatagram::pair().unwrap();
        let bytes = vec![7; 8 << 20];
        assert!(here.send(&bytes).is_err());
        send_sealed(&here, &bytes).unwrap();
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut buffer = [0; 1];
        let mut buffers = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<()>(there.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::empty()).unwrap();
        let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else { panic!("no file") };
        // SAFETY: recvmsg made this descriptor for us, and nothing else knows it.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fds[0]) });
        let mut received = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut received).unwrap();
        assert_eq!(received, bytes);
        assert!(file.write_all(b"x").is_err());
    }
}
