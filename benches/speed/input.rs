//! The anchor's generator as a record file: HelixAgent envelopes, the same bytes for the same seed.

use super::Settings;
use super::support::process::temp_dir;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The generated events.
pub struct Input {
    /// A record file; its lines name no partition, so that the key picks one.
    pub file: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Memories that they may touch.
    pub memories: u64,
}

#[derive(Deserialize)]
struct Generated<'a> {
    key: &'a str,
    ts: i64,
    value: &'a str,
}

/// A command for a class of the anchor.
pub fn anchor_java(build: &Path, class: &str) -> Result<Command> {
    ensure!(build.join("classes").is_dir(), "the anchor is not built in {:?}: use `make bench`", build);
    let mut command = Command::new("java");
    command.args(["-Xmx1g", "-XX:+UseG1GC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"]);
    command.arg(format!("{0}/classes:{0}/libs/*", build.display())).arg(format!("anchor.{class}"));
    Ok(command)
}

/// Generates the events into a temporary file.
pub fn generate(settings: &Settings) -> Result<Input> {
    let file = temp_dir("bench").join("events.jsonl");
    let mut command = anchor_java(&settings.anchor_build, "Gen")?;
    let (events, memories, seed) = (settings.events, settings.memories, settings.seed);
    command.args(["topic=none".into(), format!("n={events}"), format!("memories={memories}"), format!("seed={seed}")]);
    command.arg("jsonl=/dev/stdout").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("start the generator")?;
    let mut lines = BufReader::with_capacity(1 << 20, child.stdout.take().context("the generator's output")?);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&file)?);
    let mut input = Input { file, records: 0, bytes: 0, memories };
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        // The generator's last line sums up what it wrote.
        if line.starts_with("{\"key\"") {
            let Generated { key, ts, value } = serde_json::from_str(&line).context("read the generator's line")?;
            let key = STANDARD.encode(key);
            writeln!(out, r#"{{"timestamp_ms":{ts},"key_b64":"{key}","value_b64":"{value}","headers":[]}}"#)?;
            input.records += 1;
            input.bytes += (value.len() as u64) / 4 * 3;
        }
        line.clear();
    }
    ensure!(child.wait()?.success() && input.records == events, "the generator wrote {} of {events}", input.records);
    out.flush()?;
    Ok(input)
}
