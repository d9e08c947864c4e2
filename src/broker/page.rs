//! Pages of listings: however much somebody has filed, an answer stays short, and who reads it asks for the next one.

use crate::store::LIST_LIMIT;
use jit_core::budget::{LISTED_WORDS, PAGE};
use jit_core::escape::Word;
use jit_core::evidence::record::cut;
use jit_core::wire::{GrantInfo, GrantPage};

/// Entries of a page, until it is full.
#[derive(Default)]
pub(super) struct Pager {
    entries: Vec<GrantInfo>,
    bytes: usize,
}

impl Pager {
    /// Takes an entry, of which a long command is cut.
    pub(super) fn take(&mut self, mut info: GrantInfo) {
        shorten(&mut info);
        self.bytes = self.bytes.saturating_add(serde_json::to_vec(&info).map_or(PAGE, |text| text.len()));
        self.entries.push(info);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PAGE || self.entries.len() >= LIST_LIMIT as usize
    }

    /// The last page.
    pub(super) fn last(self) -> GrantPage {
        GrantPage { entries: self.entries, before: None }
    }

    /// A page after which others come.
    pub(super) fn ending_before(self, next: i64) -> GrantPage {
        GrantPage { entries: self.entries, before: Some(next.saturating_add(1)) }
    }
}

/// A listing names what was asked for; all of it is for `jitctl show`.
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
