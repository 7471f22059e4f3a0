//! `helixstream nodes`: the nodes of the distributed memory, as their records on Kafka say.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::kafka::{self, Memory};
use super::node::clients;
use super::report::{print, print_json, table};
use super::{CommandError, rights};
use crate::edges::cli::{ListNodesArgs, NodesAction, ReportFormat};
use node::kafka::Topics;
use node::registry::{NodeDirectory, NodesTopic, RegisteredNode, now_ms};
use node_http::node_document;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::restore_consumer::RestoreConsumer;

/// Queues of the Kafka clients together, in bytes.
const MEMORY: u64 = 16 << 20;
/// How long the next record may take to come.
const RECORD_LIMIT: Duration = Duration::from_secs(30);
/// Longest text of another program in a table, in characters.
const LONGEST_CELL: usize = 60;
/// Nanoseconds of a millisecond.
const NANOS: u64 = 1_000_000;

/// Does what the command line asks for.
pub fn nodes(action: &NodesAction) -> Result<(), CommandError> {
    match action {
        NodesAction::List(args) => list(args),
    }
}

fn list(args: &ListNodesArgs) -> Result<(), CommandError> {
    let directory = read(args)?;
    let (nodes, now) = (directory.nodes(), now_ms());
    if args.format == ReportFormat::Json {
        // Each as `GET /v1/nodes` answers it.
        let all = nodes.iter().map(|node| serde_json::from_slice::<Value>(&node_document(node, now)));
        let all = all.collect::<Result<Vec<Value>, _>>()?;
        return print_json(&json!({ "nodes": all, "unreadable": directory.unreadable() }));
    }
    let heads =
        ["NAME", "INCARNATION", "TYPE", "STATUS", "HEARTBEAT", "COUNTER", "PUBLISHED", "OUTBOX", "JOINED", "VERSION"];
    print(&table(&heads, nodes.iter().map(|node| row(node, now))))
}

/// Reads the topic to its end.
fn read(args: &ListNodesArgs) -> Result<NodeDirectory, CommandError> {
    let settings = kafka::settings(&args.kafka, None, "nodes", Memory::share(MEMORY, 1))?;
    let admin = ClusterAdmin::new(&settings, &RestoreConsumer::new(&settings)?)?;
    admin.wait_for_brokers(kafka::patience(None))?;
    let topic = args.nodes_topic.as_str();
    let report = rights::require(&admin, &settings, "nodes list", &rights::list_nodes(topic))?;
    if report.absent.iter().any(|name| name == topic) {
        return Err(anyhow!(
            "topic `{topic}` does not exist: the first `helixstream node` makes it; or name another with --nodes-topic [HS2004]"
        )
        .into());
    }
    let topics = Topics { nodes: topic.into(), ..Topics::default() };
    Ok(NodesTopic::new(clients(topics, &settings)?).read_directory(RECORD_LIMIT)?)
}

fn row(node: &RegisteredNode, now_ms: i64) -> Vec<String> {
    let record = &node.record;
    vec![
        record.actor.name.to_string(),
        record.actor.incarnation.to_string(),
        record.role.to_string(),
        node.liveness(now_ms).to_string(),
        time(node.record_ms),
        record.counter.to_string(),
        record.published.counter.to_string(),
        record.outbox_depth.to_string(),
        time(record.joined_ms),
        escape::cell(&record.software_version, LONGEST_CELL).into_owned(),
    ]
}

/// A time in milliseconds since 1970 by RFC 3339; one before 1970 is shown as 1970.
fn time(ms: i64) -> String {
    json::rfc3339::format(u64::try_from(ms).unwrap_or(0).saturating_mul(NANOS))
}
