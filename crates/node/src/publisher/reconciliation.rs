//! The comparison of the database with the node's record on the nodes topic.

use crate::ports::{Agreement, Identity, Journal, JournalError, Publication};
use crate::registry::NodeRecord;

/// How a session goes on after it has read the node's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReconciliationOutcome {
    /// As the same actor, after this publication.
    Continue(Publication),
    /// As a new incarnation, for this reason.
    Replace(&'static str),
}

/// The reason that is kept with a new incarnation after a roll-back or a copy was found.
const ROLLED_BACK_OR_COPIED: &str =
    "the nodes topic has events of this actor that this folder does not have: the folder was rolled back, or is a copy";

/// The reason where another process has closed the incarnation.
const CLOSED: &str = "another process with a copy of this folder, or with the name of this node, has closed this incarnation on the nodes topic";

/// Compares, and marks the events as published of which the record says so.
///
/// # Errors
/// Those of the journal.
pub(super) fn reconcile(
    journal: &dyn Journal,
    identity: &Identity,
    record: Option<&NodeRecord>,
) -> Result<ReconciliationOutcome, JournalError> {
    let own = Publication { counter: identity.published, chain: identity.chain };
    let known = record.map_or(Publication { counter: 0, chain: 0 }, |record| record.published);
    if known.counter < own.counter {
        tracing::warn!(
            code = "HS8022",
            actor = %identity.actor,
            "the nodes topic says that this node has published {} events, but its database knows that {} were published: the topic was made \
             anew or has lost records. The node goes on and writes its record again",
            known.counter,
            own.counter
        );
        return Ok(ReconciliationOutcome::Continue(own));
    }
    let agreement = if record.is_some() { journal.reconcile(known)? } else { Agreement::Agrees };
    let is_closed = record.is_some_and(NodeRecord::is_replaced);
    match agreement {
        Agreement::Differs => Ok(ReconciliationOutcome::Replace(ROLLED_BACK_OR_COPIED)),
        Agreement::Agrees if is_closed => Ok(ReconciliationOutcome::Replace(CLOSED)),
        Agreement::Agrees => Ok(ReconciliationOutcome::Continue(known)),
    }
}
