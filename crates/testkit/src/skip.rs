//! A test that lacks something of the machine fails, unless a variable says that the machine is
//! without it.

use std::fs::File;
use std::io::Write;

/// A comma-separated list of what this machine is without: `small-disk`, `go`, `python`, `debian`.
const WITHOUT: &str = "HELIXSTREAM_TESTS_WITHOUT";
/// A file to which each skipped test is written, a line each; `make test` prints it.
const SKIPPED: &str = "HELIXSTREAM_TESTS_SKIPPED";

/// Lets the caller skip what it needs `requirement` for, and says so.
///
/// # Panics
/// The variable `HELIXSTREAM_TESTS_WITHOUT` does not name the requirement.
#[track_caller]
pub fn allow(requirement: &str, why: &str) {
    let without = std::env::var(WITHOUT).unwrap_or_default();
    assert!(
        without.split(',').any(|name| name.trim() == requirement),
        "{why}; {WITHOUT}={requirement} skips the tests that need it"
    );
    let thread = std::thread::current();
    let line = format!("{}: without {requirement}: {why}", thread.name().unwrap_or("a test"));
    eprintln!("SKIPPED {line}");
    if let Some(path) = std::env::var_os(SKIPPED) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "  {line}").unwrap();
    }
}
