//! The filters of Mem0's API: conditions on fields, joined by `AND`, `OR` and `NOT`.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use http::Problem;
use json::{Value, ValueKind, rfc3339};
use node::settings::system_clock;

use super::fields::Mem0Memory;
use crate::problems;

/// Conditions that a request has at most, nested ones and single keys of metadata among them: each
/// is looked at for each memory.
pub(crate) const MOST_CONDITIONS: usize = 100;
/// Conditions on the text of a memory that a request has at most: a text of some MiB takes up to a
/// tenth of a second for each, in which the server does nothing else.
pub(crate) const MOST_TEXT_CONDITIONS: usize = 10;
/// Texts that a list in a filter has at most.
const MOST_TEXTS: usize = 1000;
/// Nanoseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
/// The types of entities, with the fields that name them.
pub(super) const ENTITIES: [(&str, &str); 4] =
    [("user", "user_id"), ("agent", "agent_id"), ("app", "app_id"), ("run", "run_id")];

/// A condition on a memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    /// All of these hold.
    And(Vec<Filter>),
    /// One of these holds.
    Or(Vec<Filter>),
    /// None of these holds.
    Not(Vec<Filter>),
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
    /// The memory's text contains this one.
    Text(String),
    /// The memory's text contains this one, which is in small letters, in any case of letters.
    TextInAnyCase(String),
    /// The memory is one of these.
    Ids(BTreeSet<String>),
    /// The memory does not expire before this time, in nanoseconds since 1970.
    Unexpired(u64),
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
            Some(value) => Reader::new(other).conjunction(value),
            None => Ok(Filter::And(Vec::new())),
        }
    }

    /// The condition that a memory belongs to this entity.
    pub fn entity(kind: &'static str, name: &str) -> Filter {
        Filter::Entity(kind, Names::In(BTreeSet::from([Some(name.to_owned())])))
    }

    /// This condition and another one.
    pub fn and(self, other: Filter) -> Filter {
        match self {
            Filter::And(mut all) => {
                all.push(other);
                Filter::And(all)
            }
            one => Filter::And(vec![one, other]),
        }
    }

    /// The names to which the condition limits entities of a type, where it says so at its top.
    pub fn limits(&self, kind: &str) -> Option<&BTreeSet<Option<String>>> {
        match self {
            Filter::Entity(of, Names::In(names)) if *of == kind => Some(names),
            Filter::And(all) => all.iter().find_map(|one| one.limits(kind)),
            _ => None,
        }
    }

    /// Whether it names an entity, so that it does not mean everything.
    pub fn names_entity(&self) -> bool {
        match self {
            Filter::Entity(..) => true,
            Filter::And(all) => all.iter().any(Filter::names_entity),
            _ => false,
        }
    }

    /// The condition that a memory has these keys with these values in its metadata.
    pub fn with_metadata(value: Value<'_>) -> Result<Filter, Problem> {
        Reader::new(OtherKeys::Refused).keys(value)
    }

    /// The condition that a memory's text contains this one, in any case of letters.
    pub fn text_in_any_case(part: &str) -> Filter {
        Filter::TextInAnyCase(part.to_lowercase())
    }

    /// Whether a memory fulfils it.
    pub fn passes(&self, memory: &Mem0Memory) -> bool {
        self.holds(&Examined { memory, text: OnceCell::new(), categories: OnceCell::new() })
    }

    fn holds(&self, examined: &Examined<'_>) -> bool {
        let memory = examined.memory;
        match self {
            Filter::And(all) => all.iter().all(|one| one.holds(examined)),
            Filter::Or(any) => any.iter().any(|one| one.holds(examined)),
            Filter::Not(none) => !none.iter().any(|one| one.holds(examined)),
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
            Filter::CategoryContains(part) => examined.categories().iter().any(|one| one.contains(part)),
            Filter::Metadata(wanted) => wanted.iter().all(|(key, value)| memory.metadata.get(key) == Some(value)),
            Filter::TextInAnyCase(part) => examined.text().contains(part),
            Filter::Text(part) => memory.text.contains(part),
            Filter::Ids(ids) => ids.contains(&memory.id),
            Filter::Unexpired(now) => memory.expires_at.is_none_or(|at| at > *now),
        }
    }

    /// The condition that the last day of a memory is not over, unless a request shows all.
    pub fn unexpired(shows_expired: Option<bool>) -> Filter {
        if shows_expired == Some(true) { Filter::And(Vec::new()) } else { Filter::Unexpired(system_clock()) }
    }

    /// The condition that a memory was created within days, of which each may be absent.
    pub fn created(start: Option<&str>, end: Option<&str>) -> Result<Filter, Problem> {
        let bounds = [(start, Comparison::Gte), (end, Comparison::Lte)];
        let bounds = bounds.into_iter().filter_map(|(text, comparison)| text.map(|text| (text, comparison)));
        bounds.map(|(text, comparison)| time(true, comparison, text)).collect::<Result<_, _>>().map(Filter::And)
    }
}

fn wrong(detail: impl Into<String>) -> Problem {
    problems::mem0_request(detail)
}

/// A memory that conditions are looked at for. Its small letters are made once, whatever the number
/// of conditions.
struct Examined<'m> {
    memory: &'m Mem0Memory,
    text: OnceCell<String>,
    categories: OnceCell<Vec<String>>,
}

impl Examined<'_> {
    fn text(&self) -> &str {
        self.text.get_or_init(|| self.memory.text.to_lowercase())
    }

    fn categories(&self) -> &[String] {
        self.categories.get_or_init(|| self.memory.categories.iter().map(|one| one.to_lowercase()).collect())
    }
}

/// The operators of a condition with their operands.
type Operators<'v> = Vec<(&'v str, Value<'v>)>;

/// Reads filters, and counts their conditions.
struct Reader {
    other: OtherKeys,
    conditions: usize,
    text_conditions: usize,
}

impl Reader {
    fn new(other: OtherKeys) -> Reader {
        Reader { other, conditions: 0, text_conditions: 0 }
    }

    /// Counts a condition before it is read.
    fn count(&mut self) -> Result<(), Problem> {
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            return Err(wrong(format!("a request may have {MOST_CONDITIONS} conditions, nested ones among them")));
        }
        Ok(())
    }

    /// The members of an object, all of which should hold.
    fn conjunction(&mut self, value: Value<'_>) -> Result<Filter, Problem> {
        if value.kind() != ValueKind::Object {
            return Err(wrong("`filters` and each of their parts should be an object"));
        }
        let all: Result<Vec<Filter>, Problem> = value.members().map(|(key, value)| self.member(key, value)).collect();
        all.map(Filter::And)
    }

    /// The objects that `AND`, `OR` or `NOT` joins.
    fn parts(&mut self, value: Value<'_>) -> Result<Vec<Filter>, Problem> {
        let mut part = |value: Value<'_>| {
            self.count()?;
            self.conjunction(value)
        };
        match value.kind() {
            ValueKind::Array => value.items().map(part).collect(),
            _ => Ok(vec![part(value)?]),
        }
    }

    fn member(&mut self, key: &str, value: Value<'_>) -> Result<Filter, Problem> {
        match key {
            "AND" => self.parts(value).map(Filter::And),
            "OR" => self.parts(value).map(Filter::Or),
            "NOT" => self.parts(value).map(Filter::Not),
            "metadata" => self.metadata(value),
            "session_id" => self.all(key, value, |operator, operand| entity("run", key, operator, operand)),
            "created_at" | "updated_at" => {
                self.all(key, value, |operator, operand| times(key == "created_at", key, operator, operand))
            }
            "categories" => self.all(key, value, categories),
            "keywords" | "text" => self.texts(key, value),
            "memory_ids" => self.all(key, value, ids),
            _ => match ENTITIES.iter().find(|(_, field)| *field == key) {
                Some((kind, _)) => self.all(key, value, |operator, operand| entity(kind, key, operator, operand)),
                None if self.other == OtherKeys::AreMetadata => {
                    self.count()?;
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

    /// The condition that a key's value holds by all of its operators.
    fn all(
        &mut self,
        key: &str,
        value: Value<'_>,
        one: impl Fn(&str, Value<'_>) -> Result<Filter, Problem>,
    ) -> Result<Filter, Problem> {
        let operators = self.operators(key, value)?;
        let all: Result<Vec<Filter>, Problem> =
            operators.into_iter().map(|(operator, operand)| one(operator, operand)).collect();
        all.map(Filter::And)
    }

    fn texts(&mut self, key: &str, value: Value<'_>) -> Result<Filter, Problem> {
        let operators = self.operators(key, value)?;
        self.text_conditions += operators.len();
        if self.text_conditions > MOST_TEXT_CONDITIONS {
            return Err(wrong(format!("a request may have {MOST_TEXT_CONDITIONS} conditions `keywords` and `text`")));
        }
        let all: Result<Vec<Filter>, Problem> =
            operators.into_iter().map(|(operator, operand)| keywords(key, operator, operand)).collect();
        all.map(Filter::And)
    }

    /// The operators of a condition; a bare value is that of `eq`. There is one at least, because a
    /// user without one would mean all users.
    fn operators<'v>(&mut self, key: &str, value: Value<'v>) -> Result<Operators<'v>, Problem> {
        let mut all = Vec::new();
        if value.kind() != ValueKind::Object {
            self.count()?;
            all.push(("eq", value));
            return Ok(all);
        }
        for operator in value.members() {
            self.count()?;
            all.push(operator);
        }
        if all.is_empty() {
            return Err(wrong(format!("the filter `{key}` has an object without an operator")));
        }
        Ok(all)
    }

    fn metadata(&mut self, value: Value<'_>) -> Result<Filter, Problem> {
        if value.kind() != ValueKind::Object {
            return Err(wrong("the filter `metadata` should be an object"));
        }
        let all = value.members().map(|(key, operand)| match (key, operand.kind()) {
            ("eq" | "contains", ValueKind::Object) => self.keys(operand),
            ("ne", ValueKind::Object) => Ok(Filter::Not(vec![self.keys(operand)?])),
            _ => {
                self.count()?;
                Ok(Filter::Metadata(BTreeMap::from([(key.to_owned(), operand.canonical())])))
            }
        });
        all.collect::<Result<_, Problem>>().map(Filter::And)
    }

    /// The keys of an object, each of which the metadata should have with its value.
    fn keys(&mut self, value: Value<'_>) -> Result<Filter, Problem> {
        let mut keys = BTreeMap::new();
        // An empty object is a condition as well: `ne` lets nothing pass then.
        self.count()?;
        for (key, value) in value.members() {
            if !keys.is_empty() {
                self.count()?;
            }
            keys.insert(key.to_owned(), value.canonical());
        }
        Ok(Filter::Metadata(keys))
    }
}

fn unknown_operator(key: &str, operator: &str, known: &str) -> Problem {
    let operator: String = operator.chars().take(100).collect();
    wrong(format!("the filter `{key}` has the operator `{operator}`; known: {known}"))
}

fn entity(kind: &'static str, key: &str, operator: &str, operand: Value<'_>) -> Result<Filter, Problem> {
    let name = |value: Value<'_>| match value.as_str() {
        Some("") => Err(wrong(format!("the filter `{key}` has an empty name; null stands for no name"))),
        Some(name) => Ok(Some(name.to_owned())),
        None if value.is_null() => Ok(None),
        None => Err(wrong(format!("the filter `{key}` should name a text"))),
    };
    let is = |value: Value<'_>| Ok(Filter::Entity(kind, Names::In(BTreeSet::from([name(value)?]))));
    match (operator, operand.as_str()) {
        ("eq", Some("*")) => Ok(Filter::Entity(kind, Names::Some)),
        ("eq", _) => is(operand),
        ("ne", _) => Ok(Filter::Not(vec![is(operand)?])),
        ("in", None) if operand.kind() == ValueKind::Array => {
            let names: BTreeSet<Option<String>> =
                items(key, operand)?.into_iter().map(name).collect::<Result<_, _>>()?;
            Ok(Filter::Entity(kind, Names::In(names)))
        }
        _ => Err(unknown_operator(key, operator, "eq, ne, in with a list, and the name `*`")),
    }
}

fn times(is_created: bool, key: &str, operator: &str, operand: Value<'_>) -> Result<Filter, Problem> {
    let text = operand.as_str().ok_or_else(|| wrong(format!("the filter `{key}` should be a date or a time")))?;
    match operator {
        "gt" => time(is_created, Comparison::Gt, text),
        "gte" => time(is_created, Comparison::Gte, text),
        "lt" => time(is_created, Comparison::Lt, text),
        "lte" => time(is_created, Comparison::Lte, text),
        "eq" => time(is_created, Comparison::Eq, text),
        "ne" => Ok(Filter::Not(vec![time(is_created, Comparison::Eq, text)?])),
        _ => Err(unknown_operator(key, operator, "gt, gte, lt, lte, eq, ne")),
    }
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

/// The items of a list.
fn items<'v>(key: &str, value: Value<'v>) -> Result<Vec<Value<'v>>, Problem> {
    let items: Vec<Value<'v>> = value.items().take(MOST_TEXTS + 1).collect();
    if items.len() > MOST_TEXTS {
        return Err(wrong(format!("the list of the filter `{key}` has more than {MOST_TEXTS} texts")));
    }
    Ok(items)
}

fn texts(key: &str, value: Value<'_>) -> Result<BTreeSet<String>, Problem> {
    let text = |item: Value<'_>| {
        item.as_str().map(str::to_owned).ok_or_else(|| wrong(format!("the filter `{key}` should have texts")))
    };
    match value.kind() {
        ValueKind::Array => items(key, value)?.into_iter().map(text).collect(),
        _ => Ok(BTreeSet::from([text(value)?])),
    }
}

fn categories(operator: &str, operand: Value<'_>) -> Result<Filter, Problem> {
    match (operator, operand.as_str()) {
        ("eq" | "in", _) => texts("categories", operand).map(Filter::Categories),
        ("contains", Some(part)) => Ok(Filter::CategoryContains(part.to_lowercase())),
        _ => Err(unknown_operator("categories", operator, "in, contains with a text")),
    }
}

fn keywords(key: &str, operator: &str, operand: Value<'_>) -> Result<Filter, Problem> {
    match (operator, operand.as_str()) {
        ("contains", Some(part)) => Ok(Filter::Text(part.to_owned())),
        ("eq" | "icontains", Some(part)) => Ok(Filter::text_in_any_case(part)),
        _ => Err(unknown_operator(key, operator, "contains, icontains, each with a text")),
    }
}

fn ids(operator: &str, operand: Value<'_>) -> Result<Filter, Problem> {
    match operator {
        "eq" | "in" => texts("memory_ids", operand).map(Filter::Ids),
        _ => Err(unknown_operator("memory_ids", operator, "in")),
    }
}
