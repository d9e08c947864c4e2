//! The processes that a foreign program, such as sshd or su, starts for one of the sessions that it may serve: found as
//! its descendants and as the members of a control group. Signals go through pidfds, as in `descendants`. Programs of
//! ours among them never stay frozen, and are killed last.

mod seat;
mod service;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;

use crate::cgroup::{Cgroup, Scope};
use crate::descendants::{Descendant, Living, MAX_PASSES, kin, scan, send};
use crate::marked::Mark;
use crate::process::{Pid, process_start};
use crate::procfs;
use crate::procfs::locked::reader;
use crate::programs::Programs;
use crate::terminal::Apart;
use seat::Seat;
pub use service::Service;
pub(crate) use service::sockets_in;

/// The foreign program, and the user that it serves.
#[derive(Debug)]
pub struct ForeignProgram<'a> {
    /// The process.
    pub pid: Pid,
    /// The user who asked for the session.
    pub holder: u32,
    /// The user that the session's processes run as.
    pub run_as: u32,
    /// The terminal of the session, such as `/dev/pts/3` or `pts/3`; the program's descendants may have none, or
    /// another one.
    pub terminal: Option<&'a OsStr>,
    /// The environment variable that marks the program's children as part of the session.
    pub mark: Mark,
}

/// The program and the descendants that it started after a given moment.
#[derive(Debug)]
pub struct ForeignProcesses {
    host: Living,
    /// The group of the program before it was moved into `group`.
    home: Option<Scope>,
    service: Cell<Service>,
    is_closed: Cell<bool>,
    /// The descendants that the program had before the session.
    before: RefCell<HashSet<Living>>,
    /// The start time of this process, in clock ticks since boot: each process with the session's mark is younger.
    since: u64,
    people: [u32; 2],
    mark: Mark,
    group: Option<Cgroup>,
    /// A group inside `group` for every process but the program; it is frozen and thawed. Runs and sessions of these
    /// processes have their groups there.
    inside: Option<Cgroup>,
    programs: Programs,
    seat: Option<Seat>,
    voice: Apart,
    /// The group to which logind has moved the processes.
    scope: OnceCell<Scope>,
    /// How many processes did not show at the last search whether they carry the mark.
    silent: Cell<usize>,
    /// The processes that were moved to be frozen, each with its previous group.
    moved: RefCell<Vec<(Living, Scope)>>,
}

impl ForeignProcesses {
    /// Tracks what `host` starts from now on. `group`, which was created for it, holds the processes of the session, so
    /// that those that leave the process tree are still found; without a group only the process tree is seen. The
    /// program itself is moved there too unless it serves other users, as it does if it `is_shared` with another
    /// session. A process that runs one of our `programs` with root's rights counts as ours.
    ///
    /// # Errors
    /// When the process does not exist.
    pub fn of(
        host: ForeignProgram<'_>,
        group: Option<Cgroup>,
        programs: Programs,
        is_shared: bool,
    ) -> io::Result<Self> {
        let living = Living::at(host.pid).ok_or(io::ErrorKind::NotFound)?;
        let before = scan(host.pid)?.into_iter().collect();
        let seat = host.terminal.and_then(Seat::at);
        let service = match is_shared {
            true => Service::Many,
            false => Service::of(host.pid, host.holder, seat.map(|seat| seat.number)),
        };
        let (mut home, mut kept) = (None, group);
        if service != Service::Many {
            home = Scope::around(host.pid).ok();
            kept = kept.filter(|group| group.adopt(host.pid).is_ok());
        }
        let inside = kept.as_ref().and_then(|group| group.for_foreign_of(host.pid).ok());
        Ok(Self {
            host: living,
            home,
            service: Cell::new(service),
            is_closed: Cell::new(false),
            // The host waits for this process, which it has asked for the session: all later ones belong to the session.
            before: RefCell::new(before),
            since: process_start(Pid::own())?,
            people: [host.run_as, host.holder],
            mark: host.mark,
            group: kept,
            inside,
            programs,
            seat,
            voice: Apart::new(),
            scope: OnceCell::new(),
            silent: Cell::new(0),
            moved: RefCell::default(),
        })
    }

    /// Checks what has changed around the program: whether it now serves others (`is_shared`: another session), and
    /// whether logind has given it a group, as pam_systemd requests; processes that leave the process tree are then
    /// found there.
    pub fn look(&self, is_shared: bool) {
        let _ = self.programs.look();
        let service = self.service.get();
        let is_strange = || service == Service::Unproven && self.has_strangers();
        if service != Service::Many && (is_shared || is_strange()) {
            self.service.set(Service::Many);
            self.separate();
        }
        if self.service.get() == Service::Many {
            self.gather();
        } else if let (None, Some(group)) = (self.scope.get(), &self.group)
            && let Some(scope) = group.scope_of(self.host.pid).filter(|_| self.host_lives())
        {
            let _ = self.scope.set(scope); // it was empty
        }
    }

    /// Looks whether files of our programs were replaced. Call it several times a second: a process keeps the old file.
    pub fn keep_up(&self) {
        let _ = self.programs.keep_up();
    }

    /// Returns how many processes do not show whether they carry the mark. They do not count as the session's.
    pub fn silent(&self) -> usize {
        self.silent.get()
    }

    /// Returns whether the program still runs; false for a zombie.
    pub fn host_lives(&self) -> bool {
        lives(self.host)
    }

    /// Returns whether the program serves this session only, and may be ended with it.
    pub fn host_is_theirs(&self) -> bool {
        self.service.get().is_alone()
    }

    /// Sends a signal and then SIGCONT to the program itself, if it serves this session only.
    pub fn signal_host(&self, signal: i32) {
        if self.host_is_theirs() {
            let _ = send(self.host, signal); // it may have ended
            self.wake_host();
        }
    }

    /// Sends a signal to every process, and again to those that appeared meanwhile. Returns how many it signalled. Of
    /// our own programs it signals only `asked`, and never with SIGKILL.
    ///
    /// For SIGKILL it first freezes all of them, or stops them where it cannot freeze, so that none forks faster than
    /// it is killed. No process is frozen afterwards.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn signal(&self, signal: i32, asked: &str) -> io::Result<usize> {
        if signal != libc::SIGKILL {
            return self.signal_all(signal, |process| self.program_of(process).is_none_or(|program| program == asked));
        }
        if self.freeze_begotten().is_err() {
            self.signal_all(libc::SIGSTOP, |process| self.program_of(process).is_none())?;
        }
        let killed = self.signal_all(signal, |process| self.program_of(process).is_none());
        let _ = self.thaw(); // killed processes do no more work
        killed
    }

    /// Sends SIGKILL to our own programs among them, when the others are gone.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn kill_programs(&self) -> io::Result<usize> {
        self.signal_all(libc::SIGKILL, |process| self.program_of(process).is_some())
    }

    /// Sends SIGSTOP, where [`Self::freeze`] is unavailable: any process that may signal them can wake them. Returns
    /// how many were running.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn stop(&self) -> io::Result<usize> {
        let awake = Cell::new(0);
        self.signal_all(libc::SIGSTOP, |process| {
            let is_meant = self.program_of(process).is_none();
            awake.set(awake.get() + usize::from(is_meant && procfs::is_awake(process.pid)));
            is_meant
        })?;
        Ok(awake.get())
    }

    /// Returns the group of the session.
    #[must_use]
    pub fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    /// Returns whether there is a control group for them: without one [`Self::freeze`] is unavailable.
    #[must_use]
    pub fn can_be_held(&self) -> bool {
        self.inside.is_some()
    }

    /// Stops every process, and those that they start, until [`Self::thaw`], by moving them to a control group of their
    /// own. Their parents do not notice it, and only root can wake them, while SIGCONT may come from any process of the
    /// same session (kill(2)). A program that serves root over a connection works by itself and is stopped too. Our own
    /// programs continue, outside of that group.
    ///
    /// # Errors
    /// `Unsupported` without control groups; any error of the kernel when they cannot be written.
    pub fn freeze(&self) -> io::Result<()> {
        let is_meant = self.service.get() == Service::Connection && self.people[0] == 0;
        if is_meant && !self.inside()?.holds(self.host.pid) {
            self.bring(self.host)?;
        }
        self.freeze_begotten()
    }

    /// Moves every process that [`Self::freeze`] has stopped back to its previous group, where it continues.
    ///
    /// # Errors
    /// As `freeze`.
    pub fn thaw(&self) -> io::Result<()> {
        self.inside()?.thaw()?;
        for (one, home) in self.moved.take() {
            if lives(one) {
                let _ = home.adopt(one.pid); // it stays if that group is gone
            }
        }
        Ok(())
    }

    /// Returns whether [`Self::freeze`] holds them.
    #[must_use]
    pub fn are_frozen(&self) -> bool {
        self.inside.as_ref().is_some_and(Cgroup::is_set_to_freeze)
    }

    /// Returns whether one of them, or the program, has a terminal; none has one after a hangup.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn have_terminal(&self) -> io::Result<bool> {
        let all = self.seen()?.into_iter().chain([self.host]);
        Ok(!reader::terminals(all.map(|one| one.pid).collect()).is_empty())
    }

    /// Returns the number of processes that do not run programs of ours.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.seen()?.into_iter().filter(|process| self.program_of(*process).is_none()).count())
    }

    /// Returns the number of processes that run programs of ours.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn count_programs(&self) -> io::Result<usize> {
        Ok(self.seen()?.into_iter().filter(|process| self.program_of(*process).is_some()).count())
    }

    /// Sends SIGCONT to the program itself: su(1) stops when the process that it waits for is stopped.
    pub fn wake_host(&self) {
        let _ = send(self.host, libc::SIGCONT); // it may have ended
    }

    /// Writes a line to each of their terminals, and to the terminal of the session, where that does not block. Takes limited
    /// time: a child makes the calls on the terminals.
    pub fn tell(&self, line: &str) {
        let seen = self.seen().unwrap_or_default();
        let mut numbers = reader::terminals(seen.into_iter().map(|process| process.pid).collect());
        numbers.extend(self.seat.filter(Seat::is_taken).map(|seat| seat.number));
        self.voice.run(&|_| {}, || seat::tell(numbers, line));
    }

    /// Ends the session: the program goes back to its previous group, and its later descendants do not belong to the
    /// session. Returns the processes that remain in a group.
    pub fn leave(&self) -> Vec<Pid> {
        self.send_home();
        self.is_closed.set(true);
        let left = self.seen().unwrap_or_default().into_iter();
        left.filter(|process| self.program_of(*process).is_none()).map(|process| process.pid).collect()
    }

    /// Thaws the group and leaves it to its remaining processes.
    pub fn part(self) {
        let _ = self.thaw(); // without a group no process is frozen
        self.send_home();
        self.group.into_iter().for_each(Cgroup::remove);
    }
}

/// Finds the processes that belong to the session.
impl ForeignProcesses {
    fn seen(&self) -> io::Result<HashSet<Living>> {
        let family = if self.is_closed.get() || !self.host_lives() {
            Vec::new()
        } else if self.service.get() == Service::Many {
            self.proven(&|pid| self.is_member(pid))?
        } else {
            self.young()?.into_iter().map(|kin| kin.process).collect()
        };
        let grouped = self.group.as_ref().map(Cgroup::members).unwrap_or_default();
        let scoped = self.scope.get().map(Scope::members).unwrap_or_default();
        // A zombie belongs to no session.
        let mut all: HashSet<Living> = family.into_iter().filter(|one| lives(*one)).collect();
        all.extend(grouped.into_iter().chain(scoped).filter_map(Living::at).filter(|one| lives(*one)));
        all.remove(&self.host);
        Ok(all)
    }

    /// Returns the descendants that the program has had since the session began.
    fn young(&self) -> io::Result<Vec<Descendant>> {
        // The pid of one that has ended may belong to a process of the session by now.
        self.before.borrow_mut().retain(|one| lives(*one));
        let before = self.before.borrow();
        Ok(kin(self.host.pid)?.into_iter().filter(|kin| !before.contains(&kin.process)).collect())
    }

    /// Returns, for a program that serves several users, the processes that are `known`, carry the session's mark or
    /// run as a user of the session, with their descendants.
    fn proven(&self, known: &dyn Fn(Pid) -> bool) -> io::Result<Vec<Living>> {
        let young = self.young()?;
        let below: HashSet<Pid> = young.iter().map(|kin| kin.process.pid).collect();
        let is_asked = |one: Pid| {
            let may_be = if below.contains(&one) { self.may_join(one) } else { self.may_have_left(one) };
            may_be && !known(one) && self.programs.run_by(one).is_none()
        };
        let bearers = self.mark.living(self.since, &is_asked);
        self.silent.set(bearers.silent);
        let marked: HashSet<Living> = bearers.found.into_iter().collect();
        let unmarked: Vec<Pid> = {
            let all = young.iter().filter(|one| self.is_persons(one) && !marked.contains(&one.process));
            all.map(|one| one.process.pid).filter(|pid| !known(*pid) && self.may_join(*pid)).collect()
        };
        let of_others = self.of_other_sessions(unmarked);
        let mut proven: HashMap<i32, bool> = HashMap::new();
        let mut is_proven = |one: &Descendant| {
            let pid = one.process.pid;
            let above = proven.get(&one.parent).copied().unwrap_or(false);
            let itself = marked.contains(&one.process)
                || known(pid)
                || self.is_persons(one) && self.may_join(pid) && !of_others.contains(&pid);
            let _ = proven.insert(pid.raw(), above || itself);
            above || itself
        };
        let mut found: Vec<Living> = young.iter().filter(|one| is_proven(one)).map(|kin| kin.process).collect();
        found.extend(marked.into_iter().filter(|one| !below.contains(&one.pid)));
        Ok(found)
    }

    /// Returns whether a process may belong to the session by its own properties: it runs as the user of the session,
    /// or as root, and is in no group of another run or session. Any user can set the mark, and would otherwise move a
    /// process out of the group of the run that must end it.
    fn may_join(&self, pid: Pid) -> bool {
        let [run_as, _] = self.people;
        procfs::real_uid(pid).is_some_and(|uid| uid == run_as || uid == 0) && !self.is_of_another(pid)
    }

    /// Returns whether a process may have left the process tree of the program before it was moved to the group.
    fn may_have_left(&self, pid: Pid) -> bool {
        let [run_as, _] = self.people;
        procfs::real_uid(pid) == Some(run_as) && !self.is_of_another(pid)
    }

    fn is_member(&self, pid: Pid) -> bool {
        self.group.as_ref().is_some_and(|group| group.holds(pid))
    }

    fn is_of_another(&self, pid: Pid) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_of_another(pid))
    }

    /// Returns whether a child of the program runs as a user of the session. A process of root proves nothing.
    fn is_persons(&self, one: &Descendant) -> bool {
        let [run_as, _] = self.people;
        one.parent == self.host.pid.raw() && run_as != 0 && procfs::real_uid(one.process.pid) == Some(run_as)
    }

    /// Returns which of these processes carry the mark of another session or run that is open: the program may have
    /// started them for another session of the same user, while it was in the group of this one.
    fn of_other_sessions(&self, ones: Vec<Pid>) -> HashSet<Pid> {
        let names = || self.group.as_ref().map(Cgroup::names_beside).unwrap_or_default();
        if ones.is_empty() { HashSet::new() } else { self.mark.otherwise(&names(), ones) }
    }

    /// Returns whether a child runs as a user who has nothing to do with the session.
    fn has_strangers(&self) -> bool {
        kin(self.host.pid).is_ok_and(|all| all.iter().any(|one| self.is_stranger(one)))
    }

    fn is_stranger(&self, one: &Descendant) -> bool {
        one.parent == self.host.pid.raw()
            && procfs::real_uid(one.process.pid).is_some_and(|uid| uid != 0 && !self.people.contains(&uid))
    }

    /// Handles a program that turned out to serve others: moves it back to its previous group, together with those of
    /// its descendants that are not the session's. Processes that have left its process tree stay in the group.
    fn separate(&self) {
        self.send_home();
        let (Some(home), Some(group)) = (&self.home, &self.group) else { return };
        for _ in 0..MAX_PASSES {
            // The program was a member itself, and with it all that it has started: membership proves nothing yet.
            let proven: HashSet<Living> = self.proven(&|_| false).unwrap_or_default().into_iter().collect();
            let others = scan(self.host.pid).unwrap_or_default().into_iter().filter(|one| !proven.contains(one));
            // A process that has ended meanwhile cannot be moved; the next pass finds its children.
            if others.filter(|one| group.holds(one.pid) && home.adopt(one.pid).is_ok()).count() == 0 {
                return;
            }
        }
    }

    /// Moves the processes that turned out to be the session's into the group, with their future children.
    fn gather(&self) {
        let Some(group) = &self.group else { return };
        for one in self.proven(&|pid| self.is_member(pid)).unwrap_or_default() {
            if !group.holds(one.pid) && !group.is_of_another(one.pid) && self.program_of(one).is_none() {
                let _ = group.adopt(one.pid); // it may have ended
            }
        }
    }

    fn send_home(&self) {
        if let (Some(home), Some(group)) = (&self.home, &self.group)
            && self.host_lives()
            && group.holds(self.host.pid)
        {
            let _ = home.adopt(self.host.pid); // it stays in the group if that one is gone
        }
    }

    fn program_of(&self, process: Living) -> Option<&'static str> {
        self.programs.run_by(process.pid)
    }

    fn inside(&self) -> io::Result<&Cgroup> {
        self.inside.as_ref().ok_or(io::ErrorKind::Unsupported.into())
    }

    fn freeze_begotten(&self) -> io::Result<()> {
        let _ = self.programs.look();
        self.inside()?.freeze()?;
        for _ in 0..MAX_PASSES {
            // Our own programs first: the host may be waiting for them while they are frozen.
            if self.take_programs_out()? + self.bring_others()? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves our own programs out of the frozen group. Returns how many.
    fn take_programs_out(&self) -> io::Result<usize> {
        let (inside, Some(group)) = (self.inside()?, &self.group) else { return Ok(0) };
        let own = inside.members().into_iter().filter(|pid| self.programs.run_by(*pid).is_some());
        Ok(own.filter(|pid| group.adopt(*pid).is_ok()).count())
    }

    /// Moves every other process into the frozen group. Returns how many. A process that has ended meanwhile cannot be
    /// moved; the next pass finds its children.
    fn bring_others(&self) -> io::Result<usize> {
        let inside = self.inside()?;
        let others = self.seen()?.into_iter().filter(|process| !inside.holds(process.pid));
        Ok(others.filter(|process| self.program_of(*process).is_none() && self.bring(*process).is_ok()).count())
    }

    /// Moves a process into the frozen group, and stores its previous group.
    fn bring(&self, one: Living) -> io::Result<()> {
        let inside = self.inside()?;
        let home = Scope::around(one.pid)?;
        inside.adopt(one.pid)?;
        self.moved.borrow_mut().push((one, home));
        Ok(())
    }

    fn signal_all(&self, signal: i32, meant: impl Fn(Living) -> bool) -> io::Result<usize> {
        let mut seen = HashSet::new();
        for _ in 0..MAX_PASSES {
            let before = seen.len();
            for process in self.seen()? {
                if meant(process) && seen.insert(process) {
                    // The process may have ended; then there is nothing to signal.
                    let _ = send(process, signal);
                }
            }
            if seen.len() == before {
                break;
            }
        }
        Ok(seen.len())
    }
}

fn lives(one: Living) -> bool {
    one.lives()
}
