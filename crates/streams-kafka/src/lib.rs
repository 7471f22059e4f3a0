//! Kafka by librdkafka, which no other crate uses.
//!
//! | file | what it is |
//! |---|---|
//! | [`settings`] | the settings of each client |
//! | `pass_through` | the settings that a user may add |
//! | [`version`] | the versions of librdkafka and OpenSSL, and what they were built with |
//! | [`consumer`] | the group consumer of a stream thread: membership and fetching |
//! | [`producer`] | the transactional producer of a stream thread |
//! | [`restore_consumer`] | the consumer that reads changelogs for restorations and standbys |
//! | [`mirror`] | the log source of the mirror |
//! | [`renewal`], `live` | clients that are renewed, or given another password, when files have changed on disk |
//! | [`range`] | a range of one partition, for `mirror verify` |
//! | [`admin`], `admin_request` | topics, their settings, committed offsets, the group's members |
//! | [`client_log`] | librdkafka's own log lines, folded |
//! | [`allowed`] | the rights of this principal, as the brokers report them |
//! | `coordinator` | requests to a group's coordinator |
//! | `certificate` | why the certificate of a broker is refused |
//! | `contact` | the first contact with the brokers: which failures are waited for |
//! | `connection_error` | reasons for a refused connection, with their remedies |
//! | [`plain`] | the producer of `helixstream produce` |
//!
//! The assumptions behind exactly-once processing, and the unexpected behaviour of librdkafka, are
//! documented where the code deals with them.

pub mod admin;
mod admin_request;
pub mod allowed;
mod assignor;
mod certificate;
mod certificate_reason;
pub mod client_log;
mod connection_error;
pub mod consumer;
mod contact;
mod contact_state;
mod coordinator;
mod delivery;
mod error;
mod group;
mod list;
mod live;
mod log_bounds;
mod messages;
mod metadata;
pub mod mirror;
mod native;
mod offered_member;
mod partitions;
mod pass_through;
pub mod plain;
pub mod producer;
#[cfg(test)]
mod property_names;
mod queue;
pub mod range;
pub mod renewal;
pub mod restore_consumer;
mod send;
pub mod settings;
mod transactional_id;
pub mod version;

pub use contact::wait_for_brokers;
pub use live::replace_password;
pub use pass_through::{PassThrough, RefusedSetting, Value};
pub use settings::KafkaSettings;
