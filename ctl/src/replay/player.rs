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
use crate::screen::Screen;
use crate::speech::{Notice, Trouble};

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
        if let Some(keys) = &keys {
            self.warn_of_size(&mut events, keys, screen)?;
        }
        let result = loop {
            match self.stretch(&mut events, target, keys.as_ref()) {
                Ok(Course::Over) => break Ok(()),
                Ok(Course::Jump(to)) => {
                    if to < events.reached {
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
            self.screen.restore()?;
        }
        result
    }

    /// Shows everything before `target` at once, and the rest with its timing.
    fn stretch(&mut self, events: &mut Events<'_>, target: Duration, keys: Option<&Keys>) -> io::Result<Course> {
        while let Some(event) = events.next()? {
            if let Some(keys) = keys.filter(|_| event.at > target) {
                events.reached = events.reached.max(target);
                let pause = event.at.saturating_sub(events.reached);
                let pause = self.pace.idle_limit.map_or(pause, |limit| pause.min(limit));
                match self.wait(pause, &mut events.reached, keys) {
                    None => {}
                    Some(Key::Forward) => {
                        let to = events.reached + JUMP;
                        events.put_back(event);
                        return Ok(Course::Jump(to));
                    }
                    Some(Key::Back) => return Ok(Course::Jump(events.reached.saturating_sub(JUMP))),
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
    fn wait(&mut self, pause: Duration, reached: &mut Duration, keys: &Keys) -> Option<Key> {
        let mut left = pause;
        loop {
            let begun = Instant::now();
            let key = keys.within(Some(left.div_f64(self.pace.speed)));
            let passed = begun.elapsed().mul_f64(self.pace.speed).min(left);
            left = left.saturating_sub(passed);
            *reached += passed;
            let key = if key == Some(Key::Pause) { keys.until_pause_ends() } else { key };
            match key {
                Some(Key::Faster) => self.pace.speed = (self.pace.speed * 2.0).min(1000.0),
                Some(Key::Slower) => self.pace.speed = (self.pace.speed / 2.0).max(0.01),
                Some(key @ (Key::Quit | Key::Forward | Key::Back)) => return Some(key),
                Some(Key::Pause) | None => {}
            }
            if left.is_zero() {
                return None;
            }
        }
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
                None | Some(Key::Faster | Key::Slower) => {}
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

    /// Restores the screen.
    pub(crate) fn restore(&mut self) -> Result<(), Trouble> {
        let text = self.filter.get_or_insert_default().restore();
        print(&format!("{text}\r\n"))
    }
}

fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| failed(&error))
}

pub(crate) fn failed(error: &io::Error) -> Trouble {
    Trouble::Local("replay-failed", Notice::new(format!("cannot play the recording: {}", sys::plain_words(error))))
}
