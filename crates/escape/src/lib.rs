//! Escapes foreign text for a terminal. Ids, topics, header values and messages of other programs
//! are not trusted: on a terminal they could clear the screen, imitate another line, or reverse the
//! direction of the text behind them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything written out that a terminal or an editor takes as a command rather than
/// as a letter: control characters (ESC and line ends among them) as `\n`, `\t`, `\x1b`, and
/// characters that are invisible or change the direction of writing as `\u{202e}`. A backslash
/// stays as it is, so plain text is unchanged.
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_command) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a string does not fail.
            c if is_command(c) && c.is_ascii() => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if is_command(c) => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Text of several lines, each as [`line()`] shows it.
pub fn lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_command(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(line).collect::<Vec<_>>().join("\n"))
}

/// JSON whose strings hold nothing that a terminal obeys: such characters are written as `\u001b`,
/// and white space between members as a space. It means the same as before and stands on one line.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_command) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // Within strings JSON allows none of them as it is.
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_command(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A log line: as [`line()`] shows it, with the colours and the line end that the logger itself has
/// put there.
pub fn log_line(text: &str) -> Cow<'_, str> {
    let (text, end) = text.strip_suffix('\n').map_or((text, ""), |text| (text, "\n"));
    let escaped: Vec<Cow<'_, str>> = text.split('\u{1b}').map(line).collect();
    Cow::Owned(escaped.join("\u{1b}") + end)
}

/// A text as [`line()`] shows it, cut after so many characters; `…` stands where it was cut.
pub fn cell(text: &str, longest: usize) -> Cow<'_, str> {
    // Of a long text only the part that can be shown is looked at.
    match text.char_indices().nth(longest) {
        None => fit(line(text), longest),
        Some((at, _)) => {
            let mut shown = fit(line(&text[..at]), longest).into_owned();
            if !shown.ends_with('…') {
                shown.push('…');
            }
            Cow::Owned(shown)
        }
    }
}

fn fit(shown: Cow<'_, str>, longest: usize) -> Cow<'_, str> {
    match shown.char_indices().nth(longest) {
        None => shown,
        Some((at, _)) => Cow::Owned(format!("{}…", &shown[..at])),
    }
}

/// Whether a character is more than a letter to a terminal: C0 and C1 controls, line and paragraph
/// separators, directional controls (Unicode Standard Annex 9), and characters without width that
/// hide in a text.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out_and_all_else_stays() {
        for plain in ["", "memory-1", "größer / 記憶 / 🙂", r"C:\new\table"] {
            assert!(matches!(line(plain), Cow::Borrowed(same) if same == plain));
        }
        assert_eq!(line("\u{1b}[2J\u{1b}]0;title\u{7}"), r"\x1b[2J\x1b]0;title\x07");
        assert_eq!(line("a\nb\rc\td\0\u{7f}"), r"a\nb\rc\td\x00\x7f");
        assert_eq!(line("\u{9b}31m\u{85}\u{2028}"), r"\u{9b}31m\u{85}\u{2028}");
        assert_eq!(line("a\u{202e}b\u{2066}c\u{200b}d\u{feff}"), r"a\u{202e}b\u{2066}c\u{200b}d\u{feff}");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\nb"), "a\nb");
        assert_eq!(lines("a\n\u{1b}b\r\n"), "a\n\\x1bb\\r\n");
    }

    #[test]
    fn json_stays_the_same_json() {
        let strange = serde_json::json!({ "a": "\u{9b}2J\u{202e}\u{e0001}\u{7f}", "b": ["\u{1b}\n", 1] });
        let text = serde_json::to_string_pretty(&strange).unwrap();
        let shown = json(&text);
        assert!(!shown.chars().any(is_command), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), strange);
        assert!(matches!(json(r#"{"a":"ü"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_log_line_stays_one_line_and_keeps_the_loggers_colours() {
        let colours = "\u{1b}[32m INFO\u{1b}[0m ";
        assert_eq!(log_line(&format!("{colours}a\nb\u{202e}c\r\n")), format!("{colours}a\\nb\\u{{202e}}c\\r\n"));
    }

    #[test]
    fn a_cell_is_cut_by_characters() {
        assert_eq!(cell("äöü", 3), "äöü");
        assert_eq!(cell("äöüß", 3), "äöü…");
        assert_eq!(cell("\u{1b}\u{1b}", 6), r"\x1b\x…");
        assert_eq!(cell(&"x".repeat(3000), 10).chars().count(), 11);
    }
}
