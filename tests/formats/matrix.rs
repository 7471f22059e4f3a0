//! All versions of our Avro schemas against each other and against the next one to come: what one
//! wrote, another reads.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value as Avro;
use avro::schemas::VERSIONS;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn parse(text: &str) -> Schema {
    Schema::parse_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// What a next version may do: a field more with a default, and one that has a default less.
fn next(text: &str) -> String {
    let mut schema: Value = serde_json::from_str(text).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let gone = fields.iter().position(|f| f.get("default").is_some()).expect("a field has a default");
    fields.remove(gone);
    fields.insert(0, json!({ "name": "added", "type": ["null", "long"], "default": null, "doc": "New." }));
    schema.to_string()
}

/// Some value of a schema, the same each time.
fn sample(schema: &Schema) -> Avro {
    match schema {
        Schema::String => Avro::String("text".to_owned()),
        Schema::Long => Avro::Long(7),
        Schema::Int => Avro::Int(7),
        Schema::Double => Avro::Double(0.5),
        Schema::Null => Avro::Null,
        Schema::Array(array) => Avro::Array(vec![sample(&array.items)]),
        Schema::Map(map) => Avro::Map([("key".to_owned(), sample(&map.types))].into()),
        Schema::Union(union) => Avro::Union(1, Box::new(sample(&union.variants()[1]))),
        Schema::Record(record) => {
            Avro::Record(record.fields.iter().map(|f| (f.name.clone(), sample(&f.schema))).collect())
        }
        other => panic!("no sample of {other:?}"),
    }
}

#[test]
fn every_version_reads_every_other_and_the_next_to_come() {
    let kinds: BTreeSet<&str> = VERSIONS.iter().map(|v| v.name).collect();
    assert_eq!(kinds, ["conflict-record", "event", "resolved-memory", "user-snapshot"].into());
    for kind in kinds {
        let all: Vec<_> = VERSIONS.iter().filter(|v| v.name == kind).collect();
        assert!(all.iter().zip(1..).all(|(v, n)| v.version == n), "{kind}: versions count from 1");
        let mut texts: Vec<String> = all.iter().map(|v| v.text.to_owned()).collect();
        texts.push(next(texts.last().unwrap()));
        for (w, writer) in texts.iter().enumerate() {
            for (r, reader) in texts.iter().enumerate() {
                let what = format!("{kind}: version {} read by {}", w + 1, r + 1);
                let (writer, reader) = (parse(writer), parse(reader));
                SchemaCompatibility::can_read(&writer, &reader).unwrap_or_else(|e| panic!("{what}: {e}"));
                let body = apache_avro::writer::datum::GenericDatumWriter::builder(&writer).build().unwrap();
                let body = body.write_value_to_vec(sample(&writer)).unwrap();
                let read = GenericDatumReader::builder(&writer).reader_schema(&reader).build().unwrap();
                let read = read.read_value(&mut &body[..]).unwrap_or_else(|e| panic!("{what}: {e}"));
                let Avro::Record(fields) = read else { panic!("{what}: no record") };
                let common =
                    |name: &str| matches!(&writer, Schema::Record(w) if w.fields.iter().any(|f| f.name == name));
                let written = sample(&reader);
                let Avro::Record(written) = &written else { panic!("no record") };
                for ((name, value), (_, expected)) in fields.iter().zip(written).filter(|((name, _), _)| common(name)) {
                    assert_eq!(value, expected, "{what}: {name}");
                }
            }
        }
    }
}

#[test]
fn a_file_of_each_version_is_kept_and_every_field_is_documented() {
    let names: BTreeSet<String> = VERSIONS.iter().map(|v| format!("{}.v{}.avsc", v.name, v.version)).collect();
    let files = std::fs::read_dir(testkit::repo_path("schemas")).unwrap();
    let files = files.map(|f| f.unwrap().file_name().into_string().unwrap()).filter(|f| f.ends_with(".avsc"));
    assert_eq!(names, files.collect());
    fn documented(value: &Value) {
        if let Some(fields) = value.get("fields").and_then(Value::as_array) {
            assert!(value["doc"].as_str().is_some_and(|doc| !doc.is_empty()), "{}", value["name"]);
            for field in fields {
                let doc = field["doc"].as_str().unwrap_or_default();
                assert!(doc.ends_with('.') && doc.len() > 5, "{}.{}: {doc:?}", value["name"], field["name"]);
            }
        }
        match value {
            Value::Array(items) => items.iter().for_each(documented),
            Value::Object(members) => members.values().for_each(documented),
            _ => {}
        }
    }
    VERSIONS.iter().for_each(|v| documented(&serde_json::from_str(v.text).unwrap()));
}

/// A version gives no field another name. An alias would not help: apache-avro's readers do not
/// look for fields by it, and readers of an older version know none.
#[test]
fn no_field_of_ours_was_renamed() {
    fn aliases(schema: &Schema) -> usize {
        match schema {
            Schema::Array(array) => aliases(&array.items),
            Schema::Map(map) => aliases(&map.types),
            Schema::Union(union) => union.variants().iter().map(aliases).sum(),
            Schema::Record(record) => {
                record.fields.iter().map(|field| field.aliases.len() + aliases(&field.schema)).sum::<usize>()
            }
            _ => 0,
        }
    }
    VERSIONS.iter().for_each(|v| assert_eq!(aliases(&parse(v.text)), 0, "{} {}", v.name, v.version));
    let renamed = r#"{"type":"record","name":"R","fields":[{"name":"new","aliases":["old"],"type":["null","long"],"default":null}]}"#;
    let (old, renamed) = (renamed.replace("new", "old"), parse(renamed));
    let old = parse(&old.replace(r#""aliases":["old"],"#, ""));
    assert_eq!(aliases(&renamed), 1);
    let body = apache_avro::writer::datum::GenericDatumWriter::builder(&old).build().unwrap();
    let body = body.write_value_to_vec(sample(&old)).unwrap();
    let read = GenericDatumReader::builder(&old).reader_schema(&renamed).build().unwrap();
    let lost = Avro::Record(vec![("new".to_owned(), Avro::Union(0, Box::new(Avro::Null)))]);
    assert_eq!(read.read_value(&mut &body[..]).unwrap(), lost, "once it finds it, a field may be renamed");
}
