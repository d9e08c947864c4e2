//! Calls the kernel with every number, in a child under the filter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::filter::{answer_for, filter, rows};
use super::table::{Answer, Condition};
use super::*;
use crate::bpf::{answer, argument, equal, load};
use crate::descriptors::open_descriptors;
use crate::kernel::check;
use crate::process::{WaitEvent, Waiting, exit_now, fork, wait};
use std::os::fd::AsRawFd;

/// More than any architecture has.
const NUMBERS: i64 = 1024;

/// Marks a call that is not made even if the sandbox permits it: a filter of the test answers [`MADE`] to this sixth
/// argument.
const PROBE: u32 = 0x5eed_cafe;
const MADE: i32 = 3999;

/// What happened to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Passed,
    Refused,
    Killed,
}

/// uretprobe and uprobe: newer kernels exempt them from every filter, and answer with SIGILL or ENXIO unless a probe of
/// root led there (kernel/seccomp.c, `seccomp_uprobe_exception`).
#[cfg(target_arch = "x86_64")]
const UNFILTERED: [i64; 2] = [335, 336];
#[cfg(not(target_arch = "x86_64"))]
const UNFILTERED: [i64; 0] = [];

type Arguments = [u64; 3];

/// Returns what happens to a call under the filter. Of two filters that both answer with an error number, the newest
/// determines the number, and the severest answer takes precedence (seccomp(2)). So a call that the sandbox permits gets
/// the number of the test's filter, which was set before, and is not made.
fn fate(post: Post, number: i64, arguments: Arguments) -> Fate {
    let child = fork(|| {
        let mut probe = vec![
            load(argument(5)),
            equal(PROBE, 0, 1),
            answer(libc::SECCOMP_RET_ERRNO | MADE as u32),
            answer(libc::SECCOMP_RET_ALLOW),
        ];
        // SAFETY: this prctl takes integers only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        bpf::set(&mut probe).unwrap();
        bpf::set(&mut filter(post).unwrap()).unwrap();
        let [first, second, third] = arguments;
        // SAFETY: with this last argument the call is never made: one of the two filters answers.
        let made = unsafe { libc::syscall(number, first, second, third, 0, 0, PROBE) };
        // SAFETY: the location is this thread's own.
        let error = unsafe { *libc::__errno_location() };
        let status: i32 = match (made, error) {
            (-1, MADE) => 1,
            (-1, libc::EPERM) => 2,
            _ => 3,
        };
        // Not by _exit(2), which would leave the sixth argument of the last call in its register. SAFETY: takes
        // integers and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status, 0, 0, 0, 0, 0) };
        std::process::abort()
    })
    .unwrap();
    match wait(child, Waiting::ForEnd).unwrap().unwrap().0 {
        WaitEvent::Exited(1) => Fate::Passed,
        WaitEvent::Exited(2) => Fate::Refused,
        WaitEvent::Signaled { signal: libc::SIGSYS, .. } => Fate::Killed,
        other => panic!("{post:?} {number}: {other:?}"),
    }
}

/// Returns what the table says for each number, with arguments on both sides of a condition.
fn told(post: Post) -> BTreeMap<i64, Vec<(Arguments, Fate)>> {
    let mut told = BTreeMap::new();
    for row in rows() {
        for (name, number) in row.calls {
            let fates = match answer_for(row, post) {
                Answer::Passes => vec![([0; 3], Fate::Passed)],
                Answer::Refused => vec![([0; 3], Fate::Refused)],
                Answer::Fatal => vec![([0; 3], Fate::Killed)],
                Answer::Only(condition) => sides(condition),
            };
            assert!(told.insert(*number, fates).is_none(), "{name} is in two rows");
        }
    }
    told
}

fn sides(condition: Condition) -> Vec<(Arguments, Fate)> {
    let with = |index: u32, value: u32| {
        // The kernel ignores the upper half, and it must not bypass the filter either.
        let mut arguments = [0; 3];
        arguments[index as usize] = (0xdead_u64 << 32) | u64::from(value);
        arguments
    };
    match condition {
        Condition::OneOf(index, values) => {
            let mut sides: Vec<_> = values.iter().map(|value| (with(index, *value), Fate::Passed)).collect();
            for wrong in [u32::MAX, values[0] ^ 0x8000_0000, libc::TIOCSTI as u32, libc::AF_INET as u32, 0x5452] {
                sides.push((with(index, wrong), Fate::Refused));
            }
            sides
        }
        Condition::Not(index, value) => vec![
            (with(index, value), Fate::Refused),
            (with(index, value ^ 1), Fate::Passed),
            (with(index, 1), Fate::Passed),
        ],
        Condition::Without(index, bits) => vec![
            (with(index, bits), Fate::Refused),
            (with(index, u32::MAX), Fate::Refused),
            (with(index, !bits), Fate::Passed),
        ],
        Condition::NotBoth(index, one, other) => vec![
            (with(index, one | other), Fate::Refused),
            (with(index, one), Fate::Passed),
            (with(index, other), Fate::Passed),
        ],
    }
}

#[test]
fn the_filter_answers_every_call_as_the_table_says() {
    for post in [Post::RelayProcess, Post::Enforcer, Post::Worker] {
        let told = told(post);
        for number in (0..NUMBERS).filter(|number| !UNFILTERED.contains(number)) {
            let unknown = vec![([0; 3], Fate::Refused)];
            for (arguments, fate_told) in told.get(&number).unwrap_or(&unknown) {
                assert_eq!(fate(post, number, *arguments), *fate_told, "{post:?}, call {number}, {arguments:x?}");
            }
        }
        // Every number of the table was tried.
        assert!(told.keys().all(|number| (0..NUMBERS).contains(number)));
    }
}

#[test]
fn numbers_of_another_abi_are_fatal() {
    #[cfg(target_arch = "x86_64")]
    for post in [Post::RelayProcess, Post::Enforcer, Post::Worker] {
        assert_eq!(fate(post, libc::SYS_read | i64::from(bpf::X32_BIT), [0; 3]), Fate::Killed);
    }
}

#[test]
fn dangerous_calls_are_never_possible() {
    let named = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_mount,
        libc::SYS_kexec_load,
        libc::SYS_bpf,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_unshare,
        libc::SYS_setns,
    ];
    for post in [Post::RelayProcess, Post::Enforcer, Post::Worker] {
        for number in named {
            assert_eq!(fate(post, number, [0; 3]), Fate::Killed, "{post:?} {number}");
        }
    }
    for post in [Post::RelayProcess, Post::Worker] {
        for number in [libc::SYS_socket, libc::SYS_openat, libc::SYS_connect, libc::SYS_clone, libc::SYS_clone3] {
            assert_eq!(fate(post, number, [0; 3]), Fate::Refused, "{post:?} {number}");
        }
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("jit-sudo-wall-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("inside")).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn in_a_child(child: impl FnOnce() -> bool) {
    let pid = fork(|| exit_now(i32::from(!child()))).unwrap();
    assert_eq!(wait(pid, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
}

#[test]
fn an_enforcer_writes_only_below_its_allowed_path() {
    let scratch = Scratch::new("ground");
    if landlock_version().is_err() {
        return;
    }
    let (inside, outside) = (scratch.0.join("inside"), scratch.0.join("outside"));
    std::fs::write(&outside, "old").unwrap();
    in_a_child(|| {
        let grounds = [AllowedPath::Write(&inside), AllowedPath::Read(Path::new("/proc"))];
        let parts = confine(Post::Enforcer, &[], Files::Below(&grounds));
        parts == Parts { capabilities: true, files: true, calls: true }
            && std::fs::write(inside.join("a"), "1").is_ok()
            && std::fs::rename(inside.join("a"), inside.join("b")).is_ok()
            && std::fs::remove_file(inside.join("b")).is_ok()
            && std::fs::read("/proc/self/stat").is_ok()
            && std::fs::read(&outside).is_err()
            && std::fs::write(&outside, "new").is_err()
            && std::fs::write(scratch.0.join("new"), "new").is_err()
            && std::fs::rename(&outside, inside.join("c")).is_err()
            && std::net::UdpSocket::bind("127.0.0.1:0").is_err()
            && std::os::unix::net::UnixDatagram::unbound().is_ok()
    });
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "old");
}

#[test]
fn a_confined_enforcer_waits_for_a_lock_with_a_timeout() {
    let scratch = Scratch::new("turn");
    let path = scratch.0.join("inside/lock");
    // Held by another process than the one that waits: a process does not wait for itself.
    let file = std::fs::File::create_new(&path).unwrap();
    assert!(crate::lock::claim_byte(&file, 0).unwrap());
    in_a_child(|| {
        confine(Post::Enforcer, &[], Files::Any);
        let turn = crate::lock::Locked::at(&path, std::time::Duration::from_millis(100));
        turn.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    });
}

#[test]
fn a_confined_process_has_only_the_named_capabilities() {
    in_a_child(|| {
        let held = |line: &str| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let found = status.lines().find_map(|found| found.strip_prefix(line).map(str::trim)).unwrap().to_owned();
            u64::from_str_radix(&found, 16).unwrap()
        };
        let before = held("CapPrm:");
        let parts = confine(Post::Enforcer, &[Capability::Kill, Capability::AuditWrite], Files::Any);
        let wanted = (1 << 5 | 1 << 29) & before;
        parts.capabilities
            && ["CapPrm:", "CapEff:"].into_iter().all(|line| held(line) == wanted)
            && ["CapInh:", "CapAmb:"].into_iter().all(|line| held(line) == 0)
            // Dropping from the bounding set requires CAP_SETPCAP.
            && (before & (1 << 8) == 0 || held("CapBnd:") == 0)
    });
}

#[test]
fn descriptors_that_are_not_kept_are_closed() {
    let (kept, other) = crate::poll::pipe().unwrap();
    in_a_child(|| {
        use std::os::fd::AsFd;
        let fds = [kept.as_fd(), other.as_fd()].map(|fd| fd.as_raw_fd());
        let closed = close_all_but(&[kept.as_fd()]).is_ok();
        // SAFETY: F_GETFD takes nothing.
        let is_open = |fd: i32| check(unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok();
        closed && is_open(fds[0]) && !is_open(fds[1]) && open_descriptors().is_ok_and(|left| left == [fds[0]])
    });
}
