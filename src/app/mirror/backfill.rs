//! `helixstream mirror backfill`: fills the tables up to where Kafka is now, shows how far it is,
//! and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::mirrors::{Mirrors, sinks};
use super::reread;
use super::setup::{MirrorSetup, existing_topics};
use crate::app::mirrored_topics::{MirroredTable, mirrored_tables};
use crate::app::signals::{LOOK, unless_signalled, wait_for, watch_signals};
use crate::app::{CommandError, Program, kafka, rights, schema_registry};
use crate::edges::cli::terminal::Progress;
use crate::edges::cli::{BackfillArgs, BackfillFrom, Purpose};
use mirror_postgres::{MirrorTables, Progress as Kept};
use streams::record::TopicPartition;
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::renewal::CurrentSettings;
use streams_kafka::restore_consumer::RestoreConsumer;

/// How often the checkpoints are looked at.
const ASK: Duration = Duration::from_millis(250);
/// How often a line says how far it is, where there is no terminal for a bar.
const TELL: Duration = Duration::from_secs(10);
/// How long the mirrors may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(9);

/// A partition, and what of it is to be mirrored.
struct Goal {
    partition: TopicPartition,
    begin: i64,
    end: i64,
}

/// Fills the tables.
pub fn backfill(args: &BackfillArgs, program: &Program) -> Result<(), CommandError> {
    let signalled = watch_signals()?;
    let MirrorSetup { file, database, kafka } = MirrorSetup::new(&args.target, program)?;
    if args.from == BackfillFrom::Unread {
        return reread::reread(&args.target.registry, &file, &database);
    }
    let mirrored = mirrored_tables(&file, None);
    let topics: Vec<String> = mirrored.iter().flat_map(|table| table.topics.clone()).collect();
    let codec = schema_registry::codecs(&args.target.registry, &file, schema_registry::THREAD_WAIT)?.mirror;
    let sinks = sinks(&database, &file, codec.as_ref())?;
    database.check(CONNECT_LIMIT)?;
    // Before it waits for anything: a role that may not migrate would let it wait for ever.
    database.migrate()?;
    let mut tables = MirrorTables::new(&database)?;
    let before = tables.progress(&topics)?;
    if args.from == BackfillFrom::Earliest {
        refuse_rows(&before)?;
    }
    let clients = kafka.clone();
    let patience = kafka::patience(Some(&file));
    let needs = rights::needs(&file, Purpose::Mirror);
    let Some(mut goals) = unless_signalled(&signalled, move || goals(&clients, patience, &mirrored, &needs))? else {
        return Ok(());
    };
    for goal in &mut goals {
        goal.begin = goal.begin.max(next_offset(&before, &goal.partition));
    }
    let total: u64 = goals.iter().map(|goal| count(goal.begin, goal.end)).sum();
    tracing::info!("mirroring {total} offsets of {} partitions into {database}", goals.len());
    let mirrors = Mirrors::start(sinks, &CurrentSettings::new(kafka.clone()))?;
    let done = follow(&mut tables, &topics, &goals, (&mirrors, &signalled));
    let deadline = Instant::now() + STOP_LIMIT;
    mirrors.stop().iter().for_each(|mirror| _ = wait_for(mirror, deadline));
    if !done? {
        return Err(anyhow!("the backfill was stopped before its end: `helixstream mirror backfill --from checkpoint` continues it [HS4522]").into());
    }
    let after = tables.progress(&topics)?;
    for topic in &topics {
        let of =
            |all: &[Kept]| all.iter().filter(|at| *at.partition.topic == **topic).map(|at| at.records).sum::<u64>();
        println!("{topic}: {} records mirrored", of(&after).saturating_sub(of(&before)));
    }
    Ok(())
}

/// How long a Postgres that does not answer is waited for.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

fn refuse_rows(before: &[Kept]) -> Result<(), CommandError> {
    match before.iter().find(|at| at.records > 0) {
        None => Ok(()),
        Some(at) => Err(anyhow!(
            "the tables have {} records of {} already, but --from earliest needs empty tables: continue from there with --from \
             checkpoint, or choose an empty schema with --postgres-schema [HS4523]",
            at.records,
            at.partition
        )
        .into()),
    }
}

fn next_offset(of: &[Kept], partition: &TopicPartition) -> i64 {
    of.iter().find(|at| at.partition == *partition).map_or(0, |at| at.next_offset)
}

/// Offsets that each partition's log holds.
fn goals(
    kafka: &KafkaSettings,
    patience: Duration,
    tables: &[MirroredTable],
    needs: &[rights::Need],
) -> anyhow::Result<Vec<Goal>> {
    let reader = RestoreConsumer::new(kafka)?;
    let admin = ClusterAdmin::new(kafka, &reader)?;
    admin.wait_for_brokers(patience)?;
    rights::require(&admin, kafka, "mirror backfill", needs)?;
    let mut goals = Vec::new();
    for topic in existing_topics(&admin, tables)? {
        for number in 0..topic.partitions {
            let partition = TopicPartition::new(topic.name.as_str(), number);
            let (begin, end) = reader.bounds(&partition)?;
            goals.push(Goal { partition, begin, end });
        }
    }
    Ok(goals)
}

fn count(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

/// Watches the checkpoints until all goals are reached; false when a signal comes first.
fn follow(
    tables: &mut MirrorTables,
    topics: &[String],
    goals: &[Goal],
    (mirrors, signalled): (&Mirrors, &AtomicBool),
) -> anyhow::Result<bool> {
    let total = goals.iter().map(|goal| count(goal.begin, goal.end)).sum();
    let bar = Progress::new("backfill", Some(total), false);
    let started = Instant::now();
    let mut told = Instant::now();
    loop {
        // A Postgres that is away for a moment is the mirrors' to wait for.
        let now = match tables.progress(topics) {
            Err(e) if !signalled.load(Ordering::Relaxed) => {
                tracing::warn!(
                    code = "HS4051",
                    reason = %e,
                    "the progress of the backfill cannot be read from Postgres; the backfill goes on, and this is retried"
                );
                thread::sleep(ASK * 4);
                continue;
            }
            now => now.unwrap_or_default(),
        };
        let left = |goal: &Goal| count(goal.begin.max(next_offset(&now, &goal.partition)), goal.end);
        let left: u64 = goals.iter().map(left).sum();
        let done = total - left;
        bar.set(done, Some(total));
        if left == 0 {
            return Ok(true);
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let seconds = started.elapsed().as_secs_f64() * left as f64 / done.max(1) as f64;
            tracing::info!("{done} of {total} offsets are mirrored; about {seconds:.0} s are left");
        }
        let asked = Instant::now();
        while asked.elapsed() < ASK {
            if signalled.load(Ordering::Relaxed) {
                return Ok(false);
            }
            mirrors.check_all()?;
            thread::sleep(LOOK.min(ASK));
        }
    }
}
