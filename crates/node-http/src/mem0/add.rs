//! Adds: each message of a request is stored as it is, as one memory; or, where the node has an
//! extractor and the request does not forbid it (`infer`), each fact that it finds in the messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{ObjectWriter, Value};
use node::shown::{MemoryStatus, ShownMemory};
use node::write::{Accepted, Fields, Refusal, Seen, WriteError, WriteKind};

use super::body::{Members, SETTINGS, UNSUPPORTED_SETTINGS, parse};
use super::expiration;
use super::fields::{Mem0Memory, Metadata};
use super::identity::AddIdentity;
use super::shapes::{ADD_MEMBERS, ADDED_LIST, ENTITY_MEMBERS, MESSAGE_MEMBERS};
use super::writing::{MOST_LOOKS, with_metadata, write, write_problem};
use crate::body::JSON;
use crate::description::{AnswerDescription, Member, Operation, RequestBody, Shape, Tag, required};
use crate::error_kinds::{FOREIGN_USER, MEM0_BODY, MEM0_WRITING, NO_FACTS, SLOW_EXTRACTOR};
use crate::extractor::{Extractor, MAX_CONVERSATION, Message, conversation_bytes};
use crate::request::Client;
use crate::service::NodeService;
use crate::{answers, problems};

/// Messages of one request at most.
const MOST_MESSAGES: usize = 1000;
/// The role of a message that names none.
const USER: &str = "user";
/// How many ids an add looks at, until it has the node draw one: an id is passed over where its
/// memory has another text by now, was absorbed, or belongs to another user.
const MOST_IDS: u32 = 100;

/// The messages of an add.
const MESSAGES: Member = required(
    "messages",
    Shape::ListUpTo { items: &Shape::Object(&[MESSAGE_MEMBERS]), most: MOST_MESSAGES },
    "Each is stored as one memory; or, with an extractor, the facts in them.",
);

const BODY: RequestBody = RequestBody {
    description: "The messages, and whose they are.",
    media_types: JSON,
    shape: Shape::Object(&[&[MESSAGES], ADD_MEMBERS, ENTITY_MEMBERS, &SETTINGS, &UNSUPPORTED_SETTINGS]),
};

/// POST /v1/memories/.
pub(super) static ADD: Operation = Operation {
    id: "addMemories",
    answers: &[AnswerDescription::ok("The outcome for each message or fact.", ADDED_LIST)],
    ..EVERY_ADD
};

/// POST /v3/memories/add/.
pub(super) static ADD_V3: Operation = Operation {
    id: "addMemoriesV3",
    answers: &[AnswerDescription::ok(
        "The outcome for each message or fact.",
        Shape::Object(&[&[required("results", ADDED_LIST, ""), required("status", Shape::Words(&["SUCCEEDED"]), "")]]),
    )],
    ..EVERY_ADD
};

const EVERY_ADD: Operation = Operation {
    tag: Tag::Mem0,
    summary: "Add memories",
    description: "Stores each message as it is; or, where the node has an extractor and `infer` is not false, each fact \
                  that it finds in the messages, which together have at most {MAX_CONVERSATION} then. The same content \
                  of the same user, session and category is the same memory.",
    body: Some(BODY),
    errors: &[MEM0_WRITING, MEM0_BODY, &[&FOREIGN_USER, &NO_FACTS, &SLOW_EXTRACTOR]],
    ..Operation::EMPTY
};

/// POST /v1/memories/: the answer is a list.
pub(super) async fn add(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let added = add_all(&service, &client, request, &ADD).await?;
    let mut body = Vec::new();
    write_list(&mut body, &added);
    Ok(answers::json(StatusCode::OK, body))
}

/// POST /v3/memories/add/: the answer is an object.
pub(super) async fn add_v3(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let added = add_all(&service, &client, request, &ADD_V3).await?;
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    write_list(object.key("results"), &added);
    object.str("status", "SUCCEEDED");
    object.end();
    Ok(answers::json(StatusCode::OK, body))
}

/// The memory of a message, and the change that it has made.
struct Added {
    id: String,
    text: String,
    /// `ADD`, `UPDATE` where the memory was there with other metadata, `NONE` where all was there.
    event: &'static str,
    event_id: Option<String>,
}

fn write_list(out: &mut Vec<u8>, added: &[Added]) {
    out.push(b'[');
    for (at, one) in added.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let mut object = ObjectWriter::new(out);
        let mut data = ObjectWriter::new(object.key("data"));
        data.str("memory", &one.text);
        data.end();
        object.str("event", one.event);
        one.event_id.iter().for_each(|id| object.str("event_id", id));
        object.str("id", &one.id);
        object.str("memory", &one.text);
        object.end();
    }
    out.push(b']');
}

async fn add_all(
    service: &NodeService,
    client: &Client,
    request: Request,
    operation: &Operation,
) -> Result<Vec<Added>, Problem> {
    let body = service.read_body(request, operation).await?;
    let most_bytes = service.bodies.bytes();
    let extractor = service.extractor.as_ref();
    let asked = Add::read(client, &body.bytes, extractor.is_some())?;
    let memories = match extractor.filter(|_| asked.infers) {
        Some(extractor) => {
            // The call lasts, and others wait for the place of the body.
            drop(body);
            asked.inferred(extractor, most_bytes).await?
        }
        None => asked.as_given(most_bytes)?,
    };
    let mut added = Vec::with_capacity(memories.len());
    for memory in &memories {
        added.push(memory.add(service, client).await?);
    }
    Ok(added)
}

/// A memory that is to be added.
#[derive(Clone)]
struct NewMemory {
    text: String,
    user_id: Option<String>,
    session_id: Option<String>,
    agent_id: Option<String>,
    app_id: Option<String>,
    metadata: Metadata,
}

/// An add as its body has it.
struct Add {
    /// The fields that all its memories have, without a text.
    shared: NewMemory,
    messages: Vec<Message>,
    /// Whether facts are wanted, where there is an extractor.
    infers: bool,
    /// Instructions of the client about them.
    instructions: Option<String>,
}

impl Add {
    /// Reads a body. Nothing is written before all of it is read.
    fn read(client: &Client, body: &[u8], has_extractor: bool) -> Result<Add, Problem> {
        let document = parse(body)?;
        let members = Members::of(&document, &[ENTITY_MEMBERS, ADD_MEMBERS, &[MESSAGES]])?;
        // Mem0's client sends what its options name here, and what its arguments name beside it.
        let filters =
            members.object("filters")?.map(|filters| Members::of_part(filters, "`filters` of an add", ENTITY_MEMBERS));
        let filters = filters.transpose()?;
        let entity = |name: &str| -> Result<Option<String>, Problem> {
            let inner = filters.map_or(Ok(None), |filters| filters.text(name))?;
            Ok(members.text(name)?.or(inner).map(str::to_owned))
        };
        let user_id = client.user_of_new(entity("user_id")?)?;
        let session_id = entity("session_id")?.or(entity("run_id")?);
        let (agent_id, app_id) = (entity("agent_id")?, entity("app_id")?);
        let mut metadata = Metadata::of_client(members.object("metadata")?)?;
        metadata.set_text("agent_id", agent_id.as_deref());
        metadata.set_text("app_id", app_id.as_deref());
        metadata.set_categories(&members.texts("categories")?);
        // Clients that set no date send null.
        let expires_at = expiration::of_body(members)?.filter(|time| time != b"null");
        expires_at.into_iter().for_each(|time| metadata.set(expiration::STORED, time));
        let messages = members.list("messages")?.unwrap_or_default();
        if !(1..=MOST_MESSAGES).contains(&messages.len()) {
            return Err(problems::mem0_request(format!(
                "`messages` should be a list of 1 to {MOST_MESSAGES} messages"
            )));
        }
        let message = |message: Value<'_>| {
            let message = Members::of_part(message, "a message", MESSAGE_MEMBERS)?;
            let role = message.text("role")?.unwrap_or(USER).to_owned();
            Ok(Message { role, content: message.required("content")?.to_owned() })
        };
        // Without an extractor they have no effect, whatever they are.
        let infers = !has_extractor || members.flag("infer")?.unwrap_or(true);
        let instructions = if has_extractor { members.text("custom_instructions")?.map(str::to_owned) } else { None };
        Ok(Add {
            shared: NewMemory { text: String::new(), user_id, session_id, agent_id, app_id, metadata },
            messages: messages.into_iter().map(message).collect::<Result<_, Problem>>()?,
            infers,
            instructions,
        })
    }

    /// The memories of the messages, one of each.
    fn as_given(&self, most_bytes: usize) -> Result<Vec<NewMemory>, Problem> {
        self.check_shared(self.messages.len(), most_bytes)?;
        let memory = |message: &Message| {
            let mut memory = NewMemory { text: message.content.clone(), ..self.shared.clone() };
            memory.metadata.set_text("role", Some(message.role.as_str()).filter(|role| *role != USER));
            memory
        };
        Ok(self.messages.iter().map(memory).collect())
    }

    /// The memories of the facts that an extractor finds in the messages.
    async fn inferred(&self, extractor: &Extractor, most_bytes: usize) -> Result<Vec<NewMemory>, Problem> {
        let instructions = self.instructions.as_deref();
        // All of it stays in memory while it waits for its turn and for the model.
        if conversation_bytes(&self.messages, instructions) + self.shared_bytes() > MAX_CONVERSATION {
            return Err(problems::large_conversation(MAX_CONVERSATION));
        }
        let facts = extractor.facts(&self.messages, instructions).await;
        let facts = facts.map_err(|failure| problems::of_extraction(&failure))?;
        self.check_shared(facts.len(), most_bytes)?;
        Ok(facts.into_iter().map(|text| NewMemory { text, ..self.shared.clone() }).collect())
    }

    /// The parts that so many memories share have no more than so many bytes in all of them
    /// together. One has no more than its body, and whether that is an event is looked at later.
    fn check_shared(&self, memories: usize, most_bytes: usize) -> Result<(), Problem> {
        let bytes = self.shared_bytes();
        if memories > 1 && bytes.saturating_mul(memories) > most_bytes {
            return Err(problems::large_add(bytes, memories, most_bytes));
        }
        Ok(())
    }

    /// Bytes of the parts that its memories share.
    fn shared_bytes(&self) -> usize {
        let NewMemory { user_id, session_id, agent_id, app_id, metadata, .. } = &self.shared;
        let names = [user_id, session_id, agent_id, app_id].into_iter().flatten().map(String::len);
        metadata.bytes() + names.sum::<usize>()
    }
}

/// The memory that the node shows under an id that an add may have.
enum Occupant {
    /// The memory that is added, unless somebody has deleted it.
    Same(Box<ShownMemory>),
    /// Nothing, or a deleted memory: it can be created.
    Free,
    /// A memory with another text, an absorbed one, or one that now belongs to somebody else.
    Other,
}

impl NewMemory {
    fn id(&self, tenant: Option<&BTreeSet<String>>, former: u32) -> String {
        let identity = AddIdentity {
            tenant,
            user_id: self.user_id.as_deref(),
            session_id: self.session_id.as_deref(),
            category: self.metadata.category(),
            agent_id: self.agent_id.as_deref(),
            app_id: self.app_id.as_deref(),
            text: &self.text,
        };
        identity.id(former)
    }

    /// Adds it, or finds that it is there.
    async fn add(&self, service: &NodeService, client: &Client) -> Result<Added, Problem> {
        for former in 0..MOST_IDS {
            let id = self.id(client.users(), former);
            for _ in 0..MOST_LOOKS {
                let shown = service.node.read(&id, None).await.map_err(|error| problems::of_database(&error))?;
                let written = match self.found(client, shown)? {
                    Occupant::Other => break,
                    Occupant::Same(memory) => self.update(service, client, &memory).await,
                    Occupant::Free => self.create(service, client, Some(id.clone())).await,
                };
                match written {
                    Ok(added) => return Ok(added),
                    // Somebody was faster: what is there now decides.
                    Err(WriteError::Refused(Refusal::Exists(_) | Refusal::Inactive(_) | Refusal::ForbiddenUser)) => {}
                    Err(error) => return Err(write_problem(&error)),
                }
            }
        }
        self.create(service, client, None).await.map_err(|error| write_problem(&error))
    }

    fn found(&self, client: &Client, shown: Option<ShownMemory>) -> Result<Occupant, Problem> {
        let Some(shown) = shown else { return Ok(Occupant::Free) };
        if !client.may_use(shown.user_id.as_deref()) || shown.user_id != self.user_id {
            return Ok(Occupant::Other);
        }
        Ok(match shown.status {
            MemoryStatus::Deleted => Occupant::Free,
            MemoryStatus::Merged => Occupant::Other,
            MemoryStatus::Active if Mem0Memory::of(&shown)?.text == self.text => Occupant::Same(Box::new(shown)),
            MemoryStatus::Active => Occupant::Other,
        })
    }

    /// Creates it. A deleted memory with this id has been seen: the write carries its clock.
    async fn create(
        &self,
        service: &NodeService,
        client: &Client,
        memory_id: Option<String>,
    ) -> Result<Added, WriteError> {
        let mut fields = Fields::new().with_text("content", &self.text)?;
        for (name, value) in [("user_id", &self.user_id), ("session_id", &self.session_id)] {
            if let Some(value) = value {
                fields = fields.with_text(name, value)?;
            }
        }
        let fields = with_metadata(fields, &self.metadata)?;
        let accepted = write(service, client, memory_id, WriteKind::Create, fields, Seen::Present).await?;
        Ok(self.added("ADD", &accepted.memory_id, Some(&accepted)))
    }

    /// Writes the metadata that the memory does not have, if there are any.
    async fn update(&self, service: &NodeService, client: &Client, memory: &ShownMemory) -> Result<Added, WriteError> {
        let unlike = match Mem0Memory::of(memory) {
            Ok(memory) => self.metadata.for_existing(&memory).unlike(&memory),
            // It was read before.
            Err(_) => self.metadata.clone(),
        };
        if unlike.is_empty() {
            return Ok(self.added("NONE", &memory.memory_id, None));
        }
        let fields = with_metadata(Fields::new(), &unlike)?;
        let id = Some(memory.memory_id.clone());
        let accepted = write(service, client, id, WriteKind::Update, fields, Seen::Present).await?;
        Ok(self.added("UPDATE", &accepted.memory_id, Some(&accepted)))
    }

    fn added(&self, event: &'static str, id: &str, accepted: Option<&Accepted>) -> Added {
        let event_id = accepted.map(|accepted| accepted.event_id.clone());
        Added { id: id.to_owned(), text: self.text.clone(), event, event_id }
    }
}
