//! A user's own settings of librdkafka: which are taken, and which of them are secrets.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use secret::{HIDDEN, SecretSource, names_secret};
use streams::error::{Error, Result, with_code};

/// Settings that a user may not pass through: name (aliases are names of their own) and the reason.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("isolation.level", "exactly once reads committed records only"),
    ("enable.auto.commit", "offsets are committed in the transaction of what they produced"),
    ("auto.commit.enable", "offsets are committed in the transaction of what they produced"),
    ("auto.commit.interval.ms", "offsets are committed in the transaction of what they produced"),
    ("enable.auto.offset.store", "offsets are committed in the transaction of what they produced"),
    ("offset.store.method", "offsets are committed in the transaction of what they produced"),
    ("enable.idempotence", "a transaction needs an idempotent producer"),
    ("acks", "a committed record must be on all in-sync replicas"),
    ("request.required.acks", "a committed record must be on all in-sync replicas"),
    ("transactional.id", "it is made of the application id, the instance id and the thread; it must not change"),
    ("group.id", "it is the application id (--application-id)"),
    ("group.instance.id", "it is the state slot's instance id (--set static_membership=true)"),
    ("group.protocol", "the cooperative classic protocol is what rebalances are written for"),
    ("group.remote.assignor", "the cooperative classic protocol is what rebalances are written for"),
    ("partition.assignment.strategy", "a moved task is committed before it goes only by cooperative-sticky"),
    ("auto.offset.reset", "a position outside the log is an error, never a silent jump"),
    ("partitioner", "a record's partition decides which task keeps its key; it is computed here"),
    ("partitioner_cb", "a record's partition decides which task keeps its key; it is computed here"),
    ("enable.partition.eof", "ends of partitions carry the offsets to commit"),
    ("delivery.report.only.error", "the offsets of changelog records come with their deliveries"),
    ("allow.auto.create.topics", "topics are created with their settings by `helixstream topics create`"),
    ("enabled_events", "the client's events are wired here"),
    ("bootstrap.servers", "use --bootstrap-servers"),
    ("metadata.broker.list", "use --bootstrap-servers"),
    ("max.poll.interval.ms", "it follows the transaction timeout (--set transaction_timeout)"),
    ("transaction.timeout.ms", "use --set transaction_timeout"),
    ("session.timeout.ms", "use --set session_timeout"),
    ("queued.max.messages.kbytes", "queues come out of the memory budget (--set memory)"),
    ("queue.buffering.max.kbytes", "queues come out of the memory budget (--set memory)"),
];

/// librdkafka's own settings that begin with `topic.`. Before any other name it only says that a
/// topic's setting is meant, and is of no effect, since no topic here has settings of its own.
const TOPIC_NAMED: &[&str] = &[
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.sparse",
    "topic.metadata.propagation.max.ms",
    "topic.blacklist",
];

/// Settings that name a file, or a folder of files, which librdkafka reads when a client is made.
const FILES: &[&str] = &[
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
    "https.ca.location",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
];

/// A `-X` that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedSetting {
    /// It would break the guarantee, or has a flag of its own.
    #[error("-X {key} cannot be set: {reason}; remove it [HS2060]")]
    Reserved {
        /// The setting.
        key: String,
        /// Why.
        reason: &'static str,
    },
    /// It is not of the form `KEY=VALUE`.
    #[error("-X is not of the form KEY=VALUE: write it like `-X compression.type=lz4` [HS2060]")]
    Malformed,
}

/// The value of a setting.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Anything that may be shown.
    Text(String),
    /// A secret. Where it stands in a file, each new client reads it anew.
    Secret(SecretSource),
}

impl Value {
    /// The value of a setting of this name.
    pub fn of(key: &str, value: &str) -> Value {
        if names_secret(key) { Value::Secret(SecretSource::value(value)) } else { Value::Text(value.to_owned()) }
    }

    /// The value in the form that librdkafka reads.
    ///
    /// # Errors
    /// The secret's file cannot be read. That may pass, as when the file is just being replaced.
    pub(super) fn read(&self) -> Result<Cow<'_, str>> {
        match self {
            Value::Text(text) => Ok(Cow::Borrowed(text)),
            Value::Secret(source) => match source.read() {
                Ok(secret) => Ok(Cow::Owned(secret.expose().to_owned())),
                Err(e) => Err(Error::Retry(with_code(format!("create a Kafka client: {e}"), "HS2058"))),
            },
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Secret(_) => f.write_str(HIDDEN),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A user's own settings of librdkafka, checked against the table of what may not be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassThrough(Vec<(String, Value)>);

impl PassThrough {
    /// Reads `KEY=VALUE` pairs; a later one of the same key wins.
    ///
    /// # Errors
    /// [`RefusedSetting`] for the first pair that would break the guarantee, or is no pair.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> std::result::Result<PassThrough, RefusedSetting> {
        let mut kept = PassThrough::default();
        for pair in pairs {
            let (key, value) = pair.split_once('=').ok_or(RefusedSetting::Malformed)?;
            kept.add(key.trim(), Value::of(key.trim(), value))?;
        }
        Ok(kept)
    }

    /// Adds a setting, in place of an earlier one of the same name.
    ///
    /// # Errors
    /// [`RefusedSetting`], if it would break the guarantee.
    pub fn add(&mut self, key: &str, value: Value) -> std::result::Result<(), RefusedSetting> {
        let key = match key.strip_prefix("topic.") {
            Some(rest) if !TOPIC_NAMED.contains(&key) => rest,
            _ => key,
        };
        if key.is_empty() {
            return Err(RefusedSetting::Malformed);
        }
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(RefusedSetting::Reserved { key: key.to_owned(), reason });
        }
        self.0.retain(|(other, _)| other != key);
        self.0.push((key.to_owned(), value));
        Ok(())
    }

    /// The settings, in the order in which they are set.
    pub fn entries(&self) -> &[(String, Value)] {
        &self.0
    }

    /// The files that each new client reads: certificates, keys, authorities, and secrets that
    /// stand in a file.
    pub fn files(&self) -> Vec<PathBuf> {
        let file = |(key, value): &(String, Value)| match value {
            Value::Secret(SecretSource::File { path, .. }) => Some(path.clone()),
            Value::Text(text) if FILES.contains(&key.as_str()) => Some(PathBuf::from(text)),
            Value::Secret(SecretSource::Value(_)) | Value::Text(_) => None,
        };
        self.0.iter().filter_map(file).collect()
    }

    /// The file that holds the password of PLAIN and SCRAM, where it stands in one.
    pub fn password_file(&self) -> Option<PathBuf> {
        self.0.iter().find_map(|(key, value)| match value {
            Value::Secret(SecretSource::File { path, .. }) if key == "sasl.password" => Some(path.clone()),
            Value::Secret(_) | Value::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::property_names::{aliases, property_names};
    use super::*;

    #[test]
    fn what_would_break_the_guarantee_is_refused_with_its_reason() {
        for (key, reason) in REFUSED {
            for spelling in [format!("{key}=x"), format!(" {key} =x"), format!("topic.{key}=x")] {
                let refused = PassThrough::parse([spelling.as_str()]).unwrap_err();
                assert!(refused.to_string().contains(key) && refused.to_string().contains(reason));
            }
        }
    }

    #[test]
    fn a_later_value_of_a_name_replaces_the_earlier_one() {
        let settings = PassThrough::parse(["debug=all", "retries=1", "topic.debug=fetch"]).unwrap();
        let text = |value: &str| Value::Text(value.into());
        assert_eq!(settings.entries(), [("retries".into(), text("1")), ("debug".into(), text("fetch"))]);
    }

    #[test]
    fn librdkafkas_own_settings_that_begin_with_topic_keep_their_names() {
        let of_the_library: Vec<String> =
            property_names().into_iter().filter(|name| name.starts_with("topic.")).collect();
        assert!(of_the_library.len() >= 6, "{of_the_library:?}");
        assert_eq!(of_the_library, TOPIC_NAMED);
        for name in of_the_library {
            let settings = PassThrough::parse([format!("{name}=1").as_str()]).unwrap();
            assert_eq!(settings.entries(), [(name, Value::Text("1".into()))]);
        }
    }

    #[test]
    fn every_alias_of_a_refused_setting_is_refused_as_well() {
        let refused = |name: &str| REFUSED.iter().any(|(refused, _)| *refused == name);
        let aliases = aliases();
        assert!(aliases.len() > 5, "{aliases:?}");
        let open = aliases.iter().filter(|(alias, name)| refused(name) && !refused(alias));
        assert_eq!(open.collect::<Vec<_>>(), Vec::<&(String, String)>::new());
        let names = property_names();
        let unknown: Vec<_> = REFUSED.iter().filter(|(name, _)| !names.iter().any(|known| known == name)).collect();
        assert!(unknown.is_empty(), "librdkafka has none of these: {unknown:?}");
    }

    #[test]
    fn no_secret_of_librdkafka_is_shown() {
        let names = property_names();
        let secrets: Vec<&str> = names.iter().map(String::as_str).filter(|name| names_secret(name)).collect();
        let all = [
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.kerberos.kinit.cmd",
            "sasl.password",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
        ];
        assert_eq!(secrets, all);
        for name in all.into_iter().chain(["sasl.jaas.config"]) {
            let settings = PassThrough::parse([format!("{name}=hunter2").as_str(), "sasl.username=u"]).unwrap();
            let shown = format!("{settings:?} {}", settings.entries()[0].1);
            assert!(!shown.contains("hunter2") && shown.contains(name) && shown.contains('u'), "{shown}");
        }
    }

    #[test]
    fn a_secret_in_a_file_is_read_anew_for_each_client() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let value = Value::Secret(SecretSource::file(&path, "password_file"));
        let missing = value.read().unwrap_err();
        assert!(matches!(missing, Error::Retry(ref why) if why.contains("which password_file names")), "{missing:?}");
        for password in ["old", "new"] {
            std::fs::write(&path, password).unwrap();
            assert_eq!(value.read().unwrap(), password);
        }
    }

    #[test]
    fn the_files_that_a_client_reads_are_known() {
        let names = property_names();
        let unknown: Vec<_> = FILES.iter().filter(|name| !names.iter().any(|known| known == *name)).collect();
        assert!(unknown.is_empty(), "librdkafka has none of these: {unknown:?}");
        let is_file = |name: &&String| name.ends_with(".location") || name.ends_with(".file");
        let missing: Vec<_> = names.iter().filter(is_file).filter(|name| !FILES.contains(&name.as_str())).collect();
        assert_eq!(missing, ["ssl.engine.location"], "a library, which no client can load anew");
        let pairs = ["ssl.ca.location=/ca", "ssl.keystore.location=/store", "sasl.username=/u", "ssl.key.password=/p"];
        let mut settings = PassThrough::parse(pairs).unwrap();
        assert_eq!(settings.password_file(), None);
        settings.add("sasl.password", Value::Secret(SecretSource::file("/password", "password_file"))).unwrap();
        assert_eq!(settings.files(), ["/ca", "/store", "/password"].map(PathBuf::from));
        assert_eq!(settings.password_file(), Some(PathBuf::from("/password")));
    }

    #[test]
    fn a_pair_without_a_value_sign_is_refused() {
        assert_eq!(PassThrough::parse(["compression.type"]), Err(RefusedSetting::Malformed));
        assert_eq!(PassThrough::parse(["=x"]), Err(RefusedSetting::Malformed));
        assert_eq!(PassThrough::parse(["topic.=x"]), Err(RefusedSetting::Malformed));
    }
}
