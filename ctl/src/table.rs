//! Two forms of text: a listing of many objects, and the fields of one. Both escape every text.
//!
//! On a terminal a listing fits the width: texts are cut in the middle, and columns move to lines of their own below the
//! row, those of the least use first. Elsewhere, and with `--wide`, each row is one line with everything.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::clean::clean;
use crate::screen::Screen;
use crate::surface::{Surface, Tone};

/// The space between two columns.
const GAP: usize = 2;

/// The mark in the place of what was cut.
const MARK: char = '…';

/// A text is not cut to less than this, and no other value to less than [`VALUE`], in characters.
const TEXT: usize = 20;
const VALUE: usize = 26;

/// A column of a listing: its title, and its rank. The column with the highest rank moves below the row first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Identifies the row, is never cut, and stays.
    Key(&'static str),
    /// A short value, such as a name or a time.
    Value(&'static str, u8),
    /// A text of any length.
    Text(&'static str, u8),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Key(title) | Self::Value(title, _) | Self::Text(title, _) => title,
        }
    }

    fn rank(self) -> Option<u8> {
        match self {
            Self::Key(_) => None,
            Self::Value(_, rank) | Self::Text(_, rank) => Some(rank),
        }
    }

    /// Returns the least width for cells of this width.
    fn least(self, natural: usize) -> usize {
        match self {
            Self::Key(_) => natural,
            Self::Value(title, _) => natural.min(VALUE.max(title.width())),
            Self::Text(title, _) => natural.min(TEXT.max(title.width())),
        }
    }
}

/// A cell of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    lines: Vec<String>,
    tone: Tone,
}

impl Entry {
    /// Returns a highlighted text.
    pub(crate) fn toned(text: &str, tone: Tone) -> Self {
        Self { lines: vec![clean(text)], tone }
    }

    /// Returns several texts: one below the other on a terminal, separated by `; ` elsewhere.
    pub(crate) fn lines<T: AsRef<str>>(texts: &[T]) -> Self {
        Self { lines: texts.iter().map(|text| clean(text.as_ref())).collect(), tone: Tone::Plain }
    }

    fn joined(&self) -> String {
        self.lines.iter().filter(|line| !line.is_empty()).map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

impl<T: AsRef<str>> From<T> for Entry {
    fn from(text: T) -> Self {
        Self::toned(text.as_ref(), Tone::Plain)
    }
}

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Listing {
    columns: Vec<Column>,
    rows: Vec<Vec<Entry>>,
}

/// The columns beside each other with their widths, and those below the row.
struct Layout {
    beside: Vec<(usize, usize)>,
    below: Vec<usize>,
}

impl Listing {
    /// Returns an empty listing.
    pub(crate) fn new<const N: usize>(columns: [Column; N]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, entries: [Entry; N]) {
        self.rows.push(entries.to_vec());
    }

    /// Returns complete lines: fitted to the width of a terminal, one line per row elsewhere.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        match screen.width {
            Some(width) => self.fitted(screen.out, usize::from(width)),
            None => self.whole(screen.out),
        }
    }

    fn whole(&self, surface: Surface) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Entry::joined).collect()).collect();
        let width = |column: usize| {
            let title = self.columns.get(column).map_or(0, |column| column.title().width());
            cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).fold(title, usize::max)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = line(self.columns.iter().zip(&widths).map(|(column, width)| head(*column, *width, surface)));
        for (row, cells) in self.rows.iter().zip(&cells) {
            let pieces = row.iter().zip(cells).zip(&widths);
            text.push_str(&line(pieces.map(|((entry, cell), width)| piece(cell, *width, entry.tone, surface))));
        }
        text
    }

    fn fitted(&self, surface: Surface, width: usize) -> String {
        let layout = self.layout(width);
        let heads = layout.beside.iter().filter_map(|(at, width)| Some(head(*self.columns.get(*at)?, *width, surface)));
        let mut text = line(heads);
        for row in &self.rows {
            let height = layout.beside.iter().filter_map(|(at, _)| row.get(*at)).map(|entry| entry.lines.len()).max();
            for index in 0..height.unwrap_or(0).max(1) {
                text.push_str(&line(layout.beside.iter().filter_map(|(at, width)| {
                    let entry = row.get(*at)?;
                    let text = entry.lines.get(index).map_or("", String::as_str);
                    Some(piece(&cut(text, *width), *width, entry.tone, surface))
                })));
            }
            self.put_below(&mut text, row, &layout.below, surface, width);
        }
        text
    }

    /// Chooses the columns that stand beside each other, and their widths.
    fn layout(&self, width: usize) -> Layout {
        let natural: Vec<usize> = (0..self.columns.len()).map(|at| self.natural(at)).collect();
        let least = |at: usize| {
            self.columns.get(at).map_or(0, |column| column.least(natural.get(at).copied().unwrap_or(0)).min(width))
        };
        let (mut beside, mut below): (Vec<usize>, Vec<usize>) = ((0..self.columns.len()).collect(), Vec::new());
        let taken = |beside: &[usize]| beside.iter().map(|at| least(*at) + GAP).sum::<usize>().saturating_sub(GAP);
        while taken(&beside) > width {
            let ranked = beside.iter().filter_map(|at| Some((self.columns.get(*at)?.rank()?, *at)));
            let Some((_, last)) = ranked.max() else { break };
            beside.retain(|at| *at != last);
            below.push(last);
        }
        below.sort_unstable();
        let mut left = width.saturating_sub(taken(&beside));
        let mut widths: Vec<(usize, usize)> = beside.iter().map(|at| (*at, least(*at))).collect();
        let mut order: Vec<usize> = (0..widths.len()).collect();
        order.sort_by_key(|place| beside.get(*place).and_then(|at| self.columns.get(*at)?.rank()));
        for place in order {
            if let Some((at, width)) = widths.get_mut(place) {
                let more = natural.get(*at).copied().unwrap_or(0).saturating_sub(*width).min(left);
                *width += more;
                left -= more;
            }
        }
        Layout { beside: widths, below }
    }

    fn natural(&self, at: usize) -> usize {
        let title = self.columns.get(at).map_or(0, |column| column.title().width());
        let lines = self.rows.iter().filter_map(|row| row.get(at)).flat_map(|entry| &entry.lines);
        lines.map(|line| line.width()).fold(title, usize::max)
    }

    /// Adds the other columns as `title: value`, several on a line where they fit.
    fn put_below(&self, text: &mut String, row: &[Entry], below: &[usize], surface: Surface, width: usize) {
        let room = width.saturating_sub(GAP);
        let mut used = 0;
        for at in below {
            let (Some(column), Some(entry)) = (self.columns.get(*at), row.get(*at)) else { continue };
            let value = entry.joined();
            if value.is_empty() || value == "-" {
                continue;
            }
            let title = format!("{}: ", column.title().to_lowercase());
            let value = cut(&value, room.saturating_sub(title.width()).max(1));
            let piece = title.width() + value.width();
            let follows = used > 0 && used + GAP + piece <= room;
            if used > 0 && !follows {
                text.push('\n');
            }
            text.push_str("  ");
            text.push_str(&title);
            text.push_str(&entry.tone.paint(&value, surface));
            used = if follows { used + GAP + piece } else { piece };
        }
        if used > 0 {
            text.push('\n');
        }
    }
}

fn head(column: Column, width: usize, surface: Surface) -> String {
    let title = column.title();
    let text = if surface == Surface::Colour { format!("\x1b[1m{title}\x1b[0m") } else { title.to_owned() };
    text + &" ".repeat(width.saturating_sub(title.width()))
}

fn piece(text: &str, width: usize, tone: Tone, surface: Surface) -> String {
    let painted = if text.is_empty() { String::new() } else { tone.paint(text, surface) };
    painted + &" ".repeat(width.saturating_sub(text.width()))
}

fn line(pieces: impl Iterator<Item = String>) -> String {
    let text = pieces.collect::<Vec<_>>().join("  ");
    format!("{}\n", text.trim_end())
}

/// Cuts the middle out of a text that is wider: its beginning and its end tell most.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = take(text.chars(), kept.div_ceil(2));
    let tail: Vec<char> = take(text.chars().rev(), kept / 2).chars().collect();
    head.chars().chain(std::iter::once(MARK)).chain(tail.into_iter().rev()).collect()
}

fn take(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    characters
        .take_while(|character| {
            let room = character.width().unwrap_or(0) <= left;
            left = left.saturating_sub(character.width().unwrap_or(0));
            room
        })
        .collect()
}

/// Names and values, one per line, with the values aligned.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    rows: Vec<(String, String, Tone)>,
}

impl Fields {
    /// Adds a field.
    pub(crate) fn add(&mut self, name: &str, value: impl AsRef<str>) -> &mut Self {
        self.toned(name, value, Tone::Plain)
    }

    /// Adds a highlighted field.
    pub(crate) fn toned(&mut self, name: &str, value: impl AsRef<str>, tone: Tone) -> &mut Self {
        self.rows.push((clean(name), clean(value.as_ref()), tone));
        self
    }

    /// Adds a field unless it is absent.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl AsRef<str>>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }

    /// Returns complete lines without colours.
    pub(crate) fn render(&self) -> String {
        self.rendered(Surface::Pipe)
    }

    /// Returns complete lines, in colours if stdout has them.
    pub(crate) fn render_on(&self, screen: &Screen) -> String {
        self.rendered(screen.out)
    }

    fn rendered(&self, surface: Surface) -> String {
        let width = self.rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        let line = |(name, value, tone): &(String, String, Tone)| {
            format!("{}\n", format!("{name:width$}  {}", tone.paint(value, surface)).trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let mut listing = Listing::new([Column::Key("ID"), Column::Value("STATE", 1), Column::Text("COMMAND", 2)]);
        listing.row([
            "0123456789".into(),
            Entry::toned("pending", Tone::Waiting),
            "/usr/bin/systemctl restart nginx".into(),
        ]);
        listing.row(["abcdefghjk".into(), Entry::toned("active", Tone::Good), Entry::lines(&["/bin/a", "/bin/b"])]);
        listing
    }

    #[test]
    fn a_pipe_gets_one_aligned_line_per_row() {
        assert_eq!(
            listing().whole(Surface::Pipe),
            "ID          STATE    COMMAND\n\
             0123456789  pending  /usr/bin/systemctl restart nginx\n\
             abcdefghjk  active   /bin/a; /bin/b\n"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_a_text_that_is_cut_in_the_middle() {
        assert_eq!(
            listing().fitted(Surface::Dumb, 44),
            "ID          STATE    COMMAND\n\
             0123456789  pending  /usr/bin/sy…start nginx\n\
             abcdefghjk  active   /bin/a\n                     /bin/b\n"
        );
    }

    #[test]
    fn a_narrower_terminal_gets_the_last_columns_below_the_row() {
        assert_eq!(
            listing().fitted(Surface::Dumb, 36),
            "ID          STATE\n\
             0123456789  pending\n  command: /usr/bin/sys…estart nginx\n\
             abcdefghjk  active\n  command: /bin/a; /bin/b\n"
        );
    }

    #[test]
    fn wide_characters_count_twice_and_marks_stay_whole() {
        assert_eq!(cut("日本語テキスト", 14), "日本語テキスト");
        assert_eq!(cut("日本語テキスト", 9), "日本…スト");
        assert_eq!(cut("abc", 1), "…");
    }

    #[test]
    fn colour_is_used_only_where_it_is_wanted() {
        assert!(listing().fitted(Surface::Colour, 80).contains("\x1b["));
        assert!(!listing().fitted(Surface::Plain, 80).contains('\x1b'));
    }

    #[test]
    fn untrusted_text_is_escaped_and_fits_the_terminal() {
        let mut listing = Listing::new([Column::Text("A", 1)]);
        listing.row([Entry::from("\x1b[2J\r\n\tx")]);
        listing.row([Entry::from("y".repeat(100_000))]);
        let text = listing.fitted(Surface::Plain, 80);
        assert!(text.contains("\\x1b[2J\\x0d\\x0a\\x09x") && text.len() < 200, "{text}");
        assert!(listing.whole(Surface::Pipe).len() > 100_000, "a pipe gets everything");
        let mut fields = Fields::default();
        fields.add("\x1bname", "a\nb");
        assert_eq!(fields.render(), "\\x1bname  a\\x0ab\n");
        fields.toned("b", "\x1b[0m", Tone::Bad);
        assert_eq!(fields.rendered(Surface::Plain), fields.render());
        let red = "b         \x1b[31m\\x1b[0m\x1b[0m\n";
        assert!(fields.rendered(Surface::Colour).ends_with(red), "{:?}", fields.rendered(Surface::Colour));
    }
}
