//! Values in a binary form that a schema registry describes.

/// Why a value cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The registry does not answer, or not yet: the same call again later.
    #[error("{0}")]
    Unavailable(String),
    /// This value can never be read: its class among dead letters, and what is wrong.
    #[error("{class}: {message}")]
    Bad {
        /// The class.
        class: &'static str,
        /// Description of the problem. Bounded, whatever the value.
        message: String,
    },
    /// The registry refuses what we ask, or a value of ours does not fit its schema: stop.
    #[error("{0}")]
    Fatal(String),
}

/// Reads and writes values by the schemas of a registry, which it asks and whose answers it keeps.
/// A call may wait for an answer, shorter than a consumer may stay away.
pub trait Codec: Send + Sync {
    /// The value as JSON, in the members that we know of it; `schema` names which of our schemas it
    /// is read by.
    ///
    /// # Errors
    /// [`CodecError`]
    fn decode(&self, schema: &str, value: &[u8]) -> Result<Vec<u8>, CodecError>;

    /// A value of any schema as JSON: an event as [`Codec::decode`] reads it, all else as its
    /// writer's schema says.
    ///
    /// # Errors
    /// [`CodecError`]
    fn json(&self, value: &[u8]) -> Result<Vec<u8>, CodecError>;

    /// Makes sure that [`Codec::encode`] with this schema and topic has what it needs of the
    /// registry, which it keeps from then on.
    ///
    /// # Errors
    /// [`CodecError`]; never `Bad`.
    fn prepare(&self, schema: &str, topic: &str) -> Result<(), CodecError>;

    /// JSON of ours as a value for a topic; `schema` names which of our schemas it has.
    ///
    /// # Errors
    /// [`CodecError`]; never `Bad`.
    fn encode(&self, schema: &str, topic: &str, json: &[u8]) -> Result<Vec<u8>, CodecError>;
}
