//! A run without a terminal of its own, because the caller has none or the role does not use one: the command is a child in the
//! caller's process group; signals are forwarded, and a stop of the command stops this process too.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::ending::{Act, Enforcer};
use super::launch::Launch;
use super::launch_error::LaunchError;
use super::line::Line;
use super::message::{Order, Report, receive_order};
use super::outcome::CommandEnd;
use super::process_tree::ProcessTree;
use super::relay_process::{Course, RelayProcess};
use super::session_recording::SessionRecording;
use super::streams::CopiedStreams;
use super::subreaper::{Change, Child};
use crate::console;
use sys::exec::ExecError;
use sys::poll::{Blocking, PollEntry, poll, set_blocking, socket_pair};
use sys::process::{self, Pid, WaitEvent, become_subreaper, exit_now, fork};
use sys::procfs::is_stopped;
use sys::sanitize::Inherited;
use sys::signals::{Event, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use sys::signals::{SIGTTIN, SIGTTOU, SignalQueue, SignalSet};
use sys::terminal::{Apart, Terminal};

/// The longest time between two reports to the watchdog.
const REPORTED: Duration = Duration::from_secs(1);

/// Signals that this process gets in place of the command and forwards.
const FORWARDED: [i32; 9] = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT];

/// Starts the command and waits until it has ended.
pub(super) fn run(
    launch: &Launch,
    inherited: &Inherited,
    enforcer: &mut Enforcer<'_>,
    session_recording: &mut SessionRecording<'_>,
) -> Result<CommandEnd, LaunchError> {
    let system = |what| move |error| LaunchError::System(what, error);
    let mut expected = FORWARDED.to_vec();
    expected.push(SIGCHLD);
    let signals = SignalQueue::open(&expected).map_err(system("receive signals"))?;
    enforcer.stay_awake().map_err(system("start a timer"))?;
    become_subreaper().map_err(system("adopt the command's orphans"))?;
    let (mut streams, ends) =
        CopiedStreams::open(session_recording, [false; 2], launch.owner()).map_err(system("make a pipe"))?;
    session_recording.begin(streams.window(), enforcer)?;
    let command = Child::start(launch, inherited, &ends, enforcer.grace())?;
    drop(ends);
    let process_tree = launch.process_tree();
    process_tree.begins();
    if command.may_be_unborn() {
        process_tree.begins_with(command.pid());
    }
    let _ = command.subreaper().map(|subreaper| process_tree.descends_from(subreaper));
    let lost = |error| {
        process_tree.kill_all();
        LaunchError::Lost("wait for the command", error)
    };
    let line = if streams.carries() { Some(carry_apart(&mut streams, session_recording).map_err(lost)?) } else { None };
    let relay_process = line.as_ref().map(Line::pid);
    let _ = relay_process.map(|relay_process| process_tree.spare(relay_process));
    enforcer.begun(Some(process_tree.enforced_run(
        command.subreaper().unwrap_or_else(Pid::own),
        relay_process,
        enforcer.grace(),
    )));
    let speaker = Speaker { apart: Apart::new(), process_tree };
    let mut supervised = Supervised {
        command: &command,
        stopped: None,
        stopping: None,
        process_tree,
        speaker: &speaker,
        signals: &signals,
        enforcer,
        line: line.as_ref(),
        session_recording,
    };
    let end = supervised.supervise().map_err(lost)?;
    finish(process_tree, enforcer);
    if let Some(line) = line {
        line.finish(&Order::Finish { restores: false }, &signals, enforcer, session_recording);
        line.close();
    }
    if let Some(words) = enforcer.last_words() {
        speaker.say(&words);
    }
    end.map_err(|error| launch.failed(error))
}

/// Starts the relay process.
fn carry_apart(streams: &mut CopiedStreams, session_recording: &mut SessionRecording<'_>) -> std::io::Result<Line> {
    let (ours, theirs) = socket_pair()?;
    let mut ours = Some(ours);
    let relay_process = fork(|| {
        ours = None;
        carry(RelayProcess { terminals: None, streams, session_recording, supervisor: &theirs }, &theirs)
    })?;
    drop(theirs);
    streams.close();
    session_recording.hand_over();
    let socket = ours.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected))?;
    Line::new(relay_process, socket)
}

/// Runs the relay process until its supervisor needs it no more, or is gone.
fn carry(mut relay_process: RelayProcess<'_, '_>, supervisor: &OwnedFd) -> Infallible {
    relay_process.confine(&[]);
    loop {
        let over = relay_process.round([supervisor.as_fd()], None).and_then(|[ordered]| match ordered {
            false => Ok(Course::Goes),
            true => receive_order(supervisor)?.map_or(Ok(Course::Over), |order| relay_process.obey(order)),
        });
        match over {
            Ok(Course::Goes) => {}
            Ok(Course::Over) => exit_now(0),
            Err(_) => exit_now(1),
        }
    }
}

/// Ends the processes that an ended command left behind if its grant has ended, and otherwise has them watched until that happens.
/// Waits until all have ended, even where the enforcer ends them: without a control group they are found as descendants of this
/// process.
pub(super) fn finish(process_tree: &ProcessTree, enforcer: &mut Enforcer<'_>) {
    enforcer.command_ended();
    if let Some(deadline) = enforcer.deadline() {
        process_tree.end_leftovers(deadline);
    } else {
        process_tree.take_back();
        if !enforcer.is_handed_over() && process_tree.leaves_somebody() && !hand_over(process_tree, enforcer) {
            // No process is left that could watch them.
            process_tree.terminate();
            process_tree.end_leftovers(Instant::now() + enforcer.grace());
        }
    }
    if !enforcer.is_handed_over() {
        process_tree.take_back_watch();
        process_tree.relieve_watchdog();
    }
}

/// Hands the run over to the enforcer, unless that was done before. Returns whether another process ends it now.
pub(super) fn hand_over(process_tree: &ProcessTree, enforcer: &mut Enforcer<'_>) -> bool {
    if !enforcer.is_handed_over() {
        start_watchdog(process_tree, enforcer);
    }
    if let Some(pid) = enforcer.hand_over(process_tree.command(), process_tree.watchdog()) {
        process_tree.hand_over(pid);
    }
    enforcer.is_handed_over()
}

/// Starts the watchdog when it is due. Returns how long to wait for that, for the next report to it, or else `patience`.
pub(super) fn watch_over(
    process_tree: &ProcessTree,
    enforcer: &mut Enforcer<'_>,
    patience: Option<Duration>,
) -> Option<Duration> {
    if enforcer.has_delegate() {
        return patience;
    }
    let left = process_tree.watched_from().map(|due| due.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        start_watchdog(process_tree, enforcer);
    }
    let wait = left.filter(|left| !left.is_zero()).unwrap_or(REPORTED);
    Some(patience.map_or(wait, |patience| patience.min(wait)))
}

/// Starts the watchdog of the run, unless there is one.
fn start_watchdog(process_tree: &ProcessTree, enforcer: &mut Enforcer<'_>) {
    match process_tree.post_watchdog(enforcer.grace()) {
        Ok(true) => enforcer.watched(),
        Ok(false) => {}
        Err(error) => enforcer.unwatched(&error),
    }
}

/// A stop signal that was forwarded.
#[derive(Clone, Copy)]
struct Stopping {
    since: Instant,
    /// A SIGCONT followed it.
    is_over: bool,
}

/// A command that has not stopped within this time will not.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

/// A running command and what watches it.
struct Supervised<'a, 'w, 't> {
    command: &'a Child,
    /// The signal that stopped it, when this process has not stopped with it yet.
    stopped: Option<i32>,
    /// A stop signal that was forwarded and has not stopped the command yet.
    stopping: Option<Stopping>,
    process_tree: &'a ProcessTree,
    speaker: &'a Speaker<'a>,
    signals: &'a SignalQueue,
    enforcer: &'a mut Enforcer<'w>,
    /// To the relay process.
    line: Option<&'a Line>,
    session_recording: &'a SessionRecording<'t>,
}

impl Supervised<'_, '_, '_> {
    /// Returns how the command has ended, or why it was not executed.
    fn supervise(&mut self) -> std::io::Result<Result<CommandEnd, ExecError>> {
        loop {
            if self.enforcer.lasts() && hand_over(self.process_tree, self.enforcer) {
                self.share_stop()?;
            }
            let patience = enforce(self.enforcer, self.process_tree, self.speaker);
            let patience = watch_over(self.process_tree, self.enforcer, patience);
            let relay_process = self.line.map(|line| PollEntry::reading(line.as_fd()));
            let is_carried = relay_process.is_some();
            let own = Some(PollEntry::reading(self.signals.as_fd()));
            let subreaper = self.command.line().map(PollEntry::reading);
            let mut entries: Vec<_> = own.into_iter().chain(relay_process).chain(subreaper).collect();
            let more_orphans = self.process_tree.reap_orphans(self.command.pid());
            poll(&mut entries, if more_orphans { Some(Duration::ZERO) } else { patience })?;
            if is_carried && entries.get(1).is_some_and(|entry| entry.ready_read) {
                self.take_report()?;
            }
            self.take_signals()?;
            while let Some(change) = self.command.change()? {
                let (event, usage) = match change {
                    Change::State(event, usage) => (event, usage),
                    Change::NotExecuted(error) => return Ok(Err(error)),
                };
                match event {
                    WaitEvent::Exited(_) | WaitEvent::Signaled { .. } => return Ok(Ok(CommandEnd { event, usage })),
                    WaitEvent::Stopped(signal) if !self.enforcer.is_frozen() => {
                        self.stopped = Some(signal);
                        if hand_over(self.process_tree, self.enforcer) {
                            self.share_stop()?;
                        } else {
                            self.enforcer.cannot_stop();
                        }
                    }
                    WaitEvent::Stopped(_) | WaitEvent::Continued => {}
                }
            }
        }
    }

    /// Stops this process with the command, so that the shell sees its job stopped; afterwards continues the command. The command
    /// may have been ended before its stop is seen.
    fn share_stop(&mut self) -> std::io::Result<()> {
        let Some(signal) = self.stopped.take().filter(|_| !self.enforcer.interferes()) else { return Ok(()) };
        if self.stopping.take().is_some_and(|stop| stop.is_over && stop.since.elapsed() < STOPS_WITHIN) {
            self.command.signal(SIGCONT);
            return Ok(());
        }
        if is_stopped(self.command.pid()).is_ok_and(|stopped| !stopped) {
            return Ok(());
        }
        process::stop_self(if matches!(signal, SIGTTIN | SIGTTOU) { SIGTSTP } else { signal })?;
        self.command.signal(SIGCONT);
        Ok(())
    }

    fn take_report(&mut self) -> std::io::Result<()> {
        match self.line.map(Line::report).transpose()?.flatten() {
            Some(Report::Unrecorded(why)) => self.enforcer.unrecorded(&why, self.session_recording.mode()),
            // It has nothing else to report before the end.
            Some(_) => {}
            None => return Err(std::io::Error::other("the process that relays its output was killed")),
        }
        Ok(())
    }

    fn take_signals(&mut self) -> std::io::Result<()> {
        while let Some(event) = self.signals.next_event()? {
            self.stopped = self.stopped.filter(|_| event.signal != SIGCONT);
            match event.signal {
                SIGCHLD => self.process_tree.bury_watchdog(),
                SIGINT | SIGQUIT | SIGTERM | SIGHUP if self.enforcer.is_frozen() => self.enforcer.give_up(),
                _ if self.enforcer.is_frozen() => {}
                signal if is_for_the_command(&event, self.command.pid()) => self.pass_on(signal),
                _ => {}
            }
        }
        Ok(())
    }

    /// Forwards a signal. A stop that is followed by SIGCONT at once is undone too, even if the command has not stopped yet.
    fn pass_on(&mut self, signal: i32) {
        match (signal, &mut self.stopping) {
            (SIGTSTP, stopping) => *stopping = Some(Stopping { since: Instant::now(), is_over: false }),
            (SIGCONT, Some(stop)) => stop.is_over = true,
            _ => {}
        }
        self.command.signal(signal);
    }
}

/// Takes the enforcer's next step; returns how long to wait for events.
fn enforce(enforcer: &mut Enforcer<'_>, process_tree: &ProcessTree, speaker: &Speaker<'_>) -> Option<Duration> {
    process_tree.keep_up();
    let step = enforcer.step(Instant::now());
    if !enforcer.has_delegate() {
        process_tree.take_back_watch();
    }
    match step.act {
        None => {}
        Some(Act::Say(words)) => speaker.say(&words),
        Some(Act::Freeze) => enforcer.froze(process_tree.freeze()),
        Some(Act::Thaw) => process_tree.thaw(),
        Some(Act::Terminate) => process_tree.terminate(),
        Some(Act::Kill) if enforcer.waits_for_another() && process_tree.hold_for_enforcer() => {}
        Some(Act::Kill) => process_tree.kill(),
    }
    step.patience
}

/// Shows messages on the caller's terminal, which can make any call on it wait for ever: so another process makes them.
struct Speaker<'a> {
    apart: Apart,
    process_tree: &'a ProcessTree,
}

impl Speaker<'_> {
    fn say(&self, words: &str) {
        self.apart.run(&|child| self.process_tree.spare(child), || say(words));
    }
}

/// Shows a message on the terminal, if there is one. Neither waits for a terminal that takes no output nor is stopped by it
/// (SIGTTOU).
fn say(words: &str) {
    let Ok(terminal) = Terminal::controlling() else { return };
    let Ok(before) = sys::signals::block(SignalSet::of(&[SIGTTOU])) else { return };
    if set_blocking(terminal.as_fd(), Blocking::No).is_ok() {
        let _ = sys::poll::write(terminal.as_fd(), format!("\r\n{}: {words}\r\n", console::name().as_str()).as_bytes());
    }
    let _ = sys::signals::set_mask(before); // if this fails, SIGTTOU stays blocked
}

/// Whether a signal is meant for the command. Signals from the terminal go to the whole process group, so the command has them
/// already; the command, and the process group that it leads, do not mean the command when they signal their parent. Another
/// process of our group may mean the group with the signals of the keys, but not with the others: a script without job control,
/// where all are one group, ends a command by `jit-sudo kill $!` (sudo's rules).
fn is_for_the_command(event: &Event, command: Pid) -> bool {
    if event.from_kernel {
        return false;
    }
    let Some(sender) = event.sender_pid else { return true };
    let group = process::process_group(sender);
    let may_mean_the_group =
        matches!(event.signal, SIGINT | SIGQUIT | SIGTSTP) && group == Some(process::own_process_group());
    !may_mean_the_group && sender != command && group != Some(command)
}
