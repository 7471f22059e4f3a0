//! Where the schema registry is and how it is asked.

use std::path::PathBuf;
use std::time::Duration;

/// How the subject of a schema is named, as Confluent's serializers do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectNames {
    /// `<topic>-value`.
    #[default]
    Topic,
    /// The full name of the record.
    Record,
    /// `<topic>-<full name of the record>`.
    TopicRecord,
}

impl SubjectNames {
    /// The subject of a record of that name on a topic.
    pub fn subject(self, topic: &str, record: String) -> String {
        match self {
            SubjectNames::Topic => format!("{topic}-value"),
            SubjectNames::Record => record,
            SubjectNames::TopicRecord => format!("{topic}-{record}"),
        }
    }
}

/// A schema registry.
#[derive(Clone, Default)]
pub struct RegistrySettings {
    /// Its address: `http://localhost:8081`, with `user:password@` before the host where it wants that.
    pub url: String,
    /// How subjects are named.
    pub subject_names: SubjectNames,
    /// Whether schemas are registered; else they must be there.
    pub register: bool,
    /// User and password of basic authentication.
    pub user: Option<(String, Option<String>)>,
    /// Certificates (PEM) of those who may sign the registry's; without it, the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key (PEM, in one file), where the registry asks for one.
    pub identity_file: Option<PathBuf>,
    /// How long a call waits for the registry before it says that it is unavailable.
    pub wait: Duration,
}

/// What is wrong with the settings, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);
