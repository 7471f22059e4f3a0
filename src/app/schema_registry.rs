//! The schema registry that flags, variables or the file name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::CommandError;
use super::settings::warn_of_command_line;
use crate::edges::cli::RegistryArgs;
use avro::settings::{Authentication, OAuth, RegistrySettings, SubjectNames};
use avro::{Avro, url_holds_password};
use memory::event::Encoding;
use memory_operators::no_registry;
use secret::SecretSource;
use streams::ports::Codec;
use topology_file::Topology as File;
use topology_file::format::Format;
use topology_file::graph::GraphNodeKind;

/// How long a stream thread waits for the registry before its task is paused: no longer than its
/// consumer may stay away.
pub const THREAD_WAIT: Duration = Duration::from_millis(500);
/// How long a replay does, which has nothing else to do.
pub const REPLAY_WAIT: Duration = Duration::from_secs(60);

/// A topic that two sinks write in Avro.
fn shared(file: &File) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    let avro = file.graph.nodes.iter().filter_map(|node| match &node.kind {
        GraphNodeKind::Sink { topic, format: Format::Avro, .. } => Some(topic.as_str()),
        _ => None,
    });
    avro.into_iter().find(|topic| !seen.insert(*topic))
}

/// How long a mirror does before the partition rests: it serves its group on the same thread.
const MIRROR_WAIT: Duration = Duration::from_millis(50);

/// Codec for Avro, for the stream and for the mirror: of one registry's answers, so that both know
/// the same.
pub struct Codecs {
    /// Of the stream, or the replay.
    pub stream: Option<Arc<dyn Codec>>,
    /// Of the mirror.
    pub mirror: Option<Arc<dyn Codec>>,
}

/// The codecs, without any where no registry is named and nothing needs one; `wait` is the
/// stream's.
pub fn codecs(args: &RegistryArgs, file: &File, wait: Duration) -> Result<Codecs, CommandError> {
    let Some(avro) = avro(args, file, wait)? else { return Ok(Codecs { stream: None, mirror: None }) };
    let mirror = Arc::new(avro.with_wait(MIRROR_WAIT));
    Ok(Codecs { stream: Some(Arc::new(avro)), mirror: Some(mirror) })
}

fn avro(args: &RegistryArgs, file: &File, wait: Duration) -> Result<Option<Avro>, CommandError> {
    let set = &file.schema_registry;
    let url = args.schema_registry_url.as_ref().or(set.url.as_ref()).filter(|url| !url.is_empty());
    let Some(url) = url else {
        let writes_avro = file.graph.nodes.iter().find_map(|node| match &node.kind {
            GraphNodeKind::Sink { topic, format: Format::Avro, .. } => Some(topic),
            _ => None,
        });
        let reads_avro = file.graph.nodes.iter().find_map(|node| match &node.kind {
            GraphNodeKind::Source { topic, format: Encoding::Avro, .. } => Some(topic),
            _ => None,
        });
        return match (writes_avro, reads_avro) {
            (Some(topic), _) => Err(CommandError::Usage(no_registry(topic, "written"))),
            (None, Some(topic)) => Err(CommandError::Usage(no_registry(topic, "read"))),
            (None, None) => Ok(None),
        };
    };
    // A flag that has its value from its variable is no command line.
    let is_typed =
        args.schema_registry_url.is_some() && std::env::var("HELIXSTREAM_SCHEMA_REGISTRY_URL").as_ref() != Ok(url);
    if is_typed && url_holds_password(url) {
        warn_of_command_line("--schema-registry-url", "HELIXSTREAM_SCHEMA_REGISTRY_PASSWORD_FILE");
    }
    if set.subject_names.as_deref().is_none_or(|names| names == "TopicNameStrategy")
        && let Some(topic) = shared(file)
    {
        return Err(CommandError::Usage(format!(
            "{}: topic {topic} has two Avro sinks, but only one subject by TopicNameStrategy, and a subject has one schema: set \
             subject_names = \"TopicRecordNameStrategy\" in [schema_registry], or use a topic of its own for each sink [HS5512]",
            file.file
        )));
    }
    let access = Access { set: &set.access, variable: &|name| std::env::var(name).ok() };
    let (certificate_file, key_file) = access.certificate().map_err(CommandError::Usage)?;
    let settings = RegistrySettings {
        url: url.clone(),
        subject_names: match set.subject_names.as_deref() {
            Some("RecordNameStrategy") => SubjectNames::Record,
            Some("TopicRecordNameStrategy") => SubjectNames::TopicRecord,
            _ => SubjectNames::Topic,
        },
        register: !set.is_read_only,
        authentication: access.authentication().map_err(CommandError::Usage)?,
        ca_file: access.text("ca_file").map(PathBuf::from),
        certificate_file,
        key_file,
        wait,
    };
    Avro::new(settings).map(Some).map_err(|e| CommandError::Usage(format!("the settings of the schema registry: {e}")))
}

/// The keys that say who we are to the registry and whom we trust: each from its variable, else
/// from the file.
struct Access<'a> {
    set: &'a BTreeMap<&'static str, String>,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Access<'_> {
    /// A key's value, and what names it. An empty value counts as none.
    fn named(&self, key: &str) -> Option<(String, String)> {
        let variable = format!("HELIXSTREAM_SCHEMA_REGISTRY_{}", key.to_ascii_uppercase());
        let given = (self.variable)(&variable).filter(|value| !value.is_empty());
        let of_file = || self.set.get(key).filter(|value| !value.is_empty()).cloned();
        match given {
            Some(value) => Some((value, variable)),
            None => of_file().map(|value| (value, format!("`{key}` in [schema_registry]"))),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.named(key).map(|(value, _)| value)
    }

    /// A secret that stands in `<key>`, or in the file that `<key>_file` names. A variable beats
    /// both keys of the topology file.
    fn secret(&self, key: &str) -> Result<Option<SecretSource>, String> {
        let is_variable = |named: &Option<(String, String)>| named.as_ref().is_some_and(|(_, by)| !by.starts_with('`'));
        let mut value = self.named(key);
        let mut file = self.named(&format!("{key}_file"));
        match (is_variable(&value), is_variable(&file)) {
            (true, false) => file = None,
            (false, true) => value = None,
            _ => {}
        }
        match (value, file) {
            (Some((_, value)), Some((_, file))) => {
                Err(format!("{value} and {file} are both set: set only one of them [HS0021]"))
            }
            (Some((value, _)), None) => Ok(Some(SecretSource::value(value))),
            (None, Some((path, by))) => Ok(Some(SecretSource::file(path, by))),
            (None, None) => Ok(None),
        }
    }

    fn authentication(&self) -> Result<Authentication, String> {
        let user = self.text("user");
        let password = self.secret("password")?;
        let token = self.secret("token")?;
        let secret = self.secret("oauth_client_secret")?;
        let token_url = self.text("oauth_token_url");
        let client_id = self.text("oauth_client_id");
        let is_oauth = token_url.is_some() || client_id.is_some() || secret.is_some();
        let ways = [
            (user.is_some() || password.is_some(), "`user` and `password`"),
            (token.is_some(), "`token`"),
            (is_oauth, "`oauth_…`"),
        ];
        let set: Vec<&str> = ways.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        if let [first, second, ..] = set[..] {
            return Err(format!(
                "[schema_registry] authenticates in two ways, by {first} and by {second}: set only one of them [HS0021]"
            ));
        }
        match (user, password, token, token_url, client_id, secret) {
            (None, None, None, None, None, None) => Ok(Authentication::None),
            (Some(user), password, ..) => Ok(Authentication::Basic { user, password }),
            (None, Some(_), ..) => Err("[schema_registry] has a `password` and no `user`: set both [HS0006]".to_owned()),
            (.., Some(token), _, _, _) => Ok(Authentication::Bearer(token)),
            (.., Some(token_url), Some(client_id), Some(client_secret)) => {
                let scope = self.text("oauth_scope");
                Ok(Authentication::OAuth(OAuth { token_url, client_id, client_secret, scope }))
            }
            _ => Err("OAuth in [schema_registry] needs `oauth_token_url`, `oauth_client_id` and `oauth_client_secret_file`: set \
                      all three [HS0006]"
                .to_owned()),
        }
    }

    /// The files of our certificate and its key; without the second the first holds both.
    fn certificate(&self) -> Result<(Option<PathBuf>, Option<PathBuf>), String> {
        let file = |key| self.text(key).map(PathBuf::from);
        match (file("identity_file"), file("certificate_file"), file("key_file")) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                Err("[schema_registry] has `identity_file` and also `certificate_file` or `key_file`: set only one of these ways [HS0021]".to_owned())
            }
            (Some(both), None, None) => Ok((Some(both), None)),
            (None, certificate, key) => Ok((certificate, key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(file: &[(&'static str, &str)], variables: &[(&str, &str)], ask: impl Fn(&Access<'_>) -> T) -> T {
        let set = file.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| name == format!("HELIXSTREAM_SCHEMA_REGISTRY_{key}"));
            found.map(|(_, value)| (*value).to_owned())
        };
        ask(&Access { set: &set, variable: &variable })
    }

    fn authentication(file: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Authentication, String> {
        with(file, variables, |access| access.authentication())
    }

    #[test]
    fn each_way_to_authenticate_is_taken_from_the_file_or_from_variables() {
        let basic = |password| Authentication::Basic { user: "u".to_owned(), password };
        assert_eq!(authentication(&[], &[("USER", "")]), Ok(Authentication::None));
        assert_eq!(authentication(&[("user", "u")], &[]), Ok(basic(None)));
        let value = Some(SecretSource::value("p"));
        assert_eq!(authentication(&[("user", "x"), ("password", "p")], &[("USER", "u")]), Ok(basic(value)));
        // A variable beats both keys of the file.
        let file = Some(SecretSource::file("f", "HELIXSTREAM_SCHEMA_REGISTRY_PASSWORD_FILE"));
        assert_eq!(authentication(&[("user", "u"), ("password", "p")], &[("PASSWORD_FILE", "f")]), Ok(basic(file)));
        let token = SecretSource::file("t", "`token_file` in [schema_registry]");
        assert_eq!(authentication(&[("token_file", "t")], &[]), Ok(Authentication::Bearer(token)));
        let oauth = [("oauth_token_url", "https://i"), ("oauth_client_id", "c"), ("oauth_scope", "s")];
        let expected = OAuth {
            token_url: "https://i".to_owned(),
            client_id: "c".to_owned(),
            client_secret: SecretSource::value("x"),
            scope: Some("s".to_owned()),
        };
        assert_eq!(authentication(&oauth, &[("OAUTH_CLIENT_SECRET", "x")]), Ok(Authentication::OAuth(expected)));
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        let wrong = |file: &[(&'static str, &str)], part: &str| {
            let found = authentication(file, &[]).unwrap_err();
            assert!(found.contains(part), "{found}");
        };
        wrong(&[("user", "u"), ("token", "t")], "two ways");
        wrong(&[("password", "p")], "no `user`");
        wrong(&[("user", "u"), ("password", "p"), ("password_file", "f")], "both set");
        wrong(&[("oauth_token_url", "https://i")], "needs `oauth_token_url`");
        let certificate = |file: &[(&'static str, &str)]| with(file, &[], |access| access.certificate());
        assert!(certificate(&[("identity_file", "a"), ("key_file", "b")]).is_err());
        assert_eq!(certificate(&[("identity_file", "a")]), Ok((Some("a".into()), None)));
        assert_eq!(
            certificate(&[("certificate_file", "a"), ("key_file", "b")]),
            Ok((Some("a".into()), Some("b".into())))
        );
    }
}
