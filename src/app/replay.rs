//! `helixstream replay`: processes a record file by the topology's real tasks without a broker. The
//! same input produces the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use super::{CommandError, Program, resolvers, schema_registry, settings, topology_from_file};
use crate::edges::cli::ReplayArgs;
use crate::edges::cli::terminal::Progress;
use crate::edges::outputs::OutputFolder;
use crate::edges::recordfile::{FileRecord, RecordReader, RecordView, RecordWriter};
use streams::driver::TopologyDriver;
use streams::record::{Header, Origin, RecordBatch};
use topology_file::Topology as File;

/// How many records lie between two looks at the progress bar.
const PROGRESS_RECORDS: u64 = 256;

/// Replays `args.input` into files under `args.output`, one for each sink and one for the dead
/// letters.
pub fn replay(args: &ReplayArgs, program: &Program) -> Result<(), CommandError> {
    let file = settings::load(&args.topology, args.application_id.as_deref(), program)?;
    let codec = schema_registry::codecs(&args.registry, &file, schema_registry::REPLAY_WAIT)?.stream;
    let engine = topology_from_file::build_with(&file, &resolvers::join(&file, &program.resolvers)?, codec)?;
    let mut driver =
        TopologyDriver::new(&engine, &file.values.resolver.application_id, &topology_from_file::sizes(&file));
    let mut reader = RecordReader::open(&args.input)?;
    let mut outputs = Outputs::create(&args.output, &file)?;
    let source = file.graph.sources().next().map_or("", |(_, topic, _)| topic);
    let bar = Progress::new("replay", reader.progress().1, true);
    let mut input = RecordBatch::new();
    let mut count = 0;
    while let Some(record) = reader.read()? {
        fill(&mut input, source, &record);
        for record in input.iter() {
            let origin = record.origin;
            driver
                .pipe(&record)
                .with_context(|| format!("cannot replay partition {} offset {}", origin.partition, origin.offset))?;
        }
        outputs.write(driver.outputs())?;
        driver.clear_outputs();
        count += 1;
        if count % PROGRESS_RECORDS == 0 {
            let (done, total) = reader.progress();
            bar.set(done, total);
        }
    }
    drop(bar);
    let written = outputs.finish()?;
    let written: Vec<String> = written.iter().map(|(name, n)| format!("{n} {name}")).collect();
    println!("{count} records: {}", written.join(", "));
    Ok(())
}

/// Puts one record into the batch, which lends it to the driver.
fn fill(batch: &mut RecordBatch, topic: &str, record: &FileRecord) {
    batch.clear();
    let FileRecord { partition, offset, timestamp_ms, .. } = *record;
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    let origin = Origin { topic, partition, offset, timestamp_ms };
    batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
}

/// The files that a replay writes, by topic. Sinks that share a topic share the file that is named
/// after the first of them.
struct Outputs {
    folder: OutputFolder,
    files: BTreeMap<String, Output>,
}

struct Output {
    name: String,
    file: RecordWriter,
    records: u64,
}

impl Outputs {
    fn create(dir: &Path, file: &File) -> anyhow::Result<Outputs> {
        let mut folder = OutputFolder::open(dir)?;
        let sinks = file.graph.sinks().map(|(node, topic, _)| (node.name.as_str(), topic));
        let dead = file.graph.dead_letters.iter().map(|d| ("dead-letters", d.topic.as_str()));
        let mut files = BTreeMap::new();
        for (name, topic) in sinks.chain(dead) {
            if files.contains_key(topic) {
                continue;
            }
            let file = RecordWriter::create(&folder.part(&format!("{name}.jsonl")))?;
            files.insert(topic.to_owned(), Output { name: name.to_owned(), file, records: 0 });
        }
        Ok(Outputs { folder, files })
    }

    fn write(&mut self, outputs: &RecordBatch) -> anyhow::Result<()> {
        for out in outputs.iter() {
            let Some(output) = self.files.get_mut(out.origin.topic) else { continue };
            let headers: Vec<Header<'_>> = out.record.headers.iter().collect();
            output.file.write(&RecordView {
                partition: out.origin.partition,
                offset: out.origin.offset,
                timestamp_ms: out.record.timestamp_ms,
                key: out.record.key,
                value: out.record.value,
                headers: &headers,
            })?;
            output.records += 1;
        }
        Ok(())
    }

    /// Writes everything and renames the files; how many records each file got, by the file's name.
    fn finish(self) -> anyhow::Result<Vec<(String, u64)>> {
        let mut written = Vec::new();
        for output in self.files.into_values() {
            output.file.finish()?;
            written.push((output.name, output.records));
        }
        self.folder.publish()?;
        written.sort();
        Ok(written)
    }
}
