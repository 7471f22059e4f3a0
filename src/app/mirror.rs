//! The mirror: its own consumer of the source topic, and Postgres behind it, at its own pace.

use std::sync::Arc;

use anyhow::Context as _;

use super::Stop;
use crate::config::Topology as File;
use crate::edges::kafka::KafkaSettings;
use crate::edges::kafka::mirror::MirrorSource;
use crate::edges::postgres::PostgresSink;
use crate::edges::postgres::mirror::{Mirror, Settings};
use crate::memories::mirror::EventRows;
use crate::streams::ports::log::Stop as StopCalls;

/// Postgres, not asked for anything yet.
pub struct Sink {
    sink: PostgresSink,
    stop: StopCalls,
}

/// Reads the URL; a database that is down is no error.
pub fn sink(url: &str, file: &File) -> Result<Sink, Stop> {
    let stop = StopCalls::default();
    let rows = Arc::new(EventRows::new(file.values.limits));
    let sink = PostgresSink::new(url, rows, stop.clone()).map_err(|e| Stop::Usage(format!("--postgres-url: {e}")))?;
    Ok(Sink { sink, stop })
}

/// Starts the mirror of the source topic.
pub fn start(sink: Sink, kafka: &KafkaSettings, file: &File) -> anyhow::Result<Mirror> {
    let topics: Vec<&str> = file.graph.sources().map(|(_, topic, _)| topic).collect();
    let source = MirrorSource::new(kafka, &topics)?;
    Mirror::start(Box::new(source), sink.sink, sink.stop, Settings::default()).context("start the mirror")
}
