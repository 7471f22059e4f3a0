//! Agents that reach a node by the Model Context Protocol. The client is the official one, for
//! Python: tests/node/mcp_client.py.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::process::temp_dir;
use testkit::{Broker, ports, python, repo_path, wait_until};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::support::Helix;
use crate::trial::Trial;

/// Runs a command of the client, which checks what it is answered. Tokens go by the environment,
/// since every user of the machine can read the arguments of a process.
#[track_caller]
fn check(python: &Path, command: &str, arguments: &[&str], tokens: &str) {
    let mut client = Command::new(python);
    client.arg(repo_path("tests/node/mcp_client.py")).arg(command).arg(env!("CARGO_BIN_EXE_helixstream"));
    let output = client.args(arguments).env("TOKENS", tokens).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_tools_of_mcp_carry_clock_tokens_keep_to_their_user_and_say_what_to_do() {
    let Some(python) = python::interpreter_with("mcp") else { return };
    let (folder, port) = (temp_dir("mcp"), ports::free_port().to_string());
    let token_file = folder.join("tokens").display().to_string();
    let token = |name: &str, rights: &str, user: &str| {
        let make =
            ["http", "token", "--name", name, "--rights", rights, "--users", user, "--append", token_file.as_str()];
        Helix::run_ok(&make).stdout.trim().to_owned()
    };
    let tokens = json!({
        "alice": token("alice", "read,act", "alice"),
        "bob": token("bob", "read,act", "bob"),
        "reader": token("reader", "read", "alice"),
        "writer": token("writer", "act", "alice"),
    });
    // A node accepts writes without Kafka.
    let node_dir = folder.join("node").display().to_string();
    let node = Helix::spawn(&[
        "node",
        "--node-name",
        "n",
        "--node-dir",
        &node_dir,
        "--bootstrap-servers",
        "127.0.0.1:1",
        "--http-listen",
        &port,
        "--http-token-file",
        &token_file,
    ]);
    let url = format!("http://127.0.0.1:{port}");
    wait_until("the node to be ready", || {
        Command::new("curl").args(["-sf", &format!("{url}/ready")]).output().unwrap().status.success()
    });
    check(&python, "tools", &[&url], &tokens.to_string());
    let ended = node.terminate();
    ended.assert_ended_well();
}

#[test]
fn an_agent_settles_a_conflict_that_two_agents_at_two_nodes_have_made() {
    let Some(python) = python::interpreter_with("mcp") else { return };
    let trial = Trial::new("mcp", Broker::shared());
    let stream = Stream::start(&trial);
    let (a, b) = (NodeProcess::start(&trial, "a"), NodeProcess::start(&trial, "b"));
    check(&python, "conflict", &[&a.url, &b.url], "{}");
    for node in [a, b] {
        node.process.terminate().assert_ended_well();
    }
    stream.stop();
}
