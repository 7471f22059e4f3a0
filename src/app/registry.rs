//! The schema registry that flags, variables or the file name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Stop;
use crate::config::Topology as File;
use crate::config::format::Format;
use crate::config::graph::Kind;
use crate::edges::avro::Avro;
use crate::edges::avro::settings::{RegistrySettings, SubjectNames};
use crate::edges::cli::RegistryArgs;
use crate::memories::no_registry;
use crate::streams::ports::Codec;

/// How long a stream thread waits for the registry before its task is paused: no longer than its consumer may stay away.
pub const THREAD_WAIT: Duration = Duration::from_millis(500);
/// How long a replay does, which has nothing else to do.
pub const REPLAY_WAIT: Duration = Duration::from_secs(60);

/// What reads and writes Avro; `None` where no registry is named and nothing needs one.
pub fn codec(args: &RegistryArgs, file: &File, wait: Duration) -> Result<Option<Arc<dyn Codec>>, Stop> {
    let set = &file.schema_registry;
    let url = args.schema_registry_url.as_ref().or(set.url.as_ref()).filter(|url| !url.is_empty());
    let Some(url) = url else {
        let writes_avro = file.graph.nodes.iter().find_map(|node| match &node.kind {
            Kind::Sink { topic, format: Format::Avro, .. } => Some(topic),
            _ => None,
        });
        return writes_avro.map_or(Ok(None), |topic| Err(Stop::Usage(no_registry(topic))));
    };
    let settings = RegistrySettings {
        url: url.clone(),
        subject_names: match set.subject_names.as_deref() {
            Some("RecordNameStrategy") => SubjectNames::Record,
            Some("TopicRecordNameStrategy") => SubjectNames::TopicRecord,
            _ => SubjectNames::Topic,
        },
        register: !set.is_read_only,
        user: set.user.clone().map(|user| (user, set.password.clone())),
        ca_file: set.ca_file.as_ref().map(PathBuf::from),
        identity_file: set.identity_file.as_ref().map(PathBuf::from),
        wait,
    };
    let codec = Avro::new(settings).map_err(|e| Stop::Usage(format!("--schema-registry-url: {e}")))?;
    Ok(Some(Arc::new(codec)))
}
