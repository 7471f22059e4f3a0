//! Settings of the schema registry: its address, its use, and our credentials.

use std::path::PathBuf;
use std::time::Duration;

use secret::SecretSource;

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

/// How the program authenticates itself with the registry. Secrets in files are read anew for each
/// request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// It does not, or a user and password stand in the URL.
    #[default]
    None,
    /// HTTP basic authentication (RFC 7617). Confluent Cloud's API key and secret are such a user
    /// and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Option<SecretSource>,
    },
    /// A fixed bearer token (RFC 6750).
    Bearer(SecretSource),
    /// Bearer tokens that a token endpoint issues for client credentials (RFC 6749, section 4.4).
    OAuth(OAuth),
}

/// Where access tokens are issued, and for which client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The token endpoint.
    pub token_url: String,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretSource,
    /// The scope that is asked for, where the issuer wants one.
    pub scope: Option<String>,
}

/// A schema registry.
#[derive(Clone, Default)]
pub struct RegistrySettings {
    /// Its address, `http://localhost:8081`, or several with commas between them: where one does
    /// not answer, the next is asked.
    pub url: String,
    /// How subjects are named.
    pub subject_names: SubjectNames,
    /// Whether schemas are registered; else they must be there.
    pub register: bool,
    /// How the program authenticates itself.
    pub authentication: Authentication,
    /// Certificates (PEM) of the authorities that may sign the registry's certificate; without it,
    /// the system's.
    pub ca_file: Option<PathBuf>,
    /// The program's certificate (PEM), with the chain to its authority, where the registry asks
    /// for one.
    pub certificate_file: Option<PathBuf>,
    /// The private key (PEM) of that certificate; without it the certificate's file holds the key
    /// too.
    pub key_file: Option<PathBuf>,
    /// How long a call waits for the registry before it says that it is unavailable.
    pub wait: Duration,
}

/// The text names the wrong setting and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);
