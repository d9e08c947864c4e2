//! Shows a running session: first all its output so far, at once, and then new output as it arrives.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use jit_core::wire::{Purpose, Recording, RecordingInfo};

use super::cast::Lines;
use super::keys::{Key, Keys};
use super::player::{Drawing, failed};
use super::{OutputFilter, WatchWords};
use crate::broker::{Broker, BrokerError};
use crate::grant_text::line;
use crate::output::Output;
use crate::screen::{Format, Report, Screen};
use crate::speech::{Notice, Trouble};
use crate::stream::{Piece, Stream};
use crate::when;

/// An event while watching.
enum Moment {
    Piece(Result<Option<Piece>, BrokerError>),
    /// The auditor stops watching.
    Enough,
}

/// `jitctl watch`
pub(crate) fn watch(words: WatchWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let (info, stream) = broker.stream(&Recording { run: words.run.session(broker)?, purpose: Purpose::Watch })?;
    if screen.format == Format::Json {
        return Ok(Report::done(Output::Recording(info), String::new()));
    }
    let keys = if screen.out.is_terminal() { Keys::take() } else { None };
    let mut drawing = Drawing::new(OutputFilter::of(words.raw));
    if keys.is_some() {
        let since = when::short_relative(info.since, screen.now);
        let what = line(&info.command);
        drawing.say(&format!(
            "watching run {} of {} as {}, since {since}: {what}\nq leaves",
            info.run, info.user, info.run_as
        ))?;
    }
    let (sender, moments) = mpsc::channel();
    // Neither thread is joined: the process ends when watching ends.
    let told = sender.clone();
    thread::spawn(move || follow(stream, &told));
    let keys = keys.map(Arc::new);
    if let Some(keys) = keys.clone() {
        thread::spawn(move || listen(&keys, &sender));
    }

    let mut lines = Lines::default();
    let result = loop {
        match moments.recv() {
            Ok(Moment::Piece(Ok(Some(Piece::Bytes(bytes))))) => {
                let events = lines.take(&bytes).map_err(|_| failed(&io::Error::other("this is not a recording")));
                let shown = events.and_then(|events| {
                    events.iter().try_for_each(|event| drawing.show(&event.what)).map_err(|error| failed(&error))
                });
                if shown.is_err() {
                    break shown;
                }
            }
            Ok(Moment::Piece(Ok(Some(Piece::Begin(_) | Piece::Missing(_))))) => {}
            Ok(Moment::Piece(Ok(None)) | Moment::Enough) | Err(_) => break Ok(()),
            Ok(Moment::Piece(Err(error))) => break Err(error.into()),
        }
    };
    if let Some(keys) = keys {
        keys.release();
        drawing.leave("")?;
    }
    result?;
    Ok(over(info))
}

fn over(info: RecordingInfo) -> Report {
    let notice = Notice::new(format!("no longer watching run {}", info.run));
    Report::done(Output::Recording(info), String::new()).but(crate::speech::Exit::Done, notice)
}

fn follow(mut stream: Stream, told: &Sender<Moment>) {
    loop {
        let piece = stream.next();
        let goes_on = matches!(piece, Ok(Some(_)));
        if told.send(Moment::Piece(piece)).is_err() || !goes_on {
            return;
        }
    }
}

fn listen(keys: &Keys, told: &Sender<Moment>) {
    while keys.within(None) != Some(Key::Quit) {}
    let _ = told.send(Moment::Enough);
}
