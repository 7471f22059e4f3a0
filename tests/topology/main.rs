//! Topology files: what is said of wrong ones, variables in them, how they are shown, what a change
//! does, their schema.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod change;
mod guard;
mod names;
mod reach;
mod schema;
mod show;
mod variables;
mod wrong;

use std::path::{Path, PathBuf};

use support::{Finished, Helix};
use testkit::repo_path;

/// `memory.toml` without the part that makes user snapshots, so that what is said of it stays
/// short.
fn memory_toml() -> String {
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let (resolving, _) = text.split_once("# The nodes below make the user snapshots").expect("it has the part");
    resolving.to_owned()
}

/// `memory.toml` with each first part replaced by its second.
#[track_caller]
fn changed(parts: &[(&str, &str)]) -> String {
    parts.iter().fold(memory_toml(), |text, (old, new)| {
        assert!(text.contains(old), "memory.toml lacks {old:?}");
        text.replacen(old, new, 1)
    })
}

/// Runs `helixstream topology …` in a folder, so that messages name files as they are given.
fn topology(folder: &Path, arguments: &[&str]) -> Finished {
    let mut command = Helix::command();
    command.arg("topology").args(arguments).current_dir(folder);
    Helix::spawn_command(command).finish()
}

/// A file of this folder of tests.
fn here(name: &str) -> PathBuf {
    repo_path("tests/topology").join(name)
}

/// Compares a whole text with the one that a file of this folder keeps.
#[track_caller]
fn assert_kept(name: &str, text: &str) {
    let kept = std::fs::read_to_string(here(name)).unwrap_or_default();
    assert!(kept == text, "{name} is not what is said. It holds:\n{kept}\nand this is said:\n{text}");
}
