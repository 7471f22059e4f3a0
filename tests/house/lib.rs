//! The house rules, held by reading the sources: who imports whom, how long a file or a function
//! may be, and what no file may contain.
//!
//! Each rule is one test; its message lists every offence as `file:line: what`, so that one run
//! shows all there is to mend.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]
#![cfg(test)]

mod budgets;
mod circles;
mod citations;
mod codes;
mod dependencies;
mod error_texts;
mod groups;
mod imports;
mod module_graph;
mod paths;
mod profiles;
mod vocabulary;
mod widths;
mod words;

use std::path::{Path, PathBuf};

/// A Rust file of the repository.
struct Source {
    /// Path from the root, with `/`.
    path: String,
    text: String,
    syntax: syn::File,
    /// Declared as `#[cfg(test)] mod name;`, it or a folder above.
    is_test: bool,
}

/// The Rust files below `folders`, by path.
fn sources(folders: &[&str]) -> Vec<Source> {
    let rust = files(folders).into_iter().filter(|path| path.ends_with(".rs"));
    let mut sources: Vec<Source> = rust
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            Source { path, text, syntax, is_test: false }
        })
        .collect();
    let test_modules: Vec<Vec<String>> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let module = paths::module_of(&source.path);
        source.is_test = test_modules.iter().any(|test| module.starts_with(test));
    }
    sources
}

/// The modules in files of their own that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let declared = source.syntax.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && is_test_only(&module.attrs) => Some(&module.ident),
        _ => None,
    });
    let at = paths::module_of(&source.path);
    declared.map(|name| [&at[..], &[name.to_string()]].concat()).collect()
}

/// All files below `folders` (those that exist), as paths from the root, sorted.
fn files(folders: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        let entries = walkdir::WalkDir::new(root().join(folder)).into_iter().filter_map(Result::ok);
        let files = entries.filter(|entry| entry.file_type().is_file()).map(|entry| from_root(entry.path()));
        found.extend(files);
    }
    found.sort();
    found
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Whether an item is compiled for tests only: `#[cfg(test)]`, `#[test]`.
fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = || attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
        attribute.path().is_ident("test") || (attribute.path().is_ident("cfg") && is_cfg_test())
    })
}

#[track_caller]
fn none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}\n", offences.join("\n  "));
}
