//! The codec: the wire format around bodies, with the ids of a registry.

use std::sync::Arc;
use std::time::Duration;

use super::bad_input::bad_input;
use super::body::BodyCodec;
use super::registry::Registry;
use super::settings::{RegistrySettings, SettingsError};
use super::writer::WriterSchema;
use memory::event::Class;
use streams::ports::{Codec, CodecError};

/// The first byte of the wire format.
const MAGIC: u8 = 0;

/// Reads events, reads and writes outputs, by the schemas of a registry.
pub struct Avro {
    registry: Arc<Registry>,
    bodies: Arc<BodyCodec>,
    settings: RegistrySettings,
}

impl Avro {
    /// A codec that asks this registry, once it is needed.
    ///
    /// # Errors
    /// The settings name files that cannot be read, or what is no certificate or no address.
    pub fn new(settings: RegistrySettings) -> Result<Avro, SettingsError> {
        let bodies = Arc::new(BodyCodec::new()?);
        Ok(Avro { registry: Arc::new(Registry::new(&settings)?), bodies, settings })
    }

    /// The same codec, with the same answers of the registry, of which a call waits so long for
    /// one.
    #[must_use]
    pub fn with_wait(&self, wait: Duration) -> Avro {
        let settings = RegistrySettings { wait, ..self.settings.clone() };
        Avro { registry: self.registry.clone(), bodies: self.bodies.clone(), settings }
    }
}

impl Codec for Avro {
    fn decode(&self, schema: &str, value: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (writer, id, body) = self.framed(value)?;
        self.bodies.decode(schema, &writer, id, body)
    }

    fn json(&self, value: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (writer, id, body) = self.framed(value)?;
        self.bodies.json(&writer, id, body)
    }

    fn prepare(&self, schema: &str, topic: &str) -> Result<(), CodecError> {
        self.id(schema, topic).map(drop)
    }

    fn encode(&self, schema: &str, topic: &str, json: &[u8]) -> Result<Vec<u8>, CodecError> {
        let id = self.id(schema, topic)?;
        let mut out = Vec::with_capacity(json.len() + 5);
        out.push(MAGIC);
        out.extend_from_slice(&id.to_be_bytes());
        self.bodies.encode(schema, json, &mut out).map_err(|e| unwritable(schema, topic, &e))?;
        Ok(out)
    }
}

fn unwritable(schema: &str, topic: &str, why: &dyn std::fmt::Display) -> CodecError {
    CodecError::Fatal(format!("cannot write `{schema}` in Avro for {topic}: {why} [HS9000]"))
}

impl Avro {
    /// The registry's id of one of our schemas, for a topic.
    fn id(&self, schema: &str, topic: &str) -> Result<u32, CodecError> {
        let own = self.bodies.named(schema).ok_or_else(|| unwritable(schema, topic, &"there is no such schema"))?;
        let subject = self.settings.subject_names.subject(topic, own.record_name());
        self.registry.id(&subject, own.text, self.settings.wait)
    }

    /// The schema that a value names, its id, and the body.
    fn framed<'v>(&self, value: &'v [u8]) -> Result<(Arc<WriterSchema>, u32, &'v [u8]), CodecError> {
        let framed = value.strip_prefix(&[MAGIC]).and_then(|rest| rest.split_first_chunk::<4>());
        let Some((id, body)) = framed else {
            let text = format!("the value starts as Avro does (magic byte 0), but ends after {} bytes", value.len());
            return Err(bad_input(Class::MalformedAvro, text));
        };
        let id = u32::from_be_bytes(*id);
        Ok((self.registry.schema(id, self.settings.wait)?, id, body))
    }
}
