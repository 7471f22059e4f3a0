//! Converts values of foreign schemas to JSON by their writer's schema: records and maps are
//! objects, an enum is its symbol, a union what it holds. Times and dates are the numbers that
//! stand in the value; bytes are base64, and so are decimals and durations, which JSON has no form
//! for.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use json::Number;
use json::{write_number, write_string};
use memory::view::ObjectWriter;

/// Appends it.
///
/// # Errors
/// JSON has no such value.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) | Value::Date(n) | Value::TimeMillis(n) => write_number(out, Number::Int(i128::from(*n))),
        Value::Long(n)
        | Value::TimeMicros(n)
        | Value::TimestampMillis(n)
        | Value::TimestampMicros(n)
        | Value::TimestampNanos(n)
        | Value::LocalTimestampMillis(n)
        | Value::LocalTimestampMicros(n)
        | Value::LocalTimestampNanos(n) => write_number(out, Number::Int(i128::from(*n))),
        Value::Float(d) => double(f64::from(*d), out)?,
        Value::Double(d) => double(*d, out)?,
        Value::String(text) | Value::Enum(_, text) => write_string(out, text),
        Value::Uuid(id) => write_string(out, &id.to_string()),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => base64(bytes, out),
        Value::Decimal(decimal) => {
            let bytes: Vec<u8> = decimal.try_into().map_err(|e| format!("a decimal cannot be read: {e}"))?;
            base64(&bytes, out);
        }
        Value::BigDecimal(decimal) => write_string(out, &decimal.to_string()),
        Value::Duration(duration) => base64(&<[u8; 12]>::from(*duration), out),
        Value::Union(_, inner) => write(inner, out)?,
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        // In the order of their keys: the same value must have the same bytes.
        Value::Map(entries) => object(entries.iter().map(|(key, item)| (key.as_str(), item)), out)?,
        Value::Record(fields) => object(fields.iter().map(|(name, item)| (name.as_str(), item)), out)?,
    }
    Ok(())
}

fn object<'v>(members: impl Iterator<Item = (&'v str, &'v Value)>, out: &mut Vec<u8>) -> Result<(), String> {
    let members: BTreeMap<&str, &Value> = members.collect();
    let mut object = ObjectWriter::new(out);
    members.into_iter().try_for_each(|(key, item)| write(item, object.key(key)))?;
    object.end();
    Ok(())
}

fn double(d: f64, out: &mut Vec<u8>) -> Result<(), String> {
    if !d.is_finite() {
        return Err(format!("the number {d} has no form in JSON"));
    }
    write_number(out, Number::from_double(d));
    Ok(())
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    write_string(out, &BASE64_STANDARD.encode(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_json_with_sorted_members() {
        let map = [("b", Value::Long(i64::MAX)), ("a", Value::Union(1, Box::new(Value::Double(0.5))))];
        let fields = vec![
            ("z".to_owned(), Value::Map(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
            ("y".to_owned(), Value::Array(vec![Value::Null, Value::Boolean(true), Value::Enum(0, "RED".to_owned())])),
            ("x".to_owned(), Value::Bytes(vec![0, 255])),
        ];
        let mut out = Vec::new();
        write(&Value::Record(fields), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#"{"x":"AP8=","y":[null,true,"RED"],"z":{"a":0.5,"b":9223372036854775807}}"#);
        assert!(write(&Value::Float(f32::NAN), &mut Vec::new()).is_err());
    }
}
