//! A run with a terminal: the command gets a pty of its own, so that it can neither type into the caller's terminal (TIOCSTI) nor
//! outlive it unseen. The monitor relays the bytes between the two and sets both; this process forwards signals, stops with the command
//! and ends it. Both terminals belong to users, who can make any call on them wait for ever: once the command may run, this process
//! makes none, and holds no descriptor of either but its standard streams, since closing the last one may wait too.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::direct::{finish, hand_over, watch_over};
use super::ending::{Act, Enforcer};
use super::launch::Launch;
use super::launch_error::LaunchError;
use super::line::Line;
use super::message::{JobPosition, Order, Report};
use super::modes::Modes;
use super::monitor::Monitor;
use super::outcome::CommandEnd;
use super::relay_process::{RelayProcess, Terminals};
use super::run_groups::refuge;
use super::session_recording::SessionRecording;
use super::streams::{CopiedStreams, cloned};
use sys::exec::ExecError;
use sys::poll::{Blocking, PollEntry, poll, set_blocking, socket_pair};
use sys::process::{self, Suspension, become_subreaper, fork_into, is_in_foreground};
use sys::pty::Pty;
use sys::sanitize::Inherited;
use sys::signals::{Event, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1};
use sys::signals::{SIGTTIN, SIGTTOU, SIGUSR2, SIGWINCH, SignalQueue};
use sys::terminal::{Apart, Attributes, Terminal};

const EXPECTED: [i32; 12] =
    [SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH, SIGTTIN];

/// How often the terminal is checked for a parked command.
const PARKED_LOOK: Duration = Duration::from_secs(1);

/// How long the monitor may take to report after its command was killed.
const MONITOR_PATIENCE: Duration = Duration::from_secs(3);

/// The state of the session.
enum Course {
    Goes,
    Over(Result<CommandEnd, LaunchError>),
}

/// The supervisor of one session.
struct Relay<'a, 'w, 't> {
    /// The settings of the caller's terminal before the run.
    original: Attributes,
    /// Whether the monitor was last told to change them.
    raw: bool,
    line: Line,
    signals: SignalQueue,
    /// -b: the caller's terminal is never taken.
    detached: bool,
    /// Whether the command tried to use a terminal that is not ours now, and this process could not stop with it.
    parked: bool,
    /// The signal that stopped the command, when this process has not stopped with it yet.
    unfollowed: Option<i32>,
    launch: &'a Launch,
    enforcer: &'a mut Enforcer<'w>,
    /// The recording of the session.
    session_recording: &'a mut SessionRecording<'t>,
    killed_at: Option<Instant>,
    /// How the command ended, when that was reported while this process waited for something else.
    over: Option<Result<CommandEnd, LaunchError>>,
}

/// Starts the command on a pty of its own and supervises it until it has ended.
pub(super) fn run(
    launch: &Launch,
    inherited: &Inherited,
    terminal: Terminal,
    enforcer: &mut Enforcer<'_>,
    session_recording: &mut SessionRecording<'_>,
) -> Result<CommandEnd, LaunchError> {
    let system = |what| move |error| LaunchError::System(what, error);
    launch.sync().map_err(|error| launch.failed(error))?;
    let (detached, grace) = (launch.is_detached(), enforcer.grace());
    let window = terminal.window().unwrap_or_default();
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let on_terminal = [input.as_fd(), output.as_fd(), error.as_fd()].map(|stream| terminal.is_behind(stream));
    let shared = !on_terminal[1];
    let mut modes = Modes::of(terminal, shared).map_err(system("read the terminal's settings"))?;
    let original = modes.original();
    let Pty { leader, follower, .. } =
        Pty::open(window, modes.first(), launch.owner(), None).map_err(system("open a pty"))?;
    let signals = SignalQueue::open(&EXPECTED).map_err(system("receive signals"))?;
    enforcer.stay_awake().map_err(system("start a timer"))?;
    let (socket, theirs) = socket_pair().map_err(system("make a socket pair"))?;
    // In a pipeline several programs share the terminal: the command starts in the background of its own terminal, and only when it
    // tries to use it does this process take the caller's (as sudo does).
    let alone = matches!(on_terminal, [true, true, _]);
    let place = if alone && !detached && modes.terminal.foreground() {
        JobPosition::Foreground
    } else {
        JobPosition::Background
    };
    if place == JobPosition::Background {
        modes.shape_output(leader.as_fd());
    }
    // No other process holds these two open file descriptions, so that O_NONBLOCK does not affect the caller's own fds.
    for fd in [modes.as_fd(), leader.as_fd()] {
        set_blocking(fd, Blocking::No).map_err(system("set up the terminals"))?;
    }

    let [_, output, error] = on_terminal;
    let (mut streams, ends) =
        CopiedStreams::open(session_recording, [output, error], launch.owner()).map_err(system("make a pipe"))?;
    session_recording.begin(Some(window), enforcer)?;
    let mut ours = Some(socket);
    // When the monitor is killed, its orphans come to this process.
    become_subreaper().map_err(system("adopt the command's orphans"))?;
    // In a group that ending the caller's session does not reach: the monitor then ends the command.
    let monitor = fork_into(refuge().as_ref(), || {
        // While the monitor held this end, it could not notice that the supervisor closes it.
        ours = None;
        let copies = (modes.try_clone(), leader.try_clone(), follower.try_clone(), cloned(&ends));
        let (Ok(modes), Ok(leader), Ok(follower), Ok(ends)) = copies else { process::exit_now(1) };
        let terminals = Some(Terminals::new(modes, leader, window));
        let relay_process = RelayProcess { terminals, streams: &mut streams, session_recording, supervisor: &theirs };
        Monitor { launch, inherited, follower, on_terminal, ends, relay_process, place, grace }.run()
    })
    .map_err(|error| LaunchError::Unsupervised(ExecError::unborn(&error)))?;
    drop((theirs, modes, leader, follower, ends));
    streams.close();
    session_recording.hand_over();
    let process_tree = launch.process_tree();
    process_tree.begins();
    process_tree.descends_from(monitor);
    let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
    let line = line.and_then(|socket| Line::new(monitor, socket)).map_err(|error| {
        process_tree.kill_all();
        // Our child, not reaped: it would set the terminal again. It may have ended.
        let _ = process::kill(monitor, SIGKILL);
        if place == JobPosition::Foreground {
            Apart::new().run(&|child| process_tree.spare(child), || restore_apart(&original));
        }
        LaunchError::Lost("connect to the monitor", error)
    })?;
    enforcer.begun(Some(process_tree.enforced_run(monitor, None, grace)));

    let mut relay = Relay {
        original,
        raw: place == JobPosition::Foreground,
        line,
        signals,
        detached,
        parked: false,
        unfollowed: None,
        launch,
        enforcer,
        session_recording,
        killed_at: None,
        over: None,
    };
    let result = relay.supervise();
    if result.is_err() {
        process_tree.kill_all();
    }
    relay.close();
    result.map_err(|error| LaunchError::Lost("relay the terminal", error))?
}

impl Relay<'_, '_, '_> {
    fn supervise(&mut self) -> io::Result<Result<CommandEnd, LaunchError>> {
        loop {
            if self.enforcer.lasts()
                && self.launch.process_tree().command().is_some()
                && hand_over(self.launch.process_tree(), self.enforcer)
                && let Some(signal) = self.unfollowed.take()
            {
                self.stopped(signal)?;
            }
            let patience = self.enforce()?;
            let patience = self.unpark(patience);
            let patience = watch_over(self.launch.process_tree(), self.enforcer, patience);
            if let Course::Over(end) = self.round(patience)? {
                // Processes that are left behind must not outlive the grant while the terminal is slow.
                finish(self.launch.process_tree(), self.enforcer);
                if let Some(words) = self.enforcer.last_words() {
                    self.line.order(&Order::Say(words));
                }
                let restores = Order::Finish { restores: is_in_foreground().unwrap_or(true) };
                self.line.finish(&restores, &self.signals, self.enforcer, self.session_recording);
                return Ok(end);
            }
        }
    }

    /// Waits once and handles everything that arrived.
    fn round(&mut self, patience: Option<Duration>) -> io::Result<Course> {
        if let Some(end) = self.over.take() {
            return Ok(Course::Over(end));
        }
        let mut entries = [PollEntry::reading(self.signals.as_fd()), PollEntry::reading(self.line.as_fd())];
        poll(&mut entries, patience)?;
        let [signalled, reported] = entries.map(|entry| entry.ready_read);
        if signalled {
            self.take_signals()?;
        }
        if reported { self.take_report() } else { Ok(Course::Goes) }
    }

    fn enforce(&mut self) -> io::Result<Option<Duration>> {
        let step = self.enforcer.step(Instant::now());
        let process_tree = self.launch.process_tree();
        if !self.enforcer.has_delegate() {
            process_tree.take_back_watch();
        }
        process_tree.keep_up();
        match step.act {
            None => {}
            Some(Act::Say(words)) => self.line.order(&Order::Say(words)),
            Some(Act::Freeze) => self.enforcer.froze(process_tree.freeze()),
            Some(Act::Thaw) => process_tree.thaw(),
            Some(Act::Terminate) => process_tree.terminate(),
            Some(Act::Kill) if self.enforcer.waits_for_another() && process_tree.hold_for_enforcer() => {}
            Some(Act::Kill) => {
                let since = *self.killed_at.get_or_insert_with(Instant::now);
                if since.elapsed() > MONITOR_PATIENCE {
                    return Err(io::Error::other("the monitor of the session does not answer"));
                }
                process_tree.kill();
            }
        }
        Ok(step.patience)
    }

    /// Continues a parked command when the caller's terminal is ours again. No signal reports that, so this checks.
    fn unpark(&mut self, patience: Option<Duration>) -> Option<Duration> {
        if !self.parked {
            return patience;
        }
        if self.has_terminal() || is_in_foreground().is_none() {
            self.resume();
            return patience;
        }
        Some(patience.map_or(PARKED_LOOK, |patience| patience.min(PARKED_LOOK)))
    }

    fn has_terminal(&self) -> bool {
        // Without a terminal, because it was hung up, there is no background.
        !self.detached && is_in_foreground().unwrap_or(true)
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(event) = self.signals.next_event()? {
            match event.signal {
                SIGCHLD => self.launch.process_tree().bury_watchdog(),
                SIGWINCH => self.order(&Order::Fit),
                SIGCONT => self.resume(),
                SIGTTIN => {}
                SIGINT | SIGQUIT | SIGTERM | SIGHUP if self.enforcer.is_frozen() => self.enforcer.give_up(),
                signal if self.is_for_the_command(&event) => self.order(&Order::Signal(signal, 0)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a signal is meant for the command. Keys of the caller's terminal (^C while it is not raw) are: the command is in
    /// another session and did not get them. Signals of the command's own processes are not (sudo's rule).
    fn is_for_the_command(&self, event: &Event) -> bool {
        event.from_kernel || event.sender_pid.is_none_or(|sender| process::session_of(sender) != Some(self.line.pid()))
    }

    fn take_report(&mut self) -> io::Result<Course> {
        match self.line.report()? {
            // A command that was frozen by us was not stopped as a job.
            Some(Report::Stopped(_)) if self.enforcer.is_frozen() => {}
            Some(Report::Stopped(signal)) => self.stopped(signal)?,
            Some(Report::Ended(end)) => return Ok(Course::Over(Ok(end))),
            Some(Report::Failed(error)) => return Ok(Course::Over(Err(self.launch.failed(error)))),
            Some(Report::HungUp) => self.hung_up(),
            // A frozen command cannot see the key.
            Some(Report::Interrupt) => self.enforcer.give_up(),
            Some(Report::Unrecorded(why)) => self.enforcer.unrecorded(&why, self.session_recording.mode()),
            Some(Report::Begun(command)) => self.launch.process_tree().begins_with(command),
            // Answers to orders that are no longer waited for.
            Some(Report::Rested | Report::Restored | Report::Finished(..)) => {}
            None => {
                // Without the monitor, the processes below it would run unsupervised.
                self.launch.process_tree().kill_all();
                let killed = io::Error::other("its monitor was killed");
                return Ok(Course::Over(Err(LaunchError::Lost("follow the command", killed))));
            }
        }
        Ok(Course::Goes)
    }

    /// The caller's terminal was hung up. The command gets the signals that it would get without us.
    fn hung_up(&mut self) {
        self.enforcer.give_up();
        self.order(&Order::Signal(SIGHUP, 0));
        self.order(&Order::Signal(SIGCONT, 0));
    }

    /// Handles a stop of the command. When it only tried to use its terminal and ours is available, it gets that; otherwise this
    /// process stops too, so that the shell sees its job stopped.
    fn stopped(&mut self, signal: i32) -> io::Result<()> {
        let reached_for_terminal = matches!(signal, SIGTTIN | SIGTTOU);
        if reached_for_terminal && self.has_terminal() {
            self.attach(JobPosition::Foreground);
            self.order(&Order::Continue(JobPosition::Foreground));
            return Ok(());
        }
        if !hand_over(self.launch.process_tree(), self.enforcer) {
            self.unfollowed = Some(signal);
            self.enforcer.cannot_stop();
            return Ok(());
        }
        if self.enforcer.interferes() {
            return Ok(());
        }
        self.rest();
        // The command may have ended meanwhile, or be about to: a stopped supervisor would not notice.
        if self.over.is_some() || self.enforcer.interferes() {
            self.order(&Order::Relay);
            return Ok(());
        }
        self.restore();
        let suspension = if self.detached {
            Suspension::Refused
        } else {
            process::stop_own_group(if reached_for_terminal { SIGTSTP } else { signal })?
        };
        // No shell could continue us (an orphaned process group is not stopped), and continuing at once would only make the command
        // try to use the terminal again.
        if suspension == Suspension::Refused && reached_for_terminal {
            self.parked = true;
            self.order(&Order::Relay);
        } else {
            self.resume();
        }
        Ok(())
    }

    /// Waits until the terminal shows what the command has written so far. Nothing more is relayed until the terminals are set
    /// again.
    fn rest(&mut self) {
        let Self { line, signals, enforcer, session_recording, over, launch, .. } = self;
        line.settle(&Order::Rest, signals, enforcer, &mut |report, enforcer| {
            note(report, enforcer, session_recording, launch, over) == Asked::Done
        });
    }

    /// Has the caller's terminal set as it was, for the shell. A terminal that does not let itself be set delays this for a limited
    /// time.
    fn restore(&mut self) {
        let restores = is_in_foreground().unwrap_or(true);
        self.raw = false;
        let Self { line, enforcer, session_recording, over, launch, .. } = self;
        line.demand(&Order::Restore { restores }, &mut |report| {
            note(report, enforcer, session_recording, launch, over) == Asked::Done
        });
    }

    /// Handles that this process continues (fg, bg, SIGCONT): the terminal may have another foreground group or size now, or be
    /// gone.
    fn resume(&mut self) {
        (self.parked, self.unfollowed) = (false, None);
        if !self.detached && is_in_foreground().is_none() {
            self.hung_up();
        }
        let place = if self.has_terminal() { JobPosition::Foreground } else { JobPosition::Background };
        self.attach(place);
        self.order(&Order::Continue(place));
    }

    fn attach(&mut self, place: JobPosition) {
        self.raw = place == JobPosition::Foreground;
        self.order(&Order::Attach(place));
    }

    /// Sends an order, except one that would wake a frozen command: only a thaw does that.
    fn order(&self, order: &Order) {
        if !(self.enforcer.is_frozen() && matches!(order, Order::Signal(SIGCONT, _) | Order::Continue(_))) {
            self.line.order(order);
        }
    }

    fn close(self) {
        // A monitor that was killed has not restored the caller's terminal.
        if self.raw && !self.line.has_finished() {
            let original = self.original;
            Apart::new().run(&|child| self.launch.process_tree().spare(child), || restore_apart(&original));
        }
        self.line.close();
    }
}

/// Whether the awaited answer has arrived.
#[derive(PartialEq, Eq)]
enum Asked {
    Waits,
    Done,
}

/// Takes a report that arrives while this process waits for an answer.
fn note(
    report: Report,
    enforcer: &mut Enforcer<'_>,
    session_recording: &SessionRecording<'_>,
    launch: &Launch,
    over: &mut Option<Result<CommandEnd, LaunchError>>,
) -> Asked {
    match report {
        Report::Rested | Report::Restored => return Asked::Done,
        Report::Ended(end) => *over = Some(Ok(end)),
        Report::Failed(error) => *over = Some(Err(launch.failed(error))),
        Report::Unrecorded(why) => enforcer.unrecorded(&why, session_recording.mode()),
        Report::HungUp | Report::Interrupt => enforcer.give_up(),
        // It is stopped already, and continues when this process does.
        Report::Stopped(_) | Report::Finished(..) => {}
        Report::Begun(command) => launch.process_tree().begins_with(command),
    }
    Asked::Waits
}

/// Sets the caller's terminal as it was, unless another program has it now.
fn restore_apart(original: &Attributes) {
    if let Ok(terminal) = Terminal::controlling()
        && terminal.foreground()
    {
        let _ = terminal.set_attributes(original); // it may be gone
    }
}
