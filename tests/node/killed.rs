//! A process that is killed after Kafka has committed its events, and before its database knows.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use node::ports::{
    Agreement, DeadLetter, Identity, Journal, JournalError, OutboxEvent, Publication, SnapshotRecord, SyncRequest,
};
use rustix::process::Signal;
use testkit::process::{Process, temp_dir};
use testkit::{Broker, LIMIT, Record, records, wait_until};

use crate::trial::{Trial, open, publish_all, write};

/// The folder of the node, the name of the topics, and the broker, for the process to be killed.
const TO_BE_KILLED: &str = "HELIXSTREAM_TEST_NODE_TO_BE_KILLED";

const TEST: &str = "killed::a_process_killed_between_commit_and_mark_publishes_nothing_new";

/// A journal that kills its process instead of marking events as published.
struct Killing(Arc<dyn Journal>);

impl Journal for Killing {
    fn identity(&self) -> Result<Identity, JournalError> {
        self.0.identity()
    }

    fn unpublished(&self, max_records: usize, max_bytes: usize) -> Result<Vec<OutboxEvent>, JournalError> {
        self.0.unpublished(max_records, max_bytes)
    }

    fn wait_for_unpublished(&self, timeout: Duration) -> Result<bool, JournalError> {
        self.0.wait_for_unpublished(timeout)
    }

    fn reconcile(&self, published: Publication) -> Result<Agreement, JournalError> {
        self.0.reconcile(published)
    }

    fn mark_published(&self, _counter: u64) -> Result<Publication, JournalError> {
        rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
        Err(JournalError::Stopped)
    }

    fn mark_failed(&self, counter: u64, reason: &str) -> Result<(), JournalError> {
        self.0.mark_failed(counter, reason)
    }

    fn begin_incarnation(&self, reason: &str) -> Result<Identity, JournalError> {
        self.0.begin_incarnation(reason)
    }

    fn unsent_requests(&self) -> Result<Vec<SyncRequest>, JournalError> {
        self.0.unsent_requests()
    }

    fn mark_requests_sent(&self, event_ids: &[String]) -> Result<(), JournalError> {
        self.0.mark_requests_sent(event_ids)
    }

    fn mark_request_failed(&self, event_id: &str, reason: &str) -> Result<(), JournalError> {
        self.0.mark_request_failed(event_id, reason)
    }

    fn outbox_depth(&self) -> Result<(u64, Option<i64>), JournalError> {
        self.0.outbox_depth()
    }

    fn position(&self, topic: &str, partition: i32) -> Result<Option<i64>, JournalError> {
        self.0.position(topic, partition)
    }

    fn apply(&self, topic: &str, partition: i32, records: &[SnapshotRecord], next: i64) -> Result<(), JournalError> {
        self.0.apply(topic, partition, records, next)
    }

    fn begin_again(&self, topic: &str, partition: i32, start: i64) -> Result<(), JournalError> {
        self.0.begin_again(topic, partition, start)
    }

    fn fail_dead_letters(&self, topic: &str, at: i32, letters: &[DeadLetter], next: i64) -> Result<u64, JournalError> {
        self.0.fail_dead_letters(topic, at, letters, next)
    }
}

/// The part of the process that is killed.
fn be_killed(arguments: &str) {
    let [folder, name, bootstrap] = arguments.split('|').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let trial = Trial { name: name.to_owned(), bootstrap: bootstrap.to_owned() };
    let node = open(Path::new(folder), "agent");
    let publisher = trial.publisher(Arc::new(Killing(node.journal())));
    wait_until("this process to be killed", || publisher.has_ended());
    panic!("the publisher has ended by itself: {:?}", publisher.status());
}

#[test]
fn a_process_killed_between_commit_and_mark_publishes_nothing_new() {
    if let Ok(arguments) = std::env::var(TO_BE_KILLED) {
        return be_killed(&arguments);
    }
    let trial = Trial::with_topics("killed", Broker::shared());
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
}
