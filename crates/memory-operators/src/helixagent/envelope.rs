//! The message in which HelixAgent's nodes put an event or a report on Kafka.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::members::raw;
use memory::view::ObjectWriter;

/// The message of HelixAgent's nodes around a payload.
pub(super) struct Envelope<'m> {
    pub id: &'m str,
    pub kind: &'m str,
    pub timestamp: Option<&'m RawValue>,
    /// Of a message about one memory.
    pub memory_id: Option<&'m str>,
    pub node_id: &'m str,
    pub user_id: Option<&'m RawValue>,
}

impl Envelope<'_> {
    /// The message around this payload.
    pub fn seal(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() / 3 * 4 + 256);
        let mut message = ObjectWriter::new(&mut out);
        let mut headers = ObjectWriter::new(message.key("headers"));
        if let Some(memory_id) = self.memory_id {
            headers.str("memory_id", memory_id);
        }
        headers.str("node_id", self.node_id);
        raw(&mut headers, "user_id", self.user_id);
        headers.end();
        message.str("id", self.id);
        message.str("payload", &BASE64_STANDARD.encode(payload));
        raw(&mut message, "timestamp", self.timestamp);
        message.str("type", self.kind);
        message.end();
        out
    }
}
