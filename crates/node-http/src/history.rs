//! The history of a memory: the resolved states that this node has applied, and its own events.
//!
//! A client that is bound to users sees the states that the memory had while it was theirs. Of the
//! first such state after one of somebody else it sees no differences that would say what the other
//! one was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{ObjectWriter, Value};
use node::history::{EventInHistory, MemoryHistory, ResolvedState};

use crate::answer_shapes::HISTORY as HISTORY_SHAPE;
use crate::description::{AnswerDescription, Operation, Parameter, Shape, Tag};
use crate::error_kinds::{READING, UNKNOWN_MEMORY};
use crate::memories::shown;
use crate::request::{CURSOR, Client, MEMORY_ID, MemoryId, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// States of a page where the client does not say how many, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;

/// Members of a state by which it is compared with the one before.
const COMPARED: [&str; 3] = ["entered", "follows", "superseded"];

static LIMIT: Parameter = Parameter::query(
    "limit",
    Shape::Range { least: 1, most: MAX_LIMIT, default: Some(DEFAULT_LIMIT) },
    "States of a page at most.",
)
.keyed("limit_of_states");

/// GET /v1/memories/{id}/history.
pub(crate) static HISTORY: Operation = Operation {
    id: "readHistory",
    tag: Tag::Changes,
    summary: "Read the history of a memory",
    description: "The resolved states that this node has applied, the latest first, in pages, and on the first page its \
                  last own events, the oldest first. The order of events is given as far as it is known; docs/node.md \
                  says what follows from it and what is not in it. A token that is bound to users sees the states that \
                  the memory had while it was theirs.",
    parameters: &[&MEMORY_ID, &LIMIT, &CURSOR],
    answers: &[AnswerDescription::ok("A page.", Shape::Component(&HISTORY_SHAPE))],
    errors: &[READING, &[&UNKNOWN_MEMORY]],
    ..Operation::EMPTY
};

/// GET /v1/memories/{id}/history.
pub(crate) async fn history(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &HISTORY)?;
    let limit = parameters.number(&LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let wrong_cursor = || problems::malformed("the query parameter `cursor` should be the `next` of an earlier answer");
    let cursor = parameters.text(&CURSOR)?;
    let cursor = cursor.map(|text| text.parse::<u64>().map_err(|_| wrong_cursor())).transpose()?;
    shown(&service, &client, &id, None).await?.ok_or_else(problems::unknown_memory)?;
    let history = service.node.history(&id).await.map_err(|error| problems::of_database(&error))?;
    let body = answer(&client, &id, &history, cursor, limit).map_err(|error| {
        problems::internal(format!("a row of the history in the database of the node is not JSON: {error}"))
    })?;
    Ok(answers::json(StatusCode::OK, body))
}

/// A page of states, the latest first, and on the first page the own events.
fn answer(
    client: &Client,
    id: &str,
    history: &MemoryHistory,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<u8>, json::JsonError> {
    let visible: Vec<&ResolvedState> =
        history.states.iter().filter(|state| client.may_use(state.user_id.as_deref())).collect();
    let numbers: BTreeSet<u64> = visible.iter().map(|state| state.number).collect();
    let mut page = visible.iter().rev().filter(|state| before.is_none_or(|before| state.number < before)).peekable();
    let mut states = Vec::new();
    while let Some(state) = page.next_if(|_| states.len() < limit) {
        states.push((state.number, state_of(client, state)?));
    }
    let next = page.next().and(states.last()).map(|(number, _)| *number);
    let first_page = if before.is_none() { history.events.as_slice() } else { &[] };
    let events: Vec<Vec<u8>> =
        first_page.iter().map(|event| event_of(event, &numbers)).collect::<Result<_, json::JsonError>>()?;

    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    let is_complete = visible.first().is_some_and(|state| state.is_first);
    object.raw("complete", &answers::boolean(is_complete));
    object.array("events", &events, |out, event| out.extend_from_slice(event));
    object.str("memory_id", id);
    next.iter().for_each(|number| object.str("next", &number.to_string()));
    object.array("states", &states, |out, (_, state)| out.extend_from_slice(state));
    object.raw("truncated", &answers::boolean(!history.has_all_events));
    object.end();
    Ok(body)
}

/// A state as the client may see it.
fn state_of(client: &Client, state: &ResolvedState) -> Result<Vec<u8>, json::JsonError> {
    let document = json::parse(&state.json)?;
    let mut members: BTreeMap<&str, Vec<u8>> =
        document.root().members().map(|(name, value)| (name, value.canonical())).collect();
    members.insert("number", state.number.to_string().into_bytes());
    let was_foreign = !state.is_first && !client.may_use(state.old_user_id.as_deref());
    if was_foreign {
        members.retain(|name, _| !COMPARED.contains(name));
        let changed = document.root().get("changed").into_iter().flat_map(Value::items);
        let mut kept = vec![b'['];
        for field in changed.filter(|field| field.get("removed").is_none()) {
            if kept.len() > 1 {
                kept.push(b',');
            }
            field.write_canonical(&mut kept);
        }
        kept.push(b']');
        members.insert("changed", kept);
    }
    Ok(object_of(&members))
}

/// An own event with its places among the states of these numbers.
fn event_of(placed: &EventInHistory, visible: &BTreeSet<u64>) -> Result<Vec<u8>, json::JsonError> {
    let event = answers::event(&placed.event)?;
    let document = json::parse(&event)?;
    let mut members: BTreeMap<&str, Vec<u8>> =
        document.root().members().map(|(name, value)| (name, value.canonical())).collect();
    for (name, number) in [("in_state", placed.in_state), ("seen_state", placed.seen_state)] {
        if let Some(number) = number.filter(|number| visible.contains(number)) {
            members.insert(name, number.to_string().into_bytes());
        }
    }
    let mut supersedes = vec![b'['];
    for id in &placed.supersedes {
        if supersedes.len() > 1 {
            supersedes.push(b',');
        }
        json::write_string(&mut supersedes, id);
    }
    supersedes.push(b']');
    members.insert("supersedes", supersedes);
    Ok(object_of(&members))
}

fn object_of(members: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    members.iter().for_each(|(name, value)| object.raw(name, value));
    object.end();
    out
}
