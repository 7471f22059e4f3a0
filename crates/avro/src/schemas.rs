//! Our Avro schemas, as `schemas/` keeps them: for each kind of record its versions, of which the
//! last one is written and read by. Older and newer ones are read by Avro's resolution rules.

use std::collections::BTreeSet;

use apache_avro::Schema;

/// A version of a schema that was ever written.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// Kind of record that it describes: `event`, `resolved-memory`, `conflict-record` or
    /// `user-snapshot`.
    pub name: &'static str,
    /// Its number, from 1.
    pub version: u32,
    /// Its text.
    pub text: &'static str,
}

/// All versions, those of one kind in order.
pub const VERSIONS: &[Version] = &[
    Version { name: "event", version: 1, text: include_str!("../../../schemas/event.v1.avsc") },
    Version { name: "resolved-memory", version: 1, text: include_str!("../../../schemas/resolved-memory.v1.avsc") },
    Version { name: "user-snapshot", version: 1, text: include_str!("../../../schemas/user-snapshot.v1.avsc") },
    Version { name: "conflict-record", version: 1, text: include_str!("../../../schemas/conflict-record.v1.avsc") },
];

/// The schema of events, which have rules of their own.
pub(super) const EVENT: &str = "event";

/// The newest version of a schema.
pub(super) struct Own {
    pub name: &'static str,
    pub text: &'static str,
    pub schema: Schema,
}

impl Own {
    /// The full name of its record.
    pub fn record_name(&self) -> String {
        self.schema.name().map(ToString::to_string).unwrap_or_default()
    }
}

/// The schemas, parsed.
pub(super) struct Schemas(Vec<Own>);

impl Schemas {
    pub fn new() -> apache_avro::AvroResult<Schemas> {
        let own = |name: &'static str| {
            let text = VERSIONS.iter().rfind(|v| v.name == name).map_or("", |v| v.text);
            Schema::parse_str(text).map(|schema| Own { name, text, schema })
        };
        let kinds: BTreeSet<&'static str> = VERSIONS.iter().map(|v| v.name).collect();
        Ok(Schemas(kinds.into_iter().map(own).collect::<Result<_, _>>()?))
    }

    pub fn named(&self, name: &str) -> Option<&Own> {
        self.0.iter().find(|own| own.name == name)
    }
}

/// Whether a field holds any JSON as text: a mark of ours in the schema, which Avro itself passes
/// over.
pub(super) fn is_marked(field: &apache_avro::schema::RecordField, mark: &str) -> bool {
    field.custom_attributes.get(mark).and_then(serde_json::Value::as_bool) == Some(true)
}

/// The other branch of a union with null.
pub(super) fn nullable(schema: &Schema) -> Option<(u32, u32, &Schema)> {
    let Schema::Union(union) = schema else { return None };
    match union.variants() {
        [Schema::Null, some] => Some((0, 1, some)),
        [some, Schema::Null] => Some((1, 0, some)),
        _ => None,
    }
}
