//! A process that writes to a node is killed at each named step of a transaction with writes. Each
//! write that it was answered is there afterwards.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::executor::block_on;
use helixstream_node::steps::STEPS;
use helixstream_node::write::{Fields, MemoryWrite, WriteKind};
use helixstream_node::{Node, NodeSettings};
use rustix::process::{Signal, getpid, kill_process};

/// Folder, step and count for the process that is to be killed, which is this test program again.
const TO_BE_KILLED: &str = "HELIXSTREAM_TEST_NODE_TO_BE_KILLED";

const TEST: &str = "each_answered_write_is_there_after_sigkill_at_any_step";

/// The step at which the process kills itself, and at which of the times that it is reached.
static KILL_AT: OnceLock<(String, usize)> = OnceLock::new();
static TIMES: AtomicUsize = AtomicUsize::new(0);

fn observe(step: &'static str) {
    let Some((kill_at, time)) = KILL_AT.get() else { return };
    if step == kill_at && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *time {
        kill_process(getpid(), Signal::KILL).unwrap();
    }
}

/// Writes from several threads and prints the id of each accepted event, until it is killed.
fn write_until_killed(arguments: &str) {
    let [folder, step, time] = arguments.split('|').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let settings = NodeSettings::new(folder, "killed".parse().unwrap());
    let node = Node::open(NodeSettings { observe_step: observe, ..settings }).unwrap();
    KILL_AT.set((step.to_owned(), time.parse().unwrap())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let node = node.clone();
            scope.spawn(move || {
                for serial in 0.. {
                    let fields = Fields::new().with_text("content", &format!("{thread} {serial}")).unwrap();
                    let write = MemoryWrite::new(format!("m{thread}"), WriteKind::Update, fields);
                    let accepted = block_on(node.write(write)).unwrap();
                    // The test harness has begun a line of its own.
                    let mut out = std::io::stdout().lock();
                    write!(out, "\n{}\n", accepted.event_id).and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
}

/// The ids that a process was answered before it was killed.
fn answered(folder: &Path, step: &str, time: &str) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.env(TO_BE_KILLED, format!("{}|{step}|{time}", folder.display()));
    let mut process = command.spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let ids = lines.map_while(Result::ok).filter(|line| line.len() == 36).collect();
    assert_eq!(process.wait().unwrap().signal(), Some(9), "it was killed at {step}");
    ids
}

#[test]
fn each_answered_write_is_there_after_sigkill_at_any_step() {
    if let Ok(arguments) = std::env::var(TO_BE_KILLED) {
        return write_until_killed(&arguments);
    }
    let mut checked = 0;
    for step in STEPS.into_iter().filter(|step| step.starts_with("accept.")) {
        for time in ["1", "5"] {
            let folder = tempfile::tempdir().unwrap();
            let answered = answered(folder.path(), step, time);
            let node = Node::open(NodeSettings::new(folder.path(), "killed".parse().unwrap())).unwrap();
            let kept = node.journal().unpublished(usize::MAX >> 1, usize::MAX >> 1).unwrap();
            let counters: Vec<u64> = kept.iter().map(|event| event.counter).collect();
            assert_eq!(counters, (1..=kept.len() as u64).collect::<Vec<_>>(), "no counter is left out");
            let text: Vec<String> = kept.into_iter().map(|event| String::from_utf8(event.value).unwrap()).collect();
            checked += answered.len();
            for id in answered {
                assert!(text.iter().any(|value| value.contains(&id)), "the write {id} is lost by a kill at {step}");
            }
        }
    }
    assert!(checked > 0, "no process was answered before it was killed");
}
