//! One request to the registry, and the meaning of its answer. An id stands in a record that anyone
//! may have written, so an answer about that id never stops the program: it makes the record a dead
//! letter. An answer about us, such as a refused password, and an outage make what needs the
//! registry wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use schema_registry_converter::schema_registry_common::{RawRegisteredSchema, RegisteredReference, SrCall};

use super::access::cut;
use super::client::{Client, Failed, Outage, Refusal, in_path};
use super::writer::WriterSchema;

/// Schemas that lead to others that they name.
const MAX_REFERENCES: usize = 100;
/// Codes of the registry: no such subject, no such version of it, no such schema.
const NOT_FOUND: [u32; 3] = [40401, 40402, 40403];
/// Left out where it is this one.
const AVRO: &str = "AVRO";

/// A request to the registry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Schema(u32),
    Id { subject: String, schema: &'static str },
}

/// The answer to a question.
#[derive(Clone)]
pub(super) enum Answer {
    Schema(Arc<WriterSchema>),
    Id(u32),
    /// There is none, or none that can be used.
    Unusable(String),
    /// It will not say; asking again is of no use.
    Refused(String),
}

/// Outcome of a request.
pub(super) enum Asked {
    Answer(Answer),
    /// The registry fails at this id and serves us otherwise: why.
    FailsAt(String),
    /// It is not to be had, or does not serve us: why.
    Outage(String),
}

/// Asks once.
pub(super) async fn send_request(client: &Client, question: &Question, register: bool) -> Asked {
    match question {
        Question::Schema(id) => by_id(client, *id).await,
        Question::Id { subject, schema } => match id_of(client, subject, schema, register).await {
            Ok(answer) => Asked::Answer(answer),
            Err(outage) => Asked::Outage(outage.shown()),
        },
    }
}

/// The schema of an id, with those that it refers to.
async fn by_id(client: &Client, id: u32) -> Asked {
    // The registry's ids are signed numbers of 32 bits; no other one can have been given out.
    if i32::try_from(id).is_err() {
        return unusable("no schema registry gives out such an id: ids end at 2147483647".to_owned());
    }
    let found = match about(client, SrCall::GetById(id), "it").await {
        Ok(found) => found,
        Err(asked) => return asked,
    };
    let Some(schema) = avro(&found) else {
        return unusable("the schema registry has no schema of Avro by that id".to_owned());
    };
    let others = match references(client, found.references.clone().unwrap_or_default()).await {
        Ok(others) => others,
        Err(asked) => return asked,
    };
    match WriterSchema::new(schema, &others) {
        Ok(writer) => Asked::Answer(Answer::Schema(Arc::new(writer))),
        Err(why) => unusable(format!("its schema cannot be used: {}", cut(&why))),
    }
}

/// The text of a schema, if it is one of Avro.
fn avro(found: &RawRegisteredSchema) -> Option<&str> {
    found.schema.as_deref().filter(|_| found.schema_type.as_deref().is_none_or(|kind| kind == AVRO))
}

/// The texts of the schemas that a schema refers to, and of those that they refer to.
async fn references(client: &Client, mut open: Vec<RegisteredReference>) -> Result<Vec<String>, Asked> {
    let mut found: BTreeMap<(String, u32), String> = BTreeMap::new();
    while let Some(RegisteredReference { subject, version, .. }) = open.pop() {
        let key = (subject, version);
        if found.contains_key(&key) {
            continue;
        }
        if found.len() >= MAX_REFERENCES {
            return Err(unusable(format!("its schema refers to more than {MAX_REFERENCES} others")));
        }
        let what = format!("version {version} of subject {}, which its schema refers to", cut(&key.0));
        let other = about(client, SrCall::GetBySubjectAndVersion(&in_path(&key.0), version), &what).await?;
        let Some(text) = avro(&other) else {
            return Err(unusable(format!("the schema registry has no schema of Avro for {what}")));
        };
        found.insert(key, text.to_owned());
        open.extend(other.references.unwrap_or_default());
    }
    Ok(found.into_values().collect())
}

/// The registry's answer about an object that an id leads to; `what` names it. Every answer but the
/// schema is the outcome of the request.
async fn about(client: &Client, call: SrCall<'_>, what: &str) -> Result<RawRegisteredSchema, Asked> {
    let mut is_second = false;
    loop {
        let refusal = match client.call(call).await {
            Ok(found) => return Ok(found),
            Err(Failed::Refused(refusal)) => refusal,
            Err(Failed::Outage(outage)) => {
                // A registry may fail at one schema alone.
                let serves = outage.is_server_fault && client.serves_us(None).await.is_ok();
                return Err(if serves { Asked::FailsAt(outage.why) } else { Asked::Outage(outage.shown()) });
            }
        };
        if NOT_FOUND.contains(&refusal.code) {
            return Err(unusable(format!("the schema registry does not know {what}")));
        }
        if let Err(outage) = client.serves_us(Some(&refusal)).await {
            return Err(Asked::Outage(outage.shown()));
        }
        // It serves us. It may do so only since now, with another password; asked again, it speaks
        // of the id alone.
        if is_second {
            return Err(unusable(refused(&refusal, what)));
        }
        is_second = true;
    }
}

/// Reason for which a registry that serves us does not return one object.
fn refused(refusal: &Refusal, what: &str) -> String {
    let words = refusal.words();
    match refusal.status {
        200 => format!("the schema registry's answer about {what} cannot be read"),
        404 => format!("the schema registry does not know {what} ({words})"),
        401 | 403 => {
            format!(
                "the schema registry denies {what} to us, and not other requests ({words}): grant the right to read it"
            )
        }
        _ => format!("the schema registry refuses {what} ({words})"),
    }
}

fn unusable(why: String) -> Asked {
    Asked::Answer(Answer::Unusable(why))
}

/// The id of one of our schemas under a subject.
async fn id_of(client: &Client, subject: &str, schema: &str, register: bool) -> Result<Answer, Outage> {
    let body = serde_json::json!({ "schema": schema, "schemaType": AVRO }).to_string();
    let in_path = in_path(subject);
    let call = if register { SrCall::PostNew(&in_path, &body) } else { SrCall::PostForVersion(&in_path, &body) };
    let refusal = match client.call(call).await {
        Ok(found) => {
            return Ok(found.id.map_or_else(
                || {
                    Answer::Refused(format!(
                        "the schema registry answers without an id for our schema under {subject} [HS5506]"
                    ))
                },
                Answer::Id,
            ));
        }
        Err(Failed::Outage(outage)) => return Err(outage),
        Err(Failed::Refused(refusal)) => refusal,
    };
    if matches!(refusal.status, 401 | 403) {
        return Err(client.refusal(&refusal));
    }
    if !NOT_FOUND.contains(&refusal.code) {
        client.serves_us(Some(&refusal)).await?;
    }
    let does = if register { "register our schema" } else { "look our schema up" };
    Ok(Answer::Refused(if refusal.status == 404 && !register {
        format!(
            "the schema registry does not have our schema under {subject}: register it, or set `schemas = \"register\"` in \
             [schema_registry] [HS5509]"
        )
    } else {
        format!("the schema registry refuses to {does} under {subject}: it answers {} [HS5510]", refusal.words())
    }))
}
