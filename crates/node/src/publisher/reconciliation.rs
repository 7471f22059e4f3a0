//! The comparison of the database with the node's record on the nodes topic.

use crate::ports::{Agreement, Identity, Journal, JournalError, Publication};
use crate::registry::{NodeRecord, NodeState};

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

/// The reason where another process has given the incarnation up.
const GIVEN_UP: &str = "another process with a copy of this folder has given this incarnation up";

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
    let is_given_up = record.is_some_and(|record| matches!(record.state, NodeState::Replaced { .. }));
    match agreement {
        Agreement::Differs => Ok(ReconciliationOutcome::Replace(ROLLED_BACK_OR_COPIED)),
        Agreement::Agrees if is_given_up => Ok(ReconciliationOutcome::Replace(GIVEN_UP)),
        Agreement::Agrees => Ok(ReconciliationOutcome::Continue(known)),
    }
}
