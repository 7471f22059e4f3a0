//! Mem0's own client for Python against `helixstream node`.

use std::path::Path;
use std::process::Command;

use testkit::process::temp_dir;
use testkit::{Broker, python, repo_path};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::tokens::TokenFile;
use crate::trial::Trial;

/// It sends no telemetry, and writes its settings into a folder of the test.
fn keep_to_itself(client: &mut Command, folder: &Path) {
    client.env("MEM0_TELEMETRY", "False").env("MEM0_DIR", folder.join("settings"));
}

#[test]
fn mem0s_client_for_python_is_answered_in_every_call() {
    let Some(python) = python::interpreter_with("mem0") else { return };
    let trial = Trial::with_topics("mem0", Broker::shared());
    let folder = temp_dir("mem0");
    let tokens = TokenFile::make();
    let node = NodeProcess::start_with(&trial, "mem0", &["--http-token-file", &tokens.path]);
    let mut client = Command::new(python);
    client.arg(repo_path("tests/node/mem0_client.py"));
    client.arg(format!("{}/mem0", node.url)).envs(tokens.variables);
    keep_to_itself(&mut client, &folder);
    let said = client.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "every call was answered\n");
    node.process.terminate().assert_ended_well();
}

#[test]
fn mem0s_client_is_told_the_changes_of_other_nodes() {
    let Some(python) = python::interpreter_with("mem0") else { return };
    let trial = Trial::new("mem0-history", Broker::shared());
    let stream = Stream::start(&trial);
    let tokens = TokenFile::make();
    let nodes = ["a", "b"].map(|name| NodeProcess::start_with(&trial, name, &["--http-token-file", &tokens.path]));
    let mut client = Command::new(python);
    client.arg(repo_path("tests/node/mem0_history.py")).args(nodes.iter().map(|node| format!("{}/mem0", node.url)));
    client.envs(tokens.variables);
    keep_to_itself(&mut client, &temp_dir("mem0-history"));
    let said = client.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "both nodes tell the same history\n");
    for node in nodes {
        node.process.terminate().assert_ended_well();
    }
    stream.stop();
}
