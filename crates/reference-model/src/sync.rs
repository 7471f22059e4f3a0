//! The resolved memories that a node has not seen, asked of all that is known
//! (docs/semantics.md, section 5, "Sync request").

use super::event::Event;
use super::json::Json;
use super::outputs::{Emitted, emitted};
use super::read::Memory;
use super::task::{Task, log_of, record_time};
use super::{Record, Settings, decode};

/// The answers to `request` when `records` are processed, sorted by memory id: nothing, if it is no
/// sync request. The page leaves the order of the answers open, and over a task that works in
/// slices also how they mix with others.
pub fn answers(records: &[Record], request: &Record, settings: &Settings) -> Vec<Emitted> {
    let mut task = Task::new(settings);
    for record in records {
        for record in log_of(record, settings).unwrap_or_default() {
            task.process(&record);
        }
    }
    answers_of(&task, request, settings)
}

/// The same of one task as it is: what it has forgotten it cannot send. The request moves stream
/// time, as every record does, so give it to [`Task::process`] before this where its time may make
/// the task forget.
pub fn answers_of(task: &Task, request: &Record, settings: &Settings) -> Vec<Emitted> {
    let Some(event) = decode(request, settings).ok().filter(|event| event.event_type == "memory.sync_request") else {
        return Vec::new();
    };
    let unseen = task.memories().map(|tracked| &tracked.memory).filter(|memory| has_not_seen(&event, memory));
    let answer = |memory: &Memory| {
        let resolved = memory.resolved(settings).filter(|resolved| is_asked_for(&event, resolved))?;
        let mut answer = emitted("memory.resolved", &memory.id, resolved.canonical(), record_time(&event, request));
        // A request that names no node is answered to nobody in particular.
        answer.headers.push(("sync_for".to_owned(), event.node_id.clone().unwrap_or_default()));
        Some(answer)
    };
    unseen.filter_map(answer).collect()
}

/// Whether the request names no user, or the one that the resolved memory has. A `user_id` that is
/// null names none (an empty one is read as absent).
fn is_asked_for(request: &Event, resolved: &Json) -> bool {
    let Some(Json::Str(asked)) = &request.user_id else { return true };
    let Json::Obj(members) = resolved else { return false };
    matches!(members.get("user_id"), Some(Json::Str(user)) if user == asked)
}

/// Some entry of the memory's clock, `~` included, is above the request's; a request without a
/// clock has seen nothing. (The synthetic `~` that docs/semantics.md, section 2, gives to an event
/// without a clock would say that it has seen all until its time.)
fn has_not_seen(request: &Event, memory: &Memory) -> bool {
    let seen = |node: &str| request.clock.get(node).copied().unwrap_or(0);
    let entries = memory.entries.iter().flat_map(|entry| &entry.event.clock);
    !request.clock_written || entries.into_iter().any(|(node, count)| *count > seen(node))
}
