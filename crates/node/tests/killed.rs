//! A process that writes to a node is killed at each named step of a transaction. Each write that
//! it was answered is there afterwards.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use helixstream_node::settings::STEPS;
use helixstream_node::{Node, NodeSettings};

fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.exists(), "{} is not built: run cargo build --examples", path.display());
    path
}

#[test]
fn each_answered_write_is_there_after_sigkill_at_any_step() {
    for step in STEPS {
        for time in ["1", "5"] {
            let folder = tempfile::tempdir().unwrap();
            let mut command = Command::new(example("write_until_killed"));
            command.arg(folder.path()).args([step, time]).stdin(Stdio::null()).stdout(Stdio::piped());
            let mut process = command.spawn().unwrap();
            let lines = BufReader::new(process.stdout.take().unwrap()).lines();
            let answered: Vec<String> = lines.map_while(Result::ok).filter(|line| line.len() == 36).collect();
            assert_eq!(process.wait().unwrap().signal(), Some(9), "it was killed at {step}");
            let node = Node::open(NodeSettings::new(folder.path(), "killed".parse().unwrap())).unwrap();
            let kept = node.journal().unpublished(usize::MAX >> 1, usize::MAX >> 1).unwrap();
            let counters: Vec<u64> = kept.iter().map(|event| event.counter).collect();
            assert_eq!(counters, (1..=kept.len() as u64).collect::<Vec<_>>(), "no counter is left out");
            let text: Vec<String> = kept.into_iter().map(|event| String::from_utf8(event.value).unwrap()).collect();
            for id in answered {
                assert!(text.iter().any(|value| value.contains(&id)), "the write {id} is lost by a kill at {step}");
            }
        }
    }
}
