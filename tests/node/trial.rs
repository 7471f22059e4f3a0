//! Topics of a test's own, and nodes on folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use node::follower::{Follower, FollowerSettings};
use node::kafka::{APPLICATION_ID, KafkaClients, Topics};
use node::ports::Journal;
use node::publisher::{Publisher, PublisherSettings};
use node::registry::NodesTopic;
use node::shown::{ListQuery, ShownMemory};
use node::write::{Accepted, Fields, MemoryWrite, WriteKind};
use node::{Node, NodeSettings};
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::producer::TransactionalProducers;
use streams_kafka::restore_consumer::RestoreConsumer;
use testkit::{Broker, LIMIT, records, unique, wait_until};

/// Topics with names of their own on a broker, with a client for each node.
pub struct Trial {
    pub name: String,
    pub bootstrap: String,
}

impl Trial {
    pub fn new(stem: &str, broker: &Broker) -> Trial {
        Trial { name: unique(stem), bootstrap: broker.bootstrap() }
    }

    /// The same with the topics of events and resolved memories made.
    pub fn with_topics(stem: &str, broker: &Broker) -> Trial {
        let trial = Trial::new(stem, broker);
        broker.create_topic(&trial.topic("events"), 3, &[]);
        broker.create_topic(&trial.topic("snapshots"), 2, &[]);
        trial
    }

    pub fn topic(&self, stem: &str) -> String {
        format!("{}.{stem}", self.name)
    }

    /// The names of the topics of its nodes.
    pub fn topics(&self) -> Topics {
        Topics {
            events: self.topic("events").into(),
            snapshots: self.topic("snapshots").into(),
            nodes: self.topic("nodes").into(),
            dead_letters: self.topic("dead-letters").into(),
        }
    }

    /// Clients of one process.
    pub fn kafka(&self) -> KafkaClients {
        let settings = KafkaSettings::new(&self.bootstrap, APPLICATION_ID, &unique("process"));
        let reader = RestoreConsumer::for_standbys(&settings).unwrap();
        let admin = ClusterAdmin::new(&settings, &reader).unwrap();
        let topics = self.topics();
        let producers = move |id: &str| -> Box<dyn streams::ports::ProducerFactory> {
            Box::new(TransactionalProducers::with_id(&settings, id.to_owned()))
        };
        KafkaClients { topics, producers: Arc::new(producers), reader: Arc::new(reader), admin: Arc::new(admin) }
    }

    pub fn publisher(&self, journal: Arc<dyn Journal>) -> Publisher {
        self.publisher_with(journal, PublisherSettings::default())
    }

    pub fn publisher_with(&self, journal: Arc<dyn Journal>, settings: PublisherSettings) -> Publisher {
        let kafka = self.kafka();
        let nodes = Arc::new(NodesTopic::new(kafka.clone()));
        Publisher::start(kafka, nodes, journal, settings).unwrap()
    }

    pub fn follower(&self, node: &Node) -> Follower {
        Follower::start(self.kafka(), node.journal(), FollowerSettings::default()).unwrap()
    }

    /// Published events by id, without sync requests. No event has two values, and no actor one
    /// counter twice.
    pub fn events(&self, broker: &Broker) -> BTreeMap<String, serde_json::Value> {
        let (mut by_id, mut by_counter) = (BTreeMap::new(), BTreeMap::new());
        for record in records::read_committed(broker, &self.topic("events")) {
            let event = record.value_json();
            if event["event_type"] == "memory.sync_request" {
                continue;
            }
            let id = event["event_id"].as_str().unwrap().to_owned();
            let actor = event["node_id"].as_str().unwrap().to_owned();
            let counter = event["vector_clock"][&actor].as_u64().unwrap();
            let twin = by_counter.insert((actor.clone(), counter), id.clone());
            assert!(twin.is_none_or(|twin| twin == id), "{actor} has used counter {counter} for two events");
            // Equal JSON is not enough: the same bytes are sent at every try.
            let other = by_id.insert(id.clone(), (event, record.value.clone()));
            assert!(other.is_none_or(|(_, other)| other == record.value), "event {id} has two values");
        }
        by_id.into_iter().map(|(id, (event, _))| (id, event)).collect()
    }
}

pub fn open(folder: &Path, name: &str) -> Node {
    Node::open(NodeSettings::new(folder, name.parse().unwrap())).unwrap()
}

/// Writes a memory's content, by somebody who has seen what the node shows.
pub fn write(node: &Node, memory: &str, content: &str) -> Accepted {
    let fields = Fields::new().with_text("content", content).unwrap().with_text("user_id", "u").unwrap();
    block_on(node.write(MemoryWrite::new(memory, WriteKind::Update, fields))).unwrap()
}

pub fn read(node: &Node, memory: &str) -> Option<ShownMemory> {
    block_on(node.read(memory, None)).unwrap()
}

/// All memories of a node, also deleted ones; `None` while something is pending.
pub fn view(node: &Node) -> Option<BTreeMap<String, Vec<u8>>> {
    let query = ListQuery { with_inactive: true, limit: 1000, ..ListQuery::default() };
    let memories = block_on(node.list(query)).unwrap().memories;
    let is_settled = memories.iter().all(|memory| !memory.is_pending);
    is_settled.then(|| memories.into_iter().map(|memory| (memory.memory_id, memory.json)).collect())
}

/// Waits until every event of a node is published.
#[track_caller]
pub fn wait_until_published(node: &Node) {
    wait_until("the outbox to be empty", || block_on(node.status()).unwrap().outbox_depth == 0);
}

/// Publishes all that a node has, and ends the publisher in good order.
pub fn publish_all(trial: &Trial, node: &Node) {
    let publisher = trial.publisher(node.journal());
    wait_until_published(node);
    publisher.stop(LIMIT);
}

/// A copy of a folder that no process uses.
pub fn copy(folder: &Path) -> PathBuf {
    let copy = testkit::process::temp_dir("node-copy");
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}
