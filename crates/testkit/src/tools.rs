//! Kafka's own Java tools: what they say about a topic, a group or a log segment is not our word.
//! Each call starts a JVM (2 to 4 s).

use super::Broker;
pub use super::java::{java, java_with, libs, run};

/// One line of `ConsumerGroupCommand --describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Committed offset; `None` where nothing is committed.
    pub committed: Option<i64>,
    /// The partition's end.
    pub end: Option<i64>,
    /// End less committed, as Kafka sees it: transaction markers count until they are stepped over.
    pub lag: Option<i64>,
    /// The member that owns the partition; `None` when the group has no member for it.
    pub member: Option<String>,
}

/// `ConsumerGroupCommand --describe`: every partition that the group has committed or owns. Empty
/// for a group that is not there.
pub fn describe_group(broker: &Broker, group: &str) -> Vec<GroupLine> {
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let output = run(class, &["--bootstrap-server", &broker.bootstrap(), "--describe", "--group", group]);
    let mut lines: Vec<GroupLine> = output.lines().filter_map(|line| group_line(line, group)).collect();
    lines.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    lines
}

fn group_line(line: &str, group: &str) -> Option<GroupLine> {
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, topic, partition, committed, end, lag, member, ..] = words[..] else { return None };
    if name != group {
        return None;
    }
    Some(GroupLine {
        topic: topic.to_owned(),
        partition: partition.parse().ok()?,
        committed: committed.parse().ok(),
        end: end.parse().ok(),
        lag: lag.parse().ok(),
        member: (member != "-").then(|| member.to_owned()),
    })
}

/// The sum of the group's lags as Kafka's tool sees it; `None` while some partition has no
/// committed offset, or the group is not there.
pub fn group_lag(broker: &Broker, group: &str) -> Option<i64> {
    let lines = describe_group(broker, group);
    if lines.is_empty() { None } else { lines.iter().map(|line| line.lag).sum() }
}

/// `GetOffsetShell`: (partition, end offset) of a topic, in order.
pub fn end_offsets(broker: &Broker, topic: &str) -> Vec<(i32, i64)> {
    let class = "org.apache.kafka.tools.GetOffsetShell";
    let output = run(class, &["--bootstrap-server", &broker.bootstrap(), "--topic", topic]);
    let mut ends: Vec<(i32, i64)> = output
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix(topic)?.strip_prefix(':')?.split(':');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    ends.sort_unstable();
    ends
}

/// `ConfigCommand --describe`: the topic's own settings (not the broker's defaults), as (key,
/// value).
pub fn topic_settings(broker: &Broker, topic: &str) -> Vec<(String, String)> {
    let arguments =
        ["--bootstrap-server", &broker.bootstrap(), "--entity-type", "topics", "--entity-name", topic, "--describe"];
    let output = run("kafka.admin.ConfigCommand", &arguments);
    // "  cleanup.policy=compact sensitive=false synonyms={…}"
    let settings = output.lines().filter_map(|line| {
        let (setting, _) = line.trim().split_once(" sensitive=")?;
        let (key, value) = setting.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    let mut settings: Vec<(String, String)> = settings.collect();
    settings.sort();
    settings
}

/// `DumpLogSegments --print-data-log` over all segments of a partition, as the tool prints them.
pub fn dump_log(broker: &Broker, topic: &str, partition: i32) -> String {
    let folder = broker.data_dir().join(format!("{topic}-{partition}"));
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".log"))
        .collect();
    files.sort();
    run("kafka.tools.DumpLogSegments", &["--files", &files.join(","), "--print-data-log"])
}
