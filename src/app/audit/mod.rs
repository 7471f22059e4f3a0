//! `helixstream audit`: re-runs the tasks of a running application from their logs, and compares
//! state, changelogs and outputs byte by byte. It only reads.
//!
//! Transactions have no common edge in the topics that they write. So the places from which and up
//! to which outputs are read are taken between commits: each output from the first place on comes
//! of a record behind the commit before it, and each output of a record behind the next commit,
//! read once no transaction is open over the first place, stands behind it. The end is the same.

mod clients;
mod log_reader;
mod report;
mod tasks;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::kafka::{self, Memory};
use super::report::{print, print_json};
use super::{CommandError, Program, digest, resolvers, schema_registry, settings, topology_from_file};
use crate::edges::cli::{AuditArgs, AuditFormat, AuditStart};
use clients::{AuditError, Clients};
use log_reader::{LogReader, PATIENCE, patiently};
use memory_operators::MemoryAuditRules;
use report::AuditReport;
use streams::audit::{AuditOutcome, Commit, ExpectedRecord, OutputAudit, Stretch, WorkDone, sizes};
use streams::offset::Offset;
use streams::ports::Admin as _;
use streams::record::{TaskId, TopicPartition};
use streams::runtime::RuntimeConfig;
use streams::task::{Plan, Sizes};
use streams::topology::Topology;
use streams::topology_digest::TopologyDigest;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::restore_consumer::RestoreConsumer;
use tasks::{AuditedTask, Place, commits};
use topology_file::Topology as File;
use topology_file::graph::GraphNodeKind;

/// Queues of the clients.
const MEMORY: u64 = 256 << 20;
/// How often the commits of the running instances are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often a state is read whose changelog is compacted while it is read.
const TRIES: usize = 3;

/// Audits, prints the report, and fails when something differs.
pub fn audit(args: &AuditArgs, program: &Program) -> Result<(), CommandError> {
    let file = settings::load(&args.topology, args.application_id.as_deref(), program)?;
    let codec = schema_registry::codecs(&args.registry, &file, schema_registry::REPLAY_WAIT)?.stream;
    let digest = digest::of(&file, &program.resolvers, codec.is_some())?;
    let engine = topology_from_file::build_with(&file, &resolvers::join(&file, &program.resolvers)?, codec)?;
    let clients = kafka::settings(&args.kafka, Some(&file), "audit", Memory::share(MEMORY, 1))?;
    let reader = RestoreConsumer::new(&clients)?;
    let outputs = RestoreConsumer::new(&clients)?;
    let admin = ClusterAdmin::new(&clients, &reader)?;
    admin.wait_for_brokers(kafka::patience(Some(&file)))?;
    let audit = Audit {
        application_id: &file.values.resolver.application_id,
        engine,
        digest,
        rules: rules(&file),
        clients: Clients { admin, reader, outputs },
    };
    let outcome = audit.run(args.start, Duration::from_secs(args.seconds.into()));
    let is_json = args.format == AuditFormat::Json;
    match outcome {
        Ok(report) => {
            if is_json {
                print_json(&report.json())?
            } else {
                print(&report.text())?
            }
            match report.differences() {
                0 => Ok(()),
                n => Err(CommandError::Differs(anyhow!("the audit found {n} differences: see above [HS1045]"))),
            }
        }
        Err(AuditError::NotComparable(why)) => {
            if is_json {
                print_json(&serde_json::json!({ "result": "not_comparable", "reason": why }))?;
            }
            Err(CommandError::NotComparable(anyhow!("{why} [HS1046]")))
        }
        Err(AuditError::Failed(error)) => Err(error.into()),
    }
}

fn rules(file: &File) -> MemoryAuditRules {
    let stores = file.graph.nodes.iter().flat_map(|node| {
        let stores = match &node.kind {
            GraphNodeKind::Processor { stores, .. } => stores.as_slice(),
            _ => &[],
        };
        node.spec().into_iter().flat_map(move |spec| stores.iter().map(move |store| (spec.name, store.value.as_str())))
    });
    MemoryAuditRules::new(stores)
}

struct Audit<'f> {
    application_id: &'f str,
    engine: Topology,
    digest: TopologyDigest,
    rules: MemoryAuditRules,
    clients: Clients,
}

impl Audit<'_> {
    fn run(&self, start: AuditStart, time: Duration) -> Result<AuditReport, AuditError> {
        let started = Instant::now();
        let admin = &self.clients.admin;
        let limit = RuntimeConfig::default().max_record_bytes;
        let sizes = patiently(|| sizes(admin, &self.engine, self.application_id, limit))?;
        let plans = Plan::all(&self.engine, self.application_id, &sizes);
        let places = self.places(&plans, &sizes)?;
        let outputs = self.outputs(&sizes);
        let mut report = AuditReport::new(self.application_id);
        let (mut tasks, wrong) = self.start(&places, start)?;
        if wrong.count() > 0 {
            // From a wrong state everything would differ.
            report.add(&TopicPartition::new("state at the start", 0), wrong);
            return Ok(report);
        }
        let from = self.ends_of(&outputs, start)?;
        if start == AuditStart::Commit {
            self.wait_for_markers(&from)?;
            let commits = commits(&self.clients, &places, &self.digest)?;
            for (task, commit) in tasks.iter_mut().zip(&commits) {
                task.stretch.must_from = commit.next_offset().number();
            }
        }
        let deadline = Instant::now() + time;
        let last = loop {
            let commits = commits(&self.clients, &places, &self.digest)?;
            self.follow(&mut tasks, &commits)?;
            if Instant::now() >= deadline {
                break commits;
            }
            sleep(LOOK.min(deadline.saturating_duration_since(Instant::now())));
        };
        for (task, commit) in tasks.iter_mut().zip(&last) {
            task.stretch.must_to = commit.next_offset().number();
        }
        let to = self.wait_for_markers(&self.ends_of(&outputs, AuditStart::Commit)?)?;
        let beyond = commits(&self.clients, &places, &self.digest)?;
        let work = work_of(&tasks);
        for (task, commit) in tasks.iter_mut().zip(&last) {
            for (partition, outcome) in task.compare_state(&self.clients, commit, &work, &self.rules)? {
                report.add(&partition, outcome);
            }
        }
        self.follow(&mut tasks, &beyond)?;
        self.compare_outputs(&tasks, &from, &to, &mut report)?;
        tasks.iter().for_each(|task| report.add_task(task));
        report.seconds = started.elapsed().as_secs();
        Ok(report)
    }

    fn places(&self, plans: &[std::sync::Arc<Plan>], sizes: &Sizes) -> Result<Vec<Place>, AuditError> {
        let mut places = Vec::new();
        for plan in plans {
            let partitions = *sizes.partitions.get(&*plan.source).ok_or_else(|| {
                AuditError::NotComparable(format!(
                    "there is no topic {}: the application has not run with this application id",
                    plan.source
                ))
            })?;
            places.extend((0..partitions).map(|partition| Place {
                plan: plan.clone(),
                id: TaskId { subtopology: plan.subtopology, partition },
                source: TopicPartition::new(plan.source.clone(), partition),
            }));
        }
        Ok(places)
    }

    /// The partitions of all topics that tasks write, changelogs left out.
    fn outputs(&self, sizes: &Sizes) -> Vec<TopicPartition> {
        let sources = self.engine.source_topics();
        let written = sizes.partitions.iter().filter(|(topic, _)| !sources.contains(&topic.as_str()));
        let of = |(topic, count): (&String, &i32)| {
            let topic: std::sync::Arc<str> = topic.as_str().into();
            (0..*count).map(move |partition| TopicPartition::new(topic.clone(), partition))
        };
        written.flat_map(of).collect()
    }

    /// The tasks at their start, and what is wrong with the state there. A changelog that is
    /// compacted between the commit and the reading of it lacks records: then a newer commit is
    /// taken.
    fn start(&self, places: &[Place], start: AuditStart) -> Result<(Vec<AuditedTask>, AuditOutcome), AuditError> {
        let mut tries = TRIES;
        loop {
            let mut found = commits(&self.clients, places, &self.digest)?;
            if start == AuditStart::Beginning {
                for (place, commit) in places.iter().zip(&mut found) {
                    *commit = Commit::of(None, &place.plan)?;
                }
            }
            let (mut tasks, mut wrong) = (Vec::new(), AuditOutcome::default());
            for (place, commit) in places.iter().zip(&found) {
                let (task, outcome) = AuditedTask::start(&self.clients, place, commit, &self.rules)?;
                tasks.push(task);
                wrong.add(outcome);
            }
            tries -= 1;
            if wrong.count() == 0 || tries == 0 {
                return Ok((tasks, wrong));
            }
        }
    }

    fn follow(&self, tasks: &mut [AuditedTask], commits: &[Commit]) -> Result<(), AuditError> {
        tasks.iter_mut().zip(commits).try_for_each(|(task, commit)| task.follow(commit, &self.rules))
    }

    /// The ends of outputs, open transactions included; for a start at the beginning their first
    /// offsets, which must be 0.
    fn ends_of(&self, outputs: &[TopicPartition], at: AuditStart) -> Result<BTreeMap<TopicPartition, i64>, AuditError> {
        let mut ends = BTreeMap::new();
        for partition in outputs {
            let range = patiently(|| self.clients.admin.log_range(partition))?;
            if at == AuditStart::Beginning && range.start > Offset::FIRST {
                return Err(AuditError::NotComparable(format!(
                    "the records of {partition} before offset {} are deleted: begin at the last commits (`--start commit`)",
                    range.start
                )));
            }
            ends.insert(partition.clone(), if at == AuditStart::Beginning { 0 } else { range.end.number() });
        }
        Ok(ends)
    }

    /// Waits until no transaction is open over the records below these offsets; gives the ends of
    /// what is committed then.
    fn wait_for_markers(
        &self,
        ends: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, i64>, AuditError> {
        let started = Instant::now();
        let mut stable = BTreeMap::new();
        for (partition, end) in ends {
            let reached = loop {
                let (_, reached) = patiently(|| self.clients.reader.bounds(partition))?;
                if reached >= *end {
                    break reached;
                }
                if started.elapsed() > PATIENCE {
                    return Err(AuditError::NotComparable(format!(
                        "a transaction is open over {partition} at offset {reached} for a minute: nothing behind it can be compared"
                    )));
                }
                sleep(Duration::from_millis(20));
            };
            stable.insert(partition.clone(), reached);
        }
        Ok(stable)
    }

    fn compare_outputs(
        &self,
        tasks: &[AuditedTask],
        from: &BTreeMap<TopicPartition, i64>,
        to: &BTreeMap<TopicPartition, i64>,
        report: &mut AuditReport,
    ) -> Result<(), AuditError> {
        let work = work_of(tasks);
        let mut sent: BTreeMap<TopicPartition, Vec<(Stretch, Vec<ExpectedRecord>)>> = BTreeMap::new();
        for task in tasks {
            for (partition, list) in task.rerun.sent(&work) {
                sent.entry(partition).or_default().push((task.stretch.clone(), list));
            }
        }
        // All at once, so that the brokers are asked once for all of them.
        let open = |(partition, offset): (&TopicPartition, &i64)| {
            LogReader::open(&self.clients.outputs, partition, Offset::new(*offset).unwrap_or_default().into())
                .map(|reader| (partition.clone(), reader))
        };
        let readers = from.iter().filter(|(partition, offset)| to.get(partition) > Some(offset)).map(open);
        let mut readers = readers.collect::<Result<BTreeMap<_, _>, _>>()?;
        for partition in from.keys() {
            let mut audit = OutputAudit::new(partition.clone(), sent.remove(partition).unwrap_or_default());
            if let (Some(mut reader), Some(to)) = (readers.remove(partition), to.get(partition)) {
                reader.read_to(*to, &mut |record| {
                    audit.found(record, &work, &self.rules);
                    Ok(())
                })?;
            }
            report.add(partition, audit.finish());
        }
        Ok(())
    }
}

fn work_of(tasks: &[AuditedTask]) -> WorkDone {
    tasks.iter().flat_map(|task| task.rerun.work_done()).copied().collect()
}
