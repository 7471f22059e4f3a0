//! The order of events that the histories of memories claim, against that of all events.

use std::collections::BTreeSet;

use futures::executor::block_on;

use super::world::is_before;
use super::{History, MEMORIES};

impl History {
    /// The order that histories claim is that of the events, whatever states a node has missed. Of
    /// an event that was written again under its id, one of the two has that order.
    pub fn check_histories(&self) {
        let is_before = |a: &str, b: &str| {
            let of = |id: &str| -> Vec<_> { self.kafka.events.iter().filter(|one| one.event.event_id == id).collect() };
            of(a).iter().any(|a| of(b).iter().any(|b| is_before(&a.event, &b.event)))
        };
        for folder in &self.folders {
            for memory_id in MEMORIES {
                let history = block_on(folder.node.history(memory_id)).unwrap();
                let mut before = BTreeSet::new();
                for state in &history.states {
                    let json: serde_json::Value = serde_json::from_slice(&state.json).unwrap();
                    let ids = |name: &str| -> BTreeSet<String> {
                        json[name].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
                    };
                    let (frontier, entered) = (ids("event_ids"), ids("entered"));
                    assert_eq!(entered, frontier.difference(&before).cloned().collect(), "{json}");
                    for (a, b) in frontier.iter().flat_map(|a| frontier.iter().map(move |b| (a, b))) {
                        assert!(self.kind.has_copies || !is_before(a, b), "{a} and {b} are concurrent: {json}");
                    }
                    if !state.is_first {
                        assert_eq!(json["follows"], true, "the stream was never reset: {json}");
                        let gone: BTreeSet<String> = before.difference(&frontier).cloned().collect();
                        assert_eq!(ids("superseded"), gone, "{json}");
                        for id in &gone {
                            let newer = if self.kind.has_copies { &frontier } else { &entered };
                            assert!(newer.iter().any(|new| is_before(id, new)), "{id} is not superseded: {json}");
                        }
                    }
                    before = frontier;
                }
                for event in &history.events {
                    let id = &event.event.event_id;
                    let is_known = |id: &str| self.kafka.events.iter().any(|one| one.event.event_id == id);
                    let mut earlier = event.supersedes.iter().filter(|earlier| is_known(earlier));
                    assert!(!is_known(id) || earlier.all(|earlier| is_before(earlier, id)), "{event:?}");
                }
            }
        }
    }
}
