//! The competitor: Kafka Streams in Java on the same broker, the same events, the same work.

use super::BenchSettings;
use super::measure::{Spent, Watch};
use super::table::Row;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use testkit::Broker;
use testkit::process::temp_dir;

/// The line of its pipeline.
pub fn name(threads: u64) -> String {
    format!("Kafka Streams, {threads} thread(s)")
}

/// The line of its restore.
pub fn restore_name(threads: u64) -> String {
    format!("Kafka Streams, restore, {threads} thread(s)")
}

/// Its pipeline and its restore.
pub fn measure(settings: &BenchSettings, broker: &Broker, threads: u64) -> Result<Vec<Row>> {
    let state = temp_dir("anchor-state");
    let broker_watch = Watch::start(broker.pid())?;
    let drained = app(settings, broker, &state, threads, "drain")?;
    let broker_cpu_s = broker_watch.read()?.cpu_s;
    std::fs::remove_dir_all(&state).context("remove the anchor's state")?;
    let number = |figures: &Value, name: &str| figures[name].as_f64().unwrap_or(0.0);
    let spent = |figures: &Value, wall: &str| Spent { wall_s: number(figures, wall), cpu_s: number(figures, "cpu_s") };
    let start_cpu_s = number(&drained, "cpu_total_s") - number(&drained, "cpu_s");
    let pipeline = Row {
        snapshots: drained["snapshots"].as_u64(),
        broker_cpu_s: Some(broker_cpu_s),
        peak_mib: drained["peak_rss_mib"].as_u64(),
        ..Row::new(name(threads), settings.events, spent(&drained, "wall_s"))
    };
    let mut rows = vec![pipeline.note(format!("without {start_cpu_s:.1} CPU s of its start"))];
    if settings.has("restore") {
        let restored = app(settings, broker, &state, threads, "restore")?;
        let records = restored["records"].as_u64().unwrap_or(0);
        let row = Row::new(restore_name(threads), records, spent(&restored, "restore_s"));
        let row = Row { peak_mib: restored["peak_rss_mib"].as_u64(), ..row };
        let ready_s = number(&restored, "start_to_running_s");
        let total_s = number(&restored, "cpu_total_s");
        rows.push(row.note(format!("start to ready {ready_s:.2} s, {total_s:.2} CPU s in all")));
    }
    Ok(rows)
}

/// Runs it to the end of `mode` and gives its figures. Its input topic is the prefix and `events`:
/// ours.
fn app(settings: &BenchSettings, broker: &Broker, state: &Path, threads: u64, mode: &str) -> Result<Value> {
    let build = &settings.anchor_build;
    ensure!(build.join("classes").is_dir(), "the anchor is not built in {build:?}: use `make bench ANCHOR=1`");
    let mut command = Command::new("java");
    command.args(["-Xmx1g", "-XX:+UseG1GC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"]);
    command.arg(format!("{0}/classes:{0}/libs/*", build.display())).arg("anchor.App");
    command.args(["prefix=helixagent.memory.", "rocksdb=bounded", "commit.ms=100"]);
    command.args([
        format!("outputs=anchor{threads}."),
        format!("app=anchor{threads}"),
        format!("threads={threads}"),
        format!("strategy={}", settings.strategy),
        format!("mode={mode}"),
        format!("bootstrap={}", broker.bootstrap()),
        format!("state={}", state.display()),
    ]);
    let output = command.output().context("run Kafka Streams")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    serde_json::from_str(line).with_context(|| format!("Kafka Streams says {line}"))
}
