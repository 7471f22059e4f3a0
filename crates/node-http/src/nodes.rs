//! The nodes that the registry knows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::ObjectWriter;
use node::registry::{NodeState, RegisteredNode, now_ms};

use crate::answers::{boolean, nanoseconds};
use crate::description::{AnswerDescription, Operation, Shape, Tag};
use crate::error_kinds::{BOUND_TO_USERS, INTERNAL, MALFORMED};
use crate::listing::ANSWER_BYTES;
use crate::node_shapes::NODES;
use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// GET /v1/nodes.
pub(crate) static LIST: Operation = Operation {
    id: "listNodes",
    tag: Tag::Node,
    summary: "List the nodes",
    description: "The nodes by their ids, each as its last record on the nodes topic says. Tokens that are bound to \
                  users are refused.",
    answers: &[AnswerDescription::ok("The nodes.", Shape::Component(&NODES))],
    errors: &[&[&MALFORMED, &BOUND_TO_USERS, &INTERNAL]],
    ..Operation::EMPTY
};

/// GET /v1/nodes.
pub(crate) async fn list(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &LIST)?;
    if client.users().is_some() {
        return Err(problems::nodes_of_others());
    }
    let (directory, now_ms) = (&service.loops.directory, now_ms());
    let is_complete = service.loops.nodes_status().is_caught_up;
    let nodes: Vec<Vec<u8>> = directory.nodes().iter().map(|node| node_document(node, now_ms)).collect();
    let mut bytes = 0;
    let fitting = nodes.iter().take_while(|node| {
        let before = bytes;
        bytes += node.len();
        before < ANSWER_BYTES
    });
    let kept = fitting.count();
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.raw("complete", &boolean(is_complete));
    object.array("nodes", &nodes[..kept], |out, node| out.extend_from_slice(node));
    object.raw("truncated", &boolean(kept < nodes.len()));
    object.integer("unreadable", directory.unreadable() as u64);
    object.end();
    Ok(answers::json(StatusCode::OK, body))
}

/// A node with all that its record says, as JSON, at a time in milliseconds since 1970.
#[must_use]
pub fn node_document(node: &RegisteredNode, now_ms: i64) -> Vec<u8> {
    let record = &node.record;
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.array("capabilities", &record.capabilities, |out, word| json::write_string(out, word));
    let mut clock = ObjectWriter::new(object.key("clock"));
    clock.integer("counter", record.counter);
    clock.integer("published", record.published.counter);
    clock.end();
    object.str("incarnation", record.actor.incarnation.as_str());
    object.time("joined_at", nanoseconds(record.joined_ms));
    object.time("last_heartbeat", nanoseconds(node.record_ms));
    object.str("name", record.actor.name.as_str());
    object.str("node_id", &record.actor.to_string());
    let mut outbox = ObjectWriter::new(object.key("outbox"));
    outbox.integer("depth", record.outbox_depth);
    if let Some(oldest) = record.outbox_since_ms {
        outbox.time("oldest", nanoseconds(oldest));
    }
    outbox.end();
    object.str("software_version", &record.software_version);
    object.str("status", node.liveness(now_ms).as_str());
    if let NodeState::Replaced { successor } = &record.state {
        object.str("successor", &successor.to_string());
    }
    object.str("type", record.role.as_str());
    object.end();
    body
}
