//! The identity of this machine: its host name, its id and its addresses.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use crate::trusted::{TrustError, TrustedFile};

/// Returns the node name of the kernel (gethostname(2)); never asks DNS.
///
/// # Errors
/// A name that is empty or not UTF-8.
pub fn host_name() -> io::Result<String> {
    let name = nix::unistd::gethostname()?;
    name.into_string()
        .ok()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the host name is empty or not UTF-8"))
}

/// Returns the id of this installation, 32 hexadecimal digits (machine-id(5)); `None` when the file holds something
/// else, such as `uninitialized`.
///
/// # Errors
/// [`TrustError`] when the file is missing or users other than root could have written it.
pub fn machine_id() -> Result<Option<String>, TrustError> {
    let bytes = TrustedFile::open(Path::new("/etc/machine-id"))?.read(4096)?;
    Ok(parse_machine_id(&bytes))
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// The mask of its network, if the kernel reports one.
    pub mask: Option<IpAddr>,
}

/// Returns the addresses of the interfaces that are up, without loopback (getifaddrs(3)).
///
/// # Errors
/// Those of the kernel.
pub fn addresses() -> io::Result<Vec<OwnAddress>> {
    let counts =
        |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let own = nix::ifaddrs::getifaddrs()?.filter(|interface| counts(interface.flags)).filter_map(|interface| {
        let address = ip(interface.address.as_ref()?)?;
        Some(OwnAddress { address, mask: interface.netmask.as_ref().and_then(ip) })
    });
    Ok(own.collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

pub(crate) fn parse_machine_id(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let digits = line.len() == 32 && line.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits { String::from_utf8(line.to_vec()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_a_name() {
        assert!(!host_name().unwrap().is_empty());
    }

    #[test]
    fn only_a_valid_machine_id_is_accepted() {
        assert!(parse_machine_id(b"0123456789abcdef0123456789abcdef\n").is_some());
        for bytes in [&b""[..], b"uninitialized\n", b"0123456789ABCDEF0123456789abcdef\n", b"\xff"] {
            assert_eq!(parse_machine_id(bytes), None);
        }
    }
}
