//! The Go client (clients/go), and its store for HelixAgent, against two nodes and the stream. The
//! checks are in tests/node/go_client, beside an interface of the same shape as HelixAgent's.

use std::path::Path;
use std::process::Command;

use testkit::{Broker, repo_path, skip};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::tokens::TokenFile;
use crate::trial::Trial;

/// Runs `go` in a folder of the repository.
#[track_caller]
fn go(folder: &str, arguments: &[&str]) {
    let mut go = Command::new("go");
    go.args(arguments).current_dir(repo_path(folder));
    // A workspace above the repository, or another version control around it, is no part of this.
    go.env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    let output = go.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "go {arguments:?} in {folder}: {}", String::from_utf8_lossy(&said));
}

/// Whether the machine has a Go toolchain, or may be without one.
fn has_go() -> bool {
    if Command::new("go").arg("version").output().is_ok() {
        return true;
    }
    skip::allow("go", "there is no Go toolchain here for clients/go: scripts/go-toolchain fetches one");
    false
}

#[test]
fn the_go_client_keeps_to_its_own_tests() {
    if has_go() {
        go("clients/go", &["vet", "./..."]);
        go("clients/go", &["test", "-count=1", "./..."]);
    }
}

#[test]
fn the_store_for_helixagent_has_all_calls_and_carries_clock_tokens_between_two_nodes() {
    if !has_go() {
        return;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-client-check");
    go("tests/node/go_client", &["vet", "./..."]);
    go("tests/node/go_client", &["build", "-buildvcs=false", "-o", &program.display().to_string(), "."]);
    let trial = Trial::new("go", Broker::shared());
    let stream = Stream::start(&trial);
    let tokens = TokenFile::make();
    let start = |name| NodeProcess::start_with(&trial, name, &["--http-token-file", &tokens.path]);
    let (a, b) = (start("a"), start("b"));
    let output = Command::new(program).args([&a.url, &b.url]).envs(tokens.variables).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "every call was answered\n");
    for node in [a, b] {
        node.process.terminate().assert_ended_well();
    }
    stream.stop();
}
