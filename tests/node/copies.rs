//! Copies of a folder: a process that hangs after it has fenced the other one and goes on later,
//! and one that is killed at each named step of its way to the next incarnation.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use node::Node;
use node::publisher::PublisherSettings;
use node::registry::{NodeState, NodesTopic, RegisteredNode};
use node::steps::DEPARTURE_STEPS;
use node::write::{Accepted, Fields, MemoryWrite, Seen, WriteKind};
use rustix::process::Signal;
use serde_json::Value;
use testkit::process::{Process, temp_dir};
use testkit::{Broker, LIMIT, records, wait_until};

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

/// The folder of the original, its name, the name of the topics, the broker and the step, for the
/// process that is killed there.
const TO_LEAVE: &str = "HELIXSTREAM_TEST_NODE_TO_LEAVE";

const LEAVING: &str =
    "copies::a_process_killed_at_any_step_of_its_way_to_the_next_incarnation_loses_no_write_and_publishes_none_twice";

/// The step at which this process is killed.
static KILL_AT: OnceLock<String> = OnceLock::new();

fn kill(step: &str) {
    if KILL_AT.get().is_some_and(|kill_at| kill_at == step) {
        rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
    }
}

/// The part of the process that is killed.
fn leave_until_killed(arguments: &str) {
    let [folder, name, topics, bootstrap, step] = arguments.split('|').collect::<Vec<_>>()[..] else {
        panic!("{arguments}")
    };
    KILL_AT.set(step.to_owned()).unwrap();
    let trial = Trial { name: topics.to_owned(), bootstrap: bootstrap.to_owned() };
    let node = open(Path::new(folder), name);
    let settings = PublisherSettings { observe_step: kill, ..PublisherSettings::default() };
    let publisher = trial.publisher_with(node.journal(), settings);
    wait_until("this process to be killed", || publisher.has_ended());
    panic!("the publisher has ended by itself: {:?}", publisher.status());
}

/// Publishes all that a node has, without a long wait for a process that is dead.
fn publish_impatiently(trial: &Trial, node: &Node) {
    let departure_patience = Duration::from_millis(500);
    let settings = PublisherSettings { departure_patience, ..PublisherSettings::default() };
    let publisher = trial.publisher_with(node.journal(), settings);
    wait_until_published(node);
    publisher.stop(LIMIT);
}

/// An original that finds that its copy has published what both have, and is killed at a step of
/// its way to the next incarnation; then the copy goes on, and after that the original. Returns
/// both, and the events that they have accepted.
fn killed_on_its_way(trial: &Trial, step: &str) -> ([Node; 2], Vec<String>) {
    let name = step.replace('.', "-");
    let (folder, memory) = (temp_dir("node"), format!("m-{name}"));
    let mut accepted = Vec::new();
    let mut add = |node: &Node, content: &str| accepted.push(write(node, &memory, content).event_id);
    let node = open(&folder, &name);
    add(&node, "published");
    publish_all(trial, &node);
    ["common", "common, too"].iter().for_each(|content| add(&node, content));
    node.stop();
    let copied = copy(&folder);
    let [one, two] = [&folder, &copied].map(|folder| open(folder, &name));
    add(&one, "by the original");
    add(&two, "by the copy");
    publish_all(trial, &two);
    one.stop();
    two.stop();

    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", LEAVING]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env(TO_LEAVE, format!("{}|{name}|{}|{}|{step}", folder.display(), trial.name, trial.bootstrap));
    let mut process = Process::start(command, Signal::KILL).unwrap();
    let status = process.wait(LIMIT).expect("the process kills itself");
    assert!(!status.success() && status.code().is_none(), "a signal ended it at {step}: {status}");

    let two = open(&copied, &name);
    add(&two, "by the copy, later");
    publish_impatiently(trial, &two);
    let one = open(&folder, &name);
    add(&one, "by the original, later");
    publish_impatiently(trial, &one);
    ([one, two], accepted)
}

#[test]
fn a_process_killed_at_any_step_of_its_way_to_the_next_incarnation_loses_no_write_and_publishes_none_twice() {
    if let Ok(arguments) = std::env::var(TO_LEAVE) {
        return leave_until_killed(&arguments);
    }
    let broker = Broker::shared();
    let trial = Trial::new("leaves", broker);
    let stream = Stream::start(&trial);
    let histories: Vec<([Node; 2], Vec<String>)> = std::thread::scope(|scope| {
        let trial = &trial;
        let start = |step| scope.spawn(move || killed_on_its_way(trial, step));
        DEPARTURE_STEPS.map(start).into_iter().map(|history| history.join().unwrap()).collect()
    });
    let accepted: BTreeSet<&String> = histories.iter().flat_map(|(_, accepted)| accepted).collect();
    let published = trial.events(broker);
    assert_eq!(published.keys().collect::<BTreeSet<_>>(), accepted);
    let sent = records::read_committed(broker, &trial.topic("events"));
    assert_eq!(sent.len(), accepted.len(), "each event is published once, under one actor");
    let nodes: Vec<&Node> = histories.iter().flat_map(|(nodes, _)| nodes).collect();
    let actors: BTreeSet<_> = nodes.iter().map(|node| node.journal().identity().unwrap().actor.to_string()).collect();
    assert_eq!(actors.len(), nodes.len());
    let followers: Vec<_> = nodes.iter().map(|node| trial.follower(node)).collect();
    stream.assert_resolved(broker, &trial, &nodes);
    followers.into_iter().for_each(|follower| drop(follower.stop(LIMIT)));
    stream.stop();
}
