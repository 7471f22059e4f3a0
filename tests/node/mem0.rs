//! Mem0's own client for Python against `helixstream node`.

use std::path::PathBuf;
use std::process::Command;

use http::tokens::{Right, Token};
use testkit::process::temp_dir;
use testkit::{Broker, repo_path};

use crate::command::NodeProcess;
use crate::trial::Trial;

/// The Python of the virtual environment that scripts/mem0-client makes.
fn python() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    let python = cache.expect("HOME or XDG_CACHE_HOME is set").join("helixstream/mem0-client/bin/python");
    assert!(python.exists(), "there is no {}: scripts/mem0-client makes it", python.display());
    python
}

#[test]
fn mem0s_client_for_python_is_answered_in_every_call() {
    let trial = Trial::with_topics("mem0", Broker::shared());
    let folder = temp_dir("mem0");
    let rights = [Right::Read, Right::Act];
    let (token, line) = Token::make("agents", &rights, None).unwrap();
    let (token_of_ann, line_of_ann) = Token::make("ann", &rights, Some(&["u-ann".to_owned()])).unwrap();
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, format!("{}\n{}\n", line.line(), line_of_ann.line())).unwrap();
    let node = NodeProcess::start_with(&trial, "mem0", &["--http-token-file", &tokens.display().to_string()]);
    let mut client = Command::new(python());
    client.arg(repo_path("tests/node/mem0_client.py"));
    client.args([&format!("{}/mem0", node.url()), &token, &token_of_ann]);
    // It sends no telemetry, and writes its settings into a folder of the test.
    client.env("MEM0_TELEMETRY", "False").env("MEM0_DIR", folder.join("settings"));
    let said = client.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "every call was answered\n");
    node.process.terminate().assert_ended_well();
}
