//! The schema registry that flags, variables or the file name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Stop;
use crate::config::Topology as File;
use crate::config::format::Format;
use crate::config::graph::Kind;
use crate::domain::event::Encoding;
use crate::edges::avro::Avro;
use crate::edges::avro::settings::{Authentication, RegistrySettings, SubjectNames};
use crate::edges::cli::RegistryArgs;
use crate::memories::no_registry;
use crate::secret::SecretSource;
use crate::streams::ports::Codec;

/// How long a stream thread waits for the registry before its task is paused: no longer than its consumer may stay away.
pub const THREAD_WAIT: Duration = Duration::from_millis(500);
/// How long a replay does, which has nothing else to do.
pub const REPLAY_WAIT: Duration = Duration::from_secs(60);

/// A topic that two sinks write in Avro.
fn shared(file: &File) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    let avro = file.graph.nodes.iter().filter_map(|node| match &node.kind {
        Kind::Sink { topic, format: Format::Avro, .. } => Some(topic.as_str()),
        _ => None,
    });
    avro.into_iter().find(|topic| !seen.insert(*topic))
}

/// How long a mirror does before the partition rests: it serves its group on the same thread.
const MIRROR_WAIT: Duration = Duration::from_millis(50);

/// What reads and writes Avro, for the stream and for the mirror: of one registry's answers, so that both know the same.
pub struct Codecs {
    /// Of the stream, or the replay.
    pub stream: Option<Arc<dyn Codec>>,
    /// Of the mirror.
    pub mirror: Option<Arc<dyn Codec>>,
}

/// The codecs, without any where no registry is named and nothing needs one; `wait` is the stream's.
pub fn codecs(args: &RegistryArgs, file: &File, wait: Duration) -> Result<Codecs, Stop> {
    let Some(avro) = avro(args, file, wait)? else { return Ok(Codecs { stream: None, mirror: None }) };
    let mirror = Arc::new(avro.with_wait(MIRROR_WAIT));
    Ok(Codecs { stream: Some(Arc::new(avro)), mirror: Some(mirror) })
}

fn avro(args: &RegistryArgs, file: &File, wait: Duration) -> Result<Option<Avro>, Stop> {
    let set = &file.schema_registry;
    let url = args.schema_registry_url.as_ref().or(set.url.as_ref()).filter(|url| !url.is_empty());
    let Some(url) = url else {
        let writes_avro = file.graph.nodes.iter().find_map(|node| match &node.kind {
            Kind::Sink { topic, format: Format::Avro, .. } => Some(topic),
            _ => None,
        });
        let reads_avro = file.graph.nodes.iter().find_map(|node| match &node.kind {
            Kind::Source { topic, format: Encoding::Avro, .. } => Some(topic),
            _ => None,
        });
        return match (writes_avro, reads_avro) {
            (Some(topic), _) => Err(Stop::Usage(no_registry(topic, "written"))),
            (None, Some(topic)) => Err(Stop::Usage(no_registry(topic, "read"))),
            (None, None) => Ok(None),
        };
    };
    if set.subject_names.as_deref().is_none_or(|names| names == "TopicNameStrategy")
        && let Some(topic) = shared(file)
    {
        return Err(Stop::Usage(format!(
            "{}: topic {topic} has two Avro sinks, and by TopicNameStrategy one subject, which has one schema: set subject_names = \
             \"TopicRecordNameStrategy\" in [schema_registry], or give each sink a topic of its own",
            file.file
        )));
    }
    let settings = RegistrySettings {
        url: url.clone(),
        subject_names: match set.subject_names.as_deref() {
            Some("RecordNameStrategy") => SubjectNames::Record,
            Some("TopicRecordNameStrategy") => SubjectNames::TopicRecord,
            _ => SubjectNames::Topic,
        },
        register: !set.is_read_only,
        authentication: match &set.user {
            Some(user) => {
                Authentication::Basic { user: user.clone(), password: set.password.clone().map(SecretSource::value) }
            }
            None => Authentication::None,
        },
        ca_file: set.ca_file.as_ref().map(PathBuf::from),
        certificate_file: set.identity_file.as_ref().map(PathBuf::from),
        key_file: None,
        wait,
    };
    Avro::new(settings).map(Some).map_err(|e| Stop::Usage(format!("--schema-registry-url: {e}")))
}
