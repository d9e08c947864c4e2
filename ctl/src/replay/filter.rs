//! Filters what a recorded command sent to its terminal, so that nothing acts on the auditor's: the output may draw, move
//! the cursor and clear; it may not request answers, set titles, clipboards, keyboards, mice or printers, nor ring the
//! bell (ECMA-48; xterm's ctlseqs; CVE-2003-0063 and similar ones).

/// Longer sequences are left out.
const LONGEST: usize = 64;

/// Modes that change only the display: origin, wrap, cursor, the alternate screen, synchronised drawing.
const DRAWING: [&str; 8] = ["6", "7", "25", "47", "1047", "1048", "1049", "2026"];

/// Resets a screen: attributes, character set, scrolling region, wrap, cursor.
pub(crate) const RESTORE: &str = "\x1b[0m\x1b(B\x0f\x1b[?6l\x1b[r\x1b[?7h\x1b[?25h\x1b[4l";

/// Leaves the alternate screen.
const LEAVE_ALTERNATE: &str = "\x1b[?1049l";

/// Clears the screen and resets it.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// The state of a filter within a text.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    state: State,
    sequence: String,
    alternate: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    /// ESC and an intermediate character; one more character follows.
    Intermediate(char),
    Control,
    /// An operating system command or device string, up to its terminator.
    String,
    StringEscape,
}

impl Filter {
    /// Returns the part of `text` that may be shown.
    pub(crate) fn pass(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        text.chars().for_each(|character| self.step(character, &mut shown));
        shown
    }

    /// Returns the sequence that restores the screen when the replay ends.
    pub(crate) fn restore(&self) -> String {
        let leave = if self.alternate { LEAVE_ALTERNATE } else { "" };
        format!("{leave}{RESTORE}")
    }

    /// Returns the sequence that clears the screen, to start again.
    pub(crate) fn begin_again(&mut self) -> String {
        let empty = format!("{}{CLEAR}", self.restore());
        *self = Self::default();
        empty
    }

    fn step(&mut self, character: char, shown: &mut String) {
        // CAN and SUB cancel any sequence, and ESC begins a new one.
        match (character, self.state) {
            ('\x18' | '\x1a', _) => self.state = State::Text,
            ('\x1b', State::String) => self.state = State::StringEscape,
            ('\x1b', _) => self.state = State::Escape,
            (_, State::Text) => self.text(character, shown),
            (_, State::Escape) => self.escape(character, shown),
            (set, State::Intermediate(which)) => {
                self.state = State::Text;
                if matches!(which, '(' | ')' | '*' | '+') && matches!(set, '0' | 'A' | 'B') {
                    shown.extend(['\x1b', which, set]);
                }
            }
            (_, State::Control) => self.control(character, shown),
            ('\x07' | '\u{9c}', State::String) | ('\\', State::StringEscape) => self.state = State::Text,
            (_, State::String) => {}
            (_, State::StringEscape) => self.escape(character, shown),
        }
    }

    fn text(&mut self, character: char, shown: &mut String) {
        match character {
            '\u{9b}' => self.begin_control(),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => self.state = State::String,
            '\x08'..='\x0f' => shown.push(character),
            _ if character.is_control() => {}
            _ => shown.push(character),
        }
    }

    fn escape(&mut self, character: char, shown: &mut String) {
        self.state = State::Text;
        match character {
            '[' => self.begin_control(),
            ']' | 'P' | 'X' | '^' | '_' => self.state = State::String,
            ' '..='/' => self.state = State::Intermediate(character),
            '7' | '8' | 'D' | 'E' | 'H' | 'M' => shown.extend(['\x1b', character]),
            'c' => shown.push_str(&self.begin_again()),
            _ => {}
        }
    }

    fn begin_control(&mut self) {
        self.state = State::Control;
        self.sequence.clear();
    }

    fn control(&mut self, character: char, shown: &mut String) {
        match character {
            ' '..='?' => {
                if self.sequence.len() <= LONGEST {
                    self.sequence.push(character);
                }
            }
            '@'..='~' => {
                self.state = State::Text;
                if self.sequence.len() <= LONGEST {
                    self.finish(character, shown);
                }
            }
            // Control characters inside a sequence act as outside of it.
            '\x08'..='\x0f' => shown.push(character),
            _ if character.is_control() => {}
            _ => {
                self.state = State::Text;
                shown.push(character);
            }
        }
    }

    /// Returns a complete control sequence if it is allowed.
    fn finish(&mut self, last: char, shown: &mut String) {
        let sequence = std::mem::take(&mut self.sequence);
        let plain = sequence.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'));
        let parameters = sequence.split(';').count();
        let passes = match last {
            '@'..='H' | 'I'..='M' | 'P' | 'S' | 'X' | 'Z' | '`' | 'a' | 'b' | 'd'..='g' | 'm' | 'r' | 's' | 'u' => {
                plain
            }
            // With more parameters it is a mouse-tracking request.
            'T' => plain && parameters < 2,
            'h' | 'l' => sequence == "4",
            'p' => sequence == "!",
            _ => false,
        };
        if passes {
            shown.push_str(&format!("\x1b[{sequence}{last}"));
        } else if let (Some(modes), 'h' | 'l') = (sequence.strip_prefix('?'), last) {
            for mode in modes.split(';').filter(|mode| DRAWING.contains(mode)) {
                if matches!(mode, "47" | "1047" | "1049") {
                    self.alternate = last == 'h';
                }
                shown.push_str(&format!("\x1b[?{mode}{last}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(text: &str) -> String {
        Filter::default().pass(text)
    }

    #[test]
    fn drawing_sequences_pass() {
        for text in [
            "plain text, é 漢字 😀\r\n\tx\x08",
            "\x1b[1;31mred\x1b[0m\x1b[38:2::1:2:3m",
            "\x1b[2J\x1b[H\x1b[10;20Hx\x1b[K\x1b[3A\x1b[1;24r\x1b[2S\x1b[3P\x1b[4@\x1b[5X",
            "\x1b[?1049h\x1b[?25l\x1b[?7h\x1b[?25h\x1b[?1049l",
            "\x1b7\x1b8\x1bM\x1b(0lqk\x1b(B",
        ] {
            assert_eq!(pass(text), text);
        }
    }

    #[test]
    fn sequences_that_act_on_the_terminal_are_removed() {
        for text in [
            "\x07",
            "\x05",
            "\x1b]0;title\x07",
            "\x1b]52;c;ZXZpbA==\x1b\\",
            "\x1b]8;;http://evil\x1b\\",
            "\x1bP$q\"p\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_apc\x1b\\",
            "\x1b^pm\x1b\\",
            "\x1bXsos\x1b\\",
            "\u{9d}0;title\u{9c}",
            "\u{9b}6n",
            "\x1b[6n",
            "\x1b[c",
            "\x1b[>c",
            "\x1b[0x",
            "\x1b[5i",
            "\x1b[21t",
            "\x1b[8;1;1t",
            "\x1b[?1000h\x1b[?1006h\x1b[?1003;1015h",
            "\x1b[?2004h",
            "\x1b[?1h\x1b=",
            "\x1b[20h",
            "\x1b[>4;2m",
            "\x1b[>1u",
            "\x1b[1;2;3;4;5T",
            "\x1b[2 q",
            "\x1b[?1$p",
            "\x1b#8",
            "\x1b%G",
            "\x1b(\x1b[6n",
        ] {
            assert_eq!(pass(text), "", "{text:?}");
        }
        assert_eq!(pass("\x1b[?1000;25h"), "\x1b[?25h", "only what draws of a list");
        assert_eq!(pass("a\x1b]0;t\x07b"), "ab");
        assert_eq!(pass("\x1b]0;t\x1b[31mred"), "\x1b[31mred", "an unfinished string ends where a sequence begins");
        assert_eq!(pass(&format!("\x1b[{}m!", "1;".repeat(100))), "!");
        assert_eq!(pass("\x1b]0;never ends"), "");
    }

    #[test]
    fn sequences_may_arrive_in_pieces() {
        let text = "a\x1b[1;31mb\x1b]0;title\x1b\\c\x1b[6nd\x1b(0e";
        let whole = pass(text);
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let mut filter = Filter::default();
            let pieces = filter.pass(&text[..cut]) + &filter.pass(&text[cut..]);
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn no_random_text_makes_a_terminal_answer() {
        let alphabet = [
            '\x1b', '[', ']', 'P', '6', 'n', 'c', '\\', ';', '?', '>', 't', '\u{9b}', '\u{9d}', '\x07', 'a', '1', 'h',
            ' ', '$',
        ];
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..20 {
                text.push(alphabet[random.usize(..alphabet.len())]);
            }
            let shown = pass(&text);
            assert!(!shown.contains(['\x07', '\u{9b}', '\u{9d}']), "{text:?} -> {shown:?}");
            for sequence in shown.split('\x1b').skip(1) {
                assert!(sequence.starts_with(['[', '(', ')', '*', '+', '7', '8', 'D', 'E', 'H', 'M', 'c']), "{text:?}");
                let last = sequence.strip_prefix('[').and_then(|rest| rest.chars().find(|c| ('@'..='~').contains(c)));
                assert!(!matches!(last, Some('n' | 'c' | 't' | 'x' | 'i' | 'q')), "{text:?} -> {shown:?}");
            }
        }
    }

    #[test]
    fn the_screen_is_restored() {
        let mut filter = Filter::default();
        filter.pass("\x1b[?1049h\x1b[31m");
        assert_eq!(filter.restore(), format!("\x1b[?1049l{RESTORE}"));
        filter.pass("\x1b[?1049l");
        assert_eq!(filter.restore(), RESTORE);
    }
}
