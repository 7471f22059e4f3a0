//! The generated events as a record file, for `replay` and `produce`, and the first of them in
//! memory, for the domain alone.

use super::BenchSettings;
use super::generator::{Generated, Generator};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use testkit::process::temp_dir;

/// So many are kept in memory at most.
const KEPT: u64 = 200_000;

/// The generated events.
pub struct Input {
    /// A record file; its lines name no partition, so that the key picks one.
    pub file: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// The first records.
    pub first: Vec<Generated>,
}

/// Generates the events into a temporary file.
pub fn generate(settings: &BenchSettings) -> Result<Input> {
    let file = temp_dir("bench").join("events.jsonl");
    let failed = || format!("write {}", file.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&file).with_context(failed)?);
    let mut bytes = 0;
    let mut first = Vec::new();
    let generator = Generator::new(settings.seed, settings.memories as usize);
    for (n, record) in (0..settings.events).zip(generator) {
        let key = STANDARD.encode(&record.key);
        let value = STANDARD.encode(&record.value);
        let timestamp_ms = record.timestamp_ms;
        writeln!(out, r#"{{"timestamp_ms":{timestamp_ms},"key_b64":"{key}","value_b64":"{value}","headers":[]}}"#)
            .with_context(failed)?;
        bytes += record.value.len() as u64;
        if n < KEPT {
            first.push(record);
        }
    }
    out.flush().with_context(failed)?;
    drop(out);
    Ok(Input { file, records: settings.events, bytes, first })
}
