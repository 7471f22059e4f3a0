//! The node as a library: open it, write, read, list, search.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use memory::event::Limits;
use memory::settings::ResolverSettings;

use crate::actor::NodeName;
use crate::ports::{Journal, JournalError};
use crate::shown::{ListQuery, NodeStatus, OwnEvent, Page, Publishing, SearchHit, SearchQuery, ShownMemory};
use crate::write::{Accepted, MemoryWrite, WriteError};

/// Which memories of the snapshots topic a node keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subscription {
    /// Those of all users, and those without a user.
    #[default]
    All,
    /// Those of these users, and those to which this node itself has written.
    Users(BTreeSet<String>),
}

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The folder of its database, which is created where it is missing. One process at a time may
    /// use it.
    pub folder: PathBuf,
    /// The name that the operator has chosen.
    pub name: NodeName,
    /// The memories that it keeps.
    pub subscription: Subscription,
    /// The limits by which the stream accepts events.
    pub limits: Limits,
    /// The settings by which the stream resolves memories; the node's own events that are not
    /// resolved yet lie over a memory by the same rules.
    pub resolver: ResolverSettings,
}

impl NodeSettings {
    /// The settings of a node that keeps all memories, with the defaults of the stream.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, name: NodeName) -> NodeSettings {
        NodeSettings {
            folder: folder.into(),
            name,
            subscription: Subscription::default(),
            limits: Limits::default(),
            resolver: ResolverSettings::default(),
        }
    }
}

/// Why a node cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder cannot be created, read or locked.
    #[error("cannot open the folder {folder} of the node: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process uses the folder.
    #[error("another process uses the folder {0} of the node (HS8001); stop it, or use another folder")]
    InUse(PathBuf),
    /// The folder belongs to a node with another name.
    #[error(
        "the folder {folder} belongs to the node {found:?}, and the settings name {wanted:?} (HS8002); use that name, or another folder"
    )]
    OtherName {
        /// The folder.
        folder: PathBuf,
        /// The name in its database.
        found: String,
        /// The name in the settings.
        wanted: String,
    },
    /// The database cannot be opened: it is damaged, a newer version of this program has written
    /// it, or the disk fails.
    #[error("cannot open the database of the node: {0}")]
    Database(#[from] JournalError),
}

/// An open node. A copy of the value is the same node.
///
/// The calls are futures that need no particular runtime: an axum handler awaits them, and a thread
/// waits for one with `futures::executor::block_on`. A future that is dropped undoes nothing: its
/// write may be accepted all the same.
#[derive(Clone)]
pub struct Node {
    _private: (),
}

impl Node {
    /// Opens the node of a folder, or makes a new one. The call blocks.
    ///
    /// # Errors
    /// [`NodeError`]
    pub fn open(_settings: NodeSettings) -> Result<Node, NodeError> {
        todo!()
    }

    /// Accepts a write. When the answer is there, the write is durable on this node's disk.
    ///
    /// # Errors
    /// [`WriteError`]
    pub async fn write(&self, _write: MemoryWrite) -> Result<Accepted, WriteError> {
        todo!()
    }

    /// The memory as this node shows it, also a deleted one; `None` where the node knows none. Where
    /// the caller names its session, the node remembers that it has seen this.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn read(&self, _memory_id: &str, _session: Option<&str>) -> Result<Option<ShownMemory>, JournalError> {
        todo!()
    }

    /// A page of memories.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn list(&self, _query: ListQuery) -> Result<Page, JournalError> {
        todo!()
    }

    /// The memories that a search finds, the best first.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn search(&self, _query: SearchQuery) -> Result<Vec<SearchHit>, JournalError> {
        todo!()
    }

    /// The events of this node to a memory that its database still has, the oldest first. A
    /// published event stays for 24 hours at least, and until it is resolved.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn events_of(&self, _memory_id: &str) -> Result<Vec<OwnEvent>, JournalError> {
        todo!()
    }

    /// Waits until the event with this id is published or has failed. It waits for as long as Kafka
    /// is away: the caller sets a limit.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn wait_published(&self, _event_id: &str) -> Result<Publishing, JournalError> {
        todo!()
    }

    /// The state of the node.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn status(&self) -> Result<NodeStatus, JournalError> {
        todo!()
    }

    /// What publisher and follower need of the database.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        todo!()
    }

    /// Stops the node: what was asked for is still done, and every later call ends with
    /// [`JournalError::Stopped`]. The call blocks until the database is closed.
    pub fn stop(&self) {
        todo!()
    }
}
