//! The body of a value: what stands behind the schema id in Confluent's wire format, read and
//! written without a registry.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{AvroResult, Schema};

use super::bad_input::bad_input;
use super::schemas::{EVENT, Own, Schemas};
use super::settings::SettingsError;
use super::walk::walk;
use super::writer::WriterSchema;
use super::{plain, read, write};
use memory::event::Class;
use streams::ports::CodecError;

/// Memory that reading one value may take; its bytes come from anyone.
const MAX_BYTES: usize = 256 << 20;

/// Reads and writes bodies: records of ours by the schemas of this program, and any other value as
/// its writer's schema describes it.
pub struct BodyCodec(Schemas);

impl BodyCodec {
    /// With the newest version of each schema.
    ///
    /// # Errors
    /// A schema of this program cannot be parsed: a mistake of ours.
    pub fn new() -> Result<BodyCodec, SettingsError> {
        apache_avro::util::max_allocation_bytes(MAX_BYTES);
        let schemas = Schemas::new()
            .map_err(|e| SettingsError(format!("cannot read the Avro schemas of this program: {e} [HS9000]")))?;
        Ok(BodyCodec(schemas))
    }

    /// The JSON of a record of ours, which another version of the schema may have written. `id` is
    /// the registry's number of the writer's schema, for messages.
    ///
    /// # Errors
    /// [`CodecError::Bad`]: the body is no such record. [`CodecError::Fatal`]: there is no schema
    /// of this name.
    pub fn decode(&self, schema: &str, writer: &WriterSchema, id: u32, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let Some(own) = self.named(schema) else {
            return Err(CodecError::Fatal(format!("cannot read `{schema}` in Avro: there is no such schema [HS9000]")));
        };
        let read = value(writer, body, |body| datum(writer, &own.schema, body), id, &|e| {
            format!("the value is no {schema} in Avro of schema id {id}: {e}")
        })?;
        let json = if schema == EVENT { read::event } else { read::output };
        json(&own.schema, read).map_err(malformed)
    }

    /// The JSON of any value; an event is read as by [`BodyCodec::decode`].
    ///
    /// # Errors
    /// [`CodecError::Bad`]: the body is no value of its writer's schema, or JSON has no form for
    /// it.
    pub fn json(&self, writer: &WriterSchema, id: u32, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let event = self.named(EVENT).map(Own::record_name);
        if event.is_some() && writer.name == event {
            return self.decode(EVENT, writer, id, body);
        }
        let message = |e: &dyn std::fmt::Display| format!("the value cannot be read by Avro's schema id {id}: {e}");
        let read = value(writer, body, |body| any(writer, body), id, &message)?;
        let mut out = Vec::with_capacity(body.len() * 2);
        plain::write(&read, &mut out).map_err(|e| malformed(message(&e)))?;
        Ok(out)
    }

    /// Appends the body of a record of ours, by the newest version of its schema.
    ///
    /// # Errors
    /// There is no schema of this name, or the JSON is no such record: a mistake of ours.
    pub fn encode(&self, schema: &str, json: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let own = self.named(schema).ok_or("there is no such schema")?;
        write::datum(&own.schema, json, out)
    }

    /// The newest version of a schema.
    pub(super) fn named(&self, schema: &str) -> Option<&Own> {
        self.0.named(schema)
    }
}

/// Reads the one value of a body, once it is known to be whole and to fit into memory.
fn value(
    writer: &WriterSchema,
    mut body: &[u8],
    read: impl FnOnce(&mut &[u8]) -> AvroResult<Value>,
    id: u32,
    message: &dyn Fn(&dyn std::fmt::Display) -> String,
) -> Result<Value, CodecError> {
    let left = walk(&writer.schema, body, MAX_BYTES).map_err(|e| malformed(message(&e)))?.len();
    let value = read(&mut body).map_err(|e| malformed(message(&e)))?;
    if left > 0 {
        let text = format!("{left} bytes are left behind the record in Avro of schema id {id}");
        return Err(malformed(text));
    }
    Ok(value)
}

/// A value by its writer's schema alone.
fn any(writer: &WriterSchema, body: &mut &[u8]) -> AvroResult<Value> {
    GenericDatumReader::builder(&writer.shown).build()?.read_value(body)
}

fn datum(writer: &WriterSchema, own: &Schema, body: &mut &[u8]) -> AvroResult<Value> {
    GenericDatumReader::builder(&writer.schema).reader_schema(own).build()?.read_value(body)
}

fn malformed(message: String) -> CodecError {
    bad_input(Class::MalformedAvro, message)
}
