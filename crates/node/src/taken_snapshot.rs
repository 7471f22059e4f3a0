//! User snapshots that are taken of a node: its resolved memories of a user, in the form of
//! docs/semantics.md, section 5.

use std::ops::ControlFlow;

use memory::users::{AllParts, Heading, Snapshot};

use crate::actor::Actor;
use crate::ports::JournalError;

/// The resolved memories of a user at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSnapshot {
    /// The node.
    pub(crate) actor: Actor,
    /// The user.
    pub(crate) user_id: String,
    /// When it was taken, in nanoseconds since 1970.
    pub(crate) timestamp: u64,
    /// Id and resolved memory of each active one, by id.
    pub(crate) memories: Vec<(String, String)>,
}

impl TakenSnapshot {
    /// Passes the snapshot to `take` as canonical JSON, in one record or in numbered parts of at
    /// most so many bytes, each with what is known of all, until it breaks. A part with one memory
    /// may be larger.
    ///
    /// # Errors
    /// [`JournalError::Fatal`]: a memory of the database is no resolved memory.
    pub fn each_part(
        &self,
        part_bytes: usize,
        take: impl FnMut(Vec<u8>, AllParts) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let application_id = self.actor.to_string();
        let heading = Heading { application_id: &application_id, user: &self.user_id, timestamp: self.timestamp };
        let memories = self.memories.iter().map(|(id, json)| (id.as_str(), json.as_bytes()));
        let snapshot = Snapshot::new(heading, memories)
            .map_err(|error| JournalError::Fatal(format!("the database of the node is damaged: {error} [HS8003]")))?;
        snapshot.each_part(|part| part.len() <= part_bytes, take);
        Ok(())
    }
}
