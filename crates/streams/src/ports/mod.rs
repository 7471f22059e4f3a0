//! The engine's ports: its needs from its surroundings as small traits over plain values, so that
//! the whole runtime can run on memory, on Kafka and RocksDB, or under a simulated broker and disk.
//!
//! Every call may answer any [`crate::error::Error`]; the edge picks the variant by what has to be
//! done about it.

mod admin;
mod clock;
mod codec;
mod expression;
mod group;
mod producer;
pub mod rights;
mod snapshot;
mod store;

pub use admin::{Admin, Committed, Deletion, GroupMember, LogRange, NewTopic, TopicId, TopicIdentity, TopicInfo};
pub use clock::Clock;
pub use codec::{Codec, CodecError};
pub use expression::{Evaluated, ExpressionFailure, ExpressionInput, Expressions};
pub use group::{Fetching, GroupEvent, GroupMetadata, Membership, PartitionStart, RestoreClient, RestoreReader};
pub use producer::{BatchLimit, DeliveryFailure, OffsetCommit, OutRecord, Producer, ProducerFactory};
pub use snapshot::{
    CHUNK_BYTES, CHUNK_ENTRIES, Chunk, ReadError, ReadResult, SnapshotSource, TaskSnapshot, end_of_prefix, first_entry,
    key_after,
};
pub use store::{Put, StoreBatch, StoreEngine, TaskStore, Value, Visit};
