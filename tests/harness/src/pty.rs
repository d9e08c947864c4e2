//! A user at a terminal: types, reads the screen, resizes the window, hangs up.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::libc::O_NOCTTY;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Gid, Uid, fchown};

use crate::run::{Status, describe_tree, kill_tree, wait};

/// How often a reader checks whether its terminal was hung up.
const POLL: Duration = Duration::from_millis(100);

/// A command on a terminal of its own, 80 by 24; the test acts as the user.
pub struct PtySession {
    what: String,
    leader: File,
    name: String,
    child: Child,
    screen: Arc<Screen>,
    seen: usize,
    patience: Duration,
}

impl PtySession {
    pub(crate) fn start(what: String, uid: u32, patience: Duration, mut command: Command) -> PtySession {
        let (leader, follower, name) =
            open_terminal(uid).unwrap_or_else(|error| panic!("no terminal for `{what}`: {error}"));
        resize(&name, 24, 80);
        let streams = [follower.try_clone(), follower.try_clone()];
        let [Ok(stdin), Ok(stdout)] = streams else { panic!("no descriptors left for `{what}`") };
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(follower));
        let child = command.spawn().unwrap_or_else(|error| panic!("nsenter cannot be started: {error}"));
        // `command` owns the follower's file descriptors in this process; as long as it exists the terminal would never hang up.
        drop(command);
        let screen = Arc::new(Screen::default());
        match leader.try_clone() {
            Ok(reader) => Screen::follow(&screen, reader),
            Err(error) => panic!("no descriptors left for `{what}`: {error}"),
        }
        PtySession { what, leader, name, child, screen, seen: 0, patience }
    }

    /// Types `text`; `\r` is the Enter key, `\x03` is ^C.
    pub fn type_text(&mut self, text: impl AsRef<[u8]>) {
        let typed = self.leader.write_all(text.as_ref());
        typed.unwrap_or_else(|error| panic!("cannot type at `{}`: {error}\n{}", self.what, self.screen()));
    }

    /// Types a line and Enter.
    pub fn type_line(&mut self, text: &str) {
        self.type_text(format!("{text}\r"));
    }

    /// Types a password as soon as `prompt` is shown and the terminal no longer echoes.
    pub fn type_password(&mut self, prompt: &str, password: &str) {
        self.expect(prompt);
        crate::eventually("the terminal stops to echo for a password", self.patience, || {
            (!self.echoes()).then_some(())
        });
        self.type_line(password);
    }

    /// Waits until `text` appears after everything that was expected before; returns the output up to its end.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        self.expect_within(text, self.patience)
    }

    /// Does the same with another limit.
    #[track_caller]
    pub fn expect_within(&mut self, text: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        let mut state = self.screen.lock();
        loop {
            let fresh = state.bytes.get(self.seen..).unwrap_or_default();
            if let Some(at) = fresh.windows(text.len()).position(|window| window == text.as_bytes()) {
                let end = self.seen + at + text.len();
                let found = String::from_utf8_lossy(&state.bytes[self.seen..end]).into_owned();
                self.seen = end;
                return found;
            }
            let now = Instant::now();
            if state.ended || now >= deadline {
                let shown = String::from_utf8_lossy(&state.bytes).into_owned();
                let why = if state.ended { "the terminal was closed" } else { "it did not come in time" };
                drop(state);
                panic!(
                    "expected {text:?} of `{}`, but {why}; the screen:\n{shown}\nand its end: {:?}",
                    self.what,
                    tail(&shown)
                );
            }
            state = self.screen.wait(state, deadline - now);
        }
    }

    /// Returns everything that was ever shown.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().bytes).into_owned()
    }

    /// Resizes the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.name, rows, columns);
    }

    /// Whether the terminal echoes typed characters.
    pub fn echoes(&self) -> bool {
        self.attributes().local_flags.contains(LocalFlags::ECHO)
    }

    /// Whether the terminal turns ^C, ^Z and so on into signals; false while a program reads keys raw.
    pub fn makes_signals(&self) -> bool {
        self.attributes().local_flags.contains(LocalFlags::ISIG)
    }

    /// Returns the terminal's settings, to be compared before and after.
    pub fn attributes(&self) -> Termios {
        tcgetattr(self.leader.as_fd()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Returns the terminal's name, the same inside and outside.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the pid, on the host, of the process that entered the root to run the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes the terminal as a lost connection does; does not wait for the command.
    pub fn hang_up(mut self) {
        self.screen.lock().abandoned = true;
        let mut state = self.screen.lock();
        while !state.ended {
            state = self.screen.wait(state, POLL);
        }
        drop(state);
        // Closes the last file descriptor of the leader; the kernel now sends SIGHUP to the session.
        self.leader = File::open("/dev/null").unwrap_or_else(|error| panic!("/dev/null: {error}"));
    }

    /// Waits for the command's end; all its output is then on the screen. Panics when it takes too long.
    pub fn wait(&mut self) -> Status {
        let Some(status) = wait(&mut self.child, self.patience) else {
            let processes = describe_tree(self.child.id());
            panic!("`{}` took longer than {:?}; {processes}\nthe screen:\n{}", self.what, self.patience, self.screen());
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut state = self.screen.lock();
        while !state.ended && Instant::now() < deadline {
            state = self.screen.wait(state, deadline - Instant::now());
        }
        Status(status)
    }
}

impl Drop for PtySession {
    fn drop(&mut self) {
        if !self.screen.lock().abandoned && matches!(self.child.try_wait(), Ok(None)) {
            kill_tree(self.child.id());
            let _ = self.child.wait();
        }
    }
}

/// What a terminal has shown so far.
#[derive(Default)]
struct Screen {
    state: Mutex<Shown>,
    changed: Condvar,
}

#[derive(Default)]
struct Shown {
    bytes: Vec<u8>,
    ended: bool,
    abandoned: bool,
}

impl Screen {
    fn follow(screen: &Arc<Screen>, mut leader: File) {
        let screen = Arc::clone(screen);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while !screen.lock().abandoned {
                let mut ready = [PollFd::new(leader.as_fd(), PollFlags::POLLIN)];
                if poll(&mut ready, PollTimeout::try_from(POLL).unwrap_or(PollTimeout::ZERO)) == Ok(0) {
                    continue;
                }
                // EIO, the hang-up of the last process, is the normal end.
                let Ok(count @ 1..) = leader.read(&mut buffer) else { break };
                screen.lock().bytes.extend_from_slice(&buffer[..count]);
                screen.changed.notify_all();
            }
            drop(leader);
            screen.lock().ended = true;
            screen.changed.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, Shown>, limit: Duration) -> MutexGuard<'a, Shown> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }
}

/// Opens a new terminal that belongs to `uid`, as a login does; it becomes the controlling terminal of no process here.
fn open_terminal(uid: u32) -> std::io::Result<(File, File, String)> {
    let leader = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&leader)?;
    unlockpt(&leader)?;
    let name = ptsname_r(&leader)?;
    let follower = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&name)?;
    // Group 5 is Debian's `tty`.
    fchown(&follower, Some(Uid::from_raw(uid)), Some(Gid::from_raw(5)))?;
    Ok((File::from(leader.as_fd().try_clone_to_owned()?), follower, name))
}

/// Returns the last characters, for a message that makes invisible characters visible.
fn tail(text: &str) -> &str {
    let begin = text.char_indices().rev().nth(200).map_or(0, |(at, _)| at);
    &text[begin..]
}

fn resize(terminal: &str, rows: u16, columns: u16) {
    let size = [rows.to_string(), columns.to_string()];
    let done = Command::new("stty").args(["-F", terminal, "rows", &size[0], "cols", &size[1]]).status();
    assert!(done.is_ok_and(|status| status.success()), "the size of {terminal} cannot be changed");
}
