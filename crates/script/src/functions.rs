//! Functions that scripts may call besides the operators. Rhai's own functions over texts, arrays
//! and functions are left out: some make values that no limit has seen yet, such as `replace`, or
//! run a function many times before one is looked at, such as `map`; and its mathematics are those
//! of the C library, which differ between machines in the last bit.

use rhai::{Array, Dynamic, Engine, EvalAltResult, FLOAT, INT, ImmutableString, Map};

use super::values::{Cleared, Deferred, Wide};

/// Registers what a resolver may call.
pub fn of_resolvers(engine: &mut Engine) {
    engine.register_type_with_name::<Deferred>("Deferred").register_fn("defer", || Deferred);
    engine.register_type_with_name::<Cleared>("Cleared").register_fn("clear", || Cleared);
    common(engine);
    engine.register_fn("push", |a: &mut Array, item: Dynamic| a.push(item));
    engine.register_fn("pop", |a: &mut Array| a.pop().unwrap_or(Dynamic::UNIT));
}

/// Registers what an expression may call: nothing that changes a value in its place, since several
/// look at one record.
pub fn of_expressions(engine: &mut Engine) {
    common(engine);
    let len = |m: &mut Map| count(m.len());
    engine.register_fn("len", len).register_fn("is_empty", |m: &mut Map| m.is_empty());
    engine.register_fn("contains", |m: &mut Map, key: &str| m.contains_key(key));
    engine.register_fn("keys", |m: &mut Map| m.keys().map(|key| key.as_str().into()).collect::<Array>());
    engine.register_fn("values", |m: &mut Map| m.values().cloned().collect::<Array>());
    engine.register_fn("put", |mut m: Map, key: &str, value: Dynamic| {
        m.insert(key.into(), value);
        m
    });
    engine.register_fn("without", |mut m: Map, key: &str| {
        m.remove(key);
        m
    });
    engine.register_fn("put", |mut a: Array, item: Dynamic| {
        a.push(item);
        a
    });
    engine.register_fn("sum", |a: Array| sum(&a)).register_fn("sum", |m: Map| {
        let values: Array = m.into_values().collect();
        sum(&values)
    });
}

/// The sum of numbers, exact where all are integers. What is no number is an error, and so is a sum
/// that does not fit.
fn sum(items: &[Dynamic]) -> Result<Dynamic, Box<EvalAltResult>> {
    let wrong = |what: String| -> Box<EvalAltResult> { what.into() };
    let mut whole = Some(0);
    let mut real = 0.0;
    for item in items {
        if let Ok(n) = item.as_int() {
            whole = match whole {
                Some(sum) => Some(INT::checked_add(sum, n).ok_or_else(|| wrong("the sum does not fit".to_owned()))?),
                None => None,
            };
            real += n as FLOAT;
        } else if let Ok(n) = item.as_float() {
            (whole, real) = (None, real + n);
        } else {
            return Err(wrong(format!("sum of what is no number: {}", item.type_name())));
        }
    }
    Ok(whole.map_or_else(|| Dynamic::from(real), Dynamic::from))
}

fn common(engine: &mut Engine) {
    engine.register_type_with_name::<Wide>("integer above 2^63");
    engine.register_fn("==", |a: Wide, b: Wide| a == b).register_fn("!=", |a: Wide, b: Wide| a != b);
    engine.register_fn("<", |a: Wide, b: Wide| a < b).register_fn(">", |a: Wide, b: Wide| a > b);
    engine.register_fn("to_string", |a: &mut Wide| a.0.to_string());
    numbers(engine);
    texts(engine);
    arrays(engine);
}

fn numbers(engine: &mut Engine) {
    engine.register_fn("to_float", |n: INT| n as FLOAT).register_fn("to_float", |n: FLOAT| n);
    engine.register_fn("to_float", |n: Wide| n.0 as FLOAT);
    // A float outside of the integers' range becomes the nearest integer, NaN becomes 0, on every
    // machine.
    engine.register_fn("to_int", |n: FLOAT| n as INT).register_fn("to_int", |n: INT| n);
    engine.register_fn("floor", FLOAT::floor).register_fn("ceiling", FLOAT::ceil).register_fn("round", FLOAT::round);
    engine.register_fn("is_object", |value: Dynamic| value.is_map());
    engine.register_fn("is_number", |value: Dynamic| value.is_int() || value.is_float() || value.is::<Wide>());
}

fn count(n: usize) -> INT {
    INT::try_from(n).unwrap_or(INT::MAX)
}

fn size(n: INT) -> usize {
    usize::try_from(n.max(0)).unwrap_or(usize::MAX)
}

fn texts(engine: &mut Engine) {
    let len = |s: &mut ImmutableString| count(s.chars().count());
    engine.register_fn("len", len).register_get("len", len);
    engine.register_fn("is_empty", |s: &mut ImmutableString| s.is_empty());
    engine.register_fn("is_text", |value: Dynamic| value.is_string());
    engine.register_fn("contains", |s: &str, part: &str| s.contains(part));
    engine.register_fn("starts_with", |s: &str, part: &str| s.starts_with(part));
    engine.register_fn("ends_with", |s: &str, part: &str| s.ends_with(part));
    engine.register_fn("to_lower", |s: &str| s.to_lowercase());
    engine.register_fn("to_upper", |s: &str| s.to_uppercase());
    engine.register_fn("trimmed", |s: &str| s.trim().to_owned());
    engine.register_fn("sub_string", |s: &str, start: INT, len: INT| {
        s.chars().skip(size(start)).take(size(len)).collect::<String>()
    });
    // The whole text where the part is not there.
    engine.register_fn("before", |s: &str, part: &str| s.split_once(part).map_or(s, |(head, _)| head).to_owned());
    engine.register_fn("after", |s: &str, part: &str| s.split_once(part).map_or("", |(_, tail)| tail).to_owned());
}

fn arrays(engine: &mut Engine) {
    let len = |a: &mut Array| count(a.len());
    engine.register_fn("len", len).register_get("len", len);
    engine.register_fn("is_empty", |a: &mut Array| a.is_empty());
    engine.register_fn("contains", |a: &mut Array, text: &str| {
        a.iter().any(|item| item.as_immutable_string_ref().is_ok_and(|item| item.as_str() == text))
    });
}
