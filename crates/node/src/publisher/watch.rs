//! The look at another process by its record on the nodes topic.

use std::time::{Duration, Instant};

use crate::registry::NodeRecord;

/// How a process stands that may hold the same events as the one that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It has published all that it had accepted when it was first seen.
    Done,
    /// It has not, and its record has changed of late.
    Busy,
    /// It has not, and its record has not changed for longer than this process waits, or says for
    /// [`STUCK`] times as long that nothing more was published.
    Silent,
}

/// A process that lives and publishes nothing for so many times the patience may have no right to,
/// or a clock that the brokers refuse. Nobody waits for it any longer.
const STUCK: u32 = 10;

/// The looks at the record of one incarnation.
#[derive(Debug)]
pub(super) struct Watch {
    last: Option<NodeRecord>,
    changed: Instant,
    /// When it last published something, or was not known to have begun.
    moved: Instant,
    /// The counter of the last event that it had accepted when it was first seen.
    accepted: Option<u64>,
}

impl Watch {
    pub fn new() -> Watch {
        Watch { last: None, changed: Instant::now(), moved: Instant::now(), accepted: None }
    }

    /// Whether its record has not changed for so long, or has shown nothing new for far longer.
    pub fn is_silent(&self, patience: Duration) -> bool {
        self.changed.elapsed() >= patience || self.moved.elapsed() >= patience.saturating_mul(STUCK)
    }

    /// Looks at its record, which is not one that this process has written itself.
    pub fn look(&mut self, record: Option<&NodeRecord>, patience: Duration) -> Sight {
        if record != self.last.as_ref() {
            self.changed = Instant::now();
            let published = |record: &NodeRecord| record.published.counter;
            // One that was registered looks for its events, which may take long.
            let is_begun = record.is_some_and(|record| record.counter > 0);
            if !is_begun || record.map(published) != self.last.as_ref().map(published) {
                self.moved = Instant::now();
            }
            self.last = record.cloned();
        }
        let is_done = record.is_some_and(|record| {
            // One that was registered has not written its events again yet: what it will have
            // accepted is not known.
            let is_begun = record.counter > 0 || record.outbox_depth == 0;
            let accepted = is_begun.then(|| *self.accepted.get_or_insert(record.counter));
            record.outbox_depth == 0 || accepted.is_some_and(|accepted| record.published.counter >= accepted)
        });
        match is_done {
            true => Sight::Done,
            false if self.is_silent(patience) => Sight::Silent,
            false => Sight::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Publication;
    use crate::registry::{NodeRole, NodeState};

    fn record(counter: u64, published: u64, outbox_depth: u64) -> NodeRecord {
        NodeRecord {
            actor: "a.00000000000000000001".parse().unwrap(),
            role: NodeRole::Primary,
            software_version: String::new(),
            capabilities: Vec::new(),
            counter,
            published: Publication { counter: published, chain: 0 },
            outbox_depth,
            outbox_since_ms: None,
            joined_ms: 1,
            heartbeat_ms: 1,
            state: NodeState::Running,
        }
    }

    #[test]
    fn a_process_is_done_when_it_has_published_what_it_had_accepted_when_it_was_first_seen() {
        const PATIENT: Duration = Duration::from_secs(3600);
        let mut watch = Watch::new();
        let mut look = |record: NodeRecord| watch.look(Some(&record), PATIENT);
        // It is registered, and has five events that it writes again.
        assert_eq!(look(record(0, 0, 5)), Sight::Busy);
        assert_eq!(look(record(5, 0, 5)), Sight::Busy);
        // It accepts further ones all the time.
        assert_eq!(look(record(9, 4, 5)), Sight::Busy);
        assert_eq!(look(record(12, 5, 7)), Sight::Done);
        assert_eq!(Watch::new().look(Some(&record(0, 0, 0)), PATIENT), Sight::Done);
        assert_eq!(Watch::new().look(None, PATIENT), Sight::Busy);
    }

    #[test]
    fn a_process_is_silent_when_its_record_does_not_change() {
        let mut watch = Watch::new();
        assert_eq!(watch.look(None, Duration::ZERO), Sight::Silent);
        let (one, patience) = (record(5, 0, 5), Duration::from_secs(3600));
        assert_eq!(watch.look(Some(&one), patience), Sight::Busy);
        assert_eq!(watch.look(Some(&one), Duration::ZERO), Sight::Silent);
        assert_eq!(watch.look(Some(&record(5, 5, 0)), Duration::ZERO), Sight::Done);

        // One that lives and publishes nothing is waited for longer, and not for ever.
        let mut watch = Watch::new();
        watch.look(Some(&one), patience);
        let beat = NodeRecord { heartbeat_ms: 2, ..one.clone() };
        let moved = watch.moved;
        assert_eq!(watch.look(Some(&beat), patience), Sight::Busy);
        assert_eq!(watch.moved, moved);
        watch.look(Some(&NodeRecord { heartbeat_ms: 3, ..record(5, 1, 4) }), patience);
        assert!(watch.moved > moved);
    }
}
