//! Observes another process by its record on the nodes topic.

use std::time::{Duration, Instant};

use crate::registry::NodeRecord;

/// How far another process has published the events that this one may hold, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerProgress {
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

/// One that was registered looks for its events in the whole topic first, which may take long.
const STUCK_BEFORE_ITS_FIRST_EVENT: u32 = 120;

/// The looks at the record of one incarnation.
#[derive(Debug)]
pub(super) struct PeerMonitor {
    last: Option<NodeRecord>,
    changed: Instant,
    /// When it last published something, or began to write its events again.
    moved: Instant,
    /// Whether it has begun to write its events again.
    is_begun: bool,
    /// The counter of the last event that it had accepted when it was first seen.
    accepted: Option<u64>,
}

impl PeerMonitor {
    pub fn new() -> PeerMonitor {
        PeerMonitor { last: None, changed: Instant::now(), moved: Instant::now(), is_begun: false, accepted: None }
    }

    /// Whether its record has not changed for so long, or has shown nothing new for far longer.
    pub fn is_silent(&self, patience: Duration) -> bool {
        let stuck = if self.is_begun { STUCK } else { STUCK_BEFORE_ITS_FIRST_EVENT };
        self.changed.elapsed() >= patience || self.moved.elapsed() >= patience.saturating_mul(stuck)
    }

    /// Looks at its record, which is not one that this process has written itself.
    pub fn look(&mut self, record: Option<&NodeRecord>, patience: Duration) -> PeerProgress {
        if record != self.last.as_ref() {
            self.changed = Instant::now();
            let published = |record: &NodeRecord| record.published.counter;
            let is_begun = record.is_some_and(|record| record.counter > 0);
            if is_begun != self.is_begun || record.map(published) != self.last.as_ref().map(published) {
                self.moved = Instant::now();
            }
            self.is_begun = is_begun;
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
            true => PeerProgress::Done,
            false if self.is_silent(patience) => PeerProgress::Silent,
            false => PeerProgress::Busy,
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
        let mut peer = PeerMonitor::new();
        let mut look = |record: NodeRecord| peer.look(Some(&record), PATIENT);
        // It is registered, and has five events that it writes again.
        assert_eq!(look(record(0, 0, 5)), PeerProgress::Busy);
        assert_eq!(look(record(5, 0, 5)), PeerProgress::Busy);
        // It accepts further ones all the time.
        assert_eq!(look(record(9, 4, 5)), PeerProgress::Busy);
        assert_eq!(look(record(12, 5, 7)), PeerProgress::Done);
        assert_eq!(PeerMonitor::new().look(Some(&record(0, 0, 0)), PATIENT), PeerProgress::Done);
        assert_eq!(PeerMonitor::new().look(None, PATIENT), PeerProgress::Busy);
    }

    #[test]
    fn a_process_is_silent_when_its_record_does_not_change() {
        let mut peer = PeerMonitor::new();
        assert_eq!(peer.look(None, Duration::ZERO), PeerProgress::Silent);
        let (one, patience) = (record(5, 0, 5), Duration::from_secs(3600));
        assert_eq!(peer.look(Some(&one), patience), PeerProgress::Busy);
        assert_eq!(peer.look(Some(&one), Duration::ZERO), PeerProgress::Silent);
        assert_eq!(peer.look(Some(&record(5, 5, 0)), Duration::ZERO), PeerProgress::Done);

        // One that lives and publishes nothing is waited for longer, and not for ever.
        let mut peer = PeerMonitor::new();
        peer.look(Some(&one), patience);
        let beat = NodeRecord { heartbeat_ms: 2, ..one.clone() };
        let moved = peer.moved;
        assert_eq!(peer.look(Some(&beat), patience), PeerProgress::Busy);
        assert_eq!(peer.moved, moved);
        peer.look(Some(&NodeRecord { heartbeat_ms: 3, ..record(5, 1, 4) }), patience);
        assert!(peer.moved > moved);
    }

    #[test]
    fn a_process_that_lives_and_publishes_nothing_is_silent_after_many_times_the_patience() {
        let patience = Duration::from_secs(5);
        let beat = |at: i64| NodeRecord { heartbeat_ms: at, ..record(5, 0, 5) };
        let mut peer = PeerMonitor::new();
        assert_eq!(peer.look(Some(&beat(1)), patience), PeerProgress::Busy);
        peer.moved -= patience * (STUCK - 1);
        assert_eq!(peer.look(Some(&beat(2)), patience), PeerProgress::Busy);
        peer.moved -= patience;
        assert_eq!(peer.look(Some(&beat(3)), patience), PeerProgress::Silent);
        assert!(peer.changed.elapsed() < peer.moved.elapsed(), "its record has just changed");
        // One that was registered looks for its events, however long that takes.
        let searching = NodeRecord { heartbeat_ms: 4, ..record(0, 0, 5) };
        assert_eq!(peer.look(Some(&searching), patience), PeerProgress::Busy);
    }
}
