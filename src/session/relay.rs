//! A run with a terminal: the command gets a pty of its own, so that it can neither type into the caller's terminal
//! (TIOCSTI) nor outlive it unseen. This process carries bytes, window sizes, signals and stops between the two.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::direct::{finish, hand_over};
use super::ending::{Act, Enforcer};
use super::launch::{Launch, LaunchError};
use super::message::{Order, Place, Report, receive_report, send_order};
use super::modes::Modes;
use super::monitor::Monitor;
use super::outcome::CommandEnd;
use super::ready::Ready;
use super::tape::Tape;
use super::taps::{Sinks, Taps, cloned, is_asked_to_end, is_ready};
use sys::poll::{Blocking, PollEntry, poll, set_blocking, socket_pair};
use sys::process::{self, Pid, Suspension, Waiting, fork, wait};
use sys::pty::Pty;
use sys::sanitize::Inherited;
use sys::signals::{Event, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1};
use sys::signals::{SIGTTIN, SIGTTOU, SIGUSR2, SIGWINCH, SignalQueue};
use sys::terminal::{Attributes, Terminal, WindowSize};

const EXPECTED: [i32; 12] =
    [SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH, SIGTTIN];

/// How many bytes are still carried after the command has ended or stopped: more than a pty can hold.
const LAST_WORDS: usize = 1 << 20;

/// How often a parked command's terminal is looked at.
const PARKED_LOOK: Duration = Duration::from_secs(1);

/// How long a screen that takes nothing holds up the end of a command that was ended, and how often that is looked at.
const LAST_FLUSH: Duration = Duration::from_secs(1);
const FLUSH_LOOK: Duration = Duration::from_millis(250);

/// ^C, as a raw terminal sends it.
const INTERRUPT: u8 = 3;

/// How long the monitor may take to report after its command was killed.
const MONITOR_PATIENCE: Duration = Duration::from_secs(3);

/// The relay of one session.
struct Relay<'a, 'w, 't> {
    modes: Modes,
    leader: Option<OwnedFd>,
    socket: OwnedFd,
    signals: SignalQueue,
    to_command: Buffer,
    to_caller: Buffer,
    terminal_gone: bool,
    /// -b: the caller's terminal is never taken.
    detached: bool,
    /// The command reached for a terminal that is not ours, and we could not stop with it.
    parked: bool,
    /// The size of both terminals.
    window: WindowSize,
    /// What is still to be told to the person at the terminal.
    words: Vec<u8>,
    monitor: Pid,
    launch: &'a Launch,
    enforcer: &'a mut Enforcer<'w>,
    /// What is recorded.
    tape: &'a mut Tape<'t>,
    /// Streams that are no terminal, where they are recorded too.
    taps: Taps,
    killed_at: Option<Instant>,
}

/// What the session has come to.
enum Course {
    Goes,
    Over(Result<CommandEnd, LaunchError>),
}

/// Starts the command on a pty of its own and carries its terminal until it has ended.
pub(super) fn run(
    launch: &Launch,
    inherited: &Inherited,
    terminal: Terminal,
    enforcer: &mut Enforcer<'_>,
    tape: &mut Tape<'_>,
) -> Result<CommandEnd, LaunchError> {
    let system = |what| move |error| LaunchError::System(what, error);
    let (detached, grace) = (launch.is_detached(), enforcer.grace());
    let window = terminal.window().unwrap_or_default();
    let modes = Modes::of(terminal).map_err(system("read the terminal's settings"))?;
    let Pty { leader, follower, .. } =
        Pty::open(window, modes.first(), launch.owner(), None).map_err(system("open a pty"))?;
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let on_terminal = [input.as_fd(), output.as_fd(), error.as_fd()].map(|stream| modes.terminal.is_behind(stream));
    let signals = SignalQueue::open(&EXPECTED).map_err(system("receive signals"))?;
    let (socket, theirs) = socket_pair().map_err(system("make a socket pair"))?;
    // In a pipeline the terminal belongs to several programs at once: the command starts in the background of its own
    // terminal, and only when it reaches for it do we reach for the caller's (as sudo does).
    let alone = matches!(on_terminal, [true, true, _]);
    let place = if alone && !detached && modes.terminal.foreground() { Place::Foreground } else { Place::Background };

    let [_, output, error] = on_terminal;
    let (mut taps, ends) = Taps::open(tape, [output, error]).map_err(system("make a pipe"))?;
    tape.begin(Some(window), enforcer)?;
    let mut ours = Some((leader, socket));
    let monitor = fork(|| {
        // What the monitor held, it could not hear us let go of.
        ours = None;
        taps.close();
        let socket = theirs.try_clone();
        let follower = follower.try_clone();
        let ends = cloned(&ends);
        match (socket, follower, ends) {
            (Ok(socket), Ok(follower), Ok(ends)) => {
                Monitor { launch, inherited, follower, on_terminal, ends, socket, place, grace }.run()
            }
            _ => process::exit_now(1),
        }
    })
    .map_err(system("fork"))?;
    drop(theirs);
    drop(follower);
    drop(ends);
    let ours = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
    let (leader, socket) = ours.map_err(system("keep the relay's ends"))?;
    enforcer.begun(Some(launch.family().wards(monitor, grace)));

    let mut relay = Relay {
        modes,
        leader: Some(leader),
        socket,
        signals,
        to_command: Buffer::new(),
        to_caller: Buffer::new(),
        terminal_gone: false,
        detached,
        parked: false,
        window,
        words: Vec::new(),
        monitor,
        launch,
        enforcer,
        tape,
        taps,
        killed_at: None,
    };
    let result = relay.carry(place);
    if result.is_err() {
        launch.family().kill_all();
    }
    relay.close();
    result.map_err(|error| LaunchError::Lost("relay the terminal", error))?
}

impl Relay<'_, '_, '_> {
    fn carry(&mut self, place: Place) -> io::Result<Result<CommandEnd, LaunchError>> {
        // Nobody but us holds these two descriptions, so that non-blocking does not reach the caller's own fds.
        set_blocking(self.modes.as_fd(), Blocking::No)?;
        if let Some(leader) = &self.leader {
            set_blocking(leader.as_fd(), Blocking::No)?;
        }
        if place == Place::Foreground {
            self.go_raw()?;
        }
        self.shape_output();
        loop {
            if self.enforcer.lasts() || self.taps.carries() {
                hand_over(self.launch.family(), self.enforcer);
            }
            let patience = self.enforce()?;
            let patience = self.unpark(patience);
            let patience = self.tape.tend(patience, self.enforcer);
            if let Course::Over(end) = self.round(patience)? {
                // Who is left behind must not outlive the grant while a screen takes its time.
                finish(self.launch.family(), self.enforcer);
                if let Some(words) = self.enforcer.last_words() {
                    self.tape.mark(&words, self.enforcer);
                    self.words.extend(format!("\r\njit-sudo: {words}\r\n").bytes());
                }
                self.push_words();
                self.drain();
                self.taps.drain(self.tape, self.enforcer, &self.signals);
                return Ok(end);
            }
        }
    }

    /// One wait, and everything that it brought.
    fn round(&mut self, patience: Option<Duration>) -> io::Result<Course> {
        let ready = self.wait(patience)?;
        if ready.signals {
            self.take_signals()?;
        }
        if ready.from_caller {
            self.read_caller()?;
        }
        if ready.to_command {
            self.write_command();
        }
        if ready.from_command {
            self.read_command();
        }
        if ready.to_caller {
            self.write_caller();
        }
        self.taps.carry(&ready.taps, self.tape, self.enforcer);
        if ready.report {
            return self.take_report();
        }
        Ok(Course::Goes)
    }

    fn wait(&self, patience: Option<Duration>) -> io::Result<Ready> {
        let terminal = self.modes.as_fd();
        let reads_keys = self.modes.is_raw() && !self.terminal_gone && self.to_command.has_room();
        let writes_screen = !self.terminal_gone && !self.to_caller.is_empty();
        let mut entries = vec![
            PollEntry::reading(self.signals.as_fd()),
            PollEntry::reading(self.socket.as_fd()),
            PollEntry::new(terminal, reads_keys, writes_screen),
        ];
        if self.terminal_gone || !(reads_keys || writes_screen) {
            entries.pop();
        }
        let terminal_at = entries.len() - 1;
        if let Some(leader) = &self.leader {
            entries.push(PollEntry::new(leader.as_fd(), self.to_caller.has_room(), !self.to_command.is_empty()));
        }
        let own = entries.len();
        let sinks = Sinks::new();
        entries.extend(self.taps.entries(&sinks));
        poll(&mut entries, patience)?;
        let mut ready = Ready { taps: entries.iter().skip(own).map(is_ready).collect(), ..Ready::default() };
        for (index, entry) in entries.iter().take(own).enumerate() {
            match index {
                0 => ready.signals = entry.ready_read,
                1 => ready.report = entry.ready_read,
                2 if terminal_at == 2 => {
                    (ready.from_caller, ready.to_caller) = (entry.ready_read, entry.ready_write || entry.hangup);
                }
                _ => (ready.from_command, ready.to_command) = (entry.ready_read, entry.ready_write),
            }
        }
        Ok(ready)
    }

    fn enforce(&mut self) -> io::Result<Option<Duration>> {
        let step = self.enforcer.step(Instant::now());
        match step.act {
            None => {}
            Some(Act::Say(words)) => {
                self.tape.mark(&words, self.enforcer);
                self.words.extend(format!("\r\njit-sudo: {words}\r\n").bytes());
            }
            Some(Act::Freeze) => self.order(Order::Freeze),
            Some(Act::Thaw) => self.order(Order::Thaw),
            Some(Act::Terminate) => self.order(Order::Terminate),
            Some(Act::Kill) => {
                let since = *self.killed_at.get_or_insert_with(Instant::now);
                if since.elapsed() > MONITOR_PATIENCE {
                    return Err(io::Error::other("the monitor of the session does not answer"));
                }
                self.order(Order::Kill);
            }
        }
        self.push_words();
        Ok(step.patience)
    }

    fn push_words(&mut self) {
        if !self.words.is_empty() && self.to_caller.push(&self.words) {
            self.words.clear();
        }
    }

    /// A parked command goes on when the caller's terminal is ours again; nobody tells us when that is.
    fn unpark(&mut self, patience: Option<Duration>) -> Option<Duration> {
        if !self.parked {
            return patience;
        }
        if self.has_terminal() {
            self.resume();
            return patience;
        }
        Some(patience.map_or(PARKED_LOOK, |patience| patience.min(PARKED_LOOK)))
    }

    fn has_terminal(&self) -> bool {
        !self.detached && self.modes.terminal.foreground()
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(event) = self.signals.next_event()? {
            match event.signal {
                SIGCHLD => {}
                SIGWINCH => self.fit_window(),
                SIGCONT => self.resume(),
                SIGTTIN => {}
                SIGINT | SIGQUIT | SIGTERM | SIGHUP if self.enforcer.is_frozen() => self.enforcer.give_up(),
                signal if self.is_for_the_command(&event) => self.order(Order::Signal(signal)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The keys of the caller's terminal (^C while we are not raw) are meant for the command, which is in another session
    /// and did not get them; signals of the command's own making are not (sudo's rule).
    fn is_for_the_command(&self, event: &Event) -> bool {
        event.from_kernel || event.sender_pid.is_none_or(|sender| process::session_of(sender) != Some(self.monitor))
    }

    fn take_report(&mut self) -> io::Result<Course> {
        Ok(match receive_report(&self.socket)? {
            Some(Report::Stopped(signal)) => {
                self.stopped(signal)?;
                Course::Goes
            }
            Some(Report::Ended(end)) => Course::Over(Ok(end)),
            Some(Report::Failed(error)) => Course::Over(Err(self.launch.failed(error))),
            None => {
                // Whatever it had under it would run on without an eye on it.
                self.launch.family().kill_all();
                Course::Over(Err(LaunchError::Lost("follow the command", io::Error::other("its monitor was killed"))))
            }
        })
    }

    /// The command stopped. When it only reached for its terminal and ours is at hand, it gets it; otherwise we stop too,
    /// so that the shell sees its job stopped.
    fn stopped(&mut self, signal: i32) -> io::Result<()> {
        let reached_for_terminal = matches!(signal, SIGTTIN | SIGTTOU);
        if reached_for_terminal && self.has_terminal() {
            self.go_raw()?;
            self.shape_output();
            self.order(Order::Continue(Place::Foreground));
            return Ok(());
        }
        hand_over(self.launch.family(), self.enforcer);
        if self.enforcer.interferes() {
            return Ok(());
        }
        self.drain();
        self.modes.restore()?;
        let suspension = if self.detached {
            Suspension::Refused
        } else {
            process::stop_own_group(if reached_for_terminal { SIGTSTP } else { signal })?
        };
        // Nobody could continue us (an orphaned process group is not stopped), and going on at once would only make the
        // command reach for the terminal again.
        if suspension == Suspension::Refused && reached_for_terminal {
            self.parked = true;
        } else {
            self.resume();
        }
        Ok(())
    }

    /// We go on (fg, bg, SIGCONT): the terminal may have changed hands and size meanwhile.
    fn resume(&mut self) {
        self.parked = false;
        let place = if self.has_terminal() && self.go_raw().is_ok() {
            Place::Foreground
        } else {
            self.modes.lose();
            Place::Background
        };
        self.shape_output();
        self.fit_window();
        self.order(Order::Continue(place));
    }

    fn shape_output(&mut self) {
        if let Some(leader) = &self.leader {
            self.modes.shape_output(leader.as_fd());
        }
    }

    fn fit_window(&mut self) {
        if let (Ok(window), Some(leader)) = (self.modes.terminal.window(), &self.leader)
            && window != self.window
        {
            // The kernel tells the command by SIGWINCH; a terminal that has no size keeps the last one.
            let _ = sys::terminal::set_window(leader.as_fd(), window);
            self.window = window;
            self.tape.resize(window, self.enforcer);
        }
    }

    fn go_raw(&mut self) -> io::Result<()> {
        self.modes.go_raw(self.leader.as_ref().map(AsFd::as_fd))
    }

    fn order(&self, order: Order) {
        // A monitor that is gone is noticed by its closed socket.
        let _ = send_order(&self.socket, order);
    }

    fn read_caller(&mut self) -> io::Result<()> {
        let before = self.to_command.len();
        match self.to_command.fill(self.modes.as_fd()) {
            Ok(0) | Err(_) => {
                // The terminal is gone: the command learns it as it would without us.
                self.terminal_gone = true;
                self.enforcer.give_up();
                self.order(Order::Signal(SIGHUP));
                self.order(Order::Signal(SIGCONT));
            }
            // A frozen command cannot see the key.
            Ok(_) if self.to_command.held().contains(&INTERRUPT) => self.enforcer.give_up(),
            Ok(_) => {}
        }
        self.record_input(before);
        Ok(())
    }

    /// What was typed behind the first `before` bytes is recorded where the policy wants it, but never what the terminal
    /// of the command does not show, such as a password.
    fn record_input(&mut self, before: usize) {
        let shows = |leader: &OwnedFd| Attributes::of(leader.as_fd()).is_ok_and(|attributes| attributes.echoes());
        if self.tape.takes_input() && self.leader.as_ref().is_some_and(shows) {
            let typed = self.to_command.held().get(before..).unwrap_or_default();
            self.tape.input(typed, self.enforcer);
        }
    }

    fn write_caller(&mut self) {
        if self.to_caller.empty_into(self.modes.as_fd()).is_err() {
            self.terminal_gone = true;
            self.to_caller.clear();
        }
    }

    fn write_command(&mut self) {
        if let Some(leader) = &self.leader
            && self.to_command.empty_into(leader.as_fd()).is_err()
        {
            self.to_command.clear();
        }
    }

    /// Reads what the command wrote; its side is closed when reading fails (EIO), and then there is no more to carry.
    fn read_command(&mut self) {
        let before = self.to_caller.len();
        if let Some(leader) = &self.leader
            && !matches!(self.to_caller.fill(leader.as_fd()), Ok(1..))
        {
            self.leader = None;
        }
        let shown = self.to_caller.held().get(before..).unwrap_or_default();
        match self.modes.is_plain() {
            // The caller's terminal makes carriage returns of line ends, behind us.
            true => self.tape.stream(shown, self.enforcer),
            false => self.tape.output(shown, self.enforcer),
        }
        if self.terminal_gone {
            self.to_caller.clear();
        }
    }

    /// Carries what the command has written so far to the caller's screen: all of it, however slow the screen is, but not
    /// for ever what somebody whom the command left behind keeps writing.
    fn drain(&mut self) {
        let mut carried = 0;
        while carried < LAST_WORDS {
            self.flush();
            let Some(leader) = &self.leader else { break };
            let mut entries = [PollEntry::reading(leader.as_fd())];
            if !poll(&mut entries, Some(Duration::ZERO)).is_ok_and(|count| count > 0) {
                break;
            }
            self.read_command();
            carried += self.to_caller.len();
        }
        self.flush();
    }

    /// Waits until the screen has taken everything, is gone, or somebody wants us to end. A command that was ended has no time.
    fn flush(&mut self) {
        let begun = Instant::now();
        while !self.to_caller.is_empty() && !self.terminal_gone {
            let mut entries = [PollEntry::writing(self.modes.as_fd()), PollEntry::reading(self.signals.as_fd())];
            let ready = poll(&mut entries, Some(FLUSH_LOOK)).is_ok();
            self.enforcer.command_ended();
            if self.enforcer.ending().is_some() && begun.elapsed() > LAST_FLUSH {
                return;
            }
            let signalled = entries.last().is_some_and(|entry| entry.ready_read);
            if !ready || (signalled && is_asked_to_end(&self.signals)) {
                return;
            }
            self.write_caller();
        }
    }

    fn close(&mut self) {
        // What cannot be restored now belongs to a terminal that is gone.
        let _ = self.modes.restore();
        if self.killed_at.is_some_and(|since| since.elapsed() > MONITOR_PATIENCE) {
            let _ = process::kill(self.monitor, SIGKILL);
        }
        let _ = wait(self.monitor, Waiting::EndNow);
    }
}
