//! How HelixAgent's nodes read a record, written from what their Go code insists on and apart from
//! our encoder: encoding/json into their structs, which refuses a record whole for one member of a
//! wrong type, and then what applies an event.
//!
//! Go matches a member by its name without regard to case, takes null as nothing, and passes over
//! what it does not know.

use base64::Engine as _;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub type Read<T> = Result<T, String>;

/// `messaging.Message`.
#[derive(Debug)]
pub struct Message {
    pub id: String,
    pub kind: String,
    pub payload: Vec<u8>,
    pub headers: BTreeMap<String, String>,
}

/// `memory.MemoryEvent`.
#[derive(Debug)]
pub struct Event {
    pub event_id: String,
    pub event_type: String,
    pub timestamp: String,
    pub node_id: String,
    pub memory_id: String,
    pub embedding: Vec<f32>,
    pub entities: Vec<Map<String, Value>>,
    pub version: i64,
    pub vector_clock: String,
    pub all: Map<String, Value>,
}

fn object(value: &Value) -> Read<Map<String, Value>> {
    value.as_object().cloned().ok_or_else(|| format!("{value} is no object"))
}

fn parse(bytes: &[u8]) -> Read<Map<String, Value>> {
    object(&serde_json::from_slice(bytes).map_err(|e| e.to_string())?)
}

/// Whatever is decoded into the field of that name, in the order of the text; null is nothing.
fn of<'o>(from: &'o Map<String, Value>, name: &str) -> Vec<&'o Value> {
    let matches =
        |(key, value): (&'o String, &'o Value)| (key.to_lowercase() == name && !value.is_null()).then_some(value);
    from.iter().filter_map(matches).collect()
}

fn field<T: Default>(from: &Map<String, Value>, name: &str, read: impl Fn(&Value) -> Option<T>) -> Read<T> {
    let mut found = T::default();
    for value in of(from, name) {
        found = read(value).ok_or_else(|| format!("{name} cannot hold {value}"))?;
    }
    Ok(found)
}

fn text(from: &Map<String, Value>, name: &str) -> Read<String> {
    field(from, name, |v| v.as_str().map(str::to_owned))
}

fn texts(from: &Map<String, Value>, name: &str) -> Read<Vec<String>> {
    field(from, name, |v| v.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect())
}

fn float64(from: &Map<String, Value>, name: &str) -> Read<f64> {
    field(from, name, |v| v.as_f64().filter(|n| n.is_finite()))
}

/// A slice of float32: Go reads the text, and refuses a number whose nearest float32 is infinite.
fn floats(from: &Map<String, Value>, name: &str) -> Read<Vec<f32>> {
    let one = |v: &Value| v.as_number()?.to_string().parse::<f32>().ok().filter(|n| n.is_finite());
    field(from, name, |v| v.as_array()?.iter().map(one).collect())
}

fn any_object(from: &Map<String, Value>, name: &str) -> Read<Map<String, Value>> {
    field(from, name, |v| v.as_object().cloned())
}

/// A time as `time.Time` decodes it: RFC 3339 to the letter.
fn time(from: &Map<String, Value>, name: &str) -> Read<String> {
    field(from, name, |v| v.as_str().filter(|t| is_time(t)).map(str::to_owned))
}

fn is_time(text: &str) -> bool {
    let form = regex_of_time(text.as_bytes());
    let two = |at: usize| text.get(at..at + 2).and_then(|t| t.parse::<u32>().ok()).unwrap_or(99);
    let year: u32 = text.get(..4).and_then(|t| t.parse().ok()).unwrap_or(0);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (month, day) = (two(5) as usize, two(8));
    form && (1..=12).contains(&month)
        && (1..=days[month - 1]).contains(&day)
        && two(11) < 24
        && two(14) < 60
        && two(17) < 60
}

/// `dddd-dd-ddTdd:dd:dd`, perhaps a fraction, then `Z` or `±hh:mm`.
fn regex_of_time(text: &[u8]) -> bool {
    let (Some(stamp), Some(rest)) = (text.get(..19), text.get(19..)) else { return false };
    let form = b"0000-00-00T00:00:00";
    let fits = stamp.iter().zip(form).all(|(c, f)| if *f == b'0' { c.is_ascii_digit() } else { c == f });
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
    };
    let zone = |z: &[u8]| {
        z.len() == 6
            && (z[0] == b'+' || z[0] == b'-')
            && z[3] == b':'
            && z[1..3].iter().chain(&z[4..]).all(u8::is_ascii_digit)
    };
    fits && (rest == b"Z" || zone(rest))
}

fn parts(from: &Map<String, Value>, name: &str, texts: &[&str], number: &str) -> Read<Vec<Map<String, Value>>> {
    let mut found = Vec::new();
    for value in of(from, name) {
        for part in value.as_array().ok_or_else(|| format!("{name} is no array"))? {
            let part = object(part)?;
            texts.iter().try_for_each(|name| text(&part, name).map(drop))?;
            any_object(&part, "properties")?;
            float64(&part, number)?;
            time(&part, "created_at")?;
            found.push(part);
        }
    }
    Ok(found)
}

/// Reads the message around an event or a report.
pub fn message(bytes: &[u8]) -> Read<Message> {
    let all = parse(bytes)?;
    time(&all, "timestamp")?;
    let payload = text(&all, "payload")?;
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).map_err(|e| e.to_string())?;
    let headers = field(&all, "headers", |v| {
        v.as_object()?.iter().map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
    })?;
    Ok(Message { id: text(&all, "id")?, kind: text(&all, "type")?, payload, headers })
}

/// Reads a memory event.
pub fn event(bytes: &[u8]) -> Read<Event> {
    event_of(parse(bytes)?)
}

fn event_of(all: Map<String, Value>) -> Read<Event> {
    texts(&all, "tags")?;
    texts(&all, "merged_from")?;
    any_object(&all, "metadata")?;
    ["user_id", "session_id", "content"].iter().try_for_each(|name| text(&all, name).map(drop))?;
    float64(&all, "importance")?;
    parts(&all, "relationships", &["id", "from_entity", "to_entity", "type"], "strength")?;
    Ok(Event {
        event_id: text(&all, "event_id")?,
        event_type: text(&all, "event_type")?,
        timestamp: time(&all, "timestamp")?,
        node_id: text(&all, "node_id")?,
        memory_id: text(&all, "memory_id")?,
        embedding: floats(&all, "embedding")?,
        entities: parts(&all, "entities", &["id", "type", "name"], "confidence")?,
        version: field(&all, "version", Value::as_i64)?,
        vector_clock: text(&all, "vector_clock")?,
        all,
    })
}

fn memory(all: &Map<String, Value>) -> Read<()> {
    ["id", "user_id", "session_id", "content"].iter().try_for_each(|name| text(all, name).map(drop))?;
    ["created_at", "updated_at"].iter().try_for_each(|name| time(all, name).map(drop))?;
    floats(all, "embedding")?;
    float64(all, "importance")?;
    any_object(all, "metadata")?;
    Ok(())
}

/// Reads a conflict report.
pub fn report(bytes: &[u8]) -> Read<Map<String, Value>> {
    let all = parse(bytes)?;
    ["memory_id", "conflict_type", "resolved_with"].iter().try_for_each(|name| text(&all, name).map(drop))?;
    time(&all, "timestamp")?;
    any_object(&all, "details")?;
    for name in ["local_version", "resolution"] {
        of(&all, name).into_iter().try_for_each(|value| memory(&object(value)?))?;
    }
    of(&all, "remote_version").into_iter().try_for_each(|value| event_of(object(value)?).map(drop))?;
    Ok(all)
}

/// Reads a memory snapshot, whose clock is an object and whose relationships name their ends
/// otherwise than events do.
pub fn snapshot(bytes: &[u8]) -> Read<Map<String, Value>> {
    let all = parse(bytes)?;
    ["snapshot_id", "node_id", "user_id"].iter().try_for_each(|name| text(&all, name).map(drop))?;
    time(&all, "timestamp")?;
    for value in of(&all, "memories") {
        let memories = value.as_array().ok_or("memories is no array")?;
        memories.iter().try_for_each(|value| memory(&object(value)?))?;
    }
    parts(&all, "entities", &["id", "type", "name"], "confidence")?;
    parts(&all, "relationships", &["id", "source_id", "target_id", "type"], "strength")?;
    let clock = any_object(&all, "vector_clock")?;
    clock.values().try_for_each(|n| n.as_i64().map(drop).ok_or_else(|| format!("{n} is no counter")))?;
    any_object(&all, "metadata")?;
    Ok(all)
}

/// What a node does with an event: whether it stores or deletes the memory.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    Own,
    Stored,
    Deleted,
    PassedOver,
}

/// Applies an event at a node, which takes the clock into its own first.
pub fn apply(event: &Event, node_id: &str, clock: &mut BTreeMap<String, i64>) -> Read<Applied> {
    if event.node_id == node_id {
        return Ok(Applied::Own);
    }
    let read: BTreeMap<String, i64> = serde_json::from_str(&event.vector_clock).map_err(|e| e.to_string())?;
    for (node, counter) in read {
        let own = clock.entry(node).or_default();
        *own = counter.max(*own);
    }
    Ok(match event.event_type.as_str() {
        "memory.created" | "memory.updated" | "memory.merged" => Applied::Stored,
        "memory.deleted" => Applied::Deleted,
        _ => Applied::PassedOver,
    })
}
