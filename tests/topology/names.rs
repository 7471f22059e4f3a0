//! Every key of a topology file that a message or a page names is one that exists.

use std::path::{Path, PathBuf};

use topology_file::kafka::KAFKA;
use topology_file::keys::SECTIONS;
use topology_file::setting::SPECS;

use testkit::repo_path;

/// Files below a folder.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.extension().is_some_and(|extension| extension == end) {
            found.push(path);
        }
    }
}

/// Whether a table of the file has a key; `None` where there is no such table.
fn has(section: &str, key: &str) -> Option<bool> {
    let of_settings = SPECS.iter().filter(|spec| spec.section == section).map(|spec| spec.key);
    let of_tables = SECTIONS.iter().copied().chain([&KAFKA]).filter(|table| table.name == section);
    let known: Vec<&str> =
        of_tables.flat_map(|table| table.keys.iter().map(|key| key.name)).chain(of_settings).collect();
    (!known.is_empty()).then(|| known.contains(&key))
}

/// The names in backquotes before a place, joined by commas, "and", "or" or "beside".
fn named_before(text: &str) -> Vec<&str> {
    let (mut rest, mut found) = (text, Vec::new());
    while let Some((before, name)) = rest.strip_suffix('`').and_then(|rest| rest.rsplit_once('`')) {
        found.push(name);
        let joints = [", and ", ", or ", ", ", " and ", " or ", " beside "];
        let Some(next) = joints.iter().find_map(|joint| before.strip_suffix(joint)) else { break };
        rest = next;
    }
    found
}

#[test]
fn every_key_that_a_message_or_a_page_names_exists() {
    assert_eq!(named_before("set `x_file`, `y` and `z`"), ["z", "y", "x_file"]);
    assert_eq!([has("kafka", "ca_file"), has("kafka", "ca_fil"), has("key", "x")], [Some(true), Some(false), None]);
    let mut all = Vec::new();
    for sources in ["src", "crates"] {
        files(&repo_path(sources), "rs", &mut all);
    }
    files(&repo_path("docs"), "md", &mut all);
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in all {
        // The text of a message goes on behind a `\` at the end of a line.
        let text = std::fs::read_to_string(&file).unwrap().replace("\\\"", "\"");
        let text = text.split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join(" ");
        for joint in [" of [", " in ["] {
            for (at, _) in text.match_indices(joint) {
                let Some((section, _)) = text[at + joint.len()..].split_once(']') else { continue };
                for name in named_before(&text[..at]) {
                    let is_key = name.starts_with(|c: char| c.is_ascii_lowercase())
                        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
                    let Some(exists) = is_key.then(|| has(section, name)).flatten() else { continue };
                    seen += 1;
                    if !exists {
                        wrong.push(format!("{}: `{name}`{joint}{section}]", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 25, "only {seen} names were found: have the texts another form?");
}
