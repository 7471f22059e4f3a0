//! The stream of events: each change of a memory, as Server-Sent Events (WHATWG HTML, "Server-sent
//! events").
//!
//! | event | data | when |
//! |---|---|---|
//! | `opened` | whether it goes on behind the client's `Last-Event-ID` | first |
//! | `memory` | a memory as a read answers it | it has changed |
//! | `left` | the id of a memory | it is no longer among those that were asked for |
//! | `reset` | why | changes are missing: the client lists anew |
//!
//! A stream reads the database of the node whenever its connection has room for more, so a client
//! that reads nothing costs what one reading has fetched.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use futures::stream::unfold;
use http::Problem;
use node::Node;
use node::changes::{ChangeId, ChangeQuery, MemoryChange};
use node::ports::JournalError;

use crate::description::{AnswerDescription, Operation, Parameter, Shape, Tag};
use crate::error_kinds::{FOREIGN_USER, READING, TOO_MANY_READERS};
use crate::fair_places::{Place, Tenant};
use crate::request::{Client, Parameters, SESSION_ID, USER_ID, single};
use crate::service::NodeService;
use crate::{answers, problems};

/// Streams that may be open at a time.
pub(crate) const MOST_STREAMS: usize = 64;
/// Streams that may be open of one tenant.
pub(crate) const MOST_STREAMS_OF_TENANT: usize = 16;

/// The header by which a client says which event it has seen last.
static LAST_EVENT_ID: Parameter = Parameter::header(
    "Last-Event-ID",
    Shape::Text,
    "The id of the last event that the client has seen: the stream goes on behind it, also after a restart of the node.",
);
/// A stream that has nothing to say for so long writes a comment. It is well below the time after
/// which the server closes a stream that its client does not read.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
/// The least time from one reading of the database to the next, where changes come one by one: many
/// streams read it.
const PAUSE: Duration = Duration::from_millis(20);
/// After so many changes that are not the client's, it gets a new id, so that its id does not
/// become too old.
const UNSEEN: u64 = 1000;

/// GET /v1/events.
pub(crate) static STREAM: Operation = Operation {
    id: "streamEvents",
    tag: Tag::Changes,
    summary: "Follow the changes of memories",
    description: "A stream of Server-Sent Events (WHATWG HTML, section 9.2): one for each change of a memory that the \
                  node accepts or applies. `opened` is the first, and says in `resumed` whether the stream goes on \
                  behind Last-Event-ID. `memory` has a memory after its change, in the form of the schema Memory. \
                  `left` has the `memory_id` of a memory that no longer is among those that were asked for. `reset` \
                  says that the node does not have all changes since the last event that the client has seen: the \
                  client lists the memories anew, and the stream goes on from now. A comment is written every \
                  {STREAM_HEARTBEAT}. At most {STREAMS} streams are open at a time, {STREAMS_OF_TENANT} of them of one tenant.",
    parameters: &[&USER_ID, &SESSION_ID, &LAST_EVENT_ID],
    answers: &[AnswerDescription {
        media_type: "text/event-stream",
        ..AnswerDescription::ok(
            "The stream. It lasts until the client closes it, the node stops, the token is withdrawn, the client does \
             not read for {STALLED}, or another tenant takes over its place.",
            Shape::Text,
        )
    }],
    errors: &[READING, &[&FOREIGN_USER, &TOO_MANY_READERS]],
    ..Operation::EMPTY
};

/// GET /v1/events.
pub(crate) async fn stream(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &STREAM)?;
    let query =
        ChangeQuery { users: client.users_for(parameters.text(&USER_ID)?)?, session_id: parameters.text(&SESSION_ID)? };
    let seen = last_event_id(&parts.headers)?;
    let place = service.streams.take(Tenant::of(&client)).ok_or_else(problems::too_many_streams)?;
    let events = EventStream::open(service.node.clone(), query, seen, place).await;
    let events = events.map_err(|error| problems::of_database(&error))?;
    Ok(Sse::new(events.into_stream()).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// The id that the client has seen last. An empty one is none, as in the standard.
fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    Ok(single(headers, &LAST_EVENT_ID)?.filter(|id| !id.is_empty()).map(str::to_owned))
}

/// A stream that is open.
struct EventStream {
    node: Node,
    query: ChangeQuery,
    /// The first event.
    greeting: Option<Event>,
    /// Changes that were read and not written yet.
    read: VecDeque<MemoryChange>,
    /// The last change that was read.
    at: ChangeId,
    /// The last id that the client has.
    sent: ChangeId,
    /// Its place among the open streams.
    place: Place,
}

impl EventStream {
    async fn open(
        node: Node,
        query: ChangeQuery,
        seen: Option<String>,
        place: Place,
    ) -> Result<EventStream, JournalError> {
        let last = node.last_change().await?;
        let (at, greeting) = match &seen {
            None => (last.clone(), opened(&last, false)),
            Some(text) => match known(&node, &query, text).await? {
                Some(id) => (id.clone(), opened(&id, true)),
                None => (last.clone(), reset(&last)),
            },
        };
        let sent = at.clone();
        Ok(EventStream { node, query, greeting: Some(greeting), read: VecDeque::new(), at, sent, place })
    }

    /// It ends where the database cannot be read, which the client cannot mend, and where another
    /// tenant takes over its place: the client comes back.
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        unfold(self, |mut stream| async move {
            let withdrawn = stream.place.withdrawn();
            let event = tokio::select! {
                biased;
                () = withdrawn => None,
                event = stream.next() => event.ok(),
            }?;
            Some((Ok(event), stream))
        })
    }

    async fn next(&mut self) -> Result<Event, JournalError> {
        if let Some(greeting) = self.greeting.take() {
            return Ok(greeting);
        }
        loop {
            if let Some(change) = self.read.pop_front() {
                self.sent = change.id.clone();
                return Ok(changed(&change));
            }
            let Some(page) = self.node.changes(&self.at, &self.query).await? else {
                // The database has removed changes that this client has not read yet.
                self.at = self.node.last_change().await?;
                self.sent = self.at.clone();
                return Ok(reset(&self.at));
            };
            let is_last = page.next == self.at;
            self.at = page.next;
            self.read = page.changes.into();
            if self.read.is_empty() && self.at.since(&self.sent) >= UNSEEN {
                self.sent = self.at.clone();
                // An event without data is not dispatched, but its id is kept.
                return Ok(Event::default().id(self.at.to_string()).comment(""));
            }
            if is_last {
                self.node.wait_for_change(&self.at).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The change that a client has seen last, where the node can go on behind it.
async fn known(node: &Node, query: &ChangeQuery, text: &str) -> Result<Option<ChangeId>, JournalError> {
    let Ok(id) = text.parse() else { return Ok(None) };
    Ok(node.changes(&id, query).await?.map(|_| id))
}

fn opened(id: &ChangeId, resumed: bool) -> Event {
    Event::default().event("opened").id(id.to_string()).data(format!("{{\"resumed\":{resumed}}}"))
}

fn reset(id: &ChangeId) -> Event {
    let reason = "the node does not have all changes since the last event that you have seen: list the memories anew";
    let mut data = b"{\"reason\":".to_vec();
    json::write_string(&mut data, reason);
    data.push(b'}');
    Event::default().event("reset").id(id.to_string()).data(String::from_utf8_lossy(&data))
}

fn changed(change: &MemoryChange) -> Event {
    let (name, data) = match &change.memory {
        Some(memory) => ("memory", answers::changed_memory(memory)),
        None => ("left", answers::left_memory(&change.memory_id)),
    };
    // Canonical JSON is UTF-8 without line ends.
    Event::default().event(name).id(change.id.to_string()).data(String::from_utf8_lossy(&data))
}
