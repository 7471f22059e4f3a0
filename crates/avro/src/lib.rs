//! Avro in Confluent's wire format: magic byte 0, a schema id of four bytes, the body. The one edge of `apache-avro` and of
//! the schema registry.

mod access;
mod client;
mod plain;
mod read;
mod registry;
mod request;
pub mod schemas;
pub mod settings;
mod tls;
mod write;
mod writer;

pub use access::url_holds_password;

use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;

use memory::event::Class;
use registry::Registry;
use schemas::{EVENT, Schemas};
use settings::{RegistrySettings, SettingsError};
use streams::ports::{Codec, CodecError};
use writer::WriterSchema;

/// The first byte of the wire format.
const MAGIC: u8 = 0;
/// Memory that one value may ask for while it is read; its bytes come from anyone.
const MAX_ALLOCATION_BYTES: usize = 256 << 20;

/// Reads events, reads and writes outputs, by the schemas of a registry.
pub struct Avro {
    registry: Arc<Registry>,
    schemas: Arc<Schemas>,
    settings: RegistrySettings,
}

impl Avro {
    /// A codec that asks this registry, once it is needed.
    ///
    /// # Errors
    /// The settings name files that cannot be read, or what is no certificate or no address.
    pub fn new(settings: RegistrySettings) -> Result<Avro, SettingsError> {
        apache_avro::util::max_allocation_bytes(MAX_ALLOCATION_BYTES);
        let schemas = Schemas::new()
            .map_err(|e| SettingsError(format!("cannot read the Avro schemas of this program: {e} [HS9000]")))?;
        Ok(Avro { registry: Arc::new(Registry::new(&settings)?), schemas: Arc::new(schemas), settings })
    }

    /// The same codec, with the same answers of the registry, of which a call waits so long for one.
    #[must_use]
    pub fn with_wait(&self, wait: Duration) -> Avro {
        let settings = RegistrySettings { wait, ..self.settings.clone() };
        Avro { registry: self.registry.clone(), schemas: self.schemas.clone(), settings }
    }
}

impl Codec for Avro {
    fn decode(&self, schema: &str, value: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (writer, id, body) = self.framed(value)?;
        self.ours(schema, &writer, id, body)
    }

    fn json(&self, value: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (writer, id, mut body) = self.framed(value)?;
        let event = self.schemas.named(EVENT).map(schemas::Own::record_name);
        if event.is_some() && writer.name == event {
            return self.ours(EVENT, &writer, id, body);
        }
        let malformed = |e: &dyn std::fmt::Display| {
            bad(Class::MalformedAvro, format!("the value cannot be read by Avro's schema id {id}: {e}"))
        };
        let datum = any(&writer, &mut body).map_err(|e| malformed(&e))?;
        nothing_left(body, id)?;
        let mut out = Vec::with_capacity(value.len() * 2);
        plain::write(&datum, &mut out).map_err(|e| malformed(&e))?;
        Ok(out)
    }

    fn encode(&self, schema: &str, topic: &str, json: &[u8]) -> Result<Vec<u8>, CodecError> {
        let fatal = |e: &dyn std::fmt::Display| {
            CodecError::Fatal(format!("cannot write `{schema}` in Avro for {topic}: {e} [HS9000]"))
        };
        let own = self.schemas.named(schema).ok_or_else(|| fatal(&"there is no such schema"))?;
        let subject = self.settings.subject_names.subject(topic, own.record_name());
        let id = self.registry.id(&subject, own.text, self.settings.wait)?;
        let mut out = Vec::with_capacity(json.len() + 5);
        out.push(MAGIC);
        out.extend_from_slice(&id.to_be_bytes());
        write::datum(&own.schema, json, &mut out).map_err(|e| fatal(&e))?;
        Ok(out)
    }
}

impl Avro {
    /// The schema that a value names, its id, and the body.
    fn framed<'v>(&self, value: &'v [u8]) -> Result<(Arc<WriterSchema>, u32, &'v [u8]), CodecError> {
        let framed = value.strip_prefix(&[MAGIC]).and_then(|rest| rest.split_first_chunk::<4>());
        let Some((id, body)) = framed else {
            let text = format!("the value starts as Avro does (magic byte 0), but ends after {} bytes", value.len());
            return Err(bad(Class::MalformedAvro, text));
        };
        let id = u32::from_be_bytes(*id);
        Ok((self.registry.schema(id, self.settings.wait)?, id, body))
    }

    /// A value read by a schema of ours.
    fn ours(&self, schema: &str, writer: &WriterSchema, id: u32, mut body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let Some(own) = self.schemas.named(schema) else {
            return Err(CodecError::Fatal(format!("cannot read `{schema}` in Avro: there is no such schema [HS9000]")));
        };
        let malformed = |message: String| bad(Class::MalformedAvro, message);
        let read = datum(writer, &own.schema, &mut body);
        let read = read.map_err(|e| malformed(format!("the value is no {schema} in Avro of schema id {id}: {e}")))?;
        nothing_left(body, id)?;
        let json = if schema == EVENT { read::event } else { read::output };
        json(&own.schema, read).map_err(malformed)
    }
}

fn nothing_left(body: &[u8], id: u32) -> Result<(), CodecError> {
    match body.len() {
        0 => Ok(()),
        left => {
            Err(bad(Class::MalformedAvro, format!("{left} bytes are left behind the record in Avro of schema id {id}")))
        }
    }
}

/// A value by its writer's schema alone.
fn any(writer: &WriterSchema, body: &mut &[u8]) -> apache_avro::AvroResult<apache_avro::types::Value> {
    GenericDatumReader::builder(&writer.shown).build()?.read_value(body)
}

fn datum(writer: &WriterSchema, own: &Schema, body: &mut &[u8]) -> apache_avro::AvroResult<apache_avro::types::Value> {
    GenericDatumReader::builder(&writer.schema).reader_schema(own).build()?.read_value(body)
}

/// Bad input of a class; a message may repeat what a writer sent, so it is cut.
fn bad(class: Class, message: String) -> CodecError {
    const LONGEST: usize = 400;
    let message = match message.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    };
    CodecError::Bad { class: class.as_str(), message }
}
