//! Writes to a node from several threads and prints each accepted event's id, until it is killed.
//!
//! `write_until_killed FOLDER STEP TIME` kills itself with SIGKILL at the given time that the
//! database reaches the named step; `crates/node/tests/killed.rs` starts it.

#![allow(clippy::expect_used, clippy::panic, reason = "an example of tests")]

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::executor::block_on;
use helixstream_node::write::{Fields, MemoryWrite, WriteKind};
use helixstream_node::{Node, NodeSettings};

static KILL_AT: OnceLock<(String, usize)> = OnceLock::new();
static TIMES: AtomicUsize = AtomicUsize::new(0);

fn observe(step: &'static str) {
    let Some((kill_at, time)) = KILL_AT.get() else { return };
    if step == kill_at && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *time {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("a process may kill itself");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, step, time] = &arguments[..] else { panic!("FOLDER STEP TIME") };
    let mut settings = NodeSettings::new(folder, "killed".parse().expect("it is a name"));
    settings.observe_step = observe;
    let node = Node::open(settings).expect("the node opens");
    KILL_AT.set((step.clone(), time.parse().expect("it is a number"))).expect("it is set once");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let node = node.clone();
            scope.spawn(move || {
                for serial in 0.. {
                    let text = format!("{thread} {serial}");
                    let fields = Fields::new().with_text("content", &text).expect("it is a field");
                    let write = MemoryWrite::new(format!("m{thread}"), WriteKind::Update, fields);
                    let accepted = block_on(node.write(write)).expect("the write is accepted");
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{}", accepted.event_id).and_then(|()| out.flush()).expect("somebody reads");
                }
            });
        }
    });
}
