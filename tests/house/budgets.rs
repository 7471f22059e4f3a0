//! The length of a file, and a first line that says why it exists. The lengths of functions are
//! limited by clippy (`too_many_lines` in Cargo.toml, with the limit in clippy.toml).

use super::{none, sources};

const FILE_LINES: usize = 500;
const ALL: &[&str] = &["src", "crates", "fuzz", "tests", "examples", "benches"];

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = sources(ALL).into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines", source.path))
    });
    none("files have at most 500 lines: split by what they do", &long.collect::<Vec<_>>());
}

#[test]
fn every_file_says_why_it_exists() {
    let silent = sources(ALL).into_iter().filter(|source| !source.text.starts_with("//! "));
    let silent: Vec<String> = silent.map(|source| format!("{}:1", source.path)).collect();
    none("a file opens with //! and why it exists", &silent);
}
