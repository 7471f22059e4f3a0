//! GET /v1/memories/{id}/history/: how a memory has become what it is. The changes are those of the
//! resolved states that this node has applied, and behind them its own events that no state has
//! yet.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Problem;
use json::Value;
use node::shown::{EventState, OwnEvent};

use super::answer::{TRUNCATED_HEADER, cut};
use super::history_entry::{Entries, Entry};
use super::shapes::HISTORY_ENTRY;
use super::state_changes::{Counters, LastState, StateChanges, counters_of};
use crate::description::{AnswerDescription, Operation, Shape, Tag};
use crate::error_kinds::{READING, UNKNOWN_MEMORY};
use crate::memories::shown;
use crate::problems;
use crate::request::{Client, MEMORY_ID, MemoryId, Parameters};
use crate::service::NodeService;

/// GET /v1/memories/{id}/history/.
pub(super) static HISTORY: Operation = Operation {
    id: "readHistory",
    tag: Tag::Mem0,
    summary: "Read the history of a memory",
    description: "The changes of a memory, the oldest first. The list ends at about {ANSWER_BYTES}.",
    parameters: &[&MEMORY_ID],
    answers: &[AnswerDescription::ok(
        "The changes.",
        Shape::List { items: &Shape::Component(&HISTORY_ENTRY), least: 0 },
    )
    .with_headers(&[&TRUNCATED_HEADER])],
    errors: &[READING, &[&UNKNOWN_MEMORY]],
    ..Operation::EMPTY
};

/// GET /v1/memories/{id}/history/.
pub(super) async fn history(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &HISTORY)?;
    let memory = shown(&service, &client, &id, None).await?.ok_or_else(problems::unknown_memory)?;
    let kept = service.node.history(&id).await.map_err(|error| problems::of_database(&error))?;
    let changes = StateChanges::of(&client, &id, &kept.states, &memory).map_err(|error| {
        problems::internal(format!("a row of the history in the database of the node is not JSON: {error}"))
    })?;
    let mut entries = Entries::default();
    changes.entries().for_each(|entry| entries.add(&entry));
    let last = changes.last(&kept.states);
    entries.is_truncated |= last.is_some() && !changes.is_whole();
    let mut events = OwnEvents::behind(&client, &id, last);
    let mut next = Some(0);
    while let (Some(after), false) = (next, entries.is_full) {
        let page = service.node.events_from(&id, after).await.map_err(|error| problems::of_database(&error))?;
        page.events.iter().try_for_each(|event| events.add(event, &mut entries))?;
        next = page.next;
    }
    // Without a state, a memory that the node does not owe to its own events alone has changes that
    // it has not kept.
    entries.is_truncated |= !events.has_state && !events.are_all(memory.is_pending);
    entries.bytes.insert(0, b'[');
    entries.bytes.push(b']');
    Ok(cut(entries.bytes, entries.is_truncated))
}

/// The own events that the last state does not have.
///
/// A client that is bound to users sees no text that a memory had while it was somebody else's. An
/// event without a user was written to a memory of the user before it where its writer had seen of
/// other writers exactly what is seen there: other nodes move memories, too. So such a client sees
/// an event that names one of its users, or that has seen the last state while that is its user's,
/// and those that go on from there.
struct OwnEvents<'h> {
    client: &'h Client,
    id: &'h str,
    /// The text before the next event, where it is known.
    text: Option<String>,
    user_id: Option<String>,
    /// The clock of the last state; `None` also where it was too long to be kept.
    last_clock: Option<Counters>,
    has_state: bool,
    /// The clock that the writer of the next event has seen where the memory is still the user's.
    origin: Option<Counters>,
    /// Whether the memory is still that user's for certain.
    is_certain: bool,
    count: usize,
    /// Whether an event was resolved into a state that is not kept, or the first one is of a memory
    /// that was there before.
    has_earlier: bool,
}

impl<'h> OwnEvents<'h> {
    fn behind(client: &'h Client, id: &'h str, last: Option<LastState>) -> OwnEvents<'h> {
        let has_state = last.is_some();
        let last = last.unwrap_or(LastState { text: None, user_id: None, clock: None });
        let text = last.text.filter(|_| client.may_use(last.user_id.as_deref()));
        OwnEvents {
            client,
            id,
            text,
            user_id: last.user_id,
            origin: last.clock.clone(),
            last_clock: last.clock,
            has_state,
            is_certain: true,
            count: 0,
            has_earlier: false,
        }
    }

    /// Whether these events, of a memory without a state, are all that it has seen.
    fn are_all(&self, is_pending: bool) -> bool {
        is_pending && self.count > 0 && !self.has_earlier
    }

    /// Adds an event, the oldest first. One that has failed has changed nothing.
    fn add(&mut self, event: &OwnEvent, entries: &mut Entries) -> Result<(), Problem> {
        let actor = event.actor.to_string();
        let is_covered = match &self.last_clock {
            Some(clock) => clock.get(&actor).is_some_and(|counter| *counter >= event.counter),
            None => self.has_state && event.is_resolved,
        };
        if is_covered || matches!(event.state, EventState::Failed(_)) {
            return Ok(());
        }
        let document = json::parse(&event.value).map_err(problems::damaged_event)?;
        let root = document.root();
        let text_of = |name: &str| root.get(name).and_then(Value::as_str);
        // The update behind it, of the same write, says all.
        if text_of("event_type") == Some("memory.merged") {
            return Ok(());
        }
        self.see_owner(root, &actor);
        let action = match text_of("event_type") {
            Some("memory.created") => "ADD",
            Some("memory.updated") => "UPDATE",
            Some("memory.deleted") => "DELETE",
            _ => return Ok(()),
        };
        self.has_earlier |= event.is_resolved || (self.count == 0 && action != "ADD");
        self.count += 1;
        if !self.is_certain || !self.client.may_use(self.user_id.as_deref()) {
            self.text = None;
            return Ok(());
        }
        let new = match (action, root.get("content")) {
            ("DELETE", _) | ("ADD", None) => None,
            (_, Some(text)) => text.as_str().map(str::to_owned),
            (_, None) => self.text.clone(),
        };
        let old = std::mem::replace(&mut self.text, new);
        entries.add(&Entry {
            id: &event.event_id,
            memory_id: self.id,
            action,
            old: old.as_deref(),
            new: self.text.as_deref(),
            time: text_of("timestamp"),
            actor: Some(&actor),
            user_id: self.user_id.as_deref(),
        });
        Ok(())
    }

    /// Follows whose the memory is.
    fn see_owner(&mut self, event: Value<'_>, actor: &str) {
        let named = event.get("user_id");
        if let Some(user) = named {
            self.user_id = user.as_str().map(str::to_owned);
        }
        if self.client.users().is_none() {
            return;
        }
        let seen = event.get("vector_clock").and_then(counters_of).unwrap_or_default();
        let goes_on = self.origin.as_ref().is_some_and(|origin| others(origin, actor).eq(others(&seen, actor)));
        if !goes_on {
            self.is_certain = false;
            self.text = None;
        }
        if named.is_some() && self.client.may_use(self.user_id.as_deref()) {
            (self.origin, self.is_certain) = (Some(seen), true);
        }
    }
}

/// The counters of other writers than this one.
fn others<'c>(clock: &'c Counters, writer: &'c str) -> impl Iterator<Item = (&'c String, &'c u64)> {
    clock.iter().filter(move |(name, _)| name.as_str() != writer)
}
