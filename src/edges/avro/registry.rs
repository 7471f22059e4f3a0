//! Asks the schema registry, keeps its answers, and leaves it in peace for a while when it does not answer.
//!
//! A question is asked on a thread of its own, so that a stream thread never waits for longer than it may: what is not
//! answered by then is there when the record comes again.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apache_avro::Schema;
use schema_registry_converter::async_impl::schema_registry as client;
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredReference, SchemaType, SrCall, SuppliedSchema,
};
use tokio::runtime::Runtime;

use super::bad;
use super::settings::{RegistrySettings, SettingsError};
use crate::domain::event::Class;
use crate::streams::ports::CodecError;

/// One call of the registry.
const CALL_LIMIT: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How long an id counts as unknown before it is asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Schemas that lead to others that they name.
const MAX_REFERENCES: usize = 100;
/// Codes of the registry: no such schema, no such subject, no such version of it.
const NOT_FOUND: [u32; 3] = [40403, 40401, 40402];

/// The schema that a value was written by.
pub(super) struct Writer {
    pub schema: Schema,
    /// Those that it names.
    pub others: Vec<Schema>,
}

/// What the registry is asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Schema(u32),
    Id { subject: String, schema: &'static str },
}

#[derive(Clone)]
enum Answer {
    Schema(Arc<Writer>),
    Id(u32),
    /// There is none, or none that can be used.
    Unusable(String),
    /// It will not say; asking again is of no use.
    Refused(String),
}

enum Entry {
    Asked,
    Known { answer: Answer, until: Option<Instant> },
    Failed { why: String, again: Instant, backoff: Duration },
}

/// The answers, by question.
#[derive(Default)]
struct Answers {
    all: Mutex<BTreeMap<Question, (Entry, Duration)>>,
    came: Condvar,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Question, (Entry, Duration)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Registry {
    runtime: Runtime,
    client: client::SrSettings,
    address: String,
    register: bool,
    answers: Arc<Answers>,
}

impl Registry {
    pub fn new(settings: &RegistrySettings) -> Result<Registry, SettingsError> {
        let wrong = |e: &dyn std::fmt::Display| SettingsError(format!("the schema registry's client: {e}"));
        let url = reqwest::Url::parse(&settings.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            let what = "the schema registry's address is no URL such as http://localhost:8081";
            return Err(SettingsError(what.to_owned()));
        };
        // Another part of the process may have chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = |path: &std::path::Path| {
            std::fs::read(path).map_err(|e| SettingsError(format!("read {}: {e}", path.display())))
        };
        let mut http = reqwest::Client::builder();
        if let Some(path) = &settings.ca_file {
            let of_file = |e| SettingsError(format!("{}: no certificates in PEM: {e}", path.display()));
            http = http.tls_certs_only(reqwest::Certificate::from_pem_bundle(&file(path)?).map_err(of_file)?);
        }
        if let Some(path) = &settings.identity_file {
            let of_file = |e| SettingsError(format!("{}: no certificate with its key in PEM: {e}", path.display()));
            http = http.identity(reqwest::Identity::from_pem(&file(path)?).map_err(of_file)?);
        }
        let mut client = client::SrSettings::new_builder(settings.url.trim_end_matches('/').to_owned());
        client.set_timeout(CALL_LIMIT);
        if let Some((user, password)) = &settings.user {
            client.set_basic_authorization(user, password.as_deref());
        }
        let client = client.build_with(http).map_err(|e| wrong(&e))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("schema-registry")
            .enable_all()
            .build()
            .map_err(|e| wrong(&e))?;
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let address = format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default());
        Ok(Registry { runtime, client, address, register: settings.register, answers: Arc::default() })
    }

    /// The schema of an id that stands in a value; `wait`, here and below: how long the call may take.
    pub fn schema(&self, id: u32, wait: Duration) -> Result<Arc<Writer>, CodecError> {
        match self.answer(Question::Schema(id), wait)? {
            Answer::Schema(writer) => Ok(writer),
            Answer::Unusable(why) => {
                Err(bad(Class::UnknownSchema, format!("the value is Avro of schema id {id}: {why}")))
            }
            Answer::Refused(why) => Err(CodecError::Fatal(why)),
            Answer::Id(_) => Err(CodecError::Fatal(format!("an id was answered where schema {id} was asked for"))),
        }
    }

    /// The id of one of our schemas under a subject.
    pub fn id(&self, subject: &str, schema: &'static str, wait: Duration) -> Result<u32, CodecError> {
        match self.answer(Question::Id { subject: subject.to_owned(), schema }, wait)? {
            Answer::Id(id) => Ok(id),
            Answer::Unusable(why) | Answer::Refused(why) => Err(CodecError::Fatal(why)),
            Answer::Schema(_) => Err(CodecError::Fatal(format!("a schema was answered for the id under {subject}"))),
        }
    }

    fn answer(&self, question: Question, wait: Duration) -> Result<Answer, CodecError> {
        let deadline = Instant::now() + wait;
        let mut all = self.answers.lock();
        loop {
            let now = Instant::now();
            let until = match all.get(&question).map(|(entry, _)| entry) {
                Some(Entry::Known { answer, until }) if until.is_none_or(|until| now < until) => {
                    return Ok(answer.clone());
                }
                Some(Entry::Failed { why, again, .. }) if now < *again => {
                    if deadline < *again {
                        return Err(CodecError::Unavailable(why.clone()));
                    }
                    *again
                }
                Some(Entry::Asked) if now < deadline => deadline,
                Some(Entry::Asked) => {
                    let what = format!("the schema registry at {} has not answered yet", self.address);
                    return Err(CodecError::Unavailable(what));
                }
                Some(Entry::Known { .. } | Entry::Failed { .. }) | None => {
                    let backoff = match all.get(&question) {
                        Some((Entry::Failed { backoff, .. }, _)) => *backoff,
                        _ => Duration::ZERO,
                    };
                    all.insert(question.clone(), (Entry::Asked, backoff));
                    self.ask(question.clone());
                    continue;
                }
            };
            let wait = until.saturating_duration_since(now);
            all = self.answers.came.wait_timeout(all, wait).map_or_else(|e| e.into_inner().0, |(all, _)| all);
        }
    }

    fn ask(&self, question: Question) {
        let (client, answers, register) = (self.client.clone(), self.answers.clone(), self.register);
        let address = self.address.clone();
        self.runtime.spawn(async move {
            let asked = ask(&client, &question, register).await;
            let mut all = answers.lock();
            let backoff = all.get(&question).map_or(Duration::ZERO, |(_, backoff)| *backoff);
            let entry = match asked {
                Ok(answer) => {
                    let is_final = matches!(answer, Answer::Schema(_) | Answer::Id(_));
                    Entry::Known { answer, until: (!is_final).then(|| Instant::now() + UNKNOWN_FOR) }
                }
                Err(why) => {
                    let backoff = (backoff * 2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
                    let why = format!("the schema registry at {address} is not to be had: {why}");
                    tracing::warn!("{why}; asked again in {backoff:?}");
                    Entry::Failed { why, again: Instant::now() + backoff, backoff }
                }
            };
            all.insert(question, (entry, Duration::ZERO));
            answers.came.notify_all();
        });
    }
}

/// Asks once. An error is one that may pass.
async fn ask(client: &client::SrSettings, question: &Question, register: bool) -> Result<Answer, String> {
    let answer = match question {
        Question::Schema(id) => writer(client, *id).await,
        Question::Id { subject, schema } => {
            let name = Schema::parse_str(schema).ok().and_then(|schema| schema.name().map(ToString::to_string));
            let supplied = SuppliedSchema::new(name, SchemaType::Avro, (*schema).to_owned());
            let found = if register {
                client::post_schema(client, subject.clone(), supplied).await.map(|found| Some(found.id))
            } else {
                let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
                client::perform_sr_call(client, SrCall::PostForVersion(subject, &body)).await.map(|found| found.id)
            };
            found.map(|id| match id {
                Some(id) => Answer::Id(id),
                None => Answer::Refused(format!("the schema registry tells no id of our schema under {subject}")),
            })
        }
    };
    answer.or_else(|e| judged(&e, question, register))
}

/// What an error of the client's means: there is none, we may not, or nobody answered.
fn judged(error: &SRCError, question: &Question, register: bool) -> Result<Answer, String> {
    let said = error.source().and_then(|source| source.downcast_ref::<RawError>());
    let text = match (said, &error.cause) {
        (Some(said), _) => format!("{} ({}, code {})", error.error, said.message, said.error_code),
        (None, Some(cause)) => format!("{} ({cause})", error.error),
        (None, None) => error.error.clone(),
    };
    if said.is_some_and(|said| NOT_FOUND.contains(&said.error_code)) {
        return Ok(match question {
            Question::Schema(_) => Answer::Unusable("the schema registry knows no such schema".to_owned()),
            Question::Id { subject, .. } => Answer::Refused(format!(
                "the schema registry has not our schema under {subject}: register it, or set `schemas = \"register\"` \
                 in [schema_registry]"
            )),
        });
    }
    let has_status = |first: &str| error.error.contains(&format!("status {first}"));
    let may_pass = error.retriable || !has_status("4") || has_status("408") || has_status("429");
    if may_pass {
        return Err(text);
    }
    Ok(Answer::Refused(match question {
        Question::Schema(id) => format!("the schema registry will not tell schema {id}: {text}"),
        Question::Id { subject, .. } if register => {
            format!("the schema registry will not register our schema under {subject}: {text}")
        }
        Question::Id { subject, .. } => {
            format!("the schema registry will not look our schema up under {subject}: {text}")
        }
    }))
}

/// The schema of an id, with those that it names.
async fn writer(client: &client::SrSettings, id: u32) -> Result<Answer, SRCError> {
    let found = client::get_schema_by_id(id, client).await?;
    if found.schema_type != SchemaType::Avro {
        return Ok(Answer::Unusable("the schema registry has no schema of Avro by that id".to_owned()));
    }
    let mut open: Vec<RegisteredReference> = found.references;
    let mut named: BTreeMap<(String, u32), String> = BTreeMap::new();
    while let Some(reference) = open.pop() {
        let key = (reference.subject.clone(), reference.version);
        if named.len() > MAX_REFERENCES || named.contains_key(&key) {
            continue;
        }
        let other = client::get_referenced_schema(client, &reference).await?;
        named.insert(key, other.schema);
        open.extend(other.references);
    }
    let parsed = Schema::parse_str_with_list(&found.schema, named.values());
    Ok(match parsed {
        Ok((schema, others)) if std::iter::once(&schema).chain(&others).any(contains_itself) => {
            drop(others);
            Answer::Unusable("its schema contains itself, which no event does".to_owned())
        }
        Ok((schema, others)) => Answer::Schema(Arc::new(Writer { schema, others })),
        Err(e) => Answer::Unusable(format!("its schema cannot be read: {e}")),
    })
}

/// Whether a type contains itself. Values of such a type nest as deep as their writer likes.
fn contains_itself(schema: &Schema) -> bool {
    fn walk(schema: &Schema, open: &mut Vec<String>) -> bool {
        match schema {
            Schema::Ref { name } => open.contains(&name.to_string()),
            Schema::Array(array) => walk(&array.items, open),
            Schema::Map(map) => walk(&map.types, open),
            Schema::Union(union) => union.variants().iter().any(|one| walk(one, open)),
            Schema::Record(record) => {
                open.push(record.name.to_string());
                let found = record.fields.iter().any(|field| walk(&field.schema, open));
                open.pop();
                found
            }
            _ => false,
        }
    }
    walk(schema, &mut Vec::new())
}
