//! The kind of a stream, and colours on it.

/// The kind of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A file or another program.
    Pipe,
    /// A terminal that can only print lines.
    Dumb,
    /// A terminal without colours (NO_COLOR).
    Plain,
    /// A terminal with colours.
    Colour,
}

impl Surface {
    pub(crate) fn of(is_terminal: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !is_terminal {
            Self::Pipe
        } else if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            Self::Dumb
        } else if set("NO_COLOR") {
            Self::Plain
        } else {
            Self::Colour
        }
    }

    /// Returns whether the stream is a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        self != Self::Pipe
    }
}

/// The meaning of a cell's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Neutral.
    Plain,
    /// In force.
    Good,
    /// Waiting for a user, or for its start.
    Waiting,
    /// Refused or revoked.
    Bad,
}

impl Tone {
    /// Returns an escaped text in its colour, if the stream has colours.
    pub(crate) fn paint(self, text: &str, surface: Surface) -> String {
        let colour = match (surface, self) {
            (Surface::Colour, Self::Good) => "32",
            (Surface::Colour, Self::Waiting) => "33",
            (Surface::Colour, Self::Bad) => "31",
            _ => return text.to_owned(),
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}
