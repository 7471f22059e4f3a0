//! The tools. Their comments are the descriptions that an agent reads.

use std::sync::Arc;

use axum::http::Method;
use form_urlencoded::Serializer;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde_json::{Map, Value};

use crate::answers::{Memory, Recalled, Written, memory_of};
use crate::arguments::{Forget, Recall, Remember, ResolveConflict};
use crate::callers::Caller;
use crate::connection::Connection;
use crate::exchange::{Answer, NodeRequest, memory_path};
use crate::refusals;
use crate::sessions::Sessions;

/// Memories of an answer where the agent does not say how many.
const DEFAULT_LIMIT: u32 = 10;

/// Instructions for an agent about all tools together.
const INSTRUCTIONS: &str = "A memory that you share with other agents. Recall before you answer from memory and before \
    you change or forget something, and remember what will matter later. A write says which state of the memory you \
    have seen: if somebody has changed it since, the tool writes nothing and shows you the present state. Where a \
    memory has conflicted_fields, agents have written these fields without having seen each other: decide what is \
    right, ask the user if you cannot know, and call resolve_conflict.";

/// The tools over a node.
#[derive(Clone)]
pub(crate) struct MemoryTools {
    node: Connection,
    sessions: Arc<Sessions>,
    tools: ToolRouter<MemoryTools>,
}

#[tool_handler(router = self.tools)]
impl ServerHandler for MemoryTools {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("helixstream", env!("CARGO_PKG_VERSION")).with_title("Helixstream memory");
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities).with_server_info(server).with_instructions(INSTRUCTIONS)
    }
}

#[tool_router(router = routes)]
impl MemoryTools {
    /// The tools over a node.
    pub fn new(node: Connection) -> MemoryTools {
        MemoryTools { node, sessions: Arc::new(Sessions::new()), tools: MemoryTools::routes() }
    }

    /// Remember something: create a memory, or change one that you have recalled. A change writes
    /// the fields that you send and leaves the others.
    #[tool(
        description = "Remember something: create a memory, or change one that you have recalled (memory_id). A change \
            writes the fields that you send and leaves the others. If another agent has changed the memory since you \
            saw it, nothing is written and the present state is shown.",
        annotations(title = "Remember", read_only_hint = false, destructive_hint = false, open_world_hint = false)
    )]
    async fn remember(
        &self,
        Parameters(arguments): Parameters<Remember>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Written>, String> {
        let caller = Caller::of(&context)?;
        let fields = fields(&arguments)?;
        let Some(memory_id) = &arguments.memory_id else {
            if arguments.content.is_none() {
                return Err(refusals::arguments(
                    "a new memory needs `content`; to change a memory, send its memory_id",
                ));
            }
            if arguments.clock.is_some() {
                return Err(refusals::arguments("a new memory has no `clock`; to change a memory, send its memory_id"));
            }
            let request = NodeRequest::write(Method::POST, "/memories".to_owned(), None, Some(fields));
            return self.written(&caller, request).await;
        };
        if arguments.user_id.is_some() {
            return Err(refusals::arguments("a memory keeps its user: leave user_id out where you send a memory_id"));
        }
        if fields.as_object().is_none_or(Map::is_empty) {
            return Err(refusals::arguments(
                "there is no field to write: send content, tags, importance, expires_at or metadata",
            ));
        }
        let clock = self.seen(&caller, memory_id, arguments.clock.as_ref())?;
        let request = NodeRequest::write(Method::PATCH, memory_path(memory_id), Some(clock), Some(fields));
        self.written(&caller, request).await
    }

    /// Recall memories.
    #[tool(
        description = "Recall memories: search by words (query), read one (memory_id), or list them all. Memories of \
            all agents are found. conflicted_fields names what agents disagree about.",
        annotations(title = "Recall", read_only_hint = true, open_world_hint = false)
    )]
    async fn recall(
        &self,
        Parameters(arguments): Parameters<Recall>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Recalled>, String> {
        let caller = Caller::of(&context)?;
        let (path, list) = recall_path(&arguments)?;
        let answer = self.asked(&caller, NodeRequest::read(path)).await?;
        self.recalled(&caller, &answer, list).map(Json)
    }

    /// Forget a memory.
    #[tool(
        description = "Forget a memory that you have recalled: delete it for all agents. If another agent has changed \
            it since you saw it, nothing is deleted and the present state is shown.",
        annotations(title = "Forget", read_only_hint = false, destructive_hint = true, open_world_hint = false)
    )]
    async fn forget(
        &self,
        Parameters(arguments): Parameters<Forget>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Written>, String> {
        let caller = Caller::of(&context)?;
        let clock = self.seen(&caller, &arguments.memory_id, arguments.clock.as_ref())?;
        let request = NodeRequest::write(Method::DELETE, memory_path(&arguments.memory_id), Some(clock), None);
        self.written(&caller, request).await
    }

    /// Settle a conflict.
    #[tool(
        description = "Settle a conflict: write the values that shall stand for fields which a recalled memory lists \
            in conflicted_fields. All agents then see these values, and the conflict is gone.",
        annotations(
            title = "Resolve conflict",
            read_only_hint = false,
            destructive_hint = false,
            open_world_hint = false
        )
    )]
    async fn resolve_conflict(
        &self,
        Parameters(arguments): Parameters<ResolveConflict>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Written>, String> {
        let caller = Caller::of(&context)?;
        let ResolveConflict { memory_id, values, clock } = arguments;
        let seen = self.seen(&caller, &memory_id, clock.as_ref())?;
        let answer = self.asked(&caller, NodeRequest::read(memory_path(&memory_id))).await?;
        let found = memory_of(&answer.body).ok_or_else(unreadable)?;
        let present = found.1.clone();
        let memory = self.shown(&caller, found);
        if memory.conflicted_fields.is_empty() {
            return Err(refusals::no_conflict(&memory));
        }
        // The write is to supersede the conflict that the agent knows, and no other one.
        if present != seen {
            return Err(refusals::changed(&memory));
        }
        if values.is_empty() {
            return Err(refusals::arguments(
                "`values` is empty: send the value that shall stand for each field in conflict",
            ));
        }
        let in_conflict =
            |field: &str| memory.conflicted_fields.iter().any(|path| path.split('.').next() == Some(field));
        if let Some(field) = values.keys().find(|field| !in_conflict(field)) {
            return Err(refusals::not_in_conflict(field, &memory));
        }
        let body = Some(Value::Object(values));
        let request = NodeRequest::write(Method::PATCH, memory_path(&memory_id), Some(seen), body);
        self.written(&caller, request).await
    }
}

impl MemoryTools {
    /// The clock token of what the caller has seen of a memory.
    fn seen(&self, caller: &Caller, memory_id: &str, clock: Option<&String>) -> Result<String, String> {
        if memory_id.is_empty() {
            return Err(refusals::arguments("`memory_id` is empty"));
        }
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if clock.is_some_and(|clock| clock.is_empty() || !clock.bytes().all(is_letter)) {
            return Err(refusals::bad_clock());
        }
        let kept = || self.sessions.token(caller.session.as_ref()?, memory_id);
        let clock = clock.cloned().or_else(kept);
        clock.ok_or_else(|| refusals::unseen(memory_id, caller.session.is_some()))
    }

    /// Asks the node, whose refusal becomes an error of the tool.
    async fn asked(&self, caller: &Caller, request: NodeRequest) -> Result<Answer, String> {
        let answer = self.node.ask(caller.identity.clone(), request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        // The agent sees the memory that the refusal encloses.
        let memory = memory_of(&answer.body).map(|found| self.shown(caller, found));
        Err(refusals::of_node(&answer, memory.as_ref()))
    }

    async fn written(&self, caller: &Caller, request: NodeRequest) -> Result<Json<Written>, String> {
        let answer = self.asked(caller, request).await?;
        self.after_write(caller, &answer).map(Json)
    }

    /// The answer of a tool from that of the node to a write, which has succeeded.
    fn after_write(&self, caller: &Caller, answer: &Answer) -> Result<Written, String> {
        let found = memory_of(&answer.body).ok_or_else(refusals::written_unseen)?;
        Ok(Written { memory: self.shown(caller, found) })
    }

    /// The answer of `recall` from that of the node. `list` is the name of the list in it; `None`
    /// where it is one memory.
    fn recalled(&self, caller: &Caller, answer: &Answer, list: Option<&str>) -> Result<Recalled, String> {
        let found = match list {
            Some(name) => answer.body.get(name).and_then(Value::as_array).ok_or_else(unreadable)?.iter().collect(),
            None => vec![&answer.body],
        };
        let found = found.into_iter().map(|found| memory_of(found).ok_or_else(unreadable));
        // Where one cannot be read the agent sees none of them, so all are read before.
        let found: Vec<(Memory, String)> = found.collect::<Result<_, String>>()?;
        Ok(Recalled {
            memories: found.into_iter().map(|found| self.shown(caller, found)).collect(),
            next: answer.body.get("next").and_then(Value::as_str).map(str::to_owned),
            truncated: answer.body.get("truncated").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// A memory and its clock token as the agent is shown them. Its session has seen it then; an
    /// agent without a session gets the clock token itself.
    fn shown(&self, caller: &Caller, (mut memory, clock): (Memory, String)) -> Memory {
        match &caller.session {
            Some(session) => self.sessions.note(session, &memory.memory_id, &clock),
            None => memory.clock = Some(clock),
        }
        memory
    }
}

/// The fields that `remember` writes.
fn fields(arguments: &Remember) -> Result<Value, String> {
    let Remember { content, user_id, session_id, tags, importance, expires_at, metadata, memory_id: _, clock: _ } =
        arguments;
    let mut fields = Map::new();
    let mut add = |name: &str, value: Option<Value>| fields.extend(value.map(|value| (name.to_owned(), value)));
    add("content", content.clone().map(Value::from));
    add("user_id", user_id.clone().map(Value::from));
    add("session_id", session_id.clone().map(Value::from));
    add("tags", tags.clone().map(Value::from));
    add("expires_at", expires_at.clone().map(Value::from));
    add("metadata", metadata.clone().map(Value::from));
    match importance {
        Some(number) if !(0.0..=1.0).contains(number) => {
            return Err(refusals::arguments("`importance` should be a number from 0 to 1"));
        }
        number => add("importance", number.map(Value::from)),
    }
    Ok(Value::Object(fields))
}

/// The path that answers a `recall`, and the name of the list in its answer; `None` where the
/// answer is one memory.
fn recall_path(arguments: &Recall) -> Result<(String, Option<&'static str>), String> {
    let Recall { query, memory_id, user_id, session_id, limit, cursor } = arguments;
    if let Some(id) = memory_id {
        let has_more = [query, user_id, session_id, cursor].iter().any(|text| text.is_some());
        if has_more || id.is_empty() {
            return Err(refusals::arguments("`memory_id` names one memory: send it alone, or leave it out and search"));
        }
        return Ok((memory_path(id), None));
    }
    let limit = limit.unwrap_or(DEFAULT_LIMIT).to_string();
    let mut parameters = Serializer::new(String::new());
    let filters = [("user_id", user_id), ("session_id", session_id)];
    let filters = filters.iter().filter_map(|(name, value)| value.as_ref().map(|value| (*name, value.as_str())));
    parameters.extend_pairs(filters.filter(|(_, value)| !value.is_empty()));
    let Some(query) = query.as_deref().filter(|query| !query.trim().is_empty()) else {
        parameters.append_pair("limit", &limit);
        parameters.extend_pairs(cursor.iter().map(|cursor| ("cursor", cursor)));
        return Ok((format!("/memories?{}", parameters.finish()), Some("memories")));
    };
    if cursor.is_some() {
        return Err(refusals::arguments("a search has no `cursor`: ask for more with `limit`, or leave out `query`"));
    }
    parameters.append_pair("query", query).append_pair("top_k", &limit);
    Ok((format!("/memories/search?{}", parameters.finish()), Some("hits")))
}

fn unreadable() -> String {
    refusals::internal("its answer has no memory where one belongs; is the node of another version?")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;

    use super::*;
    use crate::sessions::Session;

    fn tools() -> (MemoryTools, Caller) {
        let caller = Caller { identity: None, session: Some(Session::default()) };
        (MemoryTools::new(Connection::Local(Router::new())), caller)
    }

    const MEMORY: &str = r#"{"clock":"c","memory":{"memory_id":"m","status":"active"},"pending":false}"#;

    #[test]
    fn a_session_has_not_seen_the_memories_of_an_answer_that_cannot_be_read() {
        let (tools, caller) = tools();
        let seen = || tools.sessions.token(&Session::default(), "m");
        let answer =
            |second: &str| Answer::new(StatusCode::OK, format!(r#"{{"memories":[{MEMORY},{second}]}}"#).as_bytes());
        let error = tools.recalled(&caller, &answer("{}"), Some("memories")).unwrap_err();
        assert!(error.ends_with("[HS8104]") && seen().is_none(), "{error}");
        let recalled = tools.recalled(&caller, &answer(MEMORY), Some("memories")).unwrap();
        assert_eq!((recalled.memories.len(), seen().as_deref()), (2, Some("c")));
    }

    #[test]
    fn a_write_whose_answer_cannot_be_read_is_said_to_be_written() {
        let (tools, caller) = tools();
        for body in ["", "{}", "[", &MEMORY.replace("active", "\\ud800")] {
            let error = tools.after_write(&caller, &Answer::new(StatusCode::CREATED, body.as_bytes())).unwrap_err();
            assert!(error.starts_with("the memory was written") && error.ends_with("[HS8104]"), "{error}");
        }
        let written = tools.after_write(&caller, &Answer::new(StatusCode::OK, MEMORY.as_bytes())).unwrap();
        assert_eq!(written.memory.memory_id, "m");
    }
}
