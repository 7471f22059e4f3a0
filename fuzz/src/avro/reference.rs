//! Values as apache-avro reads them by the schema alone, and the JSON that they stand for: written
//! apart from `crates/avro`.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::RecordSchema;
use apache_avro::types::Value as Avro;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Number, Value};

/// What a record of ours leaves out where it is null, but for this.
const ALWAYS_THERE: &str = "winner_event_id";

/// A record of ours; an error where a text in it holds JSON that serde_json has no value for.
pub fn own(name: &str, schema: &str, mut body: &[u8]) -> serde_json::Result<Value> {
    let schema = Schema::parse_str(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    let read = read(&schema, &mut body).unwrap_or_else(|error| panic!("apache-avro refuses it: {error}"));
    let mut record = of_own(&schema, &read)?;
    if name == "event" {
        write_cleared(&mut record);
    }
    Ok(record)
}

/// A value of any schema; none where apache-avro does not know the schema, or JSON has no form for
/// the value.
pub fn any(schema: &str, mut body: &[u8]) -> Option<Value> {
    let schema = Schema::parse_str(schema).ok()?;
    let read = read(&schema, &mut body).unwrap_or_else(|error| panic!("apache-avro refuses it: {error}"));
    plain(&read)
}

fn read(schema: &Schema, body: &mut &[u8]) -> apache_avro::AvroResult<Avro> {
    let value = GenericDatumReader::builder(schema).build()?.read_value(body);
    assert!(value.is_err() || body.is_empty(), "apache-avro leaves {} bytes", body.len());
    value
}

/// Equal, where a number that Avro has as a double may be an integer in JSON.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => is_near(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// serde_json reads a double quickly, and not always as the nearest one to its text.
fn is_near(a: &Number, b: &Number) -> bool {
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return false };
    a == b || (a - b).abs() <= 4.0 * f64::EPSILON * a.abs()
}

/// The schema of the records in a schema: of a nullable one, or of an array's items.
fn record_of(schema: &Schema) -> Option<&RecordSchema> {
    match schema {
        Schema::Record(record) => Some(record),
        Schema::Union(union) => union.variants().iter().find_map(record_of),
        Schema::Array(array) => record_of(&array.items),
        _ => None,
    }
}

fn of_own(schema: &Schema, value: &Avro) -> serde_json::Result<Value> {
    Ok(match value {
        Avro::Union(_, inner) => of_own(schema, inner)?,
        Avro::Record(values) => {
            let fields = record_of(schema).map(|record| &record.fields).into_iter().flatten();
            let mut object = Map::new();
            for (field, (name, value)) in fields.zip(values) {
                let is_marked = |mark: &str| field.custom_attributes.contains_key(mark);
                let is_null = matches!(value, Avro::Union(_, inner) if **inner == Avro::Null);
                match value {
                    _ if is_null && name != ALWAYS_THERE => {}
                    Avro::Map(rest) if is_marked("rest") => {
                        for (key, value) in rest {
                            object.insert(key.clone(), parsed(value)?);
                        }
                    }
                    value if is_marked("json") => _ = object.insert(name.clone(), parsed(value)?),
                    value => _ = object.insert(name.clone(), of_own(&field.schema, value)?),
                }
            }
            Value::Object(object)
        }
        Avro::Array(items) => items.iter().map(|item| of_own(schema, item)).collect::<Result<_, _>>()?,
        Avro::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((key.clone(), of_own(schema, value)?)));
            Value::Object(entries.collect::<serde_json::Result<_>>()?)
        }
        other => plain(other).unwrap_or_else(|| panic!("no record of ours has {other:?}")),
    })
}

/// A text that holds JSON, or several of them.
fn parsed(value: &Avro) -> serde_json::Result<Value> {
    match value {
        Avro::Union(_, inner) => parsed(inner),
        Avro::String(text) => serde_json::from_str(text),
        Avro::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((key.clone(), parsed(value)?)));
            Ok(Value::Object(entries.collect::<serde_json::Result<_>>()?))
        }
        other => panic!("{other:?} holds no JSON"),
    }
}

/// The paths that an event clears are null in its JSON.
fn write_cleared(event: &mut Value) {
    let Some(event) = event.as_object_mut() else { return };
    let cleared = event.remove("cleared").and_then(|paths| paths.as_array().cloned()).unwrap_or_default();
    for path in cleared.iter().filter_map(Value::as_str) {
        match path.strip_prefix("metadata.") {
            Some(key) => {
                let metadata = event.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
                metadata[key] = Value::Null;
            }
            None => _ = event.insert(path.to_owned(), Value::Null),
        }
    }
}

/// A value without logical types; none where JSON has no form for it.
fn plain(value: &Avro) -> Option<Value> {
    Some(match value {
        Avro::Null => Value::Null,
        Avro::Boolean(b) => Value::Bool(*b),
        Avro::Int(n) => (*n).into(),
        Avro::Long(n) => (*n).into(),
        Avro::Float(d) => Value::Number(serde_json::Number::from_f64(f64::from(*d))?),
        Avro::Double(d) => Value::Number(serde_json::Number::from_f64(*d)?),
        Avro::String(text) | Avro::Enum(_, text) => text.as_str().into(),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => BASE64_STANDARD.encode(bytes).into(),
        Avro::Union(_, inner) => plain(inner)?,
        Avro::Array(items) => Value::Array(items.iter().map(plain).collect::<Option<_>>()?),
        Avro::Map(entries) => object(entries.iter())?,
        Avro::Record(fields) => object(fields.iter().map(|(name, value)| (name, value)))?,
        other => panic!("a schema without logical types has {other:?}"),
    })
}

fn object<'v>(members: impl Iterator<Item = (&'v String, &'v Avro)>) -> Option<Value> {
    let members = members.map(|(name, value)| Some((name.clone(), plain(value)?)));
    Some(Value::Object(members.collect::<Option<_>>()?))
}
