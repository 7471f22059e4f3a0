//! The process that has fenced this one: the wait until it has published what both may have.
//!
//! Where a folder was copied, both processes may have accepted events that neither had published.
//! The one that was fenced must not write them again under a new actor while the other one, which
//! has the transactional id now, is about to publish them as they are. So it waits until the record
//! of the other shows that everything is published that the other had accepted when it wrote its
//! first record, and looks for its own events in the topic afterwards.

use std::time::{Duration, Instant};

use super::context::PublisherContext;
use super::interruption::Interruption;
use crate::actor::Actor;
use crate::registry::{NodeRecord, NodeState};

/// The pause between two looks at the nodes topic.
const LOOK: Duration = Duration::from_millis(100);

/// The records of an actor that this process has written itself, or has found at its start.
#[derive(Debug, Default)]
pub(super) struct OwnRecords {
    /// The last one that is known to be on the topic.
    pub known: Option<NodeRecord>,
    /// The one of a transaction whose outcome may be unknown.
    pub attempted: Option<NodeRecord>,
}

impl OwnRecords {
    fn contains(&self, record: &NodeRecord) -> bool {
        [&self.known, &self.attempted].into_iter().flatten().any(|own| own == record)
    }
}

/// Waits until the process that has taken the id of `actor`, or the actor as which that process
/// goes on, has published all that it had accepted when it was first seen. Where its record does
/// not change for [`super::PublisherSettings::fencer_patience`], there is no such process, or it is
/// dead, and the wait ends.
pub(super) fn wait_for_fencer(context: &PublisherContext, actor: &Actor, own: &OwnRecords) -> Result<(), Interruption> {
    let mut actor = actor.clone();
    let mut accepted = None;
    let mut last: Option<NodeRecord> = None;
    let mut changed = Instant::now();
    loop {
        let registered = context.nodes.read(context.limit(), &|| context.goes_on())?;
        let record = registered.of(&actor)?.map(|node| &node.record).filter(|record| !own.contains(record));
        if record != last.as_ref() {
            changed = Instant::now();
            last = record.cloned();
        }
        match record {
            Some(NodeRecord { state: NodeState::Replaced { successor }, .. }) if *successor != actor => {
                actor = successor.clone();
                accepted = None;
            }
            Some(record) => {
                let accepted = *accepted.get_or_insert(record.counter);
                if record.outbox_depth == 0 || record.published.counter >= accepted {
                    return Ok(());
                }
            }
            None => {}
        }
        if changed.elapsed() >= context.settings.fencer_patience {
            tracing::info!(
                actor = %actor,
                seconds = changed.elapsed().as_secs(),
                "no other process has published as this actor since this node was fenced; the node goes on"
            );
            return Ok(());
        }
        if context.stop.is_overdue() {
            return Err(Interruption::Stopped);
        }
        context.stop.wait(LOOK.min(context.settings.fencer_patience));
    }
}
