//! Data of a member for the leader of its group, besides its topics and partitions, sent as it
//! joins: a short text with a version.
//!
//! `1 <instance> <topic>:<partition>=<offsets>,… …`: each `<partition>=<offsets>` is a task whose
//! state lies on the instance's disk, named by the partition that it reads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::record::TopicPartition;

/// The version that this release writes and reads.
const VERSION: &str = "1";

/// Bytes that the tasks take at most: some 600 tasks. The coordinator writes the data of all
/// members, that is of all threads of all instances, into one record, which `message.max.bytes` of
/// the broker limits (1 MiB by default); a group whose record is larger cannot form.
const MOST_BYTES: usize = 8 << 10;

/// Data of a member for the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberData {
    /// The instance that it is a thread of: threads of one instance share a disk.
    pub instance: String,
    /// The tasks whose state lies on the instance's disk, by the partitions that they read, and the
    /// sum of the changelog offsets that the state has reached. Copies of one task compare by it.
    pub on_disk: BTreeMap<TopicPartition, u64>,
}

impl MemberData {
    /// As text. Where that would be longer than 8 KiB, the tasks are left out whose state has
    /// reached the fewest offsets: they are restored the fastest elsewhere.
    pub fn encode(&self) -> String {
        let mut tasks: Vec<(&TopicPartition, u64)> = self.on_disk.iter().map(|(task, at)| (task, *at)).collect();
        tasks.sort_unstable_by_key(|(task, offsets)| (Reverse(*offsets), *task));
        let mut topics: BTreeMap<&str, String> = BTreeMap::new();
        let mut room = MOST_BYTES;
        for (TopicPartition { topic, partition }, offsets) in tasks {
            let word = format!("{partition}={offsets}");
            let of_topic = if topics.contains_key(&**topic) { 0 } else { topic.len() + 1 };
            let Some(rest) = room.checked_sub(of_topic + 1 + word.len()) else { break };
            room = rest;
            let tasks = topics.entry(topic).or_default();
            tasks.push(if tasks.is_empty() { ':' } else { ',' });
            tasks.push_str(&word);
        }
        let mut text = format!("{VERSION} {}", self.instance);
        for (topic, tasks) in topics {
            // Writing to a string does not fail.
            let _ = write!(text, " {topic}{tasks}");
        }
        text
    }

    /// Reads the text back; `None` where another release has written it, in a form that this one
    /// does not know.
    pub fn decode(text: &str) -> Option<MemberData> {
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        let instance = words.next()?.to_owned();
        let mut on_disk = BTreeMap::new();
        for word in words {
            let (topic, tasks) = word.split_once(':')?;
            for task in tasks.split(',') {
                let (partition, offsets) = task.split_once('=')?;
                let source = TopicPartition::new(topic, partition.parse().ok()?);
                on_disk.insert(source, offsets.parse().ok()?);
            }
        }
        Some(MemberData { instance, on_disk })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_back_and_one_of_another_form_is_unknown() {
        let task = |topic: &str, partition, offsets| (TopicPartition::new(topic, partition), offsets);
        let of_memory = [task("app-by.memory_1", 2, 7), task("app-by.memory_1", 11, u64::MAX)];
        let on_disk = of_memory.into_iter().chain([task("events", 0, 0)]).collect();
        let data = MemberData { instance: "1a2b".to_owned(), on_disk };
        assert_eq!(data.encode(), "1 1a2b app-by.memory_1:11=18446744073709551615,2=7 events:0=0");
        assert_eq!(MemberData::decode(&data.encode()), Some(data));
        let empty = MemberData { instance: "1a2b".to_owned(), ..MemberData::default() };
        assert_eq!(MemberData::decode(&empty.encode()), Some(empty));
        for text in ["", "1", "2 1a2b", "1 1a2b events", "1 1a2b events:0", "1 1a2b events:x=0", "1 1a2b events:0=-1"] {
            assert_eq!(MemberData::decode(text), None, "{text}");
        }
    }

    #[test]
    fn of_too_many_tasks_those_with_the_most_offsets_are_told() {
        let source = |partition| TopicPartition::new("app-by-memory", partition);
        let on_disk: BTreeMap<_, _> =
            (0..2_000).map(|partition| (source(partition), 1_000 + partition as u64)).collect();
        let data = MemberData { instance: "1a2b".to_owned(), on_disk };
        let text = data.encode();
        assert!(text.len() <= MOST_BYTES + "1 1a2b".len() && text.len() > MOST_BYTES - 16, "{} bytes", text.len());
        let told = MemberData::decode(&text).unwrap().on_disk;
        assert!(told.len() > 500);
        let lowest = 2_000 - i32::try_from(told.len()).unwrap();
        assert!(told.keys().eq((lowest..2_000).map(source).collect::<Vec<_>>().iter()));
    }
}
