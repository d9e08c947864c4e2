//! Whom a foreign program serves, as far as the kernel shows it: one user, or any.

use std::collections::HashSet;
use std::fs;

use crate::process::Pid;
use crate::procfs;
use crate::procfs::locked::reader;

/// The users that a program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// One user, who started it or sits at its terminal (su, sudo, login).
    Caller,
    /// The peer of one connection, which a listening server has passed to it (sshd).
    Connection,
    /// Unknown.
    Unproven,
    /// Several users.
    Many,
}

impl Service {
    /// Determines whom a program serves that `uid` uses, at this terminal if any (by its number).
    pub fn of(program: Pid, uid: u32, terminal: Option<u32>) -> Self {
        let Ok(status) = procfs::status(program) else { return Self::Unproven };
        let sits = |number| reader::terminals(vec![program]).contains(&number);
        // Descriptors come last: the user who starts a set-user-ID program chooses which ones it has.
        if uid != 0 && status.real_uid == uid || terminal.is_some_and(sits) {
            return Self::Caller;
        }
        let sockets = Sockets::of(program);
        if sockets.listening {
            return Self::Many;
        }
        let server = Pid::new(status.parent);
        if sockets.connected && server.is_some_and(|server| Sockets::of(server).listening) {
            return Self::Connection;
        }
        Self::Unproven
    }

    /// Returns whether ending the program affects no other user's work.
    pub fn is_alone(self) -> bool {
        matches!(self, Self::Caller | Self::Connection)
    }
}

/// The kinds of sockets that a process holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sockets {
    listening: bool,
    connected: bool,
}

/// proc_pid_net(5), `tcp`: TCP_ESTABLISHED and TCP_LISTEN.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// proc_pid_net(5), `unix`: __SO_ACCEPTCON among the flags.
const ACCEPTS: u32 = 1 << 16;

impl Sockets {
    /// Returns them; none for a process that does not answer.
    fn of(pid: Pid) -> Self {
        let judge = |held| {
            let Self { listening, connected } = Self::among(&held, pid);
            [listening, connected]
        };
        let [listening, connected] = reader::sockets(pid, &judge).unwrap_or_default();
        Self { listening, connected }
    }

    /// Returns the kinds of the sockets with these inode numbers, which the process holds.
    fn among(held: &HashSet<String>, pid: Pid) -> Self {
        let mut found = Self::default();
        if held.is_empty() {
            return found;
        }
        let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        for (state, inode) in ["tcp", "tcp6"].iter().flat_map(|name| tcp(&table(name))) {
            if held.contains(&inode) {
                found.listening |= state == LISTEN;
                found.connected |= state == ESTABLISHED;
            }
        }
        found.listening |= unix(&table("unix")).iter().any(|inode| held.contains(inode));
        found
    }
}

/// Returns the number of sockets in a table, read as `tcp` and as `unix`.
pub(crate) fn sockets_in(table: &str) -> (usize, usize) {
    (tcp(table).len(), unix(table).len())
}

/// Returns state and inode number of each socket in a table.
fn tcp(table: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let state = fields.nth(3)?.to_owned();
        Some((state, fields.nth(5)?.to_owned()))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Returns the inode numbers of the sockets that accept connections.
fn unix(table: &str) -> Vec<String> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        (flags & ACCEPTS != 0).then(|| fields.nth(2).map(str::to_owned)).flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_process_that_listens_is_known_by_its_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(Sockets::of(Pid::own()), Sockets { listening: true, connected: true });
        assert_eq!(Service::of(Pid::own(), 0, None), Service::Many);
        drop(stream);
        let Ok(mut child) = std::process::Command::new("sleep").arg("60").spawn() else { return };
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!((Sockets::of(pid), Service::of(pid, 0, None)), (Sockets::default(), Service::Unproven));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn socket_tables_are_parsed_by_column() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n";
        assert_eq!(tcp(table), [("0A".to_owned(), "4711".to_owned())]);
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 815 /run/x\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03 816\n";
        assert_eq!(unix(table), ["815"]);
        assert!(tcp("").is_empty() && unix("x\ny z\n").is_empty());
    }
}
