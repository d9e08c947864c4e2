//! Backups of the database, which only root can make and restore. The broker writes and reads the files.

use std::path::Path;

use jit_core::escape::Word;
use jit_core::wire::{NewBackup, Restore};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::BackupWords;
use crate::output::Output;
use crate::screen::Report;
use crate::speech::{Notice, Trouble};

/// `jitctl backup`
pub(crate) fn backup(words: &BackupWords, broker: &Broker) -> Result<Report, Trouble> {
    let made = broker.ask(&NewBackup { file: absolute(&words.file)? })?;
    let (file, head) = (clean(&made.file.to_string()), clean(&made.head));
    let text = format!("{file} contains the journal up to record {}, head {head}\n", made.through);
    Ok(Report::done(Output::BackedUp(made), text))
}

/// `jitctl restore`
pub(crate) fn restore(words: &BackupWords, broker: &Broker) -> Result<Report, Trouble> {
    let restored = broker.ask(&Restore { file: absolute(&words.file)? })?;
    let through = restored.through;
    let mut text = format!("the database was restored: its journal ends with record {through}\n");
    if let Some(known) = restored.known.filter(|known| *known > through) {
        text.push_str(&format!("the records after {through}, at least up to {known}, are not in it\n"));
    }
    if let Some(former) = &restored.former {
        text.push_str(&format!("the former database is {}\n", clean(&former.to_string())));
    }
    text.push_str("no grant is given or accepted until: jitctl audit verify, then jitctl key accept --reason 'WHY'\n");
    Ok(Report::done(Output::Restored(restored), text))
}

/// Returns the path for the broker, which may have another working directory.
fn absolute(path: &Path) -> Result<Word, Trouble> {
    let unusable = |error| {
        let shown = clean(&path.display().to_string());
        Trouble::Local("unreadable-file", Notice::new(format!("{shown}: {}", sys::plain_words(&error))))
    };
    Ok(Word::from(std::path::absolute(path).map_err(unusable)?.as_os_str()))
}
