//! A process that is killed after Kafka has committed its events, and before its database knows.

use std::path::Path;
use std::process::{Command, Stdio};

use futures::executor::block_on;
use node::publisher::PublisherSettings;
use rustix::process::Signal;
use testkit::process::{Process, temp_dir};
use testkit::{Broker, LIMIT, Record, records, wait_until};

use crate::stream::Stream;
use crate::trial::{Trial, open, publish_all, write};

/// The folder of the node, the name of the topics, and the broker, for the process to be killed.
const TO_BE_KILLED: &str = "HELIXSTREAM_TEST_NODE_TO_BE_KILLED";

const TEST: &str = "killed::a_process_killed_between_commit_and_mark_publishes_nothing_new";

/// Kills this process after a transaction was committed, and before its events are marked.
fn kill_after_commit(step: &str) {
    if step == "publish.committed" {
        rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
    }
}

/// The part of the process that is killed.
fn be_killed(arguments: &str) {
    let [folder, name, bootstrap] = arguments.split('|').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let trial = Trial { name: name.to_owned(), bootstrap: bootstrap.to_owned() };
    let node = open(Path::new(folder), "agent");
    let settings = PublisherSettings { observe_step: kill_after_commit, ..PublisherSettings::default() };
    let publisher = trial.publisher_with(node.journal(), settings);
    wait_until("this process to be killed", || publisher.has_ended());
    panic!("the publisher has ended by itself: {:?}", publisher.status());
}

#[test]
fn a_process_killed_between_commit_and_mark_publishes_nothing_new() {
    if let Ok(arguments) = std::env::var(TO_BE_KILLED) {
        return be_killed(&arguments);
    }
    let trial = Trial::new("killed", Broker::shared());
    let stream = Stream::start(&trial);
    let folder = temp_dir("node");
    let node = open(&folder, "agent");
    let accepted: Vec<String> = (0..5).map(|n| write(&node, "m", &format!("{n}")).event_id).collect();
    let request = block_on(node.request_sync(None)).unwrap().event_id;
    let actor = node.journal().identity().unwrap().actor;
    node.stop();

    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env(TO_BE_KILLED, format!("{}|{}|{}", folder.display(), trial.name, trial.bootstrap));
    let mut process = Process::start(command, Signal::KILL).unwrap();
    let status = process.wait(LIMIT).expect("the process kills itself");
    assert!(!status.success() && status.code().is_none(), "it ended by a signal: {status}");
    let published = || {
        let records = records::read_committed(Broker::shared(), &trial.topic("events"));
        records.into_iter().partition::<Vec<Record>, _>(|record| record.key_text() == request)
    };
    let (requests, before) = published();
    assert_eq!((requests.len(), before.len()), (1, 5), "its transaction was committed");

    let node = open(&folder, "agent");
    assert_eq!(node.journal().identity().unwrap().published, 0, "its database does not know");
    publish_all(&trial, &node);
    let (requests, after) = published();
    assert_eq!(after, before);
    // Nobody knows that it was sent, and a second one changes nothing.
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].value, requests[1].value);
    assert_eq!(node.journal().identity().unwrap().actor, actor);
    let published = trial.events(Broker::shared());
    assert!(accepted.iter().all(|id| published.contains_key(id)));
    let follower = trial.follower(&node);
    stream.assert_resolved(Broker::shared(), &trial, &[&node]);
    follower.stop(LIMIT);
    stream.stop();
}
