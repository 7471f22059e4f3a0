//! GET /v1/memories/{id}/history/: how a memory has become what it is, as far as this node's own
//! events say.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{ObjectWriter, Value};
use node::shown::OwnEvent;

use super::answer::write_optional;
use crate::memories::shown;
use crate::request::{Client, MemoryId, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// The memory before an event, as far as the events before it say.
#[derive(Default)]
struct Before {
    text: Option<String>,
    user_id: Option<String>,
}

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
    let events = service.node.events_of(&id).await.map_err(|error| problems::of_database(&error))?;
    let (mut body, mut before, mut is_first) = (vec![b'['], Before::default(), true);
    for event in &events {
        let Some(entry) = entry(&client, &id, event, &mut before)? else { continue };
        if !is_first {
            body.push(b',');
        }
        is_first = false;
        body.extend_from_slice(&entry);
    }
    body.push(b']');
    Ok(answers::json(StatusCode::OK, body))
}

/// An event as an entry; `None` for one that the client may not see, or that is no change of text
/// or metadata.
fn entry(client: &Client, id: &str, event: &OwnEvent, before: &mut Before) -> Result<Option<Vec<u8>>, Problem> {
    let document = json::parse(&event.value).map_err(problems::damaged_event)?;
    let root = document.root();
    let text_of = |name: &str| root.get(name).and_then(Value::as_str);
    let action = match text_of("event_type") {
        Some("memory.created") => "ADD",
        Some("memory.updated") => "UPDATE",
        Some("memory.deleted") => "DELETE",
        _ => return Ok(None),
    };
    if let Some(user) = root.get("user_id") {
        before.user_id = user.as_str().map(str::to_owned);
    }
    let old = before.text.clone();
    match (action, root.get("content")) {
        ("DELETE", _) => before.text = None,
        (_, Some(text)) => before.text = text.as_str().map(str::to_owned),
        ("ADD", None) => before.text = None,
        (_, None) => {}
    }
    // The text that a memory had while it was somebody else's stays with them.
    if !client.may_use(before.user_id.as_deref()) {
        before.text = None;
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    let time = text_of("timestamp");
    let new = if action == "DELETE" { None } else { before.text.as_deref() };
    object.str("action", action);
    write_optional(object.key("created_at"), time);
    object.str("event", action);
    object.str("id", &event.event_id);
    object.raw("input", b"[]");
    object.str("memory_id", id);
    write_optional(object.key("new_memory"), new);
    write_optional(object.key("new_value"), new);
    write_optional(object.key("old_memory"), old.as_deref());
    write_optional(object.key("old_value"), old.as_deref());
    write_optional(object.key("updated_at"), time);
    write_optional(object.key("user_id"), before.user_id.as_deref());
    object.end();
    Ok(Some(out))
}
