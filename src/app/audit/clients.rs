//! The clients of an audit, and why it has no report.

use streams::error::Error;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::restore_consumer::RestoreConsumer;

/// Clients that read.
pub struct Clients {
    pub admin: ClusterAdmin,
    pub reader: RestoreConsumer,
    /// For outputs. Some of them are logs of tasks, and a client reads a partition once at a time.
    pub outputs: RestoreConsumer,
}

/// Why an audit has no report.
#[derive(Debug)]
pub enum AuditError {
    /// The stretch cannot be compared, for this reason.
    NotComparable(String),
    /// Kafka or a processor failed.
    Failed(anyhow::Error),
}

impl From<Error> for AuditError {
    fn from(error: Error) -> AuditError {
        AuditError::Failed(error.into())
    }
}

impl From<anyhow::Error> for AuditError {
    fn from(error: anyhow::Error) -> AuditError {
        AuditError::Failed(error)
    }
}
