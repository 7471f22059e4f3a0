//! One question to the registry, and what its answer means. An id stands in a record that anyone may have written, so an answer
//! about that id never stops the program: it makes the record a dead letter. An answer about us, such as a refused password, and
//! an outage make what needs the registry wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::StatusCode;
use serde::Deserialize;

use super::access::cut;
use super::client::{Client, Outage, Reply};
use super::registry::{Answer, Question};
use super::writer::Writer;

/// Schemas that lead to others that they name.
const MAX_REFERENCES: usize = 100;
/// Codes of the registry: no such subject, no such version of it, no such schema.
const NOT_FOUND: [u32; 3] = [40401, 40402, 40403];

/// What came of a question.
pub(super) enum Asked {
    Answer(Answer),
    /// The registry fails at this id and serves us otherwise: why.
    FailsAt(String),
    /// It is not to be had, or does not serve us: why.
    Outage(String),
}

/// A schema as the registry answers it.
#[derive(Deserialize)]
struct Registered {
    #[serde(default)]
    id: Option<u32>,
    #[serde(default)]
    schema: Option<String>,
    /// Left out where it is Avro.
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

/// A schema that another one names.
#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

/// Asks once.
pub(super) async fn ask(client: &Client, question: &Question, register: bool) -> Asked {
    match question {
        Question::Schema(id) => by_id(client, *id).await,
        Question::Id { subject, schema } => match id_of(client, subject, schema, register).await {
            Ok(answer) => Asked::Answer(answer),
            Err(outage) => Asked::Outage(outage.why),
        },
    }
}

/// The schema of an id, with those that it refers to.
async fn by_id(client: &Client, id: u32) -> Asked {
    // The registry's ids are signed numbers of 32 bits; no other one can have been given out.
    if i32::try_from(id).is_err() {
        return unusable("no schema registry gives out such an id: ids end at 2147483647".to_owned());
    }
    let id = id.to_string();
    let found = match about(client, &["schemas", "ids", &id], "deleted=true", "it").await {
        Ok(found) => found,
        Err(asked) => return asked,
    };
    if found.kind.as_deref().is_some_and(|kind| kind != "AVRO") {
        return unusable("the schema registry has no schema of Avro by that id".to_owned());
    }
    let Some(schema) = found.schema else { return unusable("the schema registry's answer holds no schema".to_owned()) };
    let others = match references(client, found.references.unwrap_or_default()).await {
        Ok(others) => others,
        Err(asked) => return asked,
    };
    match Writer::new(&schema, &others) {
        Ok(writer) => Asked::Answer(Answer::Schema(Arc::new(writer))),
        Err(why) => unusable(format!("its schema cannot be used: {}", cut(&why))),
    }
}

/// The texts of the schemas that a schema refers to, and of those that they refer to.
async fn references(client: &Client, mut open: Vec<Reference>) -> Result<Vec<String>, Asked> {
    let mut found: BTreeMap<(String, i64), String> = BTreeMap::new();
    while let Some(Reference { subject, version }) = open.pop() {
        let key = (subject, version);
        if found.contains_key(&key) {
            continue;
        }
        if found.len() >= MAX_REFERENCES {
            return Err(unusable(format!("its schema refers to more than {MAX_REFERENCES} others")));
        }
        let what = format!("version {version} of subject {}, which its schema refers to", cut(&key.0));
        let path = ["subjects", &key.0, "versions", &version.to_string()];
        let other = about(client, &path, "deleted=true", &what).await?;
        let Some(text) = other.schema.filter(|_| other.kind.as_deref().is_none_or(|kind| kind == "AVRO")) else {
            return Err(unusable(format!("the schema registry has no schema of Avro for {what}")));
        };
        found.insert(key, text);
        open.extend(other.references.unwrap_or_default());
    }
    Ok(found.into_values().collect())
}

/// What the registry says about what an id leads to; `what` names it. Everything but the schema is what the question comes to.
async fn about(client: &Client, path: &[&str], query: &str, what: &str) -> Result<Registered, Asked> {
    let mut is_second = false;
    loop {
        let reply = match client.get(path, query).await {
            Ok(reply) => reply,
            Err(Outage { why, is_server_fault }) => {
                // A registry may fail at one schema alone.
                let serves =
                    is_server_fault && client.get(&["subjects"], "").await.is_ok_and(|r| r.status.is_success());
                return Err(if serves { Asked::FailsAt(why) } else { Asked::Outage(why) });
            }
        };
        if reply.status.is_success() {
            return match serde_json::from_slice(&reply.body) {
                Ok(found) => Ok(found),
                Err(_) => Err(match client.serves_us(&reply).await {
                    Ok(()) => unusable(format!("the schema registry's answer about {what} cannot be read")),
                    Err(outage) => Asked::Outage(outage.why),
                }),
            };
        }
        if NOT_FOUND.contains(&reply.code()) {
            return Err(unusable(format!("the schema registry does not know {what}")));
        }
        if let Err(outage) = client.serves_us(&reply).await {
            return Err(Asked::Outage(outage.why));
        }
        // It serves us. It may do so only since now, with another password; asked again, it speaks of the id alone.
        if is_second {
            return Err(unusable(refused(&reply, what)));
        }
        is_second = true;
    }
}

/// What a registry that serves us says of one thing that it does not give.
fn refused(reply: &Reply, what: &str) -> String {
    match reply.status {
        StatusCode::NOT_FOUND => format!("the schema registry does not know {what} ({})", reply.words()),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            format!(
                "the schema registry denies {what} to us, and not other requests ({}): grant the right to read it",
                reply.words()
            )
        }
        _ => format!("the schema registry refuses {what} ({})", reply.words()),
    }
}

fn unusable(why: String) -> Asked {
    Asked::Answer(Answer::Unusable(why))
}

/// The id of one of our schemas under a subject.
async fn id_of(client: &Client, subject: &str, schema: &str, register: bool) -> Result<Answer, Outage> {
    let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
    let reply = if register {
        client.post(&["subjects", subject, "versions"], "", &body).await?
    } else {
        client.post(&["subjects", subject], "deleted=false", &body).await?
    };
    let does = if register { "register our schema" } else { "look our schema up" };
    if reply.status.is_success() {
        return match serde_json::from_slice::<Registered>(&reply.body) {
            Ok(Registered { id: Some(id), .. }) => Ok(Answer::Id(id)),
            _ => {
                client.serves_us(&reply).await?;
                Ok(Answer::Refused(format!("the schema registry tells no id of our schema under {subject}")))
            }
        };
    }
    if matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(client.refusal(&reply));
    }
    let is_missing = reply.status == StatusCode::NOT_FOUND;
    if !NOT_FOUND.contains(&reply.code()) {
        client.serves_us(&reply).await?;
    }
    Ok(Answer::Refused(if is_missing && !register {
        format!(
            "the schema registry has not our schema under {subject}: register it, or set `schemas = \"register\"` in [schema_registry]"
        )
    } else {
        format!("the schema registry will not {does} under {subject}: it answers {}", reply.words())
    }))
}
