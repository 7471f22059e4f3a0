//! A folder with an open node: what its publisher and its follower do, and what becomes of it when
//! its process is killed, or its files are copied, rolled back or lost.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::executor::block_on;
use helixstream_node::actor::Incarnation;
use helixstream_node::ports::{Agreement, Journal, Publication, SnapshotRecord, chain_digest};
use helixstream_node::settings::StaleWrites;
use helixstream_node::shown::{EventState, NodeStatus};
use helixstream_node::{Node, NodeSettings};

use super::world::{Kafka, SeenIds, TOPIC};

/// The files of a database. The third one is made anew from the others.
const FILES: [&str; 3] = ["node.db", "node.db-wal", "node.db-shm"];

/// The steps of a transaction, whoever has asked for it.
pub const STEPS: [&str; 4] = ["begun", "written", "committed", "answered"];

/// A process that is to be killed at a step of its next transaction: the disk as it is then is what
/// the next process finds.
struct Kill {
    step: &'static str,
    folder: PathBuf,
    image: PathBuf,
    /// Whether the transaction has begun: the one before may not have come to its last step.
    has_begun: bool,
    is_done: bool,
}

/// The kill of each of the tests of this binary, which run side by side. A step is observed by a
/// plain function, which knows nothing else.
static KILLS: [Mutex<Option<Kill>>; 3] = [const { Mutex::new(None) }; 3];

/// The observer of each test.
const OBSERVERS: [fn(&'static str); 3] = [observe::<0>, observe::<1>, observe::<2>];

fn observe<const TEST: usize>(step: &'static str) {
    let mut kill = KILLS[TEST].lock().unwrap_or_else(PoisonError::into_inner);
    let Some(kill) = kill.as_mut() else { return };
    let (_, step) = step.split_once('.').unwrap();
    kill.has_begun |= step == "begun";
    if kill.step == step && kill.has_begun && !kill.is_done {
        copy_files(&kill.folder, &kill.image);
        kill.is_done = true;
    }
}

/// The kind of a history.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The number of the test that makes it.
    pub test: usize,
    /// Whether folders are copied and rolled back.
    pub has_copies: bool,
    pub stale_writes: StaleWrites,
}

/// A folder with an open node.
pub struct Folder {
    pub name: String,
    /// The folder and its copies have one line; a folder that was lost has another line than the
    /// one before it.
    pub line: String,
    pub path: PathBuf,
    pub node: Node,
    kind: Kind,
    journal: Arc<dyn Journal>,
    is_connected: bool,
    clock: fn() -> u64,
}

impl Folder {
    pub fn open(path: &Path, name: &str, line: &str, kind: Kind, clock: fn() -> u64) -> Folder {
        let mut settings = NodeSettings::new(path, name.parse().unwrap());
        settings.wall_clock = clock;
        settings.stale_writes = kind.stale_writes;
        settings.observe_step = OBSERVERS[kind.test];
        let node = Node::open(settings).expect("the node opens");
        let journal = node.journal();
        let (name, line) = (name.to_owned(), line.to_owned());
        Folder { name, line, path: path.to_owned(), node, kind, journal, is_connected: false, clock }
    }

    pub fn restart(&mut self) {
        self.node.stop();
        self.open_again();
    }

    fn open_again(&mut self) {
        let (path, name, line) = (self.path.clone(), self.name.clone(), self.line.clone());
        *self = Folder::open(&path, &name, &line, self.kind, self.clock);
    }

    /// Does something in a process that is killed at a step of its transaction.
    pub fn killed_at<T>(&mut self, step: &'static str, work: impl FnOnce(&mut Folder) -> T) -> T {
        let image = self.path.with_extension("image");
        let _ = std::fs::remove_dir_all(&image);
        // What sessions were shown is written behind a read, and nobody waits for it: its
        // transaction is not the one that is killed.
        self.journal.mark_requests_sent(&[]).unwrap();
        let kill = Kill { step, folder: self.path.clone(), image: image.clone(), has_begun: false, is_done: false };
        *KILLS[self.kind.test].lock().unwrap() = Some(kill);
        let result = work(self);
        let kill = KILLS[self.kind.test].lock().unwrap().take();
        if kill.is_some_and(|kill| kill.is_done) {
            self.roll_back(&image);
        } else {
            // The last step comes behind the answer, so it may be still to come.
            self.restart();
        }
        result
    }

    /// A copy of the folder while its node is open, as `cp -r` makes it between two writes.
    pub fn copy_to(&self, path: &Path) {
        copy_files(&self.path, path);
    }

    /// Puts a copy back in the place of the folder.
    pub fn roll_back(&mut self, copy: &Path) {
        self.node.stop();
        remove_files(&self.path);
        copy_files(copy, &self.path);
        self.open_again();
    }

    /// Begins with an empty folder.
    pub fn lose(&mut self, line: &str) {
        self.node.stop();
        remove_files(&self.path);
        line.clone_into(&mut self.line);
        self.open_again();
    }

    pub fn status(&self) -> NodeStatus {
        block_on(self.node.status()).unwrap()
    }

    fn connect(&mut self, kafka: &mut Kafka, id: usize) {
        while !self.is_connected {
            let actor = self.journal.identity().unwrap().actor.to_string();
            kafka.owners.insert(actor.clone(), id);
            let agreement =
                kafka.records.get(&actor).map_or(Agreement::Agrees, |found| self.journal.reconcile(*found).unwrap());
            match agreement {
                Agreement::Agrees => self.is_connected = true,
                Agreement::Differs => {
                    drop(self.journal.begin_incarnation(&Incarnation::random(), "the folder was rolled back").unwrap())
                }
            }
        }
    }

    /// What the publisher does: one transaction of at most so many events. With a step the process
    /// is killed behind the commit: there, while it marks the events.
    pub fn publish(&mut self, kafka: &mut Kafka, id: usize, max_records: usize, kill_at: Option<&'static str>) {
        self.connect(kafka, id);
        let identity = self.journal.identity().unwrap();
        let actor = identity.actor.to_string();
        if kafka.owners.get(&actor) != Some(&id) {
            self.is_connected = false;
            if let Some(found) = kafka.records.get(&actor) {
                // Whether the last transaction was committed.
                self.journal.reconcile(*found).unwrap();
            }
            self.journal.begin_incarnation(&Incarnation::random(), "another process has fenced this one").unwrap();
            return self.publish(kafka, id, max_records, kill_at);
        }
        let events = self.journal.unpublished(max_records, 1 << 20).unwrap();
        let Some(last) = events.last() else { return };
        let chain = events.iter().fold(identity.chain, |chain, event| chain_digest(chain, &event.value));
        for event in &events {
            kafka.publish(&event.value, event.timestamp_ms);
        }
        let publication = Publication { counter: last.counter, chain };
        kafka.records.insert(actor, publication);
        let mark = |folder: &mut Folder| {
            assert_eq!(folder.journal.mark_published(last.counter).unwrap(), publication);
        };
        match kill_at {
            Some(step) => self.killed_at(step, mark),
            None => mark(self),
        }
    }

    /// A broker refuses the first waiting event for ever. Only a publisher that knows what was
    /// committed asks a broker. Returns the event.
    pub fn fail_first(&mut self, kafka: &Kafka, id: usize) -> Option<String> {
        let actor = self.journal.identity().unwrap().actor.to_string();
        if !self.is_connected || kafka.owners.get(&actor) != Some(&id) {
            return None;
        }
        let event = self.journal.unpublished(1, 1).unwrap().into_iter().next()?;
        self.journal.mark_failed(event.counter, "the record is too large").unwrap();
        Some(String::from_utf8(event.value).unwrap())
    }

    pub fn position(&self) -> usize {
        self.journal.position(TOPIC, 0).unwrap().unwrap_or(0) as usize
    }

    /// What the follower does.
    pub fn follow(&self, kafka: &Kafka, max_records: usize) {
        let from = self.position();
        let to = kafka.snapshots.len().min(from.saturating_add(max_records));
        let record = |at: usize| {
            let snapshot = &kafka.snapshots[at];
            SnapshotRecord { offset: at as i64, memory_id: snapshot.memory_id.clone(), value: snapshot.value.clone() }
        };
        let records: Vec<SnapshotRecord> = (from..to).map(record).collect();
        self.journal.apply(TOPIC, 0, &records, to as i64).unwrap();
    }

    /// The events that a reader of this node has seen of a memory: those of the last snapshot, and
    /// those that lie over it. One that has failed lies over nothing.
    pub fn seen_ids(&self, kafka: &Kafka, memory_id: &str) -> SeenIds {
        let mut seen =
            kafka.snapshot(memory_id, self.position()).map(|snapshot| snapshot.seen.clone()).unwrap_or_default();
        for event in block_on(self.node.events_of(memory_id)).unwrap() {
            if !event.is_resolved && !matches!(event.state, EventState::Failed(_)) {
                seen.insert(event.event_id);
            }
        }
        seen
    }

    /// Whether its database has an event to a memory.
    pub fn has(&self, memory_id: &str, event_id: &str) -> bool {
        block_on(self.node.events_of(memory_id)).unwrap().iter().any(|event| event.event_id == event_id)
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in &FILES[..2] {
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

fn remove_files(folder: &Path) {
    for file in FILES {
        let _ = std::fs::remove_file(folder.join(file));
    }
}
