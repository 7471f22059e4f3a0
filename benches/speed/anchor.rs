//! The competitor: Kafka Streams in Java on the same broker, the same events, the same work.

use super::Settings;
use super::input::anchor_java;
use super::support::Broker;
use super::support::process::temp_dir;
use super::table::Row;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::Path;

/// Its pipeline and its restore.
pub fn measure(settings: &Settings, broker: &Broker) -> Result<Vec<Row>> {
    let state = temp_dir("anchor-state");
    let drained = app(settings, broker, &state, "drain")?;
    std::fs::remove_dir_all(&state).context("remove the anchor's state")?;
    let restored = app(settings, broker, &state, "restore")?;
    let number = |figures: &Value, name: &str| figures[name].as_f64().unwrap_or(0.0);
    let pipeline = Row {
        step: "Kafka Streams, the pipeline".to_owned(),
        records: settings.events,
        snapshots: drained["snapshots"].as_u64(),
        wall_s: number(&drained, "wall_s"),
        cpu_s: number(&drained, "cpu_s"),
        broker_cpu_s: None,
        peak_mib: drained["peak_rss_mib"].as_u64(),
        note: format!("without {:.1} CPU s of start", number(&drained, "cpu_total_s") - number(&drained, "cpu_s")),
    };
    let restore = Row {
        step: "Kafka Streams, restore".to_owned(),
        records: restored["records"].as_u64().unwrap_or(0),
        wall_s: number(&restored, "restore_s"),
        cpu_s: number(&restored, "cpu_s"),
        peak_mib: restored["peak_rss_mib"].as_u64(),
        note: format!("start to ready in {:.2} s", number(&restored, "start_to_running_s")),
        ..Row::default()
    };
    Ok(vec![pipeline, restore])
}

/// Runs it to the end of `mode` and gives its figures. Its input topic is the prefix and `events`: ours.
fn app(settings: &Settings, broker: &Broker, state: &Path, mode: &str) -> Result<Value> {
    let mut command = anchor_java(&settings.anchor_build, "App")?;
    command.args(["prefix=helixagent.memory.", "outputs=anchor.", "app=anchor", "rocksdb=bounded", "commit.ms=100"]);
    command.args([
        format!("threads={}", settings.threads),
        format!("strategy={}", settings.strategy),
        format!("mode={mode}"),
    ]);
    command.args([format!("bootstrap={}", broker.bootstrap()), format!("state={}", state.display())]);
    let output = command.output().context("run Kafka Streams")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    serde_json::from_str(line).with_context(|| format!("Kafka Streams says {line}"))
}
