//! The hosts for which a role is valid: names with wildcards, netgroups of hosts, addresses.

use std::fmt;
use std::net::IpAddr;

use super::glob::Glob;
use super::listed::{Entry, Listed, Side};
use super::lookup::Lookup;

/// One host or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// `ALL`, also written `*`
    All,
    /// A name; with a dot it is the full name, without one the first label (sudoers(5)). Case does not matter (RFC
    /// 4343).
    Name(Glob),
    /// `+netgroup`: its hosts (netgroup(5)).
    Netgroup(String),
    /// An address of this host, or of one of its networks: `10.0.0.1`, `10.0.0.0/24`, `fe80::1`.
    Address(Network),
}

/// An address, or a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    mask: Option<IpAddr>,
}

impl Listed<Hosts> {
    /// Returns whether this host matches.
    pub fn mean(&self, host: &str, lookup: &Lookup) -> bool {
        let full = host.strip_suffix('.').unwrap_or(host);
        let short = full.split('.').next().unwrap_or(full);
        let fits = |hosts: &Hosts| match hosts {
            Hosts::All => Some(true),
            Hosts::Name(pattern) if pattern.as_str().contains('.') => Some(pattern.matches_name(full)),
            Hosts::Name(pattern) => Some(pattern.matches_name(short)),
            Hosts::Netgroup(name) => Some([full, short].iter().any(|host| (lookup.netgroup_has_host)(name, host))),
            Hosts::Address(network) => {
                Some((lookup.addresses)()?.into_iter().any(|(own, mask)| network.covers(own, mask)))
            }
        };
        self.decide(fits) == Some(Side::In)
    }
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
        let address: IpAddr = address.parse().ok()?;
        let mask = match mask {
            None => None,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => Some(prefix(address, bits.parse().ok()?)?),
            Some(mask) => Some(mask.parse().ok().filter(|mask: &IpAddr| mask.is_ipv4() == address.is_ipv4())?),
        };
        // sudo masks the written address only for IPv4.
        let masked = mask.filter(|_| address.is_ipv4()).and_then(|mask| and(address, mask));
        Some(Self { address: masked.unwrap_or(address), mask })
    }

    /// Compares as `addr_matches` of sudo does: without a mask, with the address itself or the network of the
    /// interface.
    fn covers(&self, own: IpAddr, own_mask: Option<IpAddr>) -> bool {
        match self.mask {
            Some(mask) => and(own, mask).is_some_and(|masked| masked == self.address),
            None => {
                own == self.address
                    || own_mask.and_then(|mask| and(own, mask)).is_some_and(|masked| masked == self.address)
            }
        }
    }
}

fn prefix(address: IpAddr, bits: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(_) if bits <= 32 => Some(IpAddr::V4((u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into())),
        IpAddr::V6(_) if bits <= 128 => Some(IpAddr::V6((u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into())),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn and(address: IpAddr, mask: IpAddr) -> Option<IpAddr> {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => Some(IpAddr::V4((address.to_bits() & mask.to_bits()).into())),
        (IpAddr::V6(address), IpAddr::V6(mask)) => Some(IpAddr::V6((address.to_bits() & mask.to_bits()).into())),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

impl Entry for Hosts {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be host names, with '*', '?' and '[...]' as wildcards, +netgroups, addresses such as 10.0.0.0/8, or ALL"
                .to_owned()
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*?[]!^:".contains(&byte);
        if text == "ALL" || text == "*" {
            return Ok(Self::All);
        }
        if let Some(netgroup) = text.strip_prefix('+') {
            return super::principal::netgroup(netgroup).map(Self::Netgroup);
        }
        if let Some(network) = Network::read(text) {
            return Ok(Self::Address(network));
        }
        if text.is_empty() || text.len() > 255 || text.contains("::") || !text.bytes().all(plain) {
            return Err(wrong());
        }
        Glob::read(text).map(Self::Name)
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Name(pattern) => f.write_str(pattern.as_str()),
            Self::Netgroup(name) => write!(f, "+{name}"),
            Self::Address(Network { address, mask: None }) => write!(f, "{address}"),
            Self::Address(Network { address, mask: Some(mask) }) => write!(f, "{address}/{mask}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::listed::Line;
    use crate::policy::lookup::NOWHERE;

    fn mean(lines: &[&str], host: &str) -> bool {
        Listed::new(lines.iter().map(|line| Line::<Hosts>::read(line).unwrap()).collect()).mean(host, &NOWHERE)
    }

    #[test]
    fn a_name_without_a_dot_matches_the_short_name() {
        assert!(mean(&["web1"], "WEB1.example.org") && mean(&["Web*"], "web01") && mean(&["*"], "x"));
        assert!(mean(&["web?.example.org"], "web1.Example.ORG.") && !mean(&["web?.example.org"], "web1"));
        assert!(!mean(&["*org"], "web1.example.org") && !mean(&["web"], "web1"));
        assert!(mean(&["web[0-3]"], "web2") && !mean(&["web[!0-3]"], "web2"));
    }

    #[test]
    fn the_last_line_that_matches_the_host_decides() {
        assert!(!mean(&["ALL", "!db*"], "db1") && mean(&["ALL", "!db*", "db1"], "db1"));
        assert!(!mean(&["!db*"], "web1") && !mean(&[], "web1"));
    }

    #[test]
    fn networks_match_addresses_as_in_sudo() {
        let covers = |text: &str, own: &str, mask: &str| {
            Network::read(text).unwrap().covers(own.parse().unwrap(), mask.parse().ok())
        };
        assert!(covers("10.1.2.3", "10.1.2.3", "255.255.255.0") && covers("10.1.2.0", "10.1.2.3", "255.255.255.0"));
        assert!(covers("10.1.0.0/16", "10.1.2.3", "") && covers("10.1.0.0/255.255.0.0", "10.1.2.3", ""));
        assert!(!covers("10.1.0.0/24", "10.1.2.3", "") && covers("10.1.2.3/16", "10.1.9.9", ""));
        assert!(covers("0.0.0.0/0", "10.1.2.3", "") && covers("fe80::/10", "fe80::1", ""));
        assert!(!covers("fe80::/10", "10.1.2.3", "255.255.255.0"));
        for text in ["10.0.0.0/33", "10.0.0.256", "::/129", "10.0.0.0/::", "10.0.0.0/x"] {
            assert!(Network::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn invalid_hosts_are_rejected() {
        for text in ["", "a b", "a/b", "+", "web[", "g::b", "\u{e9}"] {
            assert!(Line::<Hosts>::read(text).is_err() || text == "web[", "{text}");
        }
    }
}
