//! What no file may contain: code that waits for somebody, code that is commented out. Code that
//! gives up (`unwrap`, `expect`, `panic!` and their like) is refused by clippy (Cargo.toml).

use super::{Source, files, none, root, sources};

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
    let folders = [
        "src",
        "crates",
        "fuzz",
        "tests",
        "clients",
        "examples",
        "benches",
        "scripts",
        "topologies",
        "migrations",
        "schemas",
        ".ci",
    ];
    let mut paths = files(&folders);
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    paths.extend(top.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap()));
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| !path.ends_with(".jsonl") && *path != "Cargo.lock") {
        let bytes = std::fs::read(root().join(path)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (index, line) in text.lines().enumerate() {
            let mut words_of_line = line.split(|c: char| !c.is_ascii_alphanumeric());
            if words_of_line.any(|word| words.contains(&word)) {
                found.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    none("something is left for later: do it now, or file it", &found);
}

#[test]
fn no_code_is_commented_out() {
    let sources = sources(&["src", "crates", "fuzz", "tests", "examples", "benches"]);
    let found: Vec<String> = sources.iter().flat_map(commented_out).collect();
    none("code in a comment: the history keeps it", &found);
}

fn commented_out(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let comments = lines.filter_map(|(index, line)| Some((index + 1, line.trim().strip_prefix("// ")?.trim())));
    let code = comments.filter(|(_, text)| is_statement(text));
    code.map(|(line, text)| format!("{}:{line}: {text}", source.path)).collect()
}

/// Prose does not end in a semicolon and parse.
fn is_statement(text: &str) -> bool {
    text.ends_with(';')
        && text.contains(['(', '=', ':', '!', '.'])
        && syn::parse_str::<syn::File>(&format!("fn f() {{ {text} }}")).is_ok()
}

#[test]
fn the_rules_find_what_they_look_for() {
    assert!(is_statement("let x = 5;") && is_statement("self.commit()?;"));
    assert!(!is_statement("the first wins;") && !is_statement("An offset, then its metadata."));
}
