//! Values of a schema, written by apache-avro, that are likely to be accepted.

use apache_avro::Schema;
use apache_avro::schema::{ResolvedSchema, UnionSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use testkit::Random;

use super::own;

/// Schemas of other programs.
const OTHERS: &[&str] = &[
    r#""string""#,
    r#"["null","long","string"]"#,
    r#"{"type":"array","items":{"type":"map","values":["null","double"]}}"#,
    r#"{"type":"record","name":"a.R","fields":[{"name":"b","type":"bytes"},{"name":"f","type":"float"},
        {"name":"x","type":{"type":"fixed","name":"X","size":3}},{"name":"y","type":{"type":"array","items":"X"}},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"t","type":"boolean"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"n","type":{"type":"array","items":"null"}},
        {"name":"o","type":["null",{"type":"record","name":"O","fields":[{"name":"i","type":"int"}]}]},
        {"name":"p","type":{"type":"map","values":"O"}},{"name":"last","type":["null","string"]}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"d","type":{"type":"bytes","logicalType":"big-decimal"}},
        {"name":"u","type":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}},
        {"name":"w","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#,
];

const TEXTS: &[&str] = &[
    "",
    "null",
    "1",
    "-1.50",
    "1e400",
    "\"x\"",
    "\"\\ud800\"",
    "{\"a\":[1,null]}",
    "[]",
    "{",
    "x",
    "é\n",
    "content",
    "metadata.a",
    "a",
    "id",
    "confidence",
];

/// An input of one of both forms.
pub fn input(random: &mut Random) -> Vec<u8> {
    let (mut input, text) = if random.one_in(3) {
        let text = random.pick(OTHERS);
        ([text.as_bytes(), b"\0"].concat(), text)
    } else {
        let at = random.below(own().len());
        (vec![at as u8], own()[at].text)
    };
    // A schema that apache-avro reads as it stands; logical types are written as what they stand
    // on.
    let text = text.replace("logicalType", "logical");
    let schema = Schema::parse_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let names = ResolvedSchema::try_from(&schema).unwrap_or_else(|error| panic!("{error}: {text}"));
    let value = value(random, &schema, &names);
    let writer = GenericDatumWriter::builder(&schema).build();
    let body = writer.and_then(|writer| writer.write_value_to_vec(value));
    input.extend(body.unwrap_or_else(|error| panic!("{error}: {text}")));
    input
}

fn value(random: &mut Random, schema: &Schema, names: &ResolvedSchema<'_>) -> Value {
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(random.one_in(2)),
        Schema::Int => Value::Int(random.number() as i32),
        Schema::Long => Value::Long(if random.one_in(2) { random.below(5) as i64 } else { random.number() as i64 }),
        Schema::Float => Value::Float(random.below(9) as f32 / 7.0),
        Schema::Double => Value::Double(random.pick(&[0.0, -0.0, 0.5, 1.0, -1.5e300, 1e21, f64::NAN])),
        Schema::Bytes => {
            let length = random.below(6);
            Value::Bytes(bytes(random, length))
        }
        Schema::String => Value::String(text(random)),
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, bytes(random, fixed.size)),
        Schema::Enum(choices) => {
            let at = random.below(choices.symbols.len());
            Value::Enum(at as u32, choices.symbols[at].clone())
        }
        Schema::Union(union) => branch(random, union, names),
        Schema::Array(array) => {
            Value::Array((0..random.below(4)).map(|_| value(random, &array.items, names)).collect())
        }
        Schema::Map(map) => {
            Value::Map((0..random.below(4)).map(|_| (text(random), value(random, &map.types, names))).collect())
        }
        Schema::Record(record) => Value::Record(
            record.fields.iter().map(|field| (field.name.clone(), value(random, &field.schema, names))).collect(),
        ),
        Schema::Ref { name } => {
            let found = names.get_names().get(name).copied();
            value(random, found.unwrap_or(&Schema::Null), names)
        }
        other => panic!("a schema without logical types has {other:?}"),
    }
}

fn branch(random: &mut Random, union: &UnionSchema, names: &ResolvedSchema<'_>) -> Value {
    let at = random.below(union.variants().len());
    Value::Union(at as u32, Box::new(value(random, &union.variants()[at], names)))
}

/// Half of the texts hold JSON that every reader accepts.
fn text(random: &mut Random) -> String {
    if random.one_in(2) { "1".to_owned() } else { random.pick(TEXTS).to_owned() }
}

fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.number() as u8).collect()
}
