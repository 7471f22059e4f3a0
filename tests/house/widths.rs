//! Comments and pages are wrapped at 100 columns. Code has the width of `rustfmt.toml`.

use super::{files, none, root};

const WIDTH: usize = 100;
/// Folders with sources whose comments are wrapped.
const SOURCES: &[&str] = &["src", "crates", "fuzz", "tests", "examples", "benches"];
/// Files that other programs read, and the page that quotes sentences one a line.
const KEPT: &[&str] = &["/fixtures/", "/corpus/", "docs/contract-wording.md"];
/// Pages at the root of the repository.
const PAGES: &[&str] = &["README.md", "ARCHITECTURE.md", "SECURITY.md"];

#[test]
fn comments_are_at_most_100_columns_wide() {
    let mut found = Vec::new();
    for path in files(SOURCES).iter().filter(|path| path.ends_with(".rs") && !is_kept(path)) {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        found.extend(wide_comments(&text).into_iter().map(|(line, text)| format!("{path}:{line}: {text}")));
    }
    none("a comment is wrapped at 100 columns", &found);
}

#[test]
fn pages_are_at_most_100_columns_wide() {
    let docs = files(&["docs"]).into_iter().filter(|path| path.ends_with(".md") && !is_kept(path));
    let mut found = Vec::new();
    for path in docs.chain(PAGES.iter().map(|page| (*page).to_owned())) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        found.extend(wide_prose(&text).into_iter().map(|(line, text)| format!("{path}:{line}: {text}")));
    }
    none("a page is wrapped at 100 columns", &found);
}

fn is_kept(path: &str) -> bool {
    KEPT.iter().any(|part| path.contains(part))
}

/// The lines of comments that are too wide. A row of a table, and a word that nothing can break,
/// may be wider; so may code between fences.
fn wide_comments(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let Some(comment) = comment_of(line) else {
            is_code = false;
            return false;
        };
        is_code ^= comment.starts_with("```");
        !is_code && is_wide(line, comment)
    });
    lines.map(|(index, line)| (index + 1, line.trim())).collect()
}

/// The text of a line that is a comment and nothing else.
fn comment_of(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim_start())
}

/// The lines of a page's paragraphs, lists and headings that are too wide.
fn wide_prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        is_code ^= line.trim_start().starts_with("```");
        !is_code && !line.starts_with("    ") && is_wide(line, line.trim_start())
    });
    lines.map(|(index, line)| (index + 1, line.trim())).collect()
}

fn is_wide(line: &str, text: &str) -> bool {
    let is_breakable = text.trim_start_matches(['-', '*', '>', ' ']).trim_end().contains(' ');
    line.chars().count() > WIDTH && is_breakable && !text.starts_with(['|', '#'])
}

#[test]
fn wide_lines_are_found_and_tables_and_code_may_be_wide() {
    let wide = "word ".repeat(21);
    let url = format!("https://{}", "x".repeat(100));
    let text = format!(
        "/// {wide}\nlet x = 1; // {wide}\n//! | {wide} |\n/// ```\n/// {wide}\n/// ```\n// {url}\n    // {wide}\n"
    );
    let lines = |found: Vec<(usize, &str)>| found.iter().map(|(line, _)| *line).collect::<Vec<usize>>();
    assert_eq!(lines(wide_comments(&text)), [1, 8]);
    let page = format!("{wide}\n| {wide} |\n```\n{wide}\n```\n- {wide}\n# {wide}\n");
    assert_eq!(lines(wide_prose(&page)), [1, 6]);
}
