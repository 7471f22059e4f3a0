//! `custom`: the user's own resolver, a registered function or a sandboxed script.

use std::collections::BTreeSet;

use super::last_write;
use super::picked::{Picked, PickedValue, string_array};
use crate::causality::EventHeader;
use crate::state::{Field, Memory, Path, RegisterWrite, StateError};
use json::{Value, ValueKind};

/// One contender, as a custom resolver sees it.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// The event that wrote it.
    pub event: &'a EventHeader<'a>,
    /// The value that it wrote: canonical JSON, `null` where it clears the field.
    pub value: &'a [u8],
}

/// Decision of a custom resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The field's value, JSON; `null` clears it.
    Value(Vec<u8>),
    /// Somebody else will decide. Last-write order shows meanwhile, and the conflict record's
    /// status is `pending`.
    Defer,
}

/// Why a custom resolver gave no answer. The conflict record holds it, and last-write order
/// decides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolverFailure(pub String);

/// The user's resolver. It must be pure: the same path and contenders give the same answer, on
/// every machine, for ever.
pub trait CustomResolver: Send + Sync {
    /// Decides a field in conflict. `contenders` are sorted by last-write order, least first, and
    /// there are at least two with different values.
    ///
    /// # Errors
    /// [`ResolverFailure`], also for a budget that is spent.
    fn resolve(&self, path: &str, contenders: &[Contender<'_>]) -> Result<Resolution, ResolverFailure>;
}

pub(super) fn pick<'a>(
    memory: &Memory<'a>,
    path: Path<'_>,
    contenders: &[RegisterWrite<'a>],
    resolver: &dyn CustomResolver,
) -> Result<Picked<'a>, StateError> {
    let mut sorted = contenders.to_vec();
    last_write::sort(memory, &mut sorted)?;
    let mut seen = Vec::with_capacity(sorted.len());
    for write in &sorted {
        seen.push(Contender { event: memory.header(write.by), value: memory.bytes(&write.value)? });
    }
    let answer = resolver.resolve(&path.to_string(), &seen).and_then(|resolution| match resolution {
        Resolution::Defer => Ok(None),
        Resolution::Value(json) => canonical(path.field, &json).map(Some),
    });
    Ok(match answer {
        Ok(Some(value)) => {
            let winner = sorted.iter().zip(&seen).rev().find(|(_, c)| c.value == value).map(|(w, _)| *w);
            let reason = "decided by the custom resolver".to_owned();
            Picked { winner, ties: Vec::new(), value: PickedValue::Made(value), reason, deferred: false }
        }
        Ok(None) => {
            let reason = "the custom resolver deferred; greatest in last-write order shows meanwhile";
            Picked { deferred: true, reason: reason.to_owned(), ..last_write::pick(memory, contenders)? }
        }
        Err(failure) => {
            let reason = format!("the custom resolver failed ({failure}); greatest in last-write order");
            Picked { reason, ..last_write::pick(memory, contenders)? }
        }
    })
}

/// The canonical form of a resolver's value, if it is one that the field can have.
fn canonical(field: Field, text: &[u8]) -> Result<Vec<u8>, ResolverFailure> {
    let failure = |what: String| ResolverFailure(format!("its value for {} {what}", field.name()));
    let document = json::parse(text).map_err(|e| failure(format!("is not JSON: {e}")))?;
    let value = document.root();
    let is_array_of =
        |kind: ValueKind| value.kind() == ValueKind::Array && value.items().all(|item| item.kind() == kind);
    let fits = match field {
        _ if value.is_null() => true,
        Field::Content | Field::SessionId | Field::UserId => value.kind() == ValueKind::String,
        Field::Importance => value.kind() == ValueKind::Number,
        Field::Embedding => is_array_of(ValueKind::Number),
        Field::Tags | Field::MergedFrom => is_array_of(ValueKind::String),
        Field::Entity | Field::Relationship => value.kind() == ValueKind::Object,
        Field::Metadata => true,
    };
    if !fits {
        return Err(failure("is of a wrong type".to_owned()));
    }
    if matches!(field, Field::Tags | Field::MergedFrom) && !value.is_null() {
        return Ok(string_array(value.items().filter_map(Value::as_str).collect::<BTreeSet<_>>()));
    }
    Ok(value.canonical())
}
