//! Pages of listings. An answer stays short however many requests exist; the client asks for the next page.

use crate::store::LIST_LIMIT;
use jit_core::budget::{LISTED_WORDS, PAGE};
use jit_core::escape::Word;
use jit_core::evidence::record::cut;
use jit_core::wire::{GrantInfo, GrantPage};

/// The entries of a page, until it is full.
#[derive(Default)]
pub(super) struct Pager {
    entries: Vec<GrantInfo>,
    bytes: usize,
}

impl Pager {
    /// Adds an entry, and shortens a long command in it.
    pub(super) fn take(&mut self, mut info: GrantInfo) {
        shorten(&mut info);
        self.bytes = self.bytes.saturating_add(serde_json::to_vec(&info).map_or(PAGE, |text| text.len()));
        self.entries.push(info);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PAGE || self.entries.len() >= LIST_LIMIT as usize
    }

    /// Returns the last page.
    pub(super) fn last(self) -> GrantPage {
        GrantPage { entries: self.entries, before: None }
    }

    /// Returns a page that another one follows.
    pub(super) fn ending_before(self, next: i64) -> GrantPage {
        GrantPage { entries: self.entries, before: Some(next.saturating_add(1)) }
    }
}

/// Shortens long commands and environments in a listing. `jitctl show` shows all of them.
fn shorten(info: &mut GrantInfo) {
    let short = cut(&info.command, LISTED_WORDS);
    if short != info.command {
        info.command_bytes =
            Some(info.command.iter().map(Word::as_bytes).map(|word| word.len().saturating_add(1)).sum());
        info.command = short;
    }
    if let Some(bound) = &mut info.bound {
        bound.environment = cut(&bound.environment, LISTED_WORDS);
    }
}
