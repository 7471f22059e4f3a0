//! The filters of Mem0's API: conditions on fields, joined by `AND`, `OR` and `NOT`.

use std::collections::{BTreeMap, BTreeSet};

use http::Problem;
use json::{Value, ValueKind, rfc3339};

use super::fields::Mem0Memory;
use crate::problems;

/// Nanoseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
/// The types of entities, with the fields that name them.
pub(super) const ENTITIES: [(&str, &str); 4] =
    [("user", "user_id"), ("agent", "agent_id"), ("app", "app_id"), ("run", "run_id")];

/// A condition on a memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    /// All of these hold.
    All(Vec<Filter>),
    /// One of these holds.
    Any(Vec<Filter>),
    /// None of these holds.
    None(Vec<Filter>),
    /// The memory belongs to such an entity of this type.
    Entity(&'static str, Names),
    /// A time of the memory, `true` for that of its creation, compares so with this time.
    Time { is_created: bool, comparison: Comparison, from: u64, to: u64 },
    /// The memory has one of these categories.
    Categories(BTreeSet<String>),
    /// One of the memory's categories contains this text, which is in small letters.
    CategoryContains(String),
    /// The memory has these keys with these values in its metadata.
    Metadata(BTreeMap<String, Vec<u8>>),
    /// The memory's text contains this one; `true` where the case of letters does not matter.
    Text(String, bool),
    /// The memory is one of these.
    Ids(BTreeSet<String>),
}

/// The names of entities.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Names {
    /// Any name.
    Some,
    /// No name, or one of these.
    In(BTreeSet<Option<String>>),
}

/// How a time compares with a time, or with a whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// After its end.
    Gt,
    /// Not before its beginning.
    Gte,
    /// Before its beginning.
    Lt,
    /// Not after its end.
    Lte,
    /// Within.
    Eq,
}

/// The meaning of a key that is no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherKeys {
    /// It is an error.
    Refused,
    /// It is a key of the metadata, which should have this value: HelixAgent sends such filters.
    AreMetadata,
}

impl Filter {
    /// Reads filters; none means that every memory passes.
    pub fn read(value: Option<Value<'_>>, other: OtherKeys) -> Result<Filter, Problem> {
        match value {
            Some(value) => conjunction(value, other),
            None => Ok(Filter::All(Vec::new())),
        }
    }

    /// The condition that a memory belongs to this entity.
    pub fn entity(kind: &'static str, name: &str) -> Filter {
        Filter::Entity(kind, Names::In(BTreeSet::from([Some(name.to_owned())])))
    }

    /// This condition and another one.
    pub fn and(self, other: Filter) -> Filter {
        match self {
            Filter::All(mut all) => {
                all.push(other);
                Filter::All(all)
            }
            one => Filter::All(vec![one, other]),
        }
    }

    /// The names to which the condition limits entities of a type, where it says so at its top.
    pub fn limits(&self, kind: &str) -> Option<&BTreeSet<Option<String>>> {
        match self {
            Filter::Entity(of, Names::In(names)) if *of == kind => Some(names),
            Filter::All(all) => all.iter().find_map(|one| one.limits(kind)),
            _ => None,
        }
    }

    /// Whether it names an entity, so that it does not mean everything.
    pub fn names_entity(&self) -> bool {
        match self {
            Filter::Entity(..) => true,
            Filter::All(all) => all.iter().any(Filter::names_entity),
            _ => false,
        }
    }

    /// Whether a memory fulfils it.
    pub fn passes(&self, memory: &Mem0Memory) -> bool {
        match self {
            Filter::All(all) => all.iter().all(|one| one.passes(memory)),
            Filter::Any(any) => any.iter().any(|one| one.passes(memory)),
            Filter::None(none) => !none.iter().any(|one| one.passes(memory)),
            Filter::Entity(kind, Names::Some) => memory.entity(kind).is_some(),
            Filter::Entity(kind, Names::In(names)) => names.contains(&memory.entity(kind).map(str::to_owned)),
            Filter::Time { is_created, comparison, from, to } => {
                let time = if *is_created { memory.created_at } else { memory.updated_at };
                match comparison {
                    Comparison::Gt => time > *to,
                    Comparison::Gte => time >= *from,
                    Comparison::Lt => time < *from,
                    Comparison::Lte => time <= *to,
                    Comparison::Eq => (*from..=*to).contains(&time),
                }
            }
            Filter::Categories(wanted) => !wanted.is_disjoint(&memory.categories),
            Filter::CategoryContains(part) => memory.categories.iter().any(|one| one.to_lowercase().contains(part)),
            Filter::Metadata(wanted) => wanted.iter().all(|(key, value)| memory.metadata.get(key) == Some(value)),
            Filter::Text(part, true) => memory.text.to_lowercase().contains(&part.to_lowercase()),
            Filter::Text(part, false) => memory.text.contains(part.as_str()),
            Filter::Ids(ids) => ids.contains(&memory.id),
        }
    }

    /// The condition that a memory was created within days, of which each may be absent.
    pub fn created(start: Option<&str>, end: Option<&str>) -> Result<Filter, Problem> {
        let bounds = [(start, Comparison::Gte), (end, Comparison::Lte)];
        let bounds = bounds.into_iter().filter_map(|(text, comparison)| text.map(|text| (text, comparison)));
        bounds.map(|(text, comparison)| time(true, comparison, text)).collect::<Result<_, _>>().map(Filter::All)
    }
}

fn wrong(detail: impl Into<String>) -> Problem {
    problems::mem0_request(detail)
}

/// The members of an object, all of which should hold.
fn conjunction(value: Value<'_>, other: OtherKeys) -> Result<Filter, Problem> {
    if value.kind() != ValueKind::Object {
        return Err(wrong("`filters` and each of their parts should be an object"));
    }
    let all: Result<Vec<Filter>, Problem> = value.members().map(|(key, value)| member(key, value, other)).collect();
    all.map(Filter::All)
}

fn member(key: &str, value: Value<'_>, other: OtherKeys) -> Result<Filter, Problem> {
    let parts = || -> Result<Vec<Filter>, Problem> {
        match value.kind() {
            ValueKind::Array => value.items().map(|item| conjunction(item, other)).collect(),
            _ => Ok(vec![conjunction(value, other)?]),
        }
    };
    match key {
        "AND" => parts().map(Filter::All),
        "OR" => parts().map(Filter::Any),
        "NOT" => parts().map(Filter::None),
        "session_id" => entity("run", key, value),
        "created_at" | "updated_at" => times(key == "created_at", key, value),
        "categories" => categories(value),
        "metadata" => metadata(value),
        "keywords" | "text" => keywords(key, value),
        "memory_ids" => ids(value),
        _ => match ENTITIES.iter().find(|(_, field)| *field == key) {
            Some((kind, _)) => entity(kind, key, value),
            None if other == OtherKeys::AreMetadata => {
                Ok(Filter::Metadata(BTreeMap::from([(key.to_owned(), value.canonical())])))
            }
            None => {
                let key: String = key.chars().take(100).collect();
                Err(wrong(format!(
                    "a filter has the key `{key}`; known: AND, OR, NOT, user_id, agent_id, app_id, run_id, session_id, created_at, \
                     updated_at, categories, metadata, keywords, text and memory_ids"
                )))
            }
        },
    }
}

/// The operators of a condition with their operands; a bare value is that of `eq`.
fn operators(value: Value<'_>) -> Vec<(&str, Value<'_>)> {
    if value.kind() == ValueKind::Object { value.members().collect() } else { vec![("eq", value)] }
}

fn unknown_operator(key: &str, operator: &str, known: &str) -> Problem {
    let operator: String = operator.chars().take(100).collect();
    wrong(format!("the filter `{key}` has the operator `{operator}`; known: {known}"))
}

fn entity(kind: &'static str, key: &str, value: Value<'_>) -> Result<Filter, Problem> {
    let name = |value: Value<'_>| match value.as_str() {
        Some(name) => Ok(Some(name.to_owned()).filter(|name| !name.is_empty())),
        None if value.is_null() => Ok(None),
        None => Err(wrong(format!("the filter `{key}` should name a text"))),
    };
    let one = |(operator, operand): (&str, Value<'_>)| match (operator, operand.as_str()) {
        ("eq", Some("*")) => Ok(Filter::Entity(kind, Names::Some)),
        ("eq", _) => Ok(Filter::Entity(kind, Names::In(BTreeSet::from([name(operand)?])))),
        ("ne", _) => Ok(Filter::None(vec![Filter::Entity(kind, Names::In(BTreeSet::from([name(operand)?])))])),
        ("in", None) if operand.kind() == ValueKind::Array => {
            let names: Result<BTreeSet<_>, Problem> = operand.items().map(name).collect();
            Ok(Filter::Entity(kind, Names::In(names?)))
        }
        _ => Err(unknown_operator(key, operator, "eq, ne, in with a list, and the name `*`")),
    };
    operators(value).into_iter().map(one).collect::<Result<_, _>>().map(Filter::All)
}

fn times(is_created: bool, key: &str, value: Value<'_>) -> Result<Filter, Problem> {
    let one = |(operator, operand): (&str, Value<'_>)| {
        let text = operand.as_str().ok_or_else(|| wrong(format!("the filter `{key}` should be a date or a time")))?;
        match operator {
            "gt" => time(is_created, Comparison::Gt, text),
            "gte" => time(is_created, Comparison::Gte, text),
            "lt" => time(is_created, Comparison::Lt, text),
            "lte" => time(is_created, Comparison::Lte, text),
            "eq" => time(is_created, Comparison::Eq, text),
            "ne" => Ok(Filter::None(vec![time(is_created, Comparison::Eq, text)?])),
            _ => Err(unknown_operator(key, operator, "gt, gte, lt, lte, eq, ne")),
        }
    };
    operators(value).into_iter().map(one).collect::<Result<_, _>>().map(Filter::All)
}

/// A time in RFC 3339, or a date, which is a whole day.
fn time(is_created: bool, comparison: Comparison, text: &str) -> Result<Filter, Problem> {
    let day = || rfc3339::parse(&format!("{text}T00:00:00Z")).map(|from| (from, from.saturating_add(DAY - 1)));
    let bounds = rfc3339::parse(text).map(|at| (at, at)).or_else(|_| day());
    let (from, to) = bounds.map_err(|_| {
        let text: String = text.chars().take(100).collect();
        wrong(format!("`{text}` should be a date (2026-11-28) or a time with a zone (2026-11-28T09:00:00Z)"))
    })?;
    Ok(Filter::Time { is_created, comparison, from, to })
}

fn texts(key: &str, value: Value<'_>) -> Result<BTreeSet<String>, Problem> {
    let text = |item: Value<'_>| {
        item.as_str().map(str::to_owned).ok_or_else(|| wrong(format!("the filter `{key}` should have texts")))
    };
    match value.kind() {
        ValueKind::Array => value.items().map(text).collect(),
        _ => Ok(BTreeSet::from([text(value)?])),
    }
}

fn categories(value: Value<'_>) -> Result<Filter, Problem> {
    let one = |(operator, operand): (&str, Value<'_>)| match (operator, operand.as_str()) {
        ("eq" | "in", _) => texts("categories", operand).map(Filter::Categories),
        ("contains", Some(part)) => Ok(Filter::CategoryContains(part.to_lowercase())),
        _ => Err(unknown_operator("categories", operator, "in, contains with a text")),
    };
    operators(value).into_iter().map(one).collect::<Result<_, _>>().map(Filter::All)
}

fn metadata(value: Value<'_>) -> Result<Filter, Problem> {
    if value.kind() != ValueKind::Object {
        return Err(wrong("the filter `metadata` should be an object"));
    }
    let keys = |value: Value<'_>| {
        Filter::Metadata(value.members().map(|(key, value)| (key.to_owned(), value.canonical())).collect())
    };
    let all = value.members().map(|(key, operand)| match (key, operand.kind()) {
        ("eq" | "contains", ValueKind::Object) => keys(operand),
        ("ne", ValueKind::Object) => Filter::None(vec![keys(operand)]),
        _ => Filter::Metadata(BTreeMap::from([(key.to_owned(), operand.canonical())])),
    });
    Ok(Filter::All(all.collect()))
}

fn keywords(key: &str, value: Value<'_>) -> Result<Filter, Problem> {
    let one = |(operator, operand): (&str, Value<'_>)| match (operator, operand.as_str()) {
        ("contains", Some(part)) => Ok(Filter::Text(part.to_owned(), false)),
        ("eq" | "icontains", Some(part)) => Ok(Filter::Text(part.to_owned(), true)),
        _ => Err(unknown_operator(key, operator, "contains, icontains, each with a text")),
    };
    operators(value).into_iter().map(one).collect::<Result<_, _>>().map(Filter::All)
}

fn ids(value: Value<'_>) -> Result<Filter, Problem> {
    let one = |(operator, operand): (&str, Value<'_>)| match operator {
        "eq" | "in" => texts("memory_ids", operand).map(Filter::Ids),
        _ => Err(unknown_operator("memory_ids", operator, "in")),
    };
    operators(value).into_iter().map(one).collect::<Result<_, _>>().map(Filter::All)
}
