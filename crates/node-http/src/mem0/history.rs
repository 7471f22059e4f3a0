//! GET /v1/memories/{id}/history/: how a memory has become what it is, as far as this node's own
//! events say.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Problem;
use json::{Number, ObjectWriter, Value};
use node::shown::{EventState, OwnEvent};

use super::answer::{cut, write_optional};
use crate::listing::ANSWER_BYTES;
use crate::memories::shown;
use crate::problems;
use crate::request::{Client, MemoryId, Parameters};
use crate::service::NodeService;

/// GET /v1/memories/{id}/history/.
pub(super) async fn history(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &[])?;
    shown(&service, &client, &id, None).await?.ok_or_else(problems::unknown_memory)?;
    let mut history = History::new(&client, &id);
    let mut next = Some(0);
    while let (Some(after), false) = (next, history.is_complete()) {
        let page = service.node.events_from(&id, after).await.map_err(|error| problems::of_database(&error))?;
        page.events.iter().try_for_each(|event| history.add(event))?;
        next = page.next;
    }
    let History { mut entries, is_truncated, .. } = history;
    entries.insert(0, b'[');
    entries.push(b']');
    Ok(cut(entries, is_truncated))
}

/// The counters of other writers that an event has seen.
type OtherWriters = BTreeMap<String, i128>;

/// The entries of the events that were read.
///
/// A client that is bound to users sees no text that a memory had while it was somebody else's. The
/// events of this node do not say whose it was all the time, since other nodes move memories too.
/// So such a client sees the events from the last one that names one of its users, up to the first
/// one that has seen an event of another node since.
struct History<'h> {
    client: &'h Client,
    id: &'h str,
    /// The text before the next event, as far as the events that are shown say.
    text: Option<String>,
    user_id: Option<String>,
    /// The counters that the event which names the user has seen.
    origin: OtherWriters,
    /// Whether the memory may have been somebody else's since.
    is_uncertain: bool,
    /// The entries, with commas between them.
    entries: Vec<u8>,
    is_truncated: bool,
}

impl<'h> History<'h> {
    fn new(client: &'h Client, id: &'h str) -> History<'h> {
        History {
            client,
            id,
            text: None,
            user_id: None,
            origin: OtherWriters::new(),
            is_uncertain: false,
            entries: Vec::new(),
            is_truncated: false,
        }
    }

    /// Whether further events change nothing. For a client that is bound to users, a later one may
    /// name its user.
    fn is_complete(&self) -> bool {
        self.is_truncated && self.client.users().is_none()
    }

    /// Adds an event, the oldest first. One that has failed has changed nothing.
    fn add(&mut self, event: &OwnEvent) -> Result<(), Problem> {
        if matches!(event.state, EventState::Failed(_)) {
            return Ok(());
        }
        let document = json::parse(&event.value).map_err(problems::damaged_event)?;
        let root = document.root();
        self.see_owner(root);
        let text_of = |name: &str| root.get(name).and_then(Value::as_str);
        let action = match text_of("event_type") {
            Some("memory.created") => "ADD",
            Some("memory.updated") => "UPDATE",
            Some("memory.deleted") => "DELETE",
            _ => return Ok(()),
        };
        if self.is_uncertain || !self.client.may_use(self.user_id.as_deref()) {
            self.text = None;
            return Ok(());
        }
        let new = match (action, root.get("content")) {
            ("DELETE", _) | ("ADD", None) => None,
            (_, Some(text)) => text.as_str().map(str::to_owned),
            (_, None) => self.text.clone(),
        };
        let old = std::mem::replace(&mut self.text, new);
        if self.entries.len() >= ANSWER_BYTES {
            self.is_truncated = true;
            return Ok(());
        }
        if !self.entries.is_empty() {
            self.entries.push(b',');
        }
        let (time, new) = (text_of("timestamp"), self.text.as_deref());
        let mut object = ObjectWriter::new(&mut self.entries);
        object.str("action", action);
        write_optional(object.key("created_at"), time);
        object.str("event", action);
        object.str("id", &event.event_id);
        object.raw("input", b"[]");
        object.str("memory_id", self.id);
        write_optional(object.key("new_memory"), new);
        write_optional(object.key("new_value"), new);
        write_optional(object.key("old_memory"), old.as_deref());
        write_optional(object.key("old_value"), old.as_deref());
        write_optional(object.key("updated_at"), time);
        write_optional(object.key("user_id"), self.user_id.as_deref());
        object.end();
        Ok(())
    }

    /// Follows whose the memory is.
    fn see_owner(&mut self, event: Value<'_>) {
        let named = event.get("user_id");
        if let Some(user) = named {
            self.user_id = user.as_str().map(str::to_owned);
        }
        if self.client.users().is_none() {
            return;
        }
        let seen = other_writers(event);
        if named.is_some() && self.client.may_use(self.user_id.as_deref()) {
            self.entries.clear();
            (self.text, self.origin, self.is_uncertain, self.is_truncated) = (None, seen, false, false);
        } else {
            let is_new = |(writer, counter): (&String, &i128)| self.origin.get(writer).is_none_or(|old| counter > old);
            self.is_uncertain |= seen.iter().any(is_new);
        }
    }
}

/// The counters of other writers in the vector clock of an event.
fn other_writers(event: Value<'_>) -> OtherWriters {
    let writer = event.get("node_id").and_then(Value::as_str);
    let clock = event.get("vector_clock").into_iter().flat_map(Value::members);
    let others = clock.filter(|(name, _)| Some(*name) != writer);
    let counter = |(name, counter): (&str, Value<'_>)| match counter.as_number() {
        Some(Number::Int(counter)) => Some((name.to_owned(), counter)),
        _ => None,
    };
    others.filter_map(counter).collect()
}
