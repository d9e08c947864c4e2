//! Sends messages to the kernel's audit subsystem and reads its answers (netlink(7) `NETLINK_AUDIT`, `linux/audit.h`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
};
use nix::sys::time::TimeVal;

/// The maximum length of a message text that the kernel does not truncate (`AUDIT_MESSAGE_TEXT_MAX`).
pub const TEXT_LIMIT: usize = 8_560;

/// A command that a user ran (`AUDIT_USER_CMD`).
pub const USER_CMD: u16 = 1_123;

/// Free text of a trusted program (`AUDIT_TRUSTED_APP`).
pub const TRUSTED_APP: u16 = 1_121;

const AUDIT_GET: u16 = 1_000;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const HEADER: usize = 16;

/// An open audit socket; sending requires CAP_AUDIT_WRITE.
#[derive(Debug)]
pub struct AuditLink {
    socket: OwnedFd,
    sequence: u32,
}

/// The state of the audit subsystem (`struct audit_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditStatus {
    /// Whether the kernel records messages.
    pub enabled: bool,
    /// Whether a daemon receives them.
    pub daemon: bool,
    /// The number of messages in the queue for the daemon.
    pub queued: u32,
    /// The limit of the queue; the kernel stops a sender beyond it for a minute. 0 means no limit.
    pub limit: u32,
}

impl AuditLink {
    /// Opens a socket on which no call blocks longer than `patience`.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` on a kernel without audit.
    pub fn open(patience: Duration) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkAudit)?;
        let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
        let limit = TimeVal::new(seconds, i64::from(patience.subsec_micros().max(1)));
        setsockopt(&socket, SendTimeout, &limit)?;
        setsockopt(&socket, ReceiveTimeout, &limit)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks the kernel for its state; `None` outside the initial PID namespace, where the kernel denies it.
    pub fn status(&mut self) -> io::Result<Option<AuditStatus>> {
        self.request(AUDIT_GET, NLM_F_REQUEST, &[])?;
        loop {
            let (kind, data) = self.answer()?;
            let number = |at: usize| Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?));
            let malformed = || io::Error::from(io::ErrorKind::InvalidData);
            match kind {
                NLMSG_ERROR => match error(&data)? {
                    Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(None),
                    Err(error) => return Err(error),
                    Ok(()) => {}
                },
                AUDIT_GET => {
                    let (enabled, pid) = (number(4).ok_or_else(malformed)?, number(12).ok_or_else(malformed)?);
                    let (limit, queued) = (number(20).ok_or_else(malformed)?, number(28).ok_or_else(malformed)?);
                    return Ok(Some(AuditStatus { enabled: enabled != 0, daemon: pid != 0, queued, limit }));
                }
                _ => {}
            }
        }
    }

    /// Sends one message; returns when the kernel has accepted it.
    pub fn send(&mut self, kind: u16, text: &[u8]) -> io::Result<()> {
        // The kernel expects a C string and overwrites its last byte.
        self.request(kind, NLM_F_REQUEST | NLM_F_ACK, &[text, b"\0"].concat())?;
        loop {
            let (kind, data) = self.answer()?;
            if kind == NLMSG_ERROR {
                return error(&data)?;
            }
        }
    }

    fn request(&mut self, kind: u16, flags: u16, data: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + data.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = Vec::with_capacity(HEADER + data.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(data);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
        Ok(())
    }

    /// Returns kind and data of the next answer to the last request. Skips older answers.
    fn answer(&self) -> io::Result<(u16, Vec<u8>)> {
        let mut buffer = vec![0; HEADER + 9_000];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let message = buffer.get(..length).unwrap_or_default();
            let Some((header, data)) = message.split_at_checked(HEADER) else { continue };
            if header.get(8..12) == Some(&self.sequence.to_ne_bytes()[..]) {
                let kind = header.get(4..6).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes);
                return Ok((kind, data.to_vec()));
            }
        }
    }
}

/// Decodes an `NLMSG_ERROR`; 0 is an acknowledgement.
fn error(data: &[u8]) -> io::Result<io::Result<()>> {
    let code = data.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match code.ok_or(io::ErrorKind::InvalidData)? {
        0 => Ok(Ok(())),
        code => Ok(Err(io::Error::from_raw_os_error(code.saturating_neg()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_or_returns_an_error() {
        let Ok(mut link) = AuditLink::open(Duration::from_secs(1)) else { return };
        // Both calls return, however the kernel is configured; without audit or the capability they fail.
        if let Ok(Some(status)) = link.status() {
            assert!(status.limit == 0 || status.queued <= status.limit + 64, "{status:?}");
        }
        if let Err(error) = link.send(TRUSTED_APP, b"op=test res=success") {
            assert!(matches!(error.raw_os_error(), Some(libc::EPERM | libc::ECONNREFUSED)), "{error}");
        }
    }

    #[test]
    fn acknowledgements_and_errors_are_distinguished() {
        assert!(error(&0_i32.to_ne_bytes()).unwrap().is_ok());
        let refused = error(&(-libc::EPERM).to_ne_bytes()).unwrap().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(error(&i32::MIN.to_ne_bytes()).unwrap().is_err());
        assert!(error(b"x").is_err());
    }
}
