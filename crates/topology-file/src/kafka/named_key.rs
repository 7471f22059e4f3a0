//! The named keys of `[kafka]`, and their values.

use std::path::PathBuf;

use secret::SecretSource;

/// Values of `security`, as Kafka's `security.protocol` in small letters.
pub const SECURITY: &str = "plaintext, ssl, sasl_plaintext, sasl_ssl";
/// Values of `mechanism`: the mechanisms of SASL that this program has.
pub const MECHANISMS: &str = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER";

/// Kind of value of a named key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A text that anybody may see.
    Text,
    /// The path of a file, which librdkafka opens.
    File,
    /// A secret; the key with `_file` behind its name takes a file that holds it.
    Secret,
}

/// A named key of `[kafka]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name in the file. The variable is `HELIXSTREAM_KAFKA_<NAME>`, the flag `--kafka-<name>`.
    pub key: &'static str,
    /// The property of librdkafka that it sets.
    pub property: &'static str,
    /// Other properties of librdkafka that say the same: aliases, and other ways to give the same
    /// thing.
    pub others: &'static [&'static str],
    /// Its forms.
    pub holds: Holds,
}

const fn named(key: &'static str, holds: Holds, property: &'static str, others: &'static [&'static str]) -> Named {
    Named { key, property, others, holds }
}

/// Every named key. The names of the properties are those of librdkafka's CONFIGURATION.md.
pub const NAMED: &[Named] = &[
    named("security", Holds::Text, "security.protocol", &[]),
    named("mechanism", Holds::Text, "sasl.mechanisms", &["sasl.mechanism"]),
    named("user", Holds::Text, "sasl.username", &[]),
    named("password", Holds::Secret, "sasl.password", &[]),
    named("ca_file", Holds::File, "ssl.ca.location", &["ssl.ca.pem"]),
    named(
        "certificate_file",
        Holds::File,
        "ssl.certificate.location",
        &["ssl.certificate.pem", "ssl.keystore.location"],
    ),
    named("key_file", Holds::File, "ssl.key.location", &["ssl.key.pem", "ssl.keystore.location"]),
    named("key_password", Holds::Secret, "ssl.key.password", &["ssl.keystore.password"]),
    named("oauth_token_endpoint_url", Holds::Text, "sasl.oauthbearer.token.endpoint.url", &[]),
    named(
        "oauth_client_id",
        Holds::Text,
        "sasl.oauthbearer.client.id",
        &["sasl.oauthbearer.client.credentials.client.id"],
    ),
    named(
        "oauth_client_secret",
        Holds::Secret,
        "sasl.oauthbearer.client.secret",
        &["sasl.oauthbearer.client.credentials.client.secret"],
    ),
    named("oauth_scope", Holds::Text, "sasl.oauthbearer.scope", &[]),
    named("oauth_ca_file", Holds::File, "https.ca.location", &["https.ca.pem"]),
];

impl Named {
    /// Whether a property of librdkafka says what this key says.
    pub fn is_said_by(&self, property: &str) -> bool {
        self.property == property || self.others.contains(&property)
    }

    /// The variable that stands for the key; for a secret there is another one, with `_FILE` behind
    /// it.
    pub fn variable(&self) -> String {
        format!("HELIXSTREAM_KAFKA_{}", self.key.to_uppercase())
    }

    /// Checks a text as the value of this key.
    ///
    /// # Errors
    /// It is none of those that there are.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let known = match self.key {
            "security" => SECURITY,
            "mechanism" => MECHANISMS,
            _ => return Ok(()),
        };
        if known.split(", ").any(|one| one == text) {
            return Ok(());
        }
        Err(format!("`{text}` is not one of {known}"))
    }
}

/// The named key `key`.
pub fn of_key(key: &str) -> Option<&'static Named> {
    NAMED.iter().find(|named| named.key == key)
}

/// Value of a named key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// A text that anybody may see.
    Text(String),
    /// A file that librdkafka opens.
    File(PathBuf),
    /// A secret, or the file that holds it.
    Secret(SecretSource),
}

/// The value of a named key, and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedValue {
    /// The key.
    pub named: &'static Named,
    /// Its value.
    pub given: PropertyValue,
    /// Where it was given, as a message calls it: `memory.toml:12`, `HELIXSTREAM_KAFKA_USER`,
    /// `--kafka-user`.
    pub place: String,
}
