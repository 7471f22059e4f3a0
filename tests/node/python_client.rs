//! The Python client (clients/python) against two nodes and the stream: python_client.py. It needs
//! the standard library alone, so any interpreter will do that is new enough, such as Mem0's. mypy
//! checks its types.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use testkit::{Broker, python, repo_path};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::tokens::TokenFile;
use crate::trial::Trial;

/// Python with the client.
fn python(interpreter: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut python = Command::new(interpreter);
    python.args(arguments).env("PYTHONPATH", repo_path("clients/python/src")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

#[test]
fn the_python_client_keeps_to_its_own_tests() {
    let Some(interpreter) = python::interpreter_with("mem0") else { return };
    let tests = repo_path("clients/python/tests").display().to_string();
    let output = python(&interpreter, &["-m", "unittest", "discover", &tests]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Ran 0 tests"), "{said}");
}

#[test]
fn the_types_of_the_python_client_are_complete() {
    let Some(interpreter) = python::interpreter_with("mypy") else { return };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mypy");
    // pyproject.toml there says which files, and that the check is strict.
    let mut mypy = Command::new(interpreter);
    mypy.args(["-m", "mypy", "--strict", "--cache-dir"]).arg(cache).current_dir(repo_path("clients/python"));
    let output = mypy.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("no issues found"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_python_client_has_all_calls_and_carries_clock_tokens_between_two_nodes() {
    let Some(interpreter) = python::interpreter_with("mem0") else { return };
    let trial = Trial::new("python", Broker::shared());
    let stream = Stream::start(&trial);
    let tokens = TokenFile::make();
    let start = |name| NodeProcess::start_with(&trial, name, &["--http-token-file", &tokens.path]);
    let (a, b) = (start("a"), start("b"));
    let mut client = python(&interpreter, &[repo_path("tests/node/python_client.py")]);
    let output = client.args([&a.url, &b.url]).envs(tokens.variables).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "every call was answered\n");
    for node in [a, b] {
        node.process.terminate().assert_ended_well();
    }
    stream.stop();
}
