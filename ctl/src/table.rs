//! Two forms of text: a listing of many objects, and the fields of one. Both escape every text.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table};

use crate::clean::clean;
use crate::screen::Screen;
use crate::surface::{Surface, Tone};

/// The maximum length of a cell, in characters; `show` prints the full text.
const CELL_LIMIT: usize = 240;

/// A cell of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    lines: Vec<String>,
    tone: Tone,
}

impl Entry {
    /// Returns a highlighted text.
    pub(crate) fn toned(text: &str, tone: Tone) -> Self {
        Self { lines: vec![cut(&clean(text))], tone }
    }

    /// Returns several texts: one below the other on a terminal, separated by `; ` elsewhere.
    pub(crate) fn lines<T: AsRef<str>>(texts: &[T]) -> Self {
        Self { lines: texts.iter().map(|text| cut(&clean(text.as_ref()))).collect(), tone: Tone::Plain }
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
    header: Vec<&'static str>,
    /// How many of the last columns wrap on a narrow terminal.
    flexible: usize,
    rows: Vec<Vec<Entry>>,
}

impl Listing {
    /// Returns an empty listing.
    pub(crate) fn new<const N: usize>(header: [&'static str; N], flexible: usize) -> Self {
        Self { header: header.to_vec(), flexible, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, entries: [Entry; N]) {
        self.rows.push(entries.to_vec());
    }

    /// Returns complete lines: wrapped to the width of a terminal, one line per row elsewhere.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        self.render_on(screen.out, None)
    }

    fn render_on(&self, surface: Surface, width: Option<u16>) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(self.header.iter().map(|title| head(title, surface)).collect::<Vec<_>>());
        for entries in &self.rows {
            table.add_row(entries.iter().map(|entry| cell(entry, surface)).collect::<Vec<_>>());
        }
        if surface.is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            let fixed = self.header.len().saturating_sub(self.flexible);
            table.set_constraints(std::iter::repeat_n(ColumnConstraint::ContentWidth, fixed));
        } else {
            table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        }
        // A terminal without a known size reports 0.
        if let Some(width) = width.or((table.width() == Some(0)).then_some(80)) {
            table.set_width(width);
        }
        if surface == Surface::Colour {
            table.enforce_styling().style_text_only();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if text.is_empty() {
            text.push('\n');
        }
        text
    }
}

fn head(title: &str, surface: Surface) -> Cell {
    let cell = Cell::new(title);
    if surface == Surface::Colour { cell.add_attribute(Attribute::Bold) } else { cell }
}

fn cell(entry: &Entry, surface: Surface) -> Cell {
    let cell = Cell::new(entry.lines.join(if surface.is_terminal() { "\n" } else { "; " }));
    match (surface, entry.tone) {
        (Surface::Colour, Tone::Good) => cell.fg(Color::Green),
        (Surface::Colour, Tone::Waiting) => cell.fg(Color::Yellow),
        (Surface::Colour, Tone::Bad) => cell.fg(Color::Red),
        _ => cell,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_LIMIT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
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
        let mut listing = Listing::new(["ID", "STATE", "COMMAND"], 1);
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
            listing().render_on(Surface::Pipe, None),
            "ID          STATE    COMMAND\n\
             0123456789  pending  /usr/bin/systemctl restart nginx\n\
             abcdefghjk  active   /bin/a; /bin/b\n"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_wrapped_lines_and_whole_ids() {
        let text = listing().render_on(Surface::Dumb, Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("0123456789  pending  "), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colour_is_used_only_where_it_is_wanted() {
        assert!(listing().render_on(Surface::Colour, Some(80)).contains("\x1b["));
        assert!(!listing().render_on(Surface::Plain, Some(80)).contains('\x1b'));
    }

    #[test]
    fn untrusted_text_is_escaped_and_bounded() {
        let mut listing = Listing::new(["A"], 1);
        listing.row([Entry::from("\x1b[2J\r\n\tx")]);
        listing.row([Entry::from("y".repeat(100_000))]);
        let text = listing.render_on(Surface::Pipe, None);
        assert!(text.contains("\\x1b[2J\\x0d\\x0a\\x09x") && text.len() < 2000);
        let mut fields = Fields::default();
        fields.add("\x1bname", "a\nb");
        assert_eq!(fields.render(), "\\x1bname  a\\x0ab\n");
        fields.toned("b", "\x1b[0m", Tone::Bad);
        assert_eq!(fields.rendered(Surface::Plain), fields.render());
        let red = "b         \x1b[31m\\x1b[0m\x1b[0m\n";
        assert!(fields.rendered(Surface::Colour).ends_with(red), "{:?}", fields.rendered(Surface::Colour));
    }
}
