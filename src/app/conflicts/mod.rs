//! `helixstream conflicts`: finds the conflicts that wait for a decision, and settles them.

mod read;
mod show;
mod topics;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};

use super::{CommandError, Program};
use crate::edges::cli::{ConflictsAction, ResolveArgs};
use escape::line;
use memory_operators::settlement::{self, Decision, Settlement};
use read::Found;
use streams::record::{Headers, Record};
use streams::task::partition_for;
use streams_kafka::plain::PlainProducer;
use topics::Topics;

/// How long the event may take to arrive.
const FINISH: Duration = Duration::from_secs(60);

/// Lists, shows or settles.
pub fn conflicts(action: &ConflictsAction, program: &Program) -> Result<(), CommandError> {
    match action {
        ConflictsAction::List(args) => show::list(&Topics::of(&args.target, "list", program)?, args),
        ConflictsAction::Show(args) => show::show(&Topics::of(&args.target, "show", program)?, args),
        ConflictsAction::Resolve(args) => resolve(&Topics::of(&args.target, "resolve", program)?, args),
    }
}

/// Publishes the event that ends a conflict.
fn resolve(topics: &Topics, args: &ResolveArgs) -> Result<(), CommandError> {
    let id = args.conflict_id.as_str();
    let Found { first, last } = read::one(topics, id)?;
    let conflict = read::parse(&first)?;
    let settled = settlement::event_id(id);
    if let Some(by) = read::parse(&last)?.superseded_by {
        if by == settled {
            println!("conflict {} is settled already, by {}", line(id), line(&by));
            return Ok(());
        }
        return Err(anyhow!("conflict {id} does not exist any more: {by} superseded it [HS0072]").into());
    }
    let values = values(args, conflict.fields.iter().map(|f| f.path.as_str()).collect())?;
    let decision = Decision { values: &values, winner: args.winner.as_deref() };
    let settlement = settlement::settle_conflict(&conflict, &decision, &topics.file.values.limits);
    let settlement =
        settlement.map_err(|why| CommandError::Usage(format!("cannot resolve conflict {id}: {why} [HS0073]")))?;
    let topic = topics.file.graph.sources().next().map_or("", |(_, topic, _)| topic);
    publish(topics, topic, &conflict.memory_id, &settlement)?;
    println!("published {} on {topic}: memory {}", settlement.event_id, line(&conflict.memory_id));
    for (path, value) in &settlement.fields {
        println!("  {} = {}", line(path), line(&String::from_utf8_lossy(value)));
    }
    Ok(())
}

/// Each value with its path.
fn values(args: &ResolveArgs, paths: Vec<&str>) -> Result<Vec<(String, String)>, CommandError> {
    let named = match (args.path.as_slice(), args.value.as_slice(), paths.as_slice()) {
        ([], [_], [only]) => vec![(*only).to_owned()],
        ([], [_, ..], _) => {
            return Err(CommandError::Usage(format!(
                "--value needs a --path: the fields in conflict are {} [HS0006]",
                paths.join(", ")
            )));
        }
        (named, values, _) if named.len() == values.len() => named.to_vec(),
        (named, values, _) => {
            let named = named.len();
            let values = values.len();
            return Err(CommandError::Usage(format!(
                "there are {named} --path and {values} --value: write a --value for each --path [HS0006]"
            )));
        }
    };
    Ok(named.into_iter().zip(args.value.iter().cloned()).collect())
}

fn publish(topics: &Topics, topic: &str, memory: &str, settlement: &Settlement) -> anyhow::Result<()> {
    let partitions = topics.partitions(topic)?;
    let mut producer = PlainProducer::new(&topics.kafka)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let record = Record {
        key: Some(memory.as_bytes()),
        value: Some(&settlement.event),
        headers: Headers::NONE,
        timestamp_ms: i64::try_from(now).unwrap_or(i64::MAX),
    };
    let topic: Arc<str> = topic.into();
    producer.send(&topic, partition_for(record.key, 0, partitions), &record)?;
    producer.finish(FINISH).with_context(|| format!("cannot publish {} on {topic}", settlement.event_id))
}
