//! A user's snapshot as HelixAgent's `MemorySnapshot`: its memories are theirs, the clock stays an
//! object, and a relationship names its ends `source_id` and `target_id`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::members::{array, list, raw};
use super::memory::Memory;
use super::readable;
use memory::clock::UNCLOCKED;
use memory::view::{ObjectWriter, write_clock};

/// The type of the message around a snapshot. It is no event's, so a node that takes it for one
/// passes over it.
const TYPE: &str = "user.snapshot";

/// A user's snapshot.
#[derive(Deserialize)]
struct Snapshot<'r> {
    snapshot_id: String,
    node_id: String,
    #[serde(borrow)]
    timestamp: &'r RawValue,
    #[serde(borrow)]
    user_id: &'r RawValue,
    #[serde(borrow)]
    memories: Vec<&'r RawValue>,
    #[serde(borrow, default)]
    entities: Vec<&'r RawValue>,
    #[serde(borrow, default)]
    relationships: Vec<&'r RawValue>,
    vector_clock: BTreeMap<String, u64>,
    #[serde(borrow, default)]
    metadata: Option<&'r RawValue>,
}

/// The snapshot in its envelope. The parts of one are messages of their own.
pub(super) fn snapshot(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut of: Snapshot<'_> = serde_json::from_slice(json)?;
    let part = match of.metadata {
        None => None,
        Some(metadata) => serde_json::from_str::<BTreeMap<String, u64>>(metadata.get())?.get("part").copied(),
    };
    of.vector_clock.remove(UNCLOCKED);
    let mut payload = Vec::with_capacity(json.len());
    let mut o = ObjectWriter::new(&mut payload);
    list(&mut o, "entities", &of.entities, readable::entity)?;
    array(o.key("memories"), &of.memories, |out, memory| {
        serde_json::from_str::<Memory<'_>>(memory.get())?.write_memory(out)
    })?;
    raw(&mut o, "metadata", of.metadata);
    o.str("node_id", &of.node_id);
    list(&mut o, "relationships", &of.relationships, readable::snapshot_relationship)?;
    o.str("snapshot_id", &of.snapshot_id);
    raw(&mut o, "timestamp", Some(of.timestamp));
    raw(&mut o, "user_id", Some(of.user_id));
    let clock: Vec<(&str, u64)> = of.vector_clock.iter().map(|(node, counter)| (node.as_str(), *counter)).collect();
    write_clock(o.key("vector_clock"), &clock);
    o.end();
    let envelope = Envelope {
        id: &part.map_or(of.snapshot_id.clone(), |part| format!("{}:{part}", of.snapshot_id)),
        kind: TYPE,
        timestamp: Some(of.timestamp),
        memory_id: None,
        node_id: &of.node_id,
        user_id: Some(of.user_id),
    };
    Ok(envelope.seal(&payload))
}
