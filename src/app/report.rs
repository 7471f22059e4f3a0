//! Reports on the standard output: tables for people, and JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use anyhow::anyhow;

use super::CommandError;

/// Columns as wide as their widest cells; the last one is not filled up.
pub fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let count = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| widest(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Prints a JSON document.
pub fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    print(&json_text(value, io::stdout().is_terminal()))
}

/// JSON, on a terminal without what a terminal obeys: details hold text of servers and of `docker`.
fn json_text(value: &serde_json::Value, is_for_terminal: bool) -> String {
    // Line by line, since the line ends are ours: within strings JSON writes them as `\n`.
    let shown = |line: &str| if is_for_terminal { escape::json(line).into_owned() } else { line.to_owned() };
    format!("{value:#}").lines().map(shown).map(|line| line + "\n").collect()
}

/// Prints a text; that its reader has ended is no failure.
pub fn print(text: &str) -> Result<(), CommandError> {
    match io::stdout().write_all(text.as_bytes()) {
        // `services list | head` has read enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| anyhow!("write to the standard output: {e} [HS0093]").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_terminal_obeys_nothing_of_a_report() {
        let value = json!({ "detail": "\u{1b}[2J\u{9b}2J\u{202e}", "ok": false });
        let shown = json_text(&value, true);
        assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value, "it means the same");
        assert_eq!(shown.lines().count(), 4, "a member a line: {shown}");
        assert!(json_text(&value, false).contains('\u{202e}'));
    }
}
