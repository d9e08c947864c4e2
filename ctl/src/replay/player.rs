//! Plays a recording: on a terminal with its timing, and keys to pause, jump and change the speed; without a terminal all
//! at once.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use jit_core::wire::RecordingInfo;

use super::cast::{Event, EventKind, Lines};
use super::filter::Filter;
use super::keys::{Key, Keys};
use super::{OutputFilter, opened};
use crate::clean::clean;
use crate::grant_text::line;
use crate::screen::Screen;
use crate::speech::{Notice, Trouble};
use crate::when;

/// How far an arrow key jumps.
const JUMP: Duration = Duration::from_secs(5);

/// How many bytes are read at a time.
const PIECE: usize = 64 << 10;

/// The timing of a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The speed, as a factor.
    pub(crate) speed: f64,
    /// The longest pause, before the speed applies.
    pub(crate) idle_limit: Option<Duration>,
}

/// One recording at one terminal.
pub(crate) struct Player<'a> {
    info: &'a RecordingInfo,
    bytes: &'a [u8],
    pace: Pace,
    screen: Drawing,
}

/// How a stretch of playing ended.
enum Course {
    Over,
    /// Jump to this time; an earlier one is played again from the beginning.
    Jump(Duration),
    /// Draw the picture of this time again.
    Draw(Duration),
}

impl<'a> Player<'a> {
    /// Creates a player for the bytes that the broker sent.
    pub(crate) fn new(info: &'a RecordingInfo, bytes: &'a [u8], pace: Pace, filter: OutputFilter) -> Self {
        Self { info, bytes, pace, screen: Drawing::new(filter) }
    }

    /// Plays from `at` to the end.
    pub(crate) fn play(mut self, at: Duration, screen: &Screen) -> Result<(), Trouble> {
        let keys = if screen.out.is_terminal() { Keys::take() } else { None };
        let mut events = self.events()?;
        let mut target = at;
        let mut length = Duration::ZERO;
        if let Some(keys) = &keys {
            self.warn_of_size(&mut events, keys, screen)?;
            length = self.events()?.length().map_err(|error| failed(&error))?;
            self.screen.say(&self.header(length, screen.now))?;
        }
        let result = loop {
            match self.stretch(&mut events, target, length, keys.as_ref()) {
                Ok(Course::Over) => break Ok(()),
                Ok(ref course @ (Course::Jump(to) | Course::Draw(to))) => {
                    if to < events.reached || matches!(course, Course::Draw(_)) {
                        events = self.events()?;
                        self.screen.begin_again()?;
                    }
                    target = to;
                }
                // The reader closed the pipe (`| head`).
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(()),
                Err(error) => break Err(failed(&error)),
            }
        };
        if keys.is_some() {
            let reached = events.reached;
            self.screen.leave(&format!(
                "left the recording of run {} at {} of {}",
                self.info.run,
                clock(reached),
                clock(length)
            ))?;
        }
        result
    }

    /// Shows everything before `target` at once, and the rest with its timing.
    fn stretch(
        &mut self,
        events: &mut Events<'_>,
        target: Duration,
        length: Duration,
        keys: Option<&Keys>,
    ) -> io::Result<Course> {
        while let Some(event) = events.next()? {
            if let Some(keys) = keys.filter(|_| event.at > target) {
                events.reached = events.reached.max(target);
                let pause = event.at.saturating_sub(events.reached);
                let pause = self.pace.idle_limit.map_or(pause, |limit| pause.min(limit));
                match self.wait(pause, &mut events.reached, length, keys)? {
                    None => {}
                    Some(Key::Forward) => {
                        let to = events.reached + JUMP;
                        events.put_back(event);
                        return Ok(Course::Jump(to));
                    }
                    Some(Key::Back) => return Ok(Course::Jump(events.reached.saturating_sub(JUMP))),
                    Some(Key::Pause) => return Ok(Course::Draw(events.reached)),
                    Some(_) => return Ok(Course::Over),
                }
            }
            events.reached = event.at;
            self.screen.show(&event.what)?;
        }
        Ok(Course::Over)
    }

    /// Waits for the pause divided by the speed, and advances the position in the recording; returns a key that
    /// interrupts the wait.
    fn wait(
        &mut self,
        pause: Duration,
        reached: &mut Duration,
        length: Duration,
        keys: &Keys,
    ) -> io::Result<Option<Key>> {
        let mut left = pause;
        loop {
            let begun = Instant::now();
            let key = keys.within(Some(left.div_f64(self.pace.speed)));
            let passed = begun.elapsed().mul_f64(self.pace.speed).min(left);
            left = left.saturating_sub(passed);
            *reached += passed;
            if matches!(key, Some(Key::Pause | Key::Info)) {
                let state = if key == Some(Key::Pause) { "paused, space goes on" } else { "playing" };
                let place = format!("{} of {}, speed {}", clock(*reached), clock(length), self.pace.speed);
                self.screen.status(&format!(" {state}: {place} "))?;
            }
            let key = if key == Some(Key::Pause) { keys.until_pause_ends().or(key) } else { key };
            match key {
                Some(Key::Faster) => self.pace.speed = (self.pace.speed * 2.0).min(1000.0),
                Some(Key::Slower) => self.pace.speed = (self.pace.speed / 2.0).max(0.01),
                Some(key @ (Key::Quit | Key::Forward | Key::Back | Key::Pause)) => return Ok(Some(key)),
                Some(Key::Info) | None => {}
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Returns who did what, when and for how long, and the keys.
    fn header(&self, length: Duration, now: i64) -> String {
        let info = self.info;
        format!(
            "run {} of {} as {}, {}, {} long: {}\nspace pauses, left and right jump by 5s, + and - change the speed, i shows the \
             position, q leaves",
            info.run,
            info.user,
            info.run_as,
            when::short_relative(info.since, now),
            clock(length),
            line(&info.command)
        )
    }

    fn warn_of_size(&self, events: &mut Events<'_>, keys: &Keys, screen: &Screen) -> Result<(), Trouble> {
        if let Some(event) = events.next().map_err(|error| failed(&error))? {
            events.put_back(event);
        }
        if let (Some(header), Some((columns, rows))) = (events.lines.header(), keys.window())
            && (header.width > columns || header.height > rows)
        {
            let (width, height) = (header.width, header.height);
            let words = format!("recorded on {width} by {height} characters; this terminal has {columns} by {rows}");
            screen.note(&Notice::new(words));
        }
        Ok(())
    }

    fn events(&self) -> Result<Events<'a>, Trouble> {
        let source = opened(self.info, self.bytes).map_err(|error| failed(&error))?;
        Ok(Events { source, lines: Lines::default(), waiting: VecDeque::new(), reached: Duration::ZERO })
    }
}

impl Keys {
    /// Waits until space is pressed again, or a key that also ends the pause.
    fn until_pause_ends(&self) -> Option<Key> {
        loop {
            match self.within(None) {
                None | Some(Key::Faster | Key::Slower | Key::Info) => {}
                Some(Key::Pause) => return None,
                Some(key) => return Some(key),
            }
        }
    }
}

/// The events of a recording, read on demand.
pub(crate) struct Events<'b> {
    source: Box<dyn Read + 'b>,
    lines: Lines,
    waiting: VecDeque<Event>,
    /// The position in the recording.
    reached: Duration,
}

impl Events<'_> {
    fn next(&mut self) -> io::Result<Option<Event>> {
        let mut piece = vec![0; PIECE];
        while self.waiting.is_empty() {
            let length = self.source.read(&mut piece)?;
            if length == 0 {
                return Ok(None);
            }
            let events = self.lines.take(&piece[..length]);
            self.waiting.extend(events.map_err(|_| io::Error::other("this is not a recording"))?);
        }
        Ok(self.waiting.pop_front())
    }

    /// Reads to the end, and returns the time of the last event.
    fn length(mut self) -> io::Result<Duration> {
        let mut length = Duration::ZERO;
        while let Some(event) = self.next()? {
            length = length.max(event.at);
        }
        Ok(length)
    }

    fn put_back(&mut self, event: Event) {
        self.waiting.push_front(event);
    }
}

/// The auditor's screen.
pub(crate) struct Drawing {
    filter: Option<Filter>,
}

impl Drawing {
    pub(crate) fn new(filter: OutputFilter) -> Self {
        Self { filter: (filter == OutputFilter::Drawing).then(Filter::default) }
    }

    /// Shows an event: the command's output, or a message of jit-sudo.
    pub(crate) fn show(&mut self, what: &EventKind) -> io::Result<()> {
        match what {
            EventKind::Output(text) => self.write(text),
            EventKind::Said(words) => self.write(&format!("\r\njit-sudo: {words}\r\n")),
            EventKind::Other => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match &mut self.filter {
            Some(filter) => out.write_all(filter.pass(text).as_bytes())?,
            None => out.write_all(text.as_bytes())?,
        }
        out.flush()
    }

    /// Clears the screen.
    fn begin_again(&mut self) -> Result<(), Trouble> {
        let text = self.filter.get_or_insert_default().begin_again();
        print(&text)
    }

    /// Says something about the recording, on lines of their own.
    pub(crate) fn say(&self, text: &str) -> Result<(), Trouble> {
        let lines: String = text.lines().map(|line| format!("{}\r\n", clean(line))).collect();
        print(&lines)
    }

    /// Shows the state on the last line of the terminal, in reverse video, and leaves the cursor where it is.
    fn status(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "\x1b7\x1b[999;1H\x1b[2K\x1b[7m{}\x1b[0m\x1b8", clean(text))?;
        out.flush()
    }

    /// Restores the screen, and goes below the last picture, so that the prompt does not stand in it.
    pub(crate) fn leave(&mut self, text: &str) -> Result<(), Trouble> {
        let restored = self.filter.get_or_insert_default().restore();
        let last = if text.is_empty() { String::new() } else { format!("{}\r\n", clean(text)) };
        print(&format!("{restored}\x1b[999;1H\r\n{last}"))
    }
}

/// Formats a position as `1:02` or `1:02:03`.
fn clock(at: Duration) -> String {
    let (hours, minutes, seconds) = (at.as_secs() / 3600, at.as_secs() / 60 % 60, at.as_secs() % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| failed(&error))
}

pub(crate) fn failed(error: &io::Error) -> Trouble {
    Trouble::Local("replay-failed", Notice::new(format!("cannot play the recording: {}", sys::plain_words(error))))
}
