//! Expiry: the delete of a memory whose time has come.
//!
//! The metadata of a memory have the time under [`EXPIRES_AT`] and the node that has set it under
//! [`EXPIRES_BY`]; both are written, resolved and in conflict as all metadata are. At the time the
//! memory is deleted by an event as any other.
//!
//! - **The deleting node** is the one that has set the time. Where that one is absent, it is the
//!   live node with the least id, a minute later the next one, and so on: a node that subscribes to
//!   few users may not hold the memory. A node is absent whose record on the nodes topic has not
//!   changed for ten minutes while this node was watching, also one that has stopped in good order;
//!   of a node that was replaced the successor counts. Where two nodes delete a memory, it is
//!   deleted twice, which is no conflict.
//! - **The clock.** A machine whose clock is ahead must not delete early, nor take other nodes for
//!   failed. So absence is measured by how long this node has seen no new record, and a memory
//!   expires once three clocks have passed its time: this machine's, the time of the last record
//!   that this node itself has published, and, where other nodes live, the greatest time of their
//!   records.
//! - **Extensions.** A delete removes what it has seen, so one that races with an extension must
//!   not win. The node deletes half a minute after the time, and only while it publishes and has
//!   read all resolved memories; and it looks at the memory in the transaction that accepts the
//!   delete, as it is shown then. So an extension that was accepted in time and is resolved within
//!   half a minute is always seen. One that comes later is concurrent: the clock of the delete is
//!   what the node has seen, so under `update_wins` the extension stands, as far as it writes the
//!   fields again. An extension without a clock is compared by its time, so the timestamp of the
//!   delete is the time at which the memory expires (that of the last event it has seen, where that
//!   is later), and not the time at which the node got round to it.
//! - **The version** is the node's hybrid clock, as of any event. A lesser one, that of the memory,
//!   would be allowed, but no comparison with a concurrent event asks for it: and versions that do
//!   not rise with the counters of an actor are taken for a clock that was reset.

mod presence;

pub use presence::{ExpiryTerms, NodePresence};

use std::time::Duration;

/// The key in the metadata of the time at which a memory expires: RFC 3339, as text.
pub const EXPIRES_AT: &str = "helixagent.expires_at";

/// The key in the metadata of the node that has set this time: `NAME.INCARNATION`.
pub const EXPIRES_BY: &str = "helixagent.expires_by";

/// How long after its time a memory is deleted: an extension that was accepted in time may still be
/// on its way.
pub const GRACE: Duration = Duration::from_secs(30);

/// The time between two nodes that may take over from one that is absent.
pub const TURN: Duration = Duration::from_secs(60);

/// A node without a new record for so long is absent.
pub const ABSENT_AFTER: Duration = Duration::from_secs(600);

/// How long the node leaves a memory alone that somebody else is to delete.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long it leaves one alone whose delete has failed or was refused.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_secs(3600);

/// A time span in nanoseconds.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
