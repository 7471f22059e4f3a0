//! One setting of one source.

use crate::catalog::ServiceSpec;

/// A field of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Host,
    Port,
    Url,
    Enabled,
    Required,
    Remote,
    HealthPath,
    HealthPort,
    HealthType,
    Timeout,
    RetryCount,
}

/// The fields by their names in variables.
pub const FIELDS: [(&str, Field); 11] = [
    ("HOST", Field::Host),
    ("PORT", Field::Port),
    ("URL", Field::Url),
    ("ENABLED", Field::Enabled),
    ("REQUIRED", Field::Required),
    ("REMOTE", Field::Remote),
    ("HEALTH_PATH", Field::HealthPath),
    ("HEALTH_PORT", Field::HealthPort),
    ("HEALTH_TYPE", Field::HealthType),
    ("TIMEOUT", Field::Timeout),
    ("RETRY_COUNT", Field::RetryCount),
];

/// One setting of one source.
pub struct Assignment {
    /// The variable, the flag or the file, for messages.
    pub place: String,
    pub spec: &'static ServiceSpec,
    pub field: Field,
    pub value: String,
}

/// Variables of services that are not in the catalog.
#[derive(Default)]
pub struct Found {
    pub ignored: Vec<String>,
    pub unknown: Vec<String>,
}
