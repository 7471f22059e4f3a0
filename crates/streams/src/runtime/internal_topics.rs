//! Topics at the start: external topics must exist, internal ones are created and checked.

use std::collections::{BTreeMap, BTreeSet};

use super::config::RuntimeConfig;
use crate::error::{Error, Result};
use crate::ports::{Admin, NewTopic};
use crate::store::checkpoint::{METADATA_MAX_BYTES, max_metadata_bytes};
use crate::task::Sizes;
use crate::topology::{NodeKind, SubTopology, TopicRef, Topology, changelog_topic};

/// Purpose of an internal topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalKind {
    /// A store's changelog.
    Changelog,
    /// Between two sub-topologies.
    Repartition,
}

/// A topic of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its full name.
    pub name: String,
    /// Its purpose.
    pub kind: InternalKind,
    /// The partitions that it has or gets.
    pub partitions: i32,
    /// The settings that it is made with.
    pub config: Vec<(String, String)>,
}

/// Settings of topics that cannot be other than ours without loss; a greater `max.message.bytes` is
/// welcome.
const BINDING: [&str; 5] =
    ["cleanup.policy", "message.timestamp.type", "message.timestamp.after.max.ms", "retention.ms", "max.message.bytes"];

fn settings(kind: InternalKind, max_record_bytes: usize) -> Vec<(String, String)> {
    let mut settings = vec![
        ("message.timestamp.type", "CreateTime".to_owned()),
        ("message.timestamp.after.max.ms", i64::MAX.to_string()),
        ("retention.ms", "-1".to_owned()),
        ("max.message.bytes", max_record_bytes.to_string()),
    ];
    settings.extend(match kind {
        InternalKind::Changelog => vec![
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", (64 << 20).to_string()),
            ("min.cleanable.dirty.ratio", "0.2".to_owned()),
        ],
        InternalKind::Repartition => {
            vec![("cleanup.policy", "delete".to_owned()), ("segment.bytes", (50 << 20).to_string())]
        }
    });
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Partition counts of topics that exist, by full name.
type PartitionCounts = BTreeMap<String, i32>;

fn wrong_count(topic: &str, has: i32, needs: i32) -> Error {
    Error::Fatal(format!(
        "topic `{topic}` has {has} partitions and needs {needs}: if it holds nothing of value, delete it, and it is created anew; otherwise choose \
         another --application-id [HS2005]"
    ))
}

/// The partition count of a repartition topic: its own where it exists, which is the record of what
/// the sources had when it was made.
fn repartition_count(
    topology: &Topology,
    app: &str,
    sub: &SubTopology,
    name: &str,
    counts: &PartitionCounts,
) -> Result<i32> {
    let topic = sub.source.full_name(app);
    let feeds = |other: &&SubTopology| {
        let sinks = |node: &crate::topology::Node| matches!(&node.kind, NodeKind::Sink(TopicRef::Repartition(to)) if to == name);
        other.nodes.iter().any(sinks)
    };
    let upstream = topology.subtopologies().iter().filter(feeds);
    let wanted = upstream.filter_map(|other| counts.get(&other.source.full_name(app))).copied().max().unwrap_or(1);
    let recorded = sub.stores.iter().filter_map(|store| counts.get(&changelog_topic(app, store))).copied().max();
    match (counts.get(&topic).copied(), recorded) {
        // Made together, and the sources may have grown since.
        (Some(has), Some(recorded)) if has == recorded => Ok(has),
        (Some(has), Some(_)) if has == wanted => Ok(has),
        (Some(has), Some(recorded)) => Err(wrong_count(&topic, has, recorded)),
        (Some(has), None) if has != wanted && !sub.stores.is_empty() => Err(wrong_count(&topic, has, wanted)),
        (Some(has), None) => Ok(has),
        (None, _) => Ok(wanted),
    }
}

/// The internal topics of a topology, given the partition counts of the topics that exist (its
/// sources among them).
///
/// # Errors
/// An existing topic has another partition count than it needs.
pub fn internal_topics(
    topology: &Topology,
    config: &RuntimeConfig,
    existing: &PartitionCounts,
) -> Result<Vec<InternalTopic>> {
    let app = &config.application_id;
    let mut counts = existing.clone();
    let mut topics = Vec::new();
    let topic = |name: String, kind, partitions| InternalTopic {
        name,
        kind,
        partitions,
        config: settings(kind, config.max_record_bytes),
    };
    for sub in topology.subtopologies() {
        let source = sub.source.full_name(app);
        let partitions = match &sub.source {
            TopicRef::External(_) => counts.get(&source).copied().unwrap_or(1),
            TopicRef::Repartition(name) => {
                let partitions = repartition_count(topology, app, sub, name, &counts)?;
                counts.insert(source.clone(), partitions);
                topics.push(topic(source, InternalKind::Repartition, partitions));
                partitions
            }
        };
        for store in &sub.stores {
            let name = changelog_topic(app, store);
            if let Some(has) = existing.get(&name).copied().filter(|has| *has != partitions) {
                return Err(wrong_count(&name, has, partitions));
            }
            topics.push(topic(name, InternalKind::Changelog, partitions));
        }
    }
    Ok(topics)
}

fn describe(admin: &dyn Admin, names: &BTreeSet<String>) -> Result<PartitionCounts> {
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = admin.topics(&asked)?;
    Ok(asked.iter().zip(found).filter_map(|(name, info)| Some(((*name).to_owned(), info?.partitions))).collect())
}

fn check_settings(has: &TopicConfig, topic: &InternalTopic) -> Result<()> {
    for (name, needs) in topic.config.iter().filter(|(name, _)| BINDING.contains(&name.as_str())) {
        let Some(value) = has.get(name) else { continue };
        let is_large_enough = name == "max.message.bytes"
            && matches!((value.parse::<u64>(), needs.parse::<u64>()), (Ok(has), Ok(needs)) if has >= needs);
        if value != needs && !is_large_enough {
            return Err(Error::Fatal(format!(
                "topic `{}` has {name}={value} and needs {name}={needs}: set it with kafka-configs.sh --alter --entity-type topics [HS2006]",
                topic.name
            )));
        }
    }
    Ok(())
}

/// Settings of a topic, by name.
type TopicConfig = BTreeMap<String, String>;

/// Facts about the topics, found at the start.
#[derive(Debug)]
pub(super) struct Prepared {
    /// How large each topic is, and what it takes.
    pub sizes: Sizes,
    /// Batch size of a producer that every topic accepts.
    pub batch_bytes: usize,
    /// All topics that are read or written, each once.
    pub topics: Vec<String>,
    /// The most that the brokers take as metadata of a committed offset, in bytes.
    pub metadata_bytes: usize,
}

/// Checks that the brokers take what the commits of each sub-topology tell of its state, and how
/// much they take, in bytes.
///
/// # Errors
/// [`Error::Fatal`] with the sub-topology that has too many stores; the broker would refuse its
/// first commit.
pub fn check_metadata(admin: &dyn Admin, topology: &Topology, config: &RuntimeConfig) -> Result<usize> {
    let (limit, whose) = match admin.offset_metadata_limit()? {
        Some(limit) => (limit, "the brokers' offset.metadata.max.bytes"),
        None => (
            METADATA_MAX_BYTES,
            "the default of offset.metadata.max.bytes; this principal may not read the brokers' own setting, which needs DescribeConfigs on the cluster",
        ),
    };
    let sizes = topology.subtopologies().iter().map(|sub| {
        let stores: Vec<&str> = sub.stores.iter().map(String::as_str).collect();
        (max_metadata_bytes(&stores, &config.instance_id, config.digest.as_ref()), sub)
    });
    match sizes.max_by_key(|(bytes, _)| *bytes) {
        Some((bytes, sub)) if bytes > limit => Err(Error::Fatal(format!(
            "the part of the topology that reads `{}` has {} stores, whose state takes up to {bytes} bytes in the metadata of its committed offsets, and \
             {limit} are allowed ({whose}): set offset.metadata.max.bytes of all brokers to {bytes} or more, give the stores shorter names, or \
             spread them over several parts by a repartition [HS1026]",
            sub.source.full_name(&config.application_id),
            sub.stores.len()
        ))),
        _ => Ok(limit),
    }
}

/// Checks the topics of the world, makes and checks our own, and says how large each is.
///
/// # Errors
/// A topic is missing or is not as it must be; the message says which, what it has, what it needs
/// and what to do.
pub(super) fn prepare(admin: &dyn Admin, topology: &Topology, config: &RuntimeConfig) -> Result<Prepared> {
    let app = &config.application_id;
    let metadata_bytes = check_metadata(admin, topology, config)?;
    let external: BTreeSet<String> =
        topology.source_topics().into_iter().chain(topology.sink_topics()).map(str::to_owned).collect();
    let mut names = external.clone();
    for sub in topology.subtopologies() {
        names.insert(sub.source.full_name(app));
        names.extend(sub.stores.iter().map(|store| changelog_topic(app, store)));
    }
    let existing = describe(admin, &names)?;
    let missing: Vec<&str> = external.iter().filter(|name| !existing.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        let missing = missing.join("`, `");
        return Err(Error::Fatal(format!(
            "there is no topic `{missing}`: make it with `helixstream topics create`, or correct the topology [HS2004]"
        )));
    }
    let ours = internal_topics(topology, config, &existing)?;
    let is_new = |topic: &&InternalTopic| !existing.contains_key(&topic.name);
    let new = ours.iter().filter(is_new).map(|topic| NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication: config.replication,
        config: topic.config.clone(),
    });
    let new: Vec<NewTopic> = new.collect();
    if !new.is_empty() {
        admin.create_topics(&new)?;
    }
    let partitions = describe(admin, &names)?;
    for topic in &ours {
        match partitions.get(&topic.name) {
            Some(has) if *has == topic.partitions => {}
            Some(has) => return Err(wrong_count(&topic.name, *has, topic.partitions)),
            None => {
                return Err(Error::Retry(format!(
                    "topic `{}` was created, but no broker knows it yet [HS2009]",
                    topic.name
                )));
            }
        }
    }
    let sinks: BTreeSet<&str> = topology.sink_topics().into_iter().collect();
    let mut max_bytes = BTreeMap::new();
    let mut batch_bytes = config.batch_bytes;
    for name in sinks.iter().copied().chain(ours.iter().map(|topic| topic.name.as_str())) {
        let settings: TopicConfig = admin.topic_config(name)?.into_iter().collect();
        if let Some(topic) = ours.iter().find(|topic| topic.name == name) {
            check_settings(&settings, topic)?;
        }
        let Some((setting, limit)) = batch_limit(&settings) else { continue };
        max_bytes.insert(name.to_owned(), limit.min(config.max_record_bytes));
        if limit < batch_bytes {
            tracing::info!(
                "topic `{name}` accepts batches of at most {limit} bytes ({setting}), so this instance uses this \
                 batch size instead of {batch_bytes} bytes"
            );
            batch_bytes = limit;
        }
    }
    let sizes = Sizes { max_bytes, partitions, default_max_bytes: config.max_record_bytes };
    Ok(Prepared { sizes, batch_bytes, topics: names.into_iter().collect(), metadata_bytes })
}

/// The most that a topic takes in one batch, and the setting that says so. A broker refuses a batch
/// above `max.message.bytes` with MESSAGE_TOO_LARGE, and one above `segment.bytes` with
/// RECORD_LIST_TOO_LARGE.
pub fn batch_limit(settings: &TopicConfig) -> Option<(&'static str, usize)> {
    let number = |name: &'static str| Some((name, settings.get(name)?.parse::<usize>().ok()?));
    let limits = ["max.message.bytes", "segment.bytes"].into_iter().filter_map(number);
    limits.min_by_key(|(_, limit)| *limit)
}
