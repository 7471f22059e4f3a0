//! Comments and pages are wrapped at 100 columns, whatever the kind of the file. Code has the width
//! of `rustfmt.toml`.

use super::{files, none, root};

const WIDTH: usize = 100;
/// Entries of the root that are not in the repository.
const UNTRACKED: &[&str] = &[".git", ".dev", "target"];
/// Parts of the paths of files that keep their lines: inputs of tests and fuzz targets, the page
/// that quotes sentences one a line, and migrations. sqlx compares the checksum of each applied
/// migration with its file, so not even a comment of a shipped migration may change.
const KEPT: &[&str] = &["/fixtures/", "/corpus/", "docs/contract-wording.md", "migrations/"];

#[test]
fn comments_are_at_most_100_columns_wide() {
    let mut found = Vec::new();
    let mut kinds = std::collections::BTreeSet::new();
    for path in repository() {
        let Some(text) = text_of(&path) else { continue };
        let Some(kind) = comments_of(&path, &text) else { continue };
        kinds.insert(kind);
        found.extend(wide_comments(&text, kind).into_iter().map(|(line, text)| format!("{path}:{line}: {text}")));
    }
    assert_eq!(kinds.len(), 3, "files of each kind are found: {kinds:?}");
    none("a comment is wrapped at 100 columns", &found);
}

#[test]
fn pages_are_at_most_100_columns_wide() {
    let mut found = Vec::new();
    for path in repository().into_iter().filter(|path| path.ends_with(".md")) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        found.extend(wide_prose(&text).into_iter().map(|(line, text)| format!("{path}:{line}: {text}")));
    }
    none("a page is wrapped at 100 columns", &found);
}

/// The files of the repository whose lines are wrapped.
fn repository() -> Vec<String> {
    let entries = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    let ours: Vec<&str> = names.iter().map(String::as_str).filter(|name| !UNTRACKED.contains(name)).collect();
    files(&ours).into_iter().filter(|path| !KEPT.iter().any(|part| path.contains(part))).collect()
}

/// The text of a file; none of one that is not UTF-8.
fn text_of(path: &str) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(path)).unwrap()).ok()
}

/// How the comments of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Comments {
    /// Rust: `//`. A comment behind code may be as wide as code, since rustfmt would move it.
    Rust,
    /// Rhai, Go and Java: `//`, and in Java the lines of `/* … */`.
    Slashes,
    /// Shell, make, TOML, YAML, Docker and properties: `#`.
    Hash,
}

/// The kind of comments of a file; none where the file has no comments.
fn comments_of(path: &str, text: &str) -> Option<Comments> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((_, "rs")) => Some(Comments::Rust),
        Some((_, "rhai" | "go" | "java")) => Some(Comments::Slashes),
        Some((_, "toml" | "yml" | "yaml" | "sh" | "properties")) => Some(Comments::Hash),
        Some(("", _)) => Some(Comments::Hash),
        _ if matches!(name, "Makefile" | "Dockerfile") || text.starts_with("#!") => Some(Comments::Hash),
        _ => None,
    }
}

/// The lines with comments that are too wide. A row of a table, and a word that nothing can break,
/// may be wider; so may code between fences.
fn wide_comments(text: &str, kind: Comments) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        if let Some(comment) = whole_comment(line, kind) {
            is_code ^= comment.starts_with("```");
            return !is_code && is_wide(line, comment);
        }
        is_code = false;
        kind != Comments::Rust && comment_behind_code(line, kind).is_some_and(|comment| is_wide(line, comment))
    });
    lines.map(|(index, line)| (index + 1, line.trim())).collect()
}

/// The text of a line that is a comment and nothing else.
fn whole_comment(line: &str, kind: Comments) -> Option<&str> {
    let line = line.trim_start();
    let text = match kind {
        Comments::Rust => line.strip_prefix("//")?.trim_start_matches(['/', '!']),
        Comments::Slashes => {
            line.strip_prefix("//").or_else(|| line.strip_prefix("/*")).or_else(|| line.strip_prefix("* "))?
        }
        Comments::Hash => line.strip_prefix('#')?.trim_start_matches('#'),
    };
    Some(text.trim_start())
}

/// The text of the comment that follows code on its line. A mark within quotes is none.
fn comment_behind_code(line: &str, kind: Comments) -> Option<&str> {
    let mark = if kind == Comments::Hash { " #" } else { " //" };
    let mut quote = None;
    for (at, char) in line.char_indices() {
        match (quote, char) {
            (None, '"' | '\'') => quote = Some(char),
            (Some(open), _) if open == char => quote = None,
            (None, ' ') if line[at..].starts_with(mark) => {
                let text = line[at + mark.len()..].trim_start_matches(['#', '/']);
                return text.strip_prefix(' ').map(str::trim_start);
            }
            _ => {}
        }
    }
    None
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
    assert_eq!(lines(wide_comments(&text, Comments::Rust)), [1, 8]);
    let page = format!("{wide}\n| {wide} |\n```\n{wide}\n```\n- {wide}\n# {wide}\n");
    assert_eq!(lines(wide_prose(&page)), [1, 6]);
}

#[test]
fn wide_comments_of_scripts_and_configuration_are_found_and_code_may_be_wide() {
    let wide = "word ".repeat(21);
    let url = format!("https://{}", "x".repeat(100));
    let text = format!(
        "#!/bin/sh\n# {wide}\n    ## {wide}\necho \"{wide}\"\necho \" # {wide}\"\n\
         a = 1  # {wide}\nhelp: ## {wide}\n# {url}\n# | {wide} |\necho ${{#list}} {wide}\n"
    );
    assert_eq!(lines(wide_comments(&text, Comments::Hash)), [2, 3, 6, 7]);
    let text = format!("// {wide}\n/** {wide} */\n * {wide}\nlet a = 1; // {wide}\nlet a = \" // {wide}\";\n{wide}\n");
    assert_eq!(lines(wide_comments(&text, Comments::Slashes)), [1, 2, 3, 4]);
}

#[test]
fn the_kind_of_comments_goes_by_the_name_of_a_file_or_its_first_line() {
    let hash =
        [".cargo/config.toml", "docker-compose.yml", "Makefile", "Dockerfile", ".dockerignore", "scripts/common.sh"];
    for path in hash {
        assert_eq!(comments_of(path, ""), Some(Comments::Hash), "{path}");
    }
    assert_eq!(comments_of("scripts/run", "#!/usr/bin/env bash\n"), Some(Comments::Hash));
    assert_eq!(comments_of("topologies/scripts/longest.rhai", ""), Some(Comments::Slashes));
    assert_eq!(comments_of("src/main.rs", ""), Some(Comments::Rust));
    assert_eq!(comments_of("LICENSE", "Apache License"), None);
    assert_eq!(comments_of("Cargo.lock", "# This file"), None);
}

fn lines(found: Vec<(usize, &str)>) -> Vec<usize> {
    found.into_iter().map(|(line, _)| line).collect()
}
