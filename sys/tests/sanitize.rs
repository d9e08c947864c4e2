//! `sanitize` removes what a hostile caller leaves in the process, and returns it as a value. Starts a real
//! set-user-ID copy of this program as `nobody`; fails where that is not possible. Must be run as root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sys::exec::{Credentials, Execution, Image, Programs};
use sys::limits::Limits;
use sys::process::{WaitEvent, Waiting, exit_now, fork, wait};
use sys::signals::SignalSet;

const INSIDE: &str = "--inside";

fn main() {
    if std::env::args_os().nth(1).is_some_and(|word| word == INSIDE) || std::env::args_os().len() == 0 {
        inside();
        return;
    }
    let copy = Copy::new(0o4755);
    let tests: [Test; 13] = [
        ("caller_is_who_the_kernel_says", caller_is_who_the_kernel_says),
        ("process_is_fully_root_afterwards", process_is_fully_root_afterwards),
        ("environment_is_kept_as_a_value_and_emptied", environment_is_kept_as_a_value_and_emptied),
        ("hostile_limits_are_lifted_and_kept", hostile_limits_are_lifted_and_kept),
        ("file_size_limit_never_kills_us", file_size_limit_never_kills_us),
        ("hostile_signals_are_reset_and_kept", hostile_signals_are_reset_and_kept),
        ("armed_timers_are_disarmed", armed_timers_are_disarmed),
        ("closed_streams_are_opened_in_every_combination", closed_streams_are_opened_in_every_combination),
        ("inherited_descriptor_is_kept_from_the_command", inherited_descriptor_is_kept_from_the_command),
        ("mask_score_and_dumps_are_reset", mask_score_and_dumps_are_reset),
        ("program_without_the_bit_says_so", program_without_the_bit_says_so),
        ("program_under_no_new_privileges_says_so", program_under_no_new_privileges_says_so),
        ("program_on_a_nosuid_mount_says_so", program_on_a_nosuid_mount_says_so),
    ];
    for (name, test) in tests {
        test(&copy);
        println!("test {name} ... ok");
    }
}

type Test = (&'static str, fn(&Copy));

/// Runs in the set-user-ID copy: prints one `key value` per line about the state before and after.
fn inside() {
    let inherited = match sys::sanitize(c"sanitize") {
        Ok(inherited) => inherited,
        Err(error) => return println!("error {error}"),
    };
    println!("streams {:?}", inherited.standard_streams);
    println!("caller {:?}", inherited.identity);
    println!("arguments {:?}", inherited.arguments);
    println!("environment {:?}", inherited.environment);
    println!("umask {:o}", inherited.umask);
    println!("ignored {:?}", inherited.ignored_signals.iter().filter(|s| !(32..=33).contains(s)).collect::<Vec<_>>());
    println!("blocked {:?}", inherited.blocked_signals.iter().collect::<Vec<_>>());
    println!("score {:?}", inherited.oom_score_adj);
    println!("limit-fsize {:?}", inherited.limits.get(libc::RLIMIT_FSIZE));
    println!("limit-nofile {:?}", inherited.limits.get(libc::RLIMIT_NOFILE));

    let now = Limits::current().unwrap();
    println!("now-fsize {:?}", now.get(libc::RLIMIT_FSIZE).unwrap().soft == libc::RLIM_INFINITY);
    println!("now-cpu {:?}", now.get(libc::RLIMIT_CPU).unwrap().hard == libc::RLIM_INFINITY);
    println!("now-nofile {:?}", now.get(libc::RLIMIT_NOFILE).unwrap().soft >= 1024);
    println!("now-core {:?}", now.get(libc::RLIMIT_CORE).unwrap().soft);
    println!("write {}", write_a_file());
    println!("now-environment {}", std::env::vars_os().count());
    println!("now-score {}", fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim());
    println!("now-timers {:?}", timers());
    println!("now-dumpable {}", nix::sys::prctl::get_dumpable().unwrap());
    for line in fs::read_to_string("/proc/self/status").unwrap().lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if matches!(words[0], "Uid:" | "Gid:" | "Groups:" | "Umask:" | "SigBlk:" | "SigIgn:") {
            println!("now-{}", words.join(" "));
        }
    }
    // SAFETY: F_GETFD has no argument; an error for a closed file descriptor is a valid result.
    println!("now-seven {}", unsafe { libc::fcntl(7, libc::F_GETFD) });
    std::thread::sleep(std::time::Duration::from_millis(30));
    println!("done");
}

fn write_a_file() -> String {
    let path = format!("{}-written", std::env::current_exe().unwrap().display());
    let written = fs::write(&path, "x").map_or_else(|error| format!("{:?}", error.kind()), |()| String::from("Ok"));
    fs::remove_file(path).unwrap();
    written
}

/// A copy of this program, owned by root.
struct Copy(PathBuf);

impl Copy {
    fn new(mode: u32) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sanitize-{mode:o}-{}", std::process::id()));
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    /// Returns what the copy prints when `nobody` runs it after `hostile`.
    fn run(&self, hostile: impl FnOnce(&mut Execution<'_>)) -> String {
        let (reader, writer) = sys::poll::pipe().unwrap();
        let program = File::open(&self.0).unwrap();
        let child = fork(|| {
            let argv = [c"sanitize".to_owned(), CString::new(INSIDE).unwrap()];
            let credentials = Credentials { uid: 65534, gid: 65533, groups: vec![4242] };
            let limits = Limits::current().unwrap();
            let mut execution = Execution {
                image: Image::Descriptor(program.as_fd()),
                argv: &argv,
                environment: &[],
                credentials: &credentials,
                dies_with: None,
                limits: &limits,
                own_limits: &limits,
                unsynced: None,
                scheduling: &sys::inherited::SchedulingState::default(),
                umask: 0o022,
                directory: sys::exec::Directory::Unchanged,
                ignored_signals: SignalSet::EMPTY,
                blocked_signals: SignalSet::EMPTY,
                oom_score_adj: None,
                standard: [None, Some(writer.as_fd()), None],
                kept: &[],
                programs: Programs::Any,
            };
            hostile(&mut execution);
            let Err(error) = execution.run();
            eprintln!("{error}");
            exit_now(99)
        })
        .unwrap();
        drop(writer);
        let mut output = String::new();
        File::from(reader).read_to_string(&mut output).unwrap();
        assert_eq!(wait(child, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0), "{output}");
        output
    }

    /// Returns what the copy prints when a shell of `nobody` executes it after this line.
    fn through_shell(&self, line: &str) -> String {
        let script = format!("{line}; exec /proc/self/fd/0 {INSIDE}");
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--clear-groups", "sh", "-c", &script])
            .stdin(File::open(&self.0).unwrap())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[track_caller]
fn says(output: &str, lines: &[&str]) {
    for line in lines {
        assert!(output.lines().any(|said| said == *line), "no line {line:?} in:\n{output}");
    }
}

fn caller_is_who_the_kernel_says(copy: &Copy) {
    let output = copy.run(|_| {});
    says(&output, &["caller KernelIdentity { uid: 65534, gid: 65533, groups: [4242] }", "done"]);
    says(&output, &["arguments [\"sanitize\", \"--inside\"]", "streams [true, true, true]"]);
}

fn process_is_fully_root_afterwards(copy: &Copy) {
    says(&copy.run(|_| {}), &["now-Uid: 0 0 0 0", "now-Gid: 0 0 0 0", "now-Groups:"]);
}

fn environment_is_kept_as_a_value_and_emptied(copy: &Copy) {
    let entries = ["A=1", "A=2", "no-equals", "SQLITE_TMPDIR=/tmp", "=odd"].map(|entry| CString::new(entry).unwrap());
    let output = copy.run(|execution| execution.environment = Vec::leak(entries.to_vec()));
    let kept: Vec<OsString> = ["A=1", "A=2", "no-equals", "SQLITE_TMPDIR=/tmp", "=odd"].map(OsString::from).to_vec();
    says(&output, &[&format!("environment {kept:?}"), "now-environment 0"]);
}

fn hostile_limits_are_lifted_and_kept(copy: &Copy) {
    let hard = Limits::current().unwrap().get(libc::RLIMIT_NOFILE).unwrap().hard;
    let output = copy.run(|execution| {
        execution.limits = lowered(&[
            (libc::RLIMIT_FSIZE, 0, libc::RLIM_INFINITY),
            (libc::RLIMIT_CPU, 1, libc::RLIM_INFINITY),
            (libc::RLIMIT_NOFILE, 20, hard),
        ]);
    });
    says(&output, &[&format!("limit-fsize Some(Limit {{ soft: 0, hard: {} }})", u64::MAX)]);
    says(&output, &[&format!("limit-nofile Some(Limit {{ soft: 20, hard: {hard} }})")]);
    says(&output, &["now-fsize true", "now-cpu true", "now-nofile true", "now-core 0", "write Ok", "done"]);
}

/// Only with CAP_SYS_RESOURCE can such a limit be raised; either way it never kills the program.
fn file_size_limit_never_kills_us(copy: &Copy) {
    let output = copy.run(|execution| execution.limits = lowered(&[(libc::RLIMIT_FSIZE, 0, 0)]));
    assert!(
        output.contains("\nwrite Ok\n") || output.starts_with("error your hard limit of file size is 0 "),
        "{output}"
    );
}

fn lowered(limits: &[(u32, u64, u64)]) -> &'static Limits {
    for (resource, soft, hard) in limits {
        let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
        // SAFETY: the structure lives through the call.
        assert_eq!(unsafe { libc::setrlimit(*resource, &raw const limit) }, 0);
    }
    Box::leak(Box::new(Limits::current().unwrap()))
}

fn hostile_signals_are_reset_and_kept(copy: &Copy) {
    let output = copy.run(|execution| {
        execution.ignored_signals = SignalSet::of(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGPIPE]);
        execution.blocked_signals = SignalSet::of(&[libc::SIGCHLD, libc::SIGHUP, libc::SIGALRM]);
    });
    says(&output, &["ignored [13, 15, 17]", "blocked [1, 14, 17]", "now-SigBlk: 0000000000380000"]);
    let line = output.lines().find_map(|line| line.strip_prefix("now-SigIgn: ")).unwrap();
    // Signals 32 and 33 belong to libc.
    assert_eq!(
        u64::from_str_radix(line, 16).unwrap() & !(3 << 31),
        1 << (libc::SIGPIPE - 1) | 1 << (libc::SIGXFSZ - 1)
    );
    says(&copy.run(|_| {}), &["ignored []"]);
}

const TIMERS: [libc::c_int; 3] = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF];

fn armed_timers_are_disarmed(copy: &Copy) {
    let output = copy.run(|_| {
        let later = libc::timeval { tv_sec: 60, tv_usec: 0 };
        let value = libc::itimerval { it_interval: later, it_value: later };
        for timer in TIMERS {
            // SAFETY: the structure lives through the call.
            assert_eq!(unsafe { libc::setitimer(timer, &raw const value, std::ptr::null_mut()) }, 0);
        }
    });
    says(&output, &["now-timers [(0, 0), (0, 0), (0, 0)]", "done"]);
}

/// Returns the remaining seconds and microseconds of each timer.
fn timers() -> [(i64, i64); 3] {
    TIMERS.map(|timer| {
        let mut value = std::mem::MaybeUninit::<libc::itimerval>::zeroed();
        // SAFETY: the structure is written, and all zeros is a valid value of it.
        let left = unsafe {
            assert_eq!(libc::getitimer(timer, value.as_mut_ptr()), 0);
            value.assume_init().it_value
        };
        (left.tv_sec, left.tv_usec)
    })
}

fn closed_streams_are_opened_in_every_combination(copy: &Copy) {
    for closed in [[0].as_slice(), &[2], &[0, 2]] {
        let output = copy.run(|_| {
            for fd in closed {
                // SAFETY: the child is about to exec and uses neither file descriptor.
                unsafe { libc::close(*fd) };
            }
        });
        let open = [0, 1, 2].map(|fd| !closed.contains(&fd));
        says(&output, &[&format!("streams {open:?}"), "done"]);
    }
    // Without standard output it cannot report this; it must neither fail nor write to another file.
    let output = copy.run(|execution| {
        execution.standard = [None; 3];
        for fd in [0, 1, 2] {
            // SAFETY: the child is about to exec and uses none of them.
            unsafe { libc::close(fd) };
        }
    });
    assert_eq!(output, "");
}

fn inherited_descriptor_is_kept_from_the_command(copy: &Copy) {
    // `run` marks every file descriptor close-on-exec, so a shell opens this one.
    let output = copy.through_shell("exec 7</dev/null");
    says(&output, &[&format!("now-seven {}", libc::FD_CLOEXEC), "done"]);
}

fn mask_score_and_dumps_are_reset(copy: &Copy) {
    let output = copy.run(|execution| {
        execution.umask = 0o777;
        execution.oom_score_adj = Some(900);
    });
    says(&output, &["umask 777", "now-Umask: 0077", "score Some(900)", "now-score 0", "now-dumpable false"]);
}

fn program_without_the_bit_says_so(_: &Copy) {
    let output = Copy::new(0o755).run(|_| {});
    assert!(output.contains("must be owned by uid 0 and have the setuid bit set"), "{output}");
}

fn program_under_no_new_privileges_says_so(copy: &Copy) {
    let output = copy.run(|_| nix::sys::prctl::set_no_new_privs().unwrap());
    assert!(output.contains("\"no new privileges\" flag"), "{output}");
}

fn program_on_a_nosuid_mount_says_so(copy: &Copy) {
    let script = "mount -t tmpfs -o nosuid,mode=755 none /mnt && cp --preserve=mode \"$0\" /mnt/copy && \
                  exec setpriv --reuid 65534 --clear-groups /mnt/copy --inside";
    let output = Command::new("unshare").args(["-m", "sh", "-c", script]).arg(&copy.0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("'nosuid' option"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
