//! A cluster of three real Kafka brokers, each of them a controller, too. Every topic lies on all three, and what is written must be on two.

use super::broker::{Broker, More, Node, Ports};
use super::wait_for;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// How many brokers there are.
const BROKERS: usize = 3;

/// The cluster; ended when its last broker is dropped.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Arc<Broker>>,
}

impl Cluster {
    /// An empty one, of which all brokers serve.
    pub fn start() -> Cluster {
        let ports = [(); BROKERS].map(|()| Ports::free());
        let join = |parts: Vec<String>| parts.join(",");
        let servers = join(ports.iter().map(|ports| format!("localhost:{}", ports.client)).collect());
        let voters = ports.iter().zip(1..).map(|(ports, id)| format!("{id}@localhost:{}", ports.controller)).collect();
        let voters = join(voters);
        let start = |(ports, id): (Ports, i32)| {
            let properties = properties(id, &voters);
            let node = Some(Node { id, ports, servers: servers.clone() });
            Arc::new(Broker::start_with_more(More { properties, node, ..More::default() }))
        };
        // At once: two of three controllers must be there before any broker serves.
        let brokers = std::thread::scope(|scope| {
            let starting = ports.into_iter().zip(1..).map(|node| scope.spawn(move || start(node)));
            let starting: Vec<_> = starting.collect();
            starting.into_iter().map(|one| one.join().expect("a broker starts")).collect()
        });
        Cluster { brokers }
    }

    /// The brokers. Clients that are made by any of them know all.
    pub fn brokers(&self) -> &[Arc<Broker>] {
        &self.brokers
    }

    /// Waits until every partition of every topic is in sync on all brokers, so that the next one can be taken away.
    #[track_caller]
    pub fn wait_until_in_sync(&self) {
        wait_for("all partitions to be in sync on all brokers", || {
            let consumer: BaseConsumer = self.brokers[0].client().create().unwrap();
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).ok()?;
            let partitions = || metadata.topics().iter().flat_map(|topic| topic.partitions());
            let is_whole = metadata.brokers().len() == BROKERS && partitions().all(|one| one.isr().len() == BROKERS);
            is_whole.then_some(())
        });
    }
}

fn properties(id: i32, voters: &str) -> String {
    let mut text = format!("node.id={id}\ncontroller.quorum.voters={voters}\n");
    for (what, count) in [
        ("default.replication.factor", 3),
        ("min.insync.replicas", 2),
        ("offsets.topic.replication.factor", 3),
        ("transaction.state.log.replication.factor", 3),
        ("transaction.state.log.min.isr", 2),
        // A broker that is killed is missed soon.
        ("broker.heartbeat.interval.ms", 500),
        ("broker.session.timeout.ms", 3_000),
    ] {
        writeln!(text, "{what}={count}").unwrap();
    }
    text
}
