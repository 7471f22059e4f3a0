//! Programs of others in Python, which `scripts/python-client` installs from PyPI.

use std::path::PathBuf;

use super::skip;

/// The interpreter that has a program: `mem0`, `mcp` or `mypy`. `None` where the machine has none
/// and that is allowed: see [`skip`].
pub fn interpreter_with(program: &str) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    let cache = cache.expect("HOME or XDG_CACHE_HOME is set");
    let python = cache.join(format!("helixstream/python-{program}/bin/python"));
    if python.exists() {
        return Some(python);
    }
    let why = format!("there is no {}, which 'scripts/python-client {program}' installs", python.display());
    skip::allow("python", &why);
    None
}
