//! A cluster of three brokers, each a controller as well, every topic on all of them: what one
//! broker has acknowledged, two have.

use super::broker::{Member, More};
use super::kafka_proxy::{ApiKey, ProxyPorts, listeners};
use super::{Broker, Random, ports, wait_for};
use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId, ElectLeadersRequest,
    ElectLeadersResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// Brokers of a cluster.
pub const BROKERS: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running cluster; its brokers are ended when it is dropped, as are all that are still held.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Arc<Broker>>,
}

/// A partition with those that have a copy of it, the preferred leader first.
#[derive(Debug, Clone)]
struct Placed {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
}

impl Cluster {
    /// Starts the brokers. To each client in `proxied` the broker of the same place in its list
    /// advertises the port of a proxy, which is to be started.
    pub fn start(proxied: &[Vec<ProxyPorts>]) -> Cluster {
        let ports: Vec<(u16, u16)> = (0..BROKERS).map(|_| (ports::free_port(), ports::free_port())).collect();
        let start = |at: usize| {
            let own: Vec<ProxyPorts> = proxied.iter().map(|of_client| of_client[at]).collect();
            let others = ports.iter().filter(|other| **other != ports[at]).map(|(client, _)| *client).collect();
            let member = Member { node: node(at), ports: ports[at], others };
            let properties = properties(at, &ports) + &listeners(&own);
            Arc::new(Broker::start_member(More { properties, member: Some(member), ..More::default() }))
        };
        // None of them serves before there is a quorum of controllers.
        let brokers = std::thread::scope(|scope| {
            let started: Vec<_> = (0..BROKERS).map(|at| scope.spawn(move || start(at))).collect();
            started.into_iter().map(|broker| broker.join().expect("a broker starts")).collect()
        });
        Cluster { brokers }
    }

    /// The brokers. The clients of each know all of them.
    pub fn brokers(&self) -> &[Arc<Broker>] {
        &self.brokers
    }

    /// Waits until each partition has all its copies in sync: until then one broker more that is
    /// away may leave too few for a write.
    #[track_caller]
    pub fn wait_until_in_sync(&self) {
        let consumer: BaseConsumer = self.brokers[0].client().create().unwrap();
        wait_for("all copies of all partitions to be in sync", || {
            let metadata = consumer.fetch_metadata(None, TIMEOUT).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let in_sync = partitions.all(|one| one.leader() >= 0 && one.isr().len() == one.replicas().len());
            (metadata.brokers().len() == BROKERS && in_sync).then_some(())
        });
    }

    /// Moves the leaders of about half of all partitions, Kafka's own among them, by which the
    /// coordinators of groups and transactions move: each gets another preferred leader, which is
    /// then elected. Gives how many leaders have moved; none where a broker is away that is asked.
    pub fn move_leaders(&self, random: &mut Random) -> usize {
        let consumer: BaseConsumer = self.brokers[0].client().create().unwrap();
        let Ok(metadata) = consumer.fetch_metadata(None, TIMEOUT) else { return 0 };
        let placed = metadata.topics().iter().flat_map(|topic| {
            let name = topic.name();
            topic.partitions().iter().map(move |one| {
                let (topic, partition, mut replicas) = (name.to_owned(), one.id(), one.replicas().to_vec());
                replicas.rotate_left(1);
                Placed { topic, partition, replicas }
            })
        });
        let moved: Vec<Placed> = placed.filter(|_| random.one_in(2)).collect();
        self.brokers.iter().find_map(|broker| elect(broker.client_port(), &moved)).unwrap_or(0)
    }
}

fn node(at: usize) -> i32 {
    i32::try_from(at).unwrap() + 1
}

/// Settings of a broker in place of those of one that is alone. What is dead is missed soon.
fn properties(at: usize, ports: &[(u16, u16)]) -> String {
    let voters = ports.iter().enumerate().map(|(at, (_, port))| format!("{}@localhost:{port}", node(at)));
    let (voters, node) = (voters.collect::<Vec<_>>().join(","), node(at));
    format!(
        "node.id={node}
controller.quorum.voters={voters}
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
replica.lag.time.max.ms=3000
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
"
    )
}

/// Has these partitions placed as they say, and the first of each elected its leader; gives how
/// many elections there were.
fn elect(port: u16, placed: &[Placed]) -> Option<usize> {
    let name = |topic: &str| TopicName(StrBytes::from_string(topic.to_owned()));
    let topics = placed.iter().map(|one| {
        let replicas = one.replicas.iter().map(|id| BrokerId(*id)).collect();
        let partition = ReassignablePartition::default().with_partition_index(one.partition);
        let partitions = vec![partition.with_replicas(Some(replicas))];
        ReassignableTopic::default().with_name(name(&one.topic)).with_partitions(partitions)
    });
    let topics = merged(topics);
    let elections = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| one.partition_index).collect();
        TopicPartitions::default().with_topic(topic.name.clone()).with_partitions(partitions)
    });
    let elections = elections.collect();
    let request = AlterPartitionReassignmentsRequest::default().with_timeout_ms(5000).with_topics(topics);
    let mut connection = TcpStream::connect(("localhost", port)).ok()?;
    connection.set_read_timeout(Some(TIMEOUT)).ok()?;
    let answer = call(&mut connection, ApiKey::AlterPartitionReassignments, 0, &request)?;
    let answer: AlterPartitionReassignmentsResponse = answer;
    (answer.error_code == 0).then_some(())?;
    let request = ElectLeadersRequest::default().with_election_type(PREFERRED).with_timeout_ms(5000);
    let request = request.with_topic_partitions(Some(elections));
    let answer: ElectLeadersResponse = call(&mut connection, ApiKey::ElectLeaders, 2, &request)?;
    let results = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    Some(results.filter(|result| result.error_code == 0).count())
}

/// The election of the first of a partition's replicas.
const PREFERRED: i8 = 0;

/// A request names each topic once.
fn merged(topics: impl Iterator<Item = ReassignableTopic>) -> Vec<ReassignableTopic> {
    let mut all: Vec<ReassignableTopic> = Vec::new();
    for mut topic in topics {
        match all.last_mut().filter(|last| last.name == topic.name) {
            Some(last) => last.partitions.append(&mut topic.partitions),
            None => all.push(topic),
        }
    }
    all
}

/// Sends a request and reads its answer; `None` where the broker is away.
fn call<A: Decodable>(connection: &mut TcpStream, api: ApiKey, version: i16, request: &impl Encodable) -> Option<A> {
    let header = RequestHeader::default().with_request_api_key(api as i16).with_request_api_version(version);
    let header = header.with_client_id(Some(StrBytes::from_static_str("chaos")));
    let mut frame = Vec::new();
    header.encode(&mut frame, api.request_header_version(version)).expect("a header");
    request.encode(&mut frame, version).expect("a request");
    connection.write_all(&i32::try_from(frame.len()).ok()?.to_be_bytes()).ok()?;
    connection.write_all(&frame).ok()?;
    let mut length = [0; 4];
    connection.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    connection.read_exact(&mut answer).ok()?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, api.response_header_version(version)).ok()?;
    A::decode(&mut answer, version).ok()
}
