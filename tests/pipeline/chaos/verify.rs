//! The verifier: it makes everything that must have come out of the input log anew, and counts
//! what is lost, doubled, or different.

use super::load::Load;
use crate::expect::{self, Driven, is_answer, is_user, memories_of, text};
use crate::mirrored::assert_outputs_mirrored;
use crate::trial::{Trial, assert_mirrored};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use testkit::Record;
use testkit::records::Reader;
use testkit::wait::wait_until;

/// Prefix of the keys of the rows of sync requests that are being answered.
const SYNC_REQUESTS: [u8; 2] = [0, b's'];

/// What is wrong with a topic or a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrong {
    pub lost: usize,
    pub doubled: usize,
    pub differing: usize,
}

impl AddAssign for Wrong {
    fn add_assign(&mut self, other: Wrong) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.differing += other.differing;
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost, {} doubled, {} differing", self.lost, self.doubled, self.differing)
    }
}

/// What was held against what.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Of each topic or table: records that were expected, and what is wrong.
    pub parts: BTreeMap<&'static str, (usize, Wrong)>,
    /// Bytes of keys and values of all rows that are in the changelogs.
    pub state_bytes: usize,
    /// Mean bytes of a record of the changelogs.
    pub changelog_record_bytes: usize,
    /// The rows of memories that differ, for a person.
    pub differences: Vec<String>,
}

impl Checked {
    /// All that is wrong.
    pub fn wrong(&self) -> Wrong {
        let mut all = Wrong::default();
        self.parts.values().for_each(|(_, wrong)| all += *wrong);
        all
    }

    fn add(&mut self, part: &'static str, expected: usize, wrong: Wrong) {
        let (count, all) = self.parts.entry(part).or_default();
        *count += expected;
        *all += wrong;
    }
}

/// Reads the topics of an application, each record once.
pub struct Verifier {
    reader: Reader,
}

impl Verifier {
    pub fn new(trial: &Trial) -> Verifier {
        Verifier { reader: Reader::start(trial.broker()) }
    }

    /// Checks everything, once the answers to sync requests are given: every event is processed,
    /// and nobody writes.
    pub fn check(&mut self, load: &Load) -> Checked {
        let (trial, mut checked) = (&*load.trial, Checked::default());
        self.wait_until_answered(trial);
        trial.wait_until_settled();
        let events = self.reader.read(&trial.topic("events"));
        let snapshots = self.reader.read(&trial.topic("snapshots"));
        let replayed = trial.replay(&events);
        let last = |records: &[Record]| -> BTreeMap<String, String> {
            memories_of(records).iter().map(|record| (record.key_text(), text(&record.value))).collect()
        };
        let (expected, found) = (last(&replayed.snapshots), last(&snapshots));
        checked.add("last snapshots, as by replay of the events", expected.len(), compare_maps(&expected, &found));
        let letters = self.reader.read(&trial.topic("dead-letters"));
        let (mut expected, mut found) = (lines(&replayed.dead_letters), lines(&letters));
        expected.sort();
        found.sort();
        checked.add("dead letters, as by replay of the events", expected.len(), compare(&expected, &found));
        self.check_tasks(trial, snapshots, &mut checked);
        let wrong = checked.wrong();
        if wrong != Wrong::default() {
            for what in &checked.differences {
                println!("{what}");
            }
            // It names the first record that is wrong.
            expect::assert_read(trial, |topic| self.reader.read(topic));
            panic!("{wrong}: {checked:?}");
        }
        assert_mirrored(&load.url, &events);
        assert_outputs_mirrored(&load.url, trial);
        checked.add("rows of events in Postgres", events.len(), Wrong::default());
        checked
    }

    /// Waits until no sync request is being answered. An answer is given in slices, one a commit,
    /// so the group's lag is 0 before the last of them is there.
    fn wait_until_answered(&mut self, trial: &Trial) {
        wait_until("every sync request to be answered", || {
            let rows = fold(&self.reader.read(&trial.changelog()));
            !rows.keys().any(|(_, key)| key.starts_with(&SYNC_REQUESTS))
        });
    }

    /// Each task against what the driver makes of its log.
    fn check_tasks(&mut self, trial: &Trial, snapshots: Vec<Record>, checked: &mut Checked) {
        let (users, memories): (Vec<Record>, Vec<Record>) = snapshots.into_iter().partition(is_user);
        let (_, memories): (Vec<Record>, Vec<Record>) = memories.into_iter().partition(is_answer);
        let conflicts = self.reader.read(&trial.topic("conflicts"));
        let driven = Driven::of(trial, &trial.repartition(), &self.reader.read(&trial.repartition()));
        let of_users = Driven::of(trial, &trial.by_user(), &self.reader.read(&trial.by_user()));
        for (part, expected, found) in [
            ("snapshots, record by record", &driven.snapshots, memories),
            ("conflicts, record by record", &driven.conflicts, conflicts),
            ("user snapshots, record by record", &of_users.snapshots, users),
        ] {
            checked.add(part, expected.len(), compare_tasks(expected, &found));
        }
        let changelog = self.reader.read(&trial.changelog());
        let rows = fold(&changelog);
        checked.add("rows of memories in the changelog", driven.state.len(), compare_maps(&driven.state, &rows));
        checked.differences = differences(&driven.state, &rows);
        let mut records = changelog;
        let users = self.reader.read(&trial.changelogs()[1]);
        let size = |rows: &BTreeMap<(i32, Vec<u8>), Vec<u8>>| -> usize {
            rows.iter().map(|((_, key), value)| key.len() + value.len()).sum()
        };
        checked.state_bytes = size(&rows) + size(&fold(&users));
        records.extend(users);
        let bytes = |of: &Option<Vec<u8>>| of.as_ref().map_or(0, Vec::len);
        let all: usize = records.iter().map(|record| bytes(&record.key) + bytes(&record.value)).sum();
        checked.changelog_record_bytes = all / records.len().max(1);
    }
}

fn lines(records: &[Record]) -> Vec<String> {
    // Offsets count transaction markers and other tasks' records.
    records.iter().map(|record| Record { offset: 0, ..record.clone() }.to_line()).collect()
}

/// The rows that a changelog holds after compaction.
fn fold(changelog: &[Record]) -> BTreeMap<(i32, Vec<u8>), Vec<u8>> {
    let mut last = BTreeMap::new();
    for record in changelog {
        let key = (record.partition, record.key.clone().unwrap_or_default());
        match &record.value {
            Some(value) => drop(last.insert(key, value.clone())),
            None => drop(last.remove(&key)),
        }
    }
    last
}

/// The rows in which two states differ, for a person: the key, then the row of the definition and
/// the one that is there.
fn differences(expected: &BTreeMap<(i32, Vec<u8>), Vec<u8>>, found: &BTreeMap<(i32, Vec<u8>), Vec<u8>>) -> Vec<String> {
    let keys: BTreeSet<&(i32, Vec<u8>)> = expected.keys().chain(found.keys()).collect();
    let shown = |row: Option<&Vec<u8>>| row.map_or("none".to_owned(), |row| row.escape_ascii().to_string());
    let differ = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
    differ
        .map(|key| {
            let (expected, found) = (shown(expected.get(key)), shown(found.get(key)));
            format!("partition {} key {}\n  to be {expected}\n  is    {found}", key.0, key.1.escape_ascii())
        })
        .collect()
}

fn compare_maps<K: Ord, V: Eq>(expected: &BTreeMap<K, V>, found: &BTreeMap<K, V>) -> Wrong {
    let mut wrong = Wrong::default();
    for (key, value) in expected {
        match found.get(key) {
            None => wrong.lost += 1,
            Some(other) if other != value => wrong.differing += 1,
            Some(_) => {}
        }
    }
    wrong.differing += found.keys().filter(|key| !expected.contains_key(key)).count();
    wrong
}

/// Counts what is lost, what is there more often than it is to be, and what is to be nowhere. Where
/// these are the same in another order, those differ that stand at a wrong place.
fn compare(expected: &[String], found: &[String]) -> Wrong {
    let mut wrong = Wrong::default();
    let mut left: BTreeMap<&String, i64> = BTreeMap::new();
    expected.iter().for_each(|line| *left.entry(line).or_default() += 1);
    for line in found {
        match left.get_mut(line) {
            None => wrong.differing += 1,
            Some(count) => *count -= 1,
        }
    }
    for count in left.values() {
        wrong.lost += usize::try_from(*count).unwrap_or(0);
        wrong.doubled += usize::try_from(-*count).unwrap_or(0);
    }
    if wrong == Wrong::default() {
        wrong.differing = expected.iter().zip(found).filter(|(expected, found)| expected != found).count();
    }
    wrong
}

/// Each task's records in each partition, in order.
fn compare_tasks(expected: &[(i32, Record)], found: &[Record]) -> Wrong {
    let task_of: BTreeMap<&Option<Vec<u8>>, i32> = expected.iter().map(|(task, record)| (&record.key, *task)).collect();
    let mut by_task: BTreeMap<(i32, i32), [Vec<Record>; 2]> = BTreeMap::new();
    for (task, record) in expected {
        by_task.entry((*task, record.partition)).or_default()[0].push(record.clone());
    }
    for record in found {
        // One of a key that no task has belongs to none.
        let task = task_of.get(&record.key).copied().unwrap_or(-1);
        by_task.entry((task, record.partition)).or_default()[1].push(record.clone());
    }
    let mut wrong = Wrong::default();
    for [expected, found] in by_task.values() {
        wrong += compare(&lines(expected), &lines(found));
    }
    wrong
}

#[test]
fn the_verifier_counts_what_is_lost_doubled_and_different() {
    let all = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let wrong = |lost, doubled, differing| Wrong { lost, doubled, differing };
    assert_eq!(compare(&all("a b c"), &all("a b c")), wrong(0, 0, 0));
    assert_eq!(compare(&all("a b c"), &all("a c")), wrong(1, 0, 0));
    assert_eq!(compare(&all("a b b"), &all("a b b b")), wrong(0, 1, 0));
    assert_eq!(compare(&all("a b c"), &all("a b d")), wrong(1, 0, 1));
    assert_eq!(compare(&all("a b c"), &all("b a c")), wrong(0, 0, 2));
}
