//! JSON to values of the engine, and back.

use std::fmt::Display;

use rhai::{Array, Dynamic, FLOAT, INT, Map};

use super::Budget;
use json::Number;
use json::rfc3339;
use json::{self, MAX_DEPTH, Value, ValueKind};
use memory::strategy::{Contender, ResolverFailure};

/// Result of `defer()`.
#[derive(Clone, Copy, Debug)]
pub struct Deferred;

/// Result of `clear()`.
#[derive(Clone, Copy, Debug)]
pub struct Cleared;

/// An integer above the engine's own, kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wide(pub u64);

/// Remaining budget for the values that a script receives.
pub(super) struct Left {
    bytes: usize,
    items: usize,
}

impl Left {
    pub fn of(budget: &Budget) -> Left {
        Left { bytes: budget.bytes, items: budget.items }
    }

    fn bytes(&mut self, text: &str) -> Result<(), ResolverFailure> {
        let left = self.bytes.checked_sub(text.len());
        self.bytes = left.ok_or_else(|| over("the texts that it is given are longer than `script_bytes`"))?;
        Ok(())
    }

    pub fn text(&mut self, text: &str) -> Result<Dynamic, ResolverFailure> {
        self.bytes(text)?;
        Ok(text.into())
    }

    pub fn item(&mut self) -> Result<(), ResolverFailure> {
        let left = self.items.checked_sub(1);
        self.items = left.ok_or_else(|| over("what it is given has more items than `script_items`"))?;
        Ok(())
    }
}

fn over(why: impl Display) -> ResolverFailure {
    ResolverFailure(why.to_string())
}

fn integer(n: u64) -> Dynamic {
    INT::try_from(n).map_or_else(|_| Dynamic::from(Wide(n)), Dynamic::from)
}

fn number(n: Number) -> Dynamic {
    match n {
        Number::Int(n) => {
            INT::try_from(n).map_or_else(|_| u64::try_from(n).map_or(Dynamic::UNIT, integer), Dynamic::from)
        }
        Number::Float(n) => Dynamic::from(n as FLOAT),
    }
}

/// The contenders as a script sees them: an array of objects, in their order.
///
/// # Errors
/// They are more than the budget has.
pub fn contenders(all: &[Contender<'_>], budget: &Budget) -> Result<Dynamic, ResolverFailure> {
    let mut left = Left::of(budget);
    let one = |contender: &Contender<'_>| contender_value(contender, &mut left);
    Ok(Dynamic::from(all.iter().map(one).collect::<Result<Array, _>>()?))
}

fn contender_value(contender: &Contender<'_>, left: &mut Left) -> Result<Dynamic, ResolverFailure> {
    let event = contender.event;
    let mut clock = Map::new();
    for (node, counter) in &event.clock {
        left.item()?;
        left.bytes(node)?;
        clock.insert((*node).into(), integer(*counter));
    }
    let document = json::parse(contender.value).map_err(over)?;
    let members = [
        ("event_id", left.text(event.event_id)?),
        ("node_id", event.node_id.map_or(Ok(Dynamic::UNIT), |node| left.text(node))?),
        ("version", integer(event.version)),
        ("timestamp", left.text(&rfc3339::format(event.timestamp))?),
        ("time_ns", integer(event.timestamp)),
        ("importance", event.importance.map_or(Dynamic::UNIT, number)),
        ("vector_clock", Dynamic::from(clock)),
        ("value", value(document.root(), left)?),
    ];
    left.item()?;
    let mut map = Map::new();
    for (name, value) in members {
        left.item()?;
        map.insert(name.into(), value);
    }
    Ok(Dynamic::from(map))
}

/// A value of JSON as scripts have it: integers exact.
pub(super) fn value(json: Value<'_>, left: &mut Left) -> Result<Dynamic, ResolverFailure> {
    Ok(match json.kind() {
        ValueKind::Null => Dynamic::UNIT,
        ValueKind::Bool => Dynamic::from(json.canonical() == b"true"),
        ValueKind::Number => json.as_number().map_or(Dynamic::UNIT, number),
        ValueKind::String => left.text(json.as_str().unwrap_or_default())?,
        ValueKind::Array => {
            let mut array = Array::new();
            for item in json.items() {
                left.item()?;
                array.push(value(item, left)?);
            }
            Dynamic::from(array)
        }
        ValueKind::Object => {
            let mut map = Map::new();
            for (key, member) in json.members() {
                left.item()?;
                left.bytes(key)?;
                map.insert(key.into(), value(member, left)?);
            }
            Dynamic::from(map)
        }
    })
}

/// The JSON of a value that a script made.
///
/// # Errors
/// It has none, or it is more than the budget has.
pub fn json(value: &Dynamic, budget: &Budget) -> Result<Vec<u8>, ResolverFailure> {
    let mut out = Vec::new();
    write(value, &mut out, 0)?;
    // Escapes and digits come on top of what the engine has counted.
    if out.len() > budget.bytes.saturating_mul(8).saturating_add(budget.items.saturating_mul(32)) {
        return Err(over("its value is longer than `script_bytes`"));
    }
    Ok(out)
}

fn write(value: &Dynamic, out: &mut Vec<u8>, depth: usize) -> Result<(), ResolverFailure> {
    if depth > MAX_DEPTH {
        return Err(over(format!("its value is nested deeper than {MAX_DEPTH}")));
    }
    if value.is_unit() {
        out.extend_from_slice(b"null");
    } else if let Ok(b) = value.as_bool() {
        out.extend_from_slice(if b { b"true" } else { b"false" });
    } else if let Ok(n) = value.as_int() {
        json::write_number(out, Number::Int(n.into()));
    } else if let Some(Wide(n)) = value.read_lock::<Wide>().as_deref() {
        json::write_number(out, Number::Int((*n).into()));
    } else if let Ok(n) = value.as_float() {
        if !n.is_finite() {
            return Err(over(format!("its value {n} is no number of JSON")));
        }
        json::write_number(out, Number::from_double(n));
    } else if let Ok(text) = value.as_immutable_string_ref() {
        json::write_string(out, &text);
    } else if let Ok(c) = value.as_char() {
        json::write_string(out, c.encode_utf8(&mut [0; 4]));
    } else if let Ok(array) = value.as_array_ref() {
        list(out, [b'[', b']'], array.iter(), |out, item| write(item, out, depth + 1))?;
    } else if let Ok(map) = value.as_map_ref() {
        list(out, [b'{', b'}'], map.iter(), |out, (key, member)| {
            json::write_string(out, key);
            out.push(b':');
            write(member, out, depth + 1)
        })?;
    } else {
        return Err(over(format!("its value is or holds something of type {}, which JSON has not", value.type_name())));
    }
    Ok(())
}

fn list<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), ResolverFailure>,
) -> Result<(), ResolverFailure> {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item)?;
    }
    out.push(close);
    Ok(())
}
