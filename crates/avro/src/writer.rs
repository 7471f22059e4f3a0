//! The schema that a value was written by, completed: the types of other subjects that it refers to
//! are put in their places, and it is reduced to what a reader needs of it, as Avro's Parsing
//! Canonical Form is (Avro specification, "Transforming into Parsing Canonical Form"). What a
//! reader does not use must not keep it from reading: a logical type, a default, an alias, or a
//! name that another language allows.
//!
//! A type that contains itself is refused, since its values nest as deep as their writer likes.

use std::collections::BTreeMap;

use apache_avro::Schema;
use serde_json::{Map, Value, json};

/// How deep types of every kind may stand in each other, those of other subjects counted in:
/// reading a schema and its values takes stack for each level, and anyone who can register schemas
/// decides how many there are.
const MAX_DEPTH: usize = 128;
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
/// Name of every type of a schema once they have been put together; readers find fields by name,
/// and types by structure.
const SPACE: &str = "writer";

/// A writer's schema.
#[derive(Debug)]
pub struct WriterSchema {
    /// As a schema of ours is resolved against it: without logical types.
    pub(super) schema: Schema,
    /// As it is shown by itself: with those logical types that JSON has a better form for than
    /// their bytes.
    pub(super) shown: Schema,
    /// The full name of the type, where it has one.
    pub(super) name: Option<String>,
}

impl WriterSchema {
    /// A schema's text, and the texts of those that it refers to, in any order.
    ///
    /// # Errors
    /// It is no schema, refers to what is missing, or contains itself.
    pub fn new(schema: &str, others: &[String]) -> Result<WriterSchema, String> {
        let parsed = |text: &str| serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"));
        // The registry answers a primitive type with or without the quotes around it.
        let root: Value = if PRIMITIVES.contains(&schema.trim()) { json!(schema.trim()) } else { parsed(schema)? };
        let others: Vec<Value> = others.iter().map(|text| parsed(text)).collect::<Result<_, _>>()?;
        let mut types = BTreeMap::new();
        for one in std::iter::once(&root).chain(&others) {
            collect(one, "", 0, &mut types)?;
        }
        let built = |keeps_logical| {
            let mut builder =
                Builder { types: &types, keeps_logical, numbers: BTreeMap::new(), open: Vec::new(), depth: 0 };
            let whole = builder.build(&root, "")?;
            Schema::parse(&whole).map_err(|e| e.to_string())
        };
        let name = root.as_object().filter(|o| is_named(kind(o))).map(|o| full_name(o, "").0);
        Ok(WriterSchema { schema: built(false)?, shown: built(true)?, name })
    }
}

/// Where a named type is defined: its definition, and the namespace around it.
type Types<'v> = BTreeMap<String, (&'v Map<String, Value>, String)>;

fn kind(object: &Map<String, Value>) -> &str {
    object.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn is_named(kind: &str) -> bool {
    matches!(kind, "record" | "error" | "enum" | "fixed")
}

/// The full name of a definition, and the namespace in it.
fn full_name(object: &Map<String, Value>, around: &str) -> (String, String) {
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    if let Some((space, _)) = name.rsplit_once('.') {
        return (name.trim_start_matches('.').to_owned(), space.to_owned());
    }
    let space = object.get("namespace").and_then(Value::as_str).unwrap_or(around);
    (joined(space, name), space.to_owned())
}

fn joined(space: &str, name: &str) -> String {
    if space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

/// Notes all types that a schema defines.
fn collect<'v>(schema: &'v Value, around: &str, depth: usize, types: &mut Types<'v>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("its types stand more than {MAX_DEPTH} deep in each other"));
    }
    let mut inner = |schema, space: &str| collect(schema, space, depth + 1, types);
    match schema {
        Value::Array(branches) => branches.iter().try_for_each(|branch| inner(branch, around)),
        Value::Object(object) => match kind(object) {
            kind if is_named(kind) => {
                let (name, space) = full_name(object, around);
                if name.is_empty() {
                    return Err(format!("a type of kind {kind} in it has no name"));
                }
                for field in fields(object, kind)? {
                    inner(field.get("type").unwrap_or(&Value::Null), &space)?;
                }
                match types.insert(name.clone(), (object, around.to_owned())) {
                    Some((other, _)) if other != object => {
                        Err(format!("the type {name} is defined twice, and not alike"))
                    }
                    _ => Ok(()),
                }
            }
            "array" => inner(object.get("items").unwrap_or(&Value::Null), around),
            "map" => inner(object.get("values").unwrap_or(&Value::Null), around),
            _ => match object.get("type") {
                Some(within @ (Value::Object(_) | Value::Array(_))) => inner(within, around),
                _ => Ok(()),
            },
        },
        _ => Ok(()),
    }
}

/// The fields of a definition; only a record has any.
fn fields<'v>(object: &'v Map<String, Value>, kind: &str) -> Result<Vec<&'v Map<String, Value>>, String> {
    if !matches!(kind, "record" | "error") {
        return Ok(Vec::new());
    }
    let all = object.get("fields").and_then(Value::as_array);
    let all: Option<Vec<_>> = all.and_then(|fields| fields.iter().map(Value::as_object).collect());
    all.ok_or_else(|| "a record in it has no list of fields".to_owned())
}

/// Puts one schema together.
struct Builder<'v> {
    types: &'v Types<'v>,
    keeps_logical: bool,
    /// The types that have been put in, with their numbers.
    numbers: BTreeMap<String, usize>,
    /// Those that are being put in.
    open: Vec<String>,
    /// How many types stand around the one at hand.
    depth: usize,
}

impl Builder<'_> {
    fn build(&mut self, schema: &Value, space: &str) -> Result<Value, String> {
        if self.depth > MAX_DEPTH {
            return Err(format!("its types stand more than {MAX_DEPTH} deep in each other"));
        }
        self.depth += 1;
        let built = self.build_one(schema, space);
        self.depth -= 1;
        built
    }

    fn build_one(&mut self, schema: &Value, space: &str) -> Result<Value, String> {
        match schema {
            Value::String(name) if PRIMITIVES.contains(&name.as_str()) => Ok(schema.clone()),
            Value::String(name) => self.named(name, space),
            Value::Array(branches) => branches.iter().map(|branch| self.build(branch, space)).collect(),
            Value::Object(object) => self.build_object(object, space),
            _ => Err("a type in it is neither a name, nor an object, nor a union".to_owned()),
        }
    }

    fn build_object(&mut self, object: &Map<String, Value>, space: &str) -> Result<Value, String> {
        let missing = |what: &str| format!("a type in it has no `{what}`");
        match (kind(object), object.get("type")) {
            (kind, _) if is_named(kind) => self.define(&full_name(object, space).0),
            (kind @ ("array" | "map"), _) => {
                let of = if kind == "array" { "items" } else { "values" };
                let inner = self.build(object.get(of).ok_or_else(|| missing(of))?, space)?;
                Ok(json!({ "type": kind, of: inner }))
            }
            ("bytes", _) if self.keeps(object, "big-decimal") => {
                Ok(json!({ "type": "bytes", "logicalType": "big-decimal" }))
            }
            (_, Some(inner)) => self.build(inner, space),
            (_, None) => Err(missing("type")),
        }
    }

    fn keeps(&self, object: &Map<String, Value>, logical: &str) -> bool {
        self.keeps_logical && object.get("logicalType").and_then(Value::as_str) == Some(logical)
    }

    /// A type that is called by its name: one of the same namespace, else one without any.
    fn named(&mut self, name: &str, space: &str) -> Result<Value, String> {
        let near = if name.contains('.') { name.trim_start_matches('.').to_owned() } else { joined(space, name) };
        let found = [near.as_str(), name].into_iter().find(|name| self.types.contains_key(*name));
        let found =
            found.ok_or_else(|| format!("it refers to the type {near}, which neither it nor its references define"))?;
        self.define(found)
    }

    /// The definition of a type where it stands first, and its name from then on.
    fn define(&mut self, name: &str) -> Result<Value, String> {
        if self.open.iter().any(|open| open == name) {
            return Err(format!("the type {name} contains itself, which no event does"));
        }
        if let Some(number) = self.numbers.get(name) {
            return Ok(json!(format!("{SPACE}.t{number}")));
        }
        let number = self.numbers.len();
        self.numbers.insert(name.to_owned(), number);
        let Some((object, around)) = self.types.get(name) else {
            return Err(format!("the type {name} is not defined"));
        };
        let mut out = json!({ "type": kind(object), "name": format!("t{number}"), "namespace": SPACE });
        match kind(object) {
            "enum" => out["symbols"] = object.get("symbols").cloned().unwrap_or_default(),
            "fixed" => {
                out["size"] = object.get("size").cloned().unwrap_or_default();
                if self.keeps(object, "uuid") {
                    out["logicalType"] = json!("uuid");
                }
            }
            _ => {
                let (_, space) = full_name(object, around);
                self.open.push(name.to_owned());
                let mut built = Vec::new();
                for field in fields(object, kind(object))? {
                    let inner = field.get("type").ok_or_else(|| format!("a field of {name} has no type"))?;
                    built.push(json!({ "name": field.get("name"), "type": self.build(inner, &space)? }));
                }
                self.open.pop();
                out["type"] = json!("record");
                out["fields"] = json!(built);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::reader::datum::GenericDatumReader;

    fn shown(writer: &WriterSchema, mut body: &[u8]) -> String {
        let read = GenericDatumReader::builder(&writer.shown).build().unwrap().read_value(&mut body).unwrap();
        let mut out = Vec::new();
        super::super::plain::write(&read, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn refused(schema: &str, others: &[&str]) -> String {
        WriterSchema::new(schema, &others.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap_err()
    }

    #[test]
    fn types_that_stand_deep_in_each_other_are_refused_also_over_many_subjects() {
        let arrays = |inner: &str, levels: usize| {
            format!("{}{inner}{}", "{\"type\":\"array\",\"items\":".repeat(levels), "}".repeat(levels))
        };
        let record = |number: usize, levels: usize| {
            let next = arrays(&format!("\"R{}\"", number + 1), levels);
            format!("{{\"type\":\"record\",\"name\":\"R{number}\",\"fields\":[{{\"name\":\"x\",\"type\":{next}}}]}}")
        };
        let last = |number| format!("{{\"type\":\"record\",\"name\":\"R{number}\",\"fields\":[]}}");
        let deep: Vec<String> = (1..100).map(|number| record(number, 100)).chain([last(100)]).collect();
        let why = WriterSchema::new(&record(0, 100), &deep).unwrap_err();
        assert!(why.contains("deep in each other"), "{why}");
        let shallow: Vec<String> = (1..30).map(|number| record(number, 2)).chain([last(30)]).collect();
        assert!(WriterSchema::new(&record(0, 2), &shallow).is_ok());
    }

    #[test]
    fn types_of_other_subjects_are_put_in_wherever_and_in_whatever_namespace_they_are_named() {
        let root = r#"{"type":"record","name":"a.Root","fields":[{"name":"x","type":["null","b.X"]},{"name":"y","type":"Y"},
            {"name":"z","type":{"type":"map","values":"Z"}},{"name":"x2","type":"b.X"}]}"#;
        let others = [
            // It refers to a third one, which has no namespace.
            r#"{"type":"record","name":"X","namespace":"b","fields":[{"name":"z","type":"Z"}]}"#,
            r#"{"type":"enum","name":"Y","namespace":"a","symbols":["U","V"],"default":"U"}"#,
            r#"{"type":"record","name":"Z","fields":[{"name":"n","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#,
        ];
        let writer = WriterSchema::new(root, &others.map(str::to_owned)).unwrap();
        assert_eq!(writer.name.as_deref(), Some("a.Root"));
        let json = shown(&writer, b"\x02\x06\x02\x02\x02k\x08\x00\x0a");
        assert_eq!(json, r#"{"x":{"z":{"n":3}},"x2":{"z":{"n":5}},"y":"V","z":{"k":{"n":4}}}"#);
    }

    #[test]
    fn what_leads_back_to_itself_or_to_nothing_is_refused() {
        let node = r#"{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}"#;
        assert!(refused(node, &[]).contains("Node contains itself"));
        let (a, b) = (
            r#"{"type":"record","name":"A","fields":[{"name":"b","type":"B"}]}"#,
            r#"{"type":"record","name":"B","fields":[{"name":"a","type":{"type":"array","items":"A"}}]}"#,
        );
        assert!(refused(a, &[b]).contains("A contains itself"));
        assert!(refused(a, &[]).contains("refers to the type B"));
        let other = r#"{"type":"record","name":"B","fields":[{"name":"c","type":"int"}]}"#;
        let both = r#"{"type":"record","name":"B","fields":[]}"#;
        assert!(refused(a, &[other, both]).contains("defined twice"));
        for no_schema in [
            "{",
            "7",
            r#"{"type":"record"}"#,
            r#"{"type":"record","name":"R"}"#,
            r#"{"type":"record","name":"R","fields":[7]}"#,
            r#"{"name":"x"}"#,
            r#"{"type":"array"}"#,
            "[7]",
        ] {
            assert!(!refused(no_schema, &[]).is_empty(), "{no_schema}");
        }
        let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(100), "}".repeat(100));
        assert!(WriterSchema::new(&deep, &[]).is_ok());
    }

    #[test]
    fn the_same_type_in_two_subjects_is_one_type_and_twice_used_types_do_not_grow() {
        let x = r#"{"type":"fixed","name":"X","size":1}"#;
        let root = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"X"},{"name":"b","type":"X"}]}"#;
        let writer = WriterSchema::new(root, &[x.to_owned(), x.to_owned()]).unwrap();
        assert_eq!(shown(&writer, b"\x00\xff"), r#"{"a":"AA==","b":"/w=="}"#);
    }

    #[test]
    fn logical_types_are_ignored_but_those_that_have_a_form_of_their_own() {
        let of = |inner: &str| format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{inner}}}]}}"#);
        let read = |inner: &str, body: &[u8]| shown(&WriterSchema::new(&of(inner), &[]).unwrap(), body);
        assert_eq!(read(r#"{"type":"string","logicalType":"uuid"}"#, b"\x0anoneA"), r#"{"a":"noneA"}"#);
        assert_eq!(read(r#"{"type":"string","logicalType":7}"#, b"\x02x"), r#"{"a":"x"}"#);
        assert_eq!(
            read(r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":9}"#, b"\x02\x01"),
            r#"{"a":"AQ=="}"#
        );
        let uuid = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
        assert_eq!(read(uuid, &[0; 16]), r#"{"a":"00000000-0000-0000-0000-000000000000"}"#);
        assert_eq!(read(r#""Outer$Inner""#.replace("\"Outer$Inner\"", r#"{"type":"enum","name":"Outer$Inner","symbols":["S"]}"#).as_str(), b"\x00"), r#"{"a":"S"}"#);
    }
}
