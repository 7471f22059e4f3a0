//! The format `helixagent` (docs/semantics.md, section 5): outputs as HelixAgent's Go nodes read
//! and can apply them. A resolved memory becomes an event, a conflict record their report of a
//! conflict, each in the envelope that they put on Kafka.
//!
//! Members that they cannot read are left out rather than sent: one member of a wrong type makes
//! Go's decoder refuse the record whole.

mod envelope;
mod members;
mod memory;
mod readable;
mod report;
mod snapshot;

use serde_json::value::RawValue;
use uuid::Uuid;

use self::envelope::Envelope;
use self::memory::{Act, Memory};
use super::encode::{Encoder, Output};
use streams::processor::ProcessorError;

/// Writes outputs for HelixAgent's nodes.
#[derive(Clone, Debug)]
pub struct HelixAgent {
    /// The application id: the node that the records say they come from, so no reader takes them
    /// for its own.
    pub node_id: String,
}

impl Encoder for HelixAgent {
    fn encode(&self, output: Output, json: &[u8]) -> Result<Vec<u8>, ProcessorError> {
        let written = match output {
            Output::Resolved => self.resolved(json),
            Output::Conflict => report::conflict(json, &self.node_id),
            Output::UserSnapshot => snapshot::snapshot(json),
        };
        written.map_err(|e| ProcessorError::Failed(format!("an output cannot be written for HelixAgent's nodes: {e}")))
    }
}

impl HelixAgent {
    /// The event by which a node takes a resolved memory over.
    fn resolved(&self, json: &[u8]) -> serde_json::Result<Vec<u8>> {
        let memory: Memory<'_> = serde_json::from_slice(json)?;
        let clock = memory.vector_clock.map_or("{}", RawValue::get);
        let name = format!("helixstream:resolved:{}:{clock}", memory.memory_id);
        let event_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
        let is_active = memory.status.as_deref() == Some("active");
        let act = Act {
            event_id: &event_id,
            event_type: if is_active { "memory.updated" } else { "memory.deleted" },
            node_id: &self.node_id,
            timestamp: memory.updated_at,
        };
        let mut payload = Vec::with_capacity(json.len());
        memory.write_event(&act, &mut payload)?;
        let envelope = Envelope {
            id: &event_id,
            kind: act.event_type,
            timestamp: memory.updated_at,
            memory_id: Some(&memory.memory_id),
            node_id: &self.node_id,
            user_id: memory.user_id,
        };
        Ok(envelope.seal(&payload))
    }
}
