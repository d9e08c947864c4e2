//! What a program that is not ours begets from a moment on, for one session among those that it may serve: found as its descendants
//! and as the members of a control group. Signals go through pidfds, as in `descendants`. Our own programs among them never
//! stay frozen, and are killed last.

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
use crate::process::Pid;
use crate::procfs;
use crate::programs::Programs;
use seat::Seat;
pub use service::Service;
pub(crate) use service::sockets_in;

/// The program that is not ours, and who is served.
#[derive(Debug)]
pub struct ForeignProgram<'a> {
    /// The process.
    pub pid: Pid,
    /// Who asked for the session.
    pub holder: u32,
    /// As whom they work in it.
    pub run_as: u32,
    /// The terminal at which they sit, such as `/dev/pts/3` or `pts/3`; what the program begets may have none, or another.
    pub terminal: Option<&'a OsStr>,
    /// What the program's children are told that belong to the session.
    pub mark: Mark,
}

/// The program, and since when what it begets is meant.
#[derive(Debug)]
pub struct ForeignProcesses {
    host: Living,
    /// Where the program was before it was moved into the group.
    home: Option<Scope>,
    service: Cell<Service>,
    is_closed: Cell<bool>,
    since: u64,
    people: [u32; 2],
    mark: Mark,
    group: Option<Cgroup>,
    /// In it, for all but the program: it is frozen and thawed. Runs and sessions of theirs have their groups there.
    inside: Option<Cgroup>,
    programs: Programs,
    seat: Option<Seat>,
    /// Where logind has moved them.
    scope: OnceCell<Scope>,
    /// Who was moved to stand still, from where.
    moved: RefCell<Vec<(Living, Scope)>>,
}

impl ForeignProcesses {
    /// What `host` begets from now on. In the `group` that is made for it lives what belongs to the session, so that whatever leaves
    /// the family stays in sight; where there is none the family alone is seen. The program itself is moved there unless it serves
    /// others, as it does when it `is_shared` with another session. What runs one of our `programs` with the rights of root is ours.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(
        host: ForeignProgram<'_>,
        group: Option<Cgroup>,
        programs: Programs,
        is_shared: bool,
    ) -> io::Result<Self> {
        let started = procfs::stat(host.pid)?.started;
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
            host: Living { pid: host.pid, started },
            home,
            service: Cell::new(service),
            is_closed: Cell::new(false),
            // This very process was started when the host asked: whatever is younger is meant.
            since: procfs::stat(Pid::own())?.started,
            people: [host.run_as, host.holder],
            mark: host.mark,
            group: kept,
            inside,
            programs,
            seat,
            scope: OnceCell::new(),
            moved: RefCell::default(),
        })
    }

    /// Looks what has changed around the program: whether it serves others by now (`is_shared`: in another session), and whether
    /// logind has given it a group of its own, as pam_systemd has it do; whatever leaves the family is seen there then.
    pub fn look(&self, is_shared: bool) {
        self.programs.look();
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

    /// Whether the program still runs; false for one that is dead and not buried yet.
    pub fn host_lives(&self) -> bool {
        lives(self.host)
    }

    /// Whether the program serves this session alone, and may be ended with it.
    pub fn host_is_theirs(&self) -> bool {
        self.service.get().is_alone()
    }

    /// A signal to the program itself, and SIGCONT after it; only where it serves nobody else.
    pub fn signal_host(&self, signal: i32) {
        if self.host_is_theirs() {
            let _ = send(self.host, signal); // it may have ended
            self.wake_host();
        }
    }

    /// Sends a signal to every one, and again to those that appeared meanwhile; gives how many were signalled. Of our own programs
    /// only `asked` is, and never by SIGKILL.
    ///
    /// For SIGKILL all are frozen first, or stopped where that cannot be, so that none forks faster than it is killed. Nobody is
    /// frozen after it.
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
        let _ = self.thaw(); // whoever is being killed does nothing any more
        killed
    }

    /// SIGKILL to our own programs among them, when the others are gone.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn kill_programs(&self) -> io::Result<usize> {
        self.signal_all(libc::SIGKILL, |process| self.program_of(process).is_some())
    }

    /// SIGSTOP, where [`Self::freeze`] cannot be had: whoever may signal them can wake them. How many were awake.
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

    /// Whether a group of control could hold them: without one [`Self::freeze`] cannot be had.
    #[must_use]
    pub fn can_be_held(&self) -> bool {
        self.inside.is_some()
    }

    /// Stops every one until [`Self::thaw`], and what they beget: in a group of control of their own, where neither their parents
    /// notice it nor anybody but root can wake them, as SIGCONT could (kill(2): whoever is of the same session). A program that
    /// serves root over a connection does so by itself, and stands still too. Our own programs go on, outside of that group.
    ///
    /// # Errors
    /// `Unsupported` where there are no groups of control; whatever the kernel says where they cannot be written.
    pub fn freeze(&self) -> io::Result<()> {
        let is_meant = self.service.get() == Service::Connection && self.people[0] == 0;
        if is_meant && !self.inside()?.holds(self.host.pid) {
            self.bring(self.host)?;
        }
        self.freeze_begotten()
    }

    /// Lets all go on that [`Self::freeze`] has stopped, where they were before.
    ///
    /// # Errors
    /// As `freeze`.
    pub fn thaw(&self) -> io::Result<()> {
        self.inside()?.thaw()?;
        for (one, home) in self.moved.take() {
            if lives(one) {
                let _ = home.adopt(one.pid); // where that is gone it stays
            }
        }
        Ok(())
    }

    /// Whether one of them, or the program, has a terminal; none has it any more when that was hung up.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn have_terminal(&self) -> io::Result<bool> {
        let mut all = self.seen()?.into_iter().chain([self.host]);
        Ok(all.any(|one| procfs::stat(one.pid).is_ok_and(|stat| stat.terminal != 0)))
    }

    /// How many there are that are no programs of ours.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.seen()?.into_iter().filter(|process| self.program_of(*process).is_none()).count())
    }

    /// How many programs of ours there are among them.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn count_programs(&self) -> io::Result<usize> {
        Ok(self.seen()?.into_iter().filter(|process| self.program_of(*process).is_some()).count())
    }

    /// Lets the program itself go on: su(1) stops when what it waits for is stopped.
    pub fn wake_host(&self) {
        let _ = send(self.host, libc::SIGCONT); // it may have ended
    }

    /// Writes a line on each terminal that they have, and on that at which the program was asked, where that can be done without
    /// waiting.
    pub fn tell(&self, line: &str) {
        let seen = self.seen().unwrap_or_default();
        let mut numbers: HashSet<u32> =
            seen.into_iter().filter_map(|process| procfs::stat(process.pid).ok()).map(|stat| stat.terminal).collect();
        numbers.extend(self.seat.filter(Seat::is_taken).map(|seat| seat.number));
        seat::tell(numbers, line);
    }

    /// The session is closed: the program goes back to where it was, and what it begets is nobody's here any more. Gives who is left,
    /// in a group.
    pub fn leave(&self) -> Vec<Pid> {
        self.send_home();
        self.is_closed.set(true);
        let left = self.seen().unwrap_or_default().into_iter();
        left.filter(|process| self.program_of(*process).is_none()).map(|process| process.pid).collect()
    }

    /// The group is left to whoever stays in it, and goes on.
    pub fn part(self) {
        let _ = self.thaw(); // where there is no group nobody stands still in it
        self.send_home();
        self.group.into_iter().for_each(Cgroup::remove);
    }
}

/// Who belongs to the session.
impl ForeignProcesses {
    fn seen(&self) -> io::Result<HashSet<Living>> {
        let family = if self.is_closed.get() || !self.host_lives() {
            Vec::new()
        } else if self.service.get() == Service::Many {
            self.proven()?
        } else {
            scan(self.host.pid)?.into_iter().filter(|one| one.started >= self.since).collect()
        };
        let grouped = self.group.as_ref().map(Cgroup::members).unwrap_or_default();
        let scoped = self.scope.get().map(Scope::members).unwrap_or_default();
        // Whom the program has not buried yet belongs to nobody.
        let mut all: HashSet<Living> = family.into_iter().filter(|one| lives(*one)).collect();
        for pid in grouped.into_iter().chain(scoped) {
            let Ok(stat) = procfs::stat(pid) else { continue };
            if !stat.has_ended() {
                all.insert(Living { pid, started: stat.started });
            }
        }
        all.remove(&self.host);
        Ok(all)
    }

    /// Of a program that serves several people: whoever bears the session's mark, or works as the person of the session, and what
    /// these have begotten.
    fn proven(&self) -> io::Result<Vec<Living>> {
        let mut proven: HashMap<i32, bool> = HashMap::new();
        let young = kin(self.host.pid)?.into_iter().filter(|kin| kin.process.started >= self.since);
        let mut is_proven = |one: &Descendant| {
            let above = proven.get(&one.parent).copied().unwrap_or(false);
            let known = above || self.mark.is_on(one.process.pid) || self.is_persons(one);
            let _ = proven.insert(one.process.pid.raw(), known);
            known
        };
        let mut found: Vec<Living> = young.filter(|one| is_proven(one)).map(|kin| kin.process).collect();
        found.extend(self.mark.living().into_iter().filter(|one| one.started >= self.since));
        Ok(found)
    }

    /// A child of the program that works as the person of the session. Nothing is said by root's being at work.
    fn is_persons(&self, one: &Descendant) -> bool {
        let [run_as, _] = self.people;
        one.parent == self.host.pid.raw() && run_as != 0 && procfs::real_uid(one.process.pid) == Some(run_as)
    }

    /// A child that works as somebody who has nothing to do with the session.
    fn has_strangers(&self) -> bool {
        kin(self.host.pid).is_ok_and(|all| all.iter().any(|one| self.is_stranger(one)))
    }

    fn is_stranger(&self, one: &Descendant) -> bool {
        one.parent == self.host.pid.raw()
            && procfs::real_uid(one.process.pid).is_some_and(|uid| uid != 0 && !self.people.contains(&uid))
    }

    /// The program has turned out to serve others: it goes back to where it was, and so do those of its family that are not the
    /// session's. What has left its family stays in the group.
    fn separate(&self) {
        self.send_home();
        let (Some(home), Some(group)) = (&self.home, &self.group) else { return };
        for _ in 0..MAX_PASSES {
            let proven: HashSet<Living> = self.proven().unwrap_or_default().into_iter().collect();
            let others = scan(self.host.pid).unwrap_or_default().into_iter().filter(|one| !proven.contains(one));
            // One that has ended meanwhile cannot be moved; what it begot is found in the next pass.
            if others.filter(|one| group.holds(one.pid) && home.adopt(one.pid).is_ok()).count() == 0 {
                return;
            }
        }
    }

    /// Takes into the group who has turned out to be the session's, and with them what they will beget.
    fn gather(&self) {
        let Some(group) = &self.group else { return };
        for one in self.proven().unwrap_or_default() {
            if !group.holds(one.pid) && self.program_of(one).is_none() {
                let _ = group.adopt(one.pid); // it may have ended
            }
        }
    }

    fn send_home(&self) {
        if let (Some(home), Some(group)) = (&self.home, &self.group)
            && self.host_lives()
            && group.holds(self.host.pid)
        {
            let _ = home.adopt(self.host.pid); // where that is gone it stays in the group
        }
    }

    fn program_of(&self, process: Living) -> Option<&'static str> {
        self.programs.run_by(process.pid)
    }

    fn inside(&self) -> io::Result<&Cgroup> {
        self.inside.as_ref().ok_or(io::ErrorKind::Unsupported.into())
    }

    fn freeze_begotten(&self) -> io::Result<()> {
        self.programs.look();
        self.inside()?.freeze()?;
        for _ in 0..MAX_PASSES {
            // Our own first: while they stand still the host may be waiting for them.
            if self.take_programs_out()? + self.bring_others()? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves our own programs from inside to where nobody is frozen; how many.
    fn take_programs_out(&self) -> io::Result<usize> {
        let (inside, Some(group)) = (self.inside()?, &self.group) else { return Ok(0) };
        let own = inside.members().into_iter().filter(|pid| self.programs.run_by(*pid).is_some());
        Ok(own.filter(|pid| group.adopt(*pid).is_ok()).count())
    }

    /// Moves everybody else inside; how many. One that has ended meanwhile cannot be moved; what it begot is found in the next pass.
    fn bring_others(&self) -> io::Result<usize> {
        let inside = self.inside()?;
        let others = self.seen()?.into_iter().filter(|process| !inside.holds(process.pid));
        Ok(others.filter(|process| self.program_of(*process).is_none() && self.bring(*process).is_ok()).count())
    }

    /// Moves one inside, and remembers from where.
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
                    // It may have ended since; then there is nothing to signal.
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
    procfs::lives_since(one.pid, one.started)
}
