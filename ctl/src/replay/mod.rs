//! Recordings on a terminal: plays them, exports them, or shows their data.

pub(crate) mod cast;
pub(crate) mod check;
pub(crate) mod filter;
mod keys;
pub(crate) mod plain;
mod player;
pub(crate) mod search;
pub(crate) mod watch;

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;
use jit_core::wire::{Purpose, Recording, RecordingInfo};

use crate::broker::{Broker, BrokerError};
use crate::complete;
use crate::output::Output;
use crate::run_prefix::RunPrefix;
use crate::screen::{Format, Report, Screen};
use crate::speech::{Notice, Trouble};
use crate::stream::{Piece, Stream};
use player::{Pace, Player};

/// `replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayWords {
    /// The run's id, as `jitctl audit list` shows it, or its first characters
    #[arg(value_name = "RUN", value_parser = RunPrefix::parse)]
    run: RunPrefix,
    /// The speed of the replay: 2 is twice as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// The maximum length of a pause [default: the recorded length]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_limit: Option<Duration>,
    /// Begin at this time of the recording: seconds, M:SS or H:MM:SS
    #[arg(long, value_name = "TIME", value_parser = place)]
    at: Option<Duration>,
    /// Send the recorded output to this terminal without a filter
    ///
    /// Such output can change the state of your terminal. Use a terminal that you do not need afterwards.
    #[arg(long)]
    raw: bool,
    /// Write the recording into this new file, for asciinema or a browser, instead of playing it; - for standard output
    ///
    /// It is an asciicast of version 2.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["speed", "idle_limit", "at", "raw"])]
    export: Option<PathBuf>,
}

/// `watch`
#[derive(Debug, Args)]
pub(crate) struct WatchWords {
    /// The run's id, as `jitctl session list` shows it, or its first characters
    #[arg(value_name = "RUN", value_parser = RunPrefix::parse, add = ArgValueCandidates::new(complete::sessions))]
    run: RunPrefix,
    /// Send the output of the session to this terminal without a filter
    #[arg(long)]
    raw: bool,
}

/// How much of the output the auditor's terminal gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFilter {
    /// Only sequences that draw.
    Drawing,
    /// Everything.
    Nothing,
}

impl OutputFilter {
    fn of(raw: bool) -> Self {
        if raw { Self::Nothing } else { Self::Drawing }
    }
}

/// `jitctl replay`
pub(crate) fn replay(words: ReplayWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let purpose = if words.export.is_some() { Purpose::Export } else { Purpose::Replay };
    let (info, stream) = broker.stream(&Recording { run: words.run.recorded(broker)?, purpose })?;
    if let Some(file) = &words.export {
        let text = export(file, &info, stream)?;
        return Ok(Report::done(Output::Recording(info), text));
    }
    if screen.format == Format::Json {
        return Ok(Report::done(Output::Recording(info), String::new()));
    }
    let bytes = whole(&info, stream)?;
    let pace = Pace { speed: words.speed, idle_limit: words.idle_limit };
    Player::new(&info, &bytes, pace, OutputFilter::of(words.raw)).play(words.at.unwrap_or_default(), screen)?;
    Ok(Report::done(Output::Recording(info), String::new()))
}

/// Receives everything that the broker sends for one recording.
fn whole(info: &RecordingInfo, mut stream: Stream) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next()? {
        match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(&more),
            Piece::Begin(begun) if begun.run == info.run => {}
            Piece::Begin(_) | Piece::Missing(_) => return Err(BrokerError::Garbled.into()),
        }
    }
    Ok(bytes)
}

/// Returns the asciicast that the broker sent.
pub(crate) fn opened<'b>(info: &RecordingInfo, bytes: impl Read + 'b) -> io::Result<Box<dyn Read + 'b>> {
    match info.encoding.as_str() {
        "asciicast" => Ok(Box::new(bytes)),
        "zstd" => Ok(Box::new(zstd::stream::read::Decoder::new(bytes)?)),
        _ => Err(io::Error::other("it is stored in a way that this jitctl does not know")),
    }
}

fn export(path: &Path, info: &RecordingInfo, stream: Stream) -> Result<String, Trouble> {
    let failed = |error: io::Error| {
        let message = format!("cannot write the recording to {}: {}", path.display(), sys::plain_words(&error));
        Trouble::Local("export-failed", Notice::new(message))
    };
    let bytes = whole(info, stream)?;
    let mut cast = opened(info, bytes.as_slice()).map_err(failed)?;
    if path == Path::new("-") {
        io::copy(&mut cast, &mut io::stdout().lock()).map_err(failed)?;
        return Ok(String::new());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    io::copy(&mut cast, &mut file).and_then(|_| file.flush()).map_err(failed)?;
    Ok(format!("recording of run {} written; next: asciinema play {}\n", info.run, path.display()))
}

fn speed(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(speed) if (0.01..=1000.0).contains(&speed) => Ok(speed),
        _ => Err("write a number from 0.01 to 1000"),
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a number of seconds"),
    }
}

/// Parses `83.5`, `1:23.5` or `1:02:03`.
fn place(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "write seconds, M:SS or H:MM:SS";
    let mut parts = text.rsplit(':');
    let mut total = parts.next().unwrap_or_default().parse::<f64>().map_err(|_| WRONG)?;
    for (part, unit) in parts.zip([60.0, 3600.0, f64::NAN]) {
        total += f64::from(part.parse::<u32>().map_err(|_| WRONG)?) * unit;
    }
    if (0.0..=366.0 * 86_400.0).contains(&total) { Ok(Duration::from_secs_f64(total)) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_speeds_are_parsed() {
        assert_eq!(place("83.5"), Ok(Duration::from_millis(83_500)));
        assert_eq!(place("1:23"), Ok(Duration::from_secs(83)));
        assert_eq!(place("1:02:03"), Ok(Duration::from_secs(3723)));
        for text in ["", "-1", "1:2:3:4", "x", "1:", "inf", "NaN", "1e30", ":1"] {
            assert!(place(text).is_err(), "{text}");
        }
        assert_eq!(speed("2"), Ok(2.0));
        for text in ["0", "-1", "inf", "NaN", "fast", "1e9"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
