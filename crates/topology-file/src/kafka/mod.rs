//! The table `[kafka]`: named keys for what every secured cluster asks for, beside librdkafka's own
//! settings, which pass through.
//!
//! A named key has the same meaning wherever it is given: in the file (`user`), as a variable
//! (`HELIXSTREAM_KAFKA_USER`), as a flag (`--kafka-user`). [`NAMED`] says once which property of
//! librdkafka it sets and which properties say the same in another way. What contradicts itself
//! within the file is told with its place; what is still missing when variables and flags are laid
//! over it is told at the start ([`missing`]).

mod named_key;
mod rules;

use std::collections::BTreeMap;

pub use named_key::{Holds, MECHANISMS, NAMED, Named, NamedValue, PropertyValue, SECURITY, of_key};
pub use rules::{PropertyMisfit, View, contradictions, missing};

use super::codes;
use super::key::{Section, Takes, names, optional};
use super::problem::line;
use super::table::{Doc, Table, beside, kind, raw};
use super::value::Raw;
use secret::Secret;

/// The table, as the file may have it.
pub const KAFKA: Section = Section {
    name: "kafka",
    is_list: false,
    what: "Connection to Kafka: encryption and authentication by named keys, and settings of librdkafka in quotes, \
           as for `-X`.",
    keys: &[
        optional(
            "security",
            Takes::Choice(SECURITY),
            "\"sasl_ssl\"",
            "Whether connections are encrypted by TLS (ssl, sasl_ssl) and authenticated by SASL (sasl_plaintext, sasl_ssl). Default: \
             plaintext.",
        ),
        optional("mechanism", Takes::Choice(MECHANISMS), "\"SCRAM-SHA-512\"", "SASL mechanism."),
        optional("user", Takes::Text, "\"helixstream\"", "User of PLAIN and SCRAM."),
        optional("password", Takes::Secret, "\"${KAFKA_PASSWORD}\"", "Password of PLAIN and SCRAM."),
        optional(
            "password_file",
            Takes::Path,
            "\"/run/secrets/kafka-password\"",
            "File that holds the password. It is read anew for each new client.",
        ),
        optional(
            "ca_file",
            Takes::Path,
            "\"ca.pem\"",
            "Certificates (PEM) of the authorities that sign the brokers' certificates, in place of the system's.",
        ),
        optional(
            "certificate_file",
            Takes::Path,
            "\"client.pem\"",
            "Our certificate (PEM), where brokers ask for one.",
        ),
        optional("key_file", Takes::Path, "\"client.key\"", "The private key (PEM) of our certificate."),
        optional("key_password", Takes::Secret, "\"${KAFKA_KEY_PASSWORD}\"", "Password of the private key."),
        optional(
            "key_password_file",
            Takes::Path,
            "\"/run/secrets/kafka-key-password\"",
            "File that holds the password of the private key.",
        ),
        optional(
            "oauth_token_endpoint_url",
            Takes::Text,
            "\"https://idp.example.com/oauth2/token\"",
            "OAUTHBEARER: token endpoint, which issues tokens for OAuth client credentials.",
        ),
        optional("oauth_client_id", Takes::Text, "\"helixstream\"", "OAUTHBEARER: our id at the token endpoint."),
        optional(
            "oauth_client_secret",
            Takes::Secret,
            "\"${KAFKA_OAUTH_CLIENT_SECRET}\"",
            "OAUTHBEARER: our secret at the token endpoint.",
        ),
        optional(
            "oauth_client_secret_file",
            Takes::Path,
            "\"/run/secrets/kafka-oauth-client-secret\"",
            "OAUTHBEARER: file that holds our secret.",
        ),
        optional("oauth_scope", Takes::Text, "\"kafka\"", "OAUTHBEARER: the scope that is requested."),
        optional(
            "oauth_ca_file",
            Takes::Path,
            "\"idp-ca.pem\"",
            "OAUTHBEARER: certificates (PEM) of the authorities that sign the token endpoint's, in place of the system's.",
        ),
    ],
};

/// The table `[kafka]` of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTable {
    /// Its named keys.
    pub named: Vec<NamedValue>,
    /// librdkafka's own settings. Some of them are secrets, so none of them is shown.
    pub pass_through: BTreeMap<String, Secret>,
}

/// librdkafka's settings without a dot in their names; any other key without one is a slip of the
/// pen.
const WITHOUT_DOT: &[&str] = &["acks", "debug", "enabled_events", "log_level", "log_queue", "partitioner", "retries"];

/// Whether a key that has no name of ours may be one of librdkafka's.
pub fn passes_through(key: &str) -> bool {
    key.contains('.') || WITHOUT_DOT.contains(&key)
}

/// Reads the table of the file `file`; what is wrong with it is noted. Paths are taken from the
/// folder of that file.
pub fn read<'d>(doc: &'d Doc<'d>, file: &str, root: &Table<'d, '_>) -> KafkaTable {
    let Some(t) = root.table(KAFKA.name) else { return KafkaTable::default() };
    let t = &t.only_or(KAFKA.keys, names(KAFKA.keys), passes_through);
    let mut found = KafkaTable::default();
    for named in NAMED {
        found.named.extend(read_named(doc, file, t, named));
    }
    for (key, value) in t.entries().filter(|(key, _)| passes_through(key.value)) {
        let text = match raw(doc, value) {
            Raw::String(s) | Raw::Text(s) => s.to_owned(),
            Raw::Boolean(b) => b.to_string(),
            Raw::Integer(n) => n.to_string(),
            _ => {
                let found = kind(value.get_ref());
                let message = format!("`{}` of [kafka] is {found}, not a string, integer or boolean", key.value);
                let fix = "write librdkafka's property in quotes, and a plain value: \"compression.type\" = \"lz4\"";
                doc.wrong(&value.span(), codes::WRONG_TYPE, message, fix);
                continue;
            }
        };
        if let Some(twin) = NAMED.iter().find(|named| named.is_said_by(key.value) && is_given(t, named)) {
            let message = format!("`{}` and `{}` of [kafka] set the same property", twin.key, key.value);
            let fix = format!("keep `{}`, and remove this key", twin.key);
            doc.wrong(&key.span, codes::CONFLICTING_SETTINGS, message, fix);
        }
        found.pass_through.insert(key.value.to_owned(), Secret::new(text));
    }
    let view = View::of(&found.named);
    for misfit in contradictions(&view) {
        let span = t.place(misfit.key).or_else(|| t.place(&format!("{}_file", misfit.key)));
        doc.wrong(&span.unwrap_or(t.span.clone()), misfit.code, misfit.message, misfit.fix);
    }
    found
}

fn is_given(t: &Table<'_, '_>, named: &Named) -> bool {
    t.has(named.key) || (named.holds == Holds::Secret && t.has(&format!("{}_file", named.key)))
}

fn read_named(doc: &Doc<'_>, file: &str, t: &Table<'_, '_>, named: &'static Named) -> Option<NamedValue> {
    let value = |given, start| NamedValue { named, given, place: format!("{file}:{}", line(doc.text, start)) };
    if named.holds == Holds::Secret {
        let (source, start) = t.secret(named.key, file)?;
        return Some(value(PropertyValue::Secret(source), start));
    }
    let at = t.text(named.key).filter(|at| !at.value.is_empty())?;
    let given = match named.holds {
        Holds::File => PropertyValue::File(beside(file, at.value)),
        Holds::Text | Holds::Secret => PropertyValue::Text(at.value.to_owned()),
    };
    Some(value(given, at.span.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_dot_is_ours_or_one_of_the_few_of_librdkafka() {
        assert!(passes_through("debug") && passes_through("topic.acks") && passes_through("a.b"));
        assert!(NAMED.iter().all(|named| !passes_through(named.key)) && !passes_through("passwrd"));
        assert!(KAFKA.keys.iter().all(|key| !passes_through(key.name)));
    }
}
