//! The order in which the events of a transaction are sent, and the keys of their records.
//!
//! Most writes are one event, whose key is its memory, and these are sent in the order of their
//! counters. A merge is several (`database::merge`), and the order in which they reach the resolver
//! decides whether it finds conflicts that there are not:
//!
//! - They all have the key of the memory that absorbs, so that they are one after another in one
//!   partition, and are re-keyed by one task. With the keys of their own memories the absorb could
//!   come to an absorbed memory before the delete, and would be in conflict with what the delete
//!   supersedes.
//! - The last one, which updates the absorbing memory, comes before the merge, which it supersedes:
//!   the merge has seen nothing of that memory, so it would be in conflict with an earlier
//!   `merged_from`.

use crate::ports::OutboxEvent;

/// An event as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SentEvent<'e> {
    /// Its place among the events in the order of their counters.
    pub index: usize,
    /// The key of its record.
    pub key: &'e str,
}

/// The events in the order in which they are sent. They are given in that of their counters.
pub(super) fn sending_order(events: &[OutboxEvent]) -> Vec<SentEvent<'_>> {
    let mut order = Vec::with_capacity(events.len());
    let is_same_write = |a: &OutboxEvent, b: &OutboxEvent| a.part_of.is_some() && a.part_of == b.part_of;
    for write in events.chunk_by(is_same_write) {
        let first = order.len();
        let key = write.last().map_or("", |event| event.memory_id.as_str());
        order.extend((first..).take(write.len()).map(|index| SentEvent { index, key }));
        if let [.., merge, update] = &mut order[first..] {
            std::mem::swap(merge, update);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_merge_have_one_key_and_the_merge_is_the_last_of_them() {
        let event = |counter, memory_id: &str, part_of: Option<&str>| OutboxEvent {
            counter,
            memory_id: memory_id.to_owned(),
            part_of: part_of.map(str::to_owned),
            value: Vec::new(),
            timestamp_ms: 1,
        };
        let events = [
            event(1, "a", None),
            event(2, "b", None),
            event(3, "absorbed", Some("e5")),
            event(4, "m", Some("e5")),
            event(5, "m", Some("e5")),
            event(6, "n", Some("e7")),
            event(7, "n", Some("e7")),
            event(8, "absorbed", None),
        ];
        let order = sending_order(&events);
        let order: Vec<(u64, &str)> = order.iter().map(|sent| (events[sent.index].counter, sent.key)).collect();
        assert_eq!(order, [(1, "a"), (2, "b"), (3, "m"), (5, "m"), (4, "m"), (7, "n"), (6, "n"), (8, "absorbed")]);
    }
}
