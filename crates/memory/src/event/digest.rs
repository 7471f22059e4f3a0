//! The digest that identifies a redelivery: two records carry the same event iff their decoded
//! events are equal.

use xxhash_rust::xxh3::xxh3_128;

use super::super::binary::{put_bytes, put_varint};
use super::Event;

/// XXH3-128 of the decoded event: every known field with defaults applied, sets sorted and values
/// canonical, so neither the encoding nor key order nor the spelling of a number matters, while
/// absent, null and empty do. `writes` must still hold all that the event carries: the fields that
/// a delete does not use, and the relationships that a `relationship.deleted` lists. The form is
/// part of stored state: it must never change.
pub(super) fn digest(event: &Event) -> u128 {
    let mut form = Vec::with_capacity(1024);
    put_bytes(&mut form, event.event_id.as_bytes());
    put_bytes(&mut form, event.kind.as_str().as_bytes());
    // An empty id is absent, so no flag need tell the two apart.
    put_bytes(&mut form, event.memory_id.as_deref().unwrap_or_default().as_bytes());
    put_bytes(&mut form, event.node_id.as_deref().unwrap_or_default().as_bytes());
    put_varint(&mut form, event.timestamp);
    put_varint(&mut form, event.version);
    put_varint(&mut form, event.clock.entries().len() as u64);
    for (node, counter) in event.clock.entries() {
        put_bytes(&mut form, node.as_bytes());
        put_varint(&mut form, *counter);
    }
    // Importance and merged_from stand among the writes.
    for write in &event.writes {
        put_bytes(&mut form, write.path.as_bytes());
        put_bytes(&mut form, &write.value);
    }
    xxh3_128(&form)
}
