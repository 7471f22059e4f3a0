//! A copy of a folder whose process hangs after it has fenced the other one, and goes on later.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use node::Node;
use node::publisher::PublisherSettings;
use node::registry::{NodeState, NodesTopic, RegisteredNode};
use node::write::{Accepted, Fields, MemoryWrite, Seen, WriteKind};
use rustix::process::Signal;
use serde_json::Value;
use testkit::process::{Process, temp_dir};
use testkit::{Broker, LIMIT, wait_until};

use crate::stream::Stream;
use crate::trial::{Trial, copy, open, publish_all, read, wait_until_published, write};

/// The folder of the copy, the name of the topics, and the broker, for the process that hangs.
const TO_HANG: &str = "HELIXSTREAM_TEST_NODE_TO_HANG";

const TEST: &str = "copies::writes_that_a_copy_holds_which_hangs_and_goes_on_later_are_published_once";

/// Whether the original has opened its session, and whether it may go on.
static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// The original has a transaction open until the copy has fenced it.
fn hold(step: &str) {
    if step == "publish.begun" && !HAS_BEGUN.swap(true, Ordering::SeqCst) {
        wait_until("the copy to hang", || GOES_ON.load(Ordering::SeqCst));
    }
}

/// The copy stops with its events sent, and not committed.
fn hang(step: &str) {
    if step == "publish.sent" && !HAS_BEGUN.swap(true, Ordering::SeqCst) {
        rustix::process::kill_process(rustix::process::getpid(), Signal::STOP).unwrap();
    }
}

/// The part of the process that hangs.
fn hang_and_go_on(arguments: &str) {
    let [folder, name, bootstrap] = arguments.split('|').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let trial = Trial { name: name.to_owned(), bootstrap: bootstrap.to_owned() };
    let node = open(Path::new(folder), "agent");
    let settings = PublisherSettings { observe_step: hang, ..PublisherSettings::default() };
    let publisher = trial.publisher_with(node.journal(), settings);
    wait_until_published(&node);
    publisher.stop(LIMIT);
    node.stop();
}

fn is_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Starts the process that hangs, and waits until it does.
fn start_hanging(trial: &Trial, folder: &Path) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env(TO_HANG, format!("{}|{}|{}", folder.display(), trial.name, trial.bootstrap));
    let process = Process::start(command, Signal::KILL).unwrap();
    wait_until("the copy to hang", || is_stopped(&process));
    process
}

/// Writes a memory by somebody who has seen a write, as its token says.
fn write_behind(node: &Node, seen: &Accepted, content: &str) -> String {
    let fields = Fields::new().with_text("content", content).unwrap();
    let seen_write = MemoryWrite::new(&seen.memory_id, WriteKind::Update, fields);
    block_on(node.write(seen_write.with_seen(Seen::Token(seen.token.encode())))).unwrap().event_id
}

#[test]
fn writes_that_a_copy_holds_which_hangs_and_goes_on_later_are_published_once() {
    if let Ok(arguments) = std::env::var(TO_HANG) {
        return hang_and_go_on(&arguments);
    }
    let broker = Broker::shared();
    let trial = Trial::new("hangs", broker);
    let stream = Stream::start(&trial);
    let folder = temp_dir("node");
    let node = open(&folder, "agent");
    let mut accepted = BTreeSet::from([write(&node, "m1", "published").event_id]);
    publish_all(&trial, &node);
    let old = node.journal().identity().unwrap().actor;
    // Two that both have, and that nobody has published; then each writes on its own.
    let common = [write(&node, "m1", "common"), write(&node, "m2", "common")];
    node.stop();
    let copied = copy(&folder);
    let (one, two) = (open(&folder, "agent"), open(&copied, "agent"));
    accepted.extend(common.iter().map(|accepted| accepted.event_id.clone()));
    accepted.insert(write(&one, "m1", "by the original").event_id);
    accepted.insert(write(&two, "m1", "by the copy").event_id);
    two.stop();

    let settings = PublisherSettings {
        departure_patience: Duration::from_millis(500),
        observe_step: hold,
        ..PublisherSettings::default()
    };
    let publisher = trial.publisher_with(one.journal(), settings);
    wait_until("the original to open its session", || HAS_BEGUN.load(Ordering::SeqCst));
    let mut hanging = start_hanging(&trial, &copied);
    GOES_ON.store(true, Ordering::SeqCst);
    wait_until_published(&one);
    let successor = one.journal().identity().unwrap().actor;
    assert_ne!(successor, old, "{:?}", publisher.status());
    let node_records = || NodesTopic::new(trial.kafka()).read_nodes(LIMIT).unwrap();
    let state =
        |nodes: &[RegisteredNode]| nodes.iter().find(|node| node.record.actor == old).unwrap().record.state.clone();
    assert_eq!(state(&node_records()), NodeState::Replaced { successor: successor.clone() });

    hanging.signal(Signal::CONT);
    assert!(hanging.wait(LIMIT).expect("it goes on and ends").success());
    assert_eq!(trial.events(broker).into_keys().collect::<BTreeSet<_>>(), accepted);
    assert_eq!(state(&node_records()), NodeState::Replaced { successor: successor.clone() });

    // The tokens that were handed out before the folder was copied hold at both: a write with one
    // has seen the write that it was handed out for, whoever has published that.
    let two = open(&copied, "agent");
    let followers = [trial.follower(&one), trial.follower(&two)];
    let last = write_behind(&two, &common[1], "by the copy, behind the common write");
    assert!(accepted.insert(last));
    publish_all(&trial, &two);
    let writers: BTreeSet<String> =
        trial.events(broker).values().map(|event| event["node_id"].as_str().unwrap().to_owned()).collect();
    let actors = [&old, &successor, &two.journal().identity().unwrap().actor].map(ToString::to_string);
    assert_eq!(writers, BTreeSet::from(actors));
    stream.assert_resolved(broker, &trial, &[&one, &two]);
    for node in [&one, &two] {
        let shown: Value = serde_json::from_slice(&read(node, "m2").unwrap().json).unwrap();
        assert_eq!(shown["content"], "by the copy, behind the common write");
        assert_eq!(shown["conflicted_fields"], serde_json::json!([]), "{shown}");
    }
    publisher.stop(LIMIT);
    followers.into_iter().for_each(|follower| drop(follower.stop(LIMIT)));
    stream.stop();
}
