//! `helixstream mirror verify`: counts a range again, in Kafka and in the tables, and names the
//! first difference.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::compare::{Difference, LastOfKey, each};
use super::setup::{MirrorSetup, existing_topics};
use crate::app::mirrored_topics::{MirroredTable, mirrored_tables};
use crate::app::{CommandError, Program, kafka, rights};
use crate::edges::cli::terminal::Progress as Bar;
use crate::edges::cli::{Purpose, VerifyArgs};
use mirror::digest::Digest;
use mirror::ports::RowPolicy;
use mirror_postgres::{MirrorTables, Progress, Unclaimed};
use streams::record::TopicPartition;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::restore_consumer::RestoreConsumer;

/// Records whose digests are in memory at a time, where every record has a row.
const CHUNK: usize = 20_000;
/// How long one read waits.
const WAIT: Duration = Duration::from_millis(200);
/// How long a log that does not go on is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A range of a partition.
struct Range {
    partition: TopicPartition,
    table: &'static str,
    row_policy: RowPolicy,
    from: i64,
    to: i64,
    /// Whether all that was ever mirrored lies in it.
    is_whole: bool,
    mirrored: Progress,
}

/// Content of a range.
#[derive(Clone, Copy, Default)]
struct Tally {
    records: u64,
    checksum: u64,
    /// Records whose rows retention has dropped.
    dropped: u64,
}

impl Tally {
    fn add(&mut self, record: &Digest) {
        self.records += 1;
        self.checksum = self.checksum.wrapping_add(record.checksum());
    }
}

/// Why a range was not compared to its end.
enum Failed {
    Differs(Difference),
    Other(anyhow::Error),
}

impl From<Difference> for Failed {
    fn from(difference: Difference) -> Failed {
        Failed::Differs(difference)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(e: E) -> Failed {
        Failed::Other(e.into())
    }
}

/// Compares, prints a line for each partition, and fails when one differs.
pub fn verify(args: &VerifyArgs, program: &Program) -> Result<(), CommandError> {
    let MirrorSetup { file, database, kafka } = MirrorSetup::new(&args.target, program)?;
    let chosen = choose(mirrored_tables(&file, None), args)?;
    let mut tables = MirrorTables::new(&database)?;
    let topics: Vec<String> = chosen.iter().flat_map(|kept| kept.topics.clone()).collect();
    let mirrored =
        tables.progress(&topics).with_context(|| format!("cannot read the mirror's tables in {database}"))?;
    if mirrored.is_empty() {
        return Err(anyhow!(
            "nothing of {} is mirrored in {database}: run the mirror first, or name the database that it writes to [HS4524]",
            topics.join(", ")
        ).into());
    }
    let reader = RestoreConsumer::new(&kafka)?;
    let admin = ClusterAdmin::new(&kafka, &reader)?;
    admin.wait_for_brokers(kafka::patience(Some(&file)))?;
    let needs = rights::needs(&file, Purpose::MirrorVerify).into_iter();
    let needs: Vec<_> = needs.filter(|need| topics.contains(&need.right.name)).collect();
    rights::require(&admin, &kafka, "mirror verify", &needs)?;
    let existing = existing_topics(&admin, &chosen)?;
    let is_there = |at: &Progress| existing.iter().any(|topic| *topic.name == *at.partition.topic);
    let dropped_before = tables.dropped_before()?;
    let mut ranges = Vec::new();
    for at in mirrored
        .into_iter()
        .filter(is_there)
        .filter(|at| args.partition.is_none_or(|only| at.partition.partition == only))
    {
        ranges.push(range(at, &chosen, args, &reader)?);
    }
    let unclaimed = unclaimed(&mut tables, &chosen, args)?;
    if args.topic.is_none() {
        for other in tables.other_topics(&topics)? {
            tracing::warn!(
                code = "HS4052",
                "{database} has records of topic {other} too, which this topology does not mirror: they are not compared. Two \
                 applications need a schema each (--postgres-schema)"
            );
        }
    }
    let total = ranges.iter().map(|range| u64::try_from(range.to - range.from).unwrap_or(0)).sum();
    let verifier = Verifier { reader, tables, dropped_before, bar: Bar::new("verify", Some(total), false), done: 0 };
    verifier.all(&ranges, &unclaimed)
}

/// Rows of the requested ranges that no checkpoint covers.
fn unclaimed(tables: &mut MirrorTables, chosen: &[MirroredTable], args: &VerifyArgs) -> anyhow::Result<Vec<Unclaimed>> {
    let mut all = Vec::new();
    for kept in chosen {
        all.extend(tables.unclaimed(kept.rows.table())?);
    }
    let is_asked_for = |rows: &Unclaimed| {
        args.topic.as_ref().is_none_or(|only| *rows.partition.topic == **only)
            && args.partition.is_none_or(|only| rows.partition.partition == only)
    };
    all.retain(is_asked_for);
    Ok(all)
}

/// The kinds of rows that are asked for.
fn choose(all: Vec<MirroredTable>, args: &VerifyArgs) -> Result<Vec<MirroredTable>, CommandError> {
    let Some(topic) = &args.topic else { return Ok(all) };
    let names: Vec<String> = all.iter().flat_map(|kept| kept.topics.clone()).collect();
    let found = all.into_iter().find(|kept| kept.topics.contains(topic));
    let found = found.ok_or_else(|| {
        CommandError::Usage(format!(
            "--topic: `{topic}` is not mirrored; the mirrored topics are: {} [HS4527]",
            names.join(", ")
        ))
    })?;
    if found.rows.row_policy() != RowPolicy::Append && (args.from.is_some() || args.to.is_some()) {
        let why = format!("only the last record of each key of {topic} has a row, so whole partitions are compared");
        return Err(CommandError::Usage(format!("--from and --to cannot be used: {why} [HS4528]")));
    }
    Ok(vec![MirroredTable { topics: vec![topic.clone()], ..found }])
}

fn range(at: Progress, chosen: &[MirroredTable], args: &VerifyArgs, reader: &RestoreConsumer) -> anyhow::Result<Range> {
    let kind = chosen.iter().find(|kept| kept.topics.iter().any(|topic| **topic == *at.partition.topic));
    let kind = kind.context("a checkpoint is of a topic that was not asked for [HS9000]")?;
    let (begin, _) = reader.bounds(&at.partition)?;
    let to = args.to.unwrap_or(i64::MAX).min(at.next_offset);
    let from = args.from.unwrap_or(0).max(begin).min(to.max(begin));
    Ok(Range {
        table: kind.rows.table(),
        row_policy: kind.rows.row_policy(),
        from,
        to: to.max(from),
        is_whole: from == begin && to == at.next_offset,
        partition: at.partition.clone(),
        mirrored: at,
    })
}

struct Verifier {
    reader: RestoreConsumer,
    tables: MirrorTables,
    dropped_before: Option<i64>,
    bar: Bar,
    done: u64,
}

impl Verifier {
    fn all(mut self, ranges: &[Range], unclaimed: &[Unclaimed]) -> Result<(), CommandError> {
        let mut all = Tally::default();
        let mut different = 0;
        for range in ranges {
            let place = format!("{}  offsets {} to {}", range.partition, range.from, range.to);
            match self.one(range) {
                Ok(tally) => {
                    let dropped = match tally.dropped {
                        0 => String::new(),
                        n => format!(", {n} of them without a row since retention dropped it"),
                    };
                    let Tally { records, checksum, .. } = tally;
                    self.bar.print(&format!("{place}  {records} records  checksum {checksum:016x}  same{dropped}"));
                    all.records += records;
                }
                Err(Failed::Differs(difference)) => {
                    self.bar.print(&format!("{place}  DIFFERS: {difference}"));
                    different += 1;
                }
                Err(Failed::Other(e)) => return Err(e.context(format!("cannot compare {}", range.partition)).into()),
            }
        }
        for Unclaimed { partition, rows, first_offset } in unclaimed {
            self.bar.print(&format!(
                "{partition}  DIFFERS: {rows} rows, from offset {first_offset} on, are claimed by no checkpoint: another program wrote \
                 them, or the checkpoint was set back"
            ));
        }
        drop(self.bar);
        match different {
            0 if !unclaimed.is_empty() => {
                return Err(anyhow!(
                    "the tables have rows of {} partitions that no checkpoint covers: see above [HS4526]",
                    unclaimed.len()
                )
                .into());
            }
            0 => println!("same: {} records of {} partitions", all.records, ranges.len()),
            n => return Err(anyhow!("{n} of {} partitions differ from Kafka: see above [HS4525]", ranges.len()).into()),
        }
        Ok(())
    }

    fn one(&mut self, range: &Range) -> Result<Tally, Failed> {
        let tally = match range.row_policy {
            RowPolicy::Append => self.every(range)?,
            RowPolicy::UpsertByKey | RowPolicy::UpsertByPartitionAndKey => self.last_of_key(range)?,
        };
        let Progress { records, checksum, .. } = range.mirrored;
        // The rows are right; so must be what the checkpoint has counted, where Kafka still has all
        // of it.
        if range.is_whole && range.from == 0 && range.row_policy == RowPolicy::Append && tally.records != records {
            return Err(Difference::Count { log: tally.records, checkpoint: records }.into());
        }
        if let Some(checkpoint) = checksum
            && range.is_whole
            && tally.records == records
            && tally.checksum != checkpoint
        {
            return Err(Difference::Checksum { log: tally.checksum, checkpoint }.into());
        }
        Ok(tally)
    }

    fn every(&mut self, range: &Range) -> Result<Tally, Failed> {
        let mut tally = Tally::default();
        let mut from = range.from;
        let mut chunk = Vec::new();
        let mut log = Log::open(&self.reader, range)?;
        while from < range.to {
            chunk.clear();
            let upto = log.read(CHUNK, &mut |record| chunk.push(record))?;
            let mut rows = Vec::with_capacity(chunk.len());
            self.tables.rows(range.table, &range.partition, (from, upto), &mut |row| rows.push(row))?;
            tally.dropped += each(&chunk, &rows, self.dropped_before)?;
            chunk.iter().for_each(|record| tally.add(record));
            self.done += u64::try_from(upto - from).unwrap_or(0);
            self.bar.set(self.done, None);
            from = upto;
        }
        Ok(tally)
    }

    fn last_of_key(&mut self, range: &Range) -> Result<Tally, Failed> {
        let mut tally = Tally::default();
        let mut last = LastOfKey::default();
        let mut from = range.from;
        let mut log = Log::open(&self.reader, range)?;
        while from < range.to {
            let upto = log.read(CHUNK, &mut |record| {
                tally.add(&record);
                last.record(record);
            })?;
            self.done += u64::try_from(upto - from).unwrap_or(0);
            self.bar.set(self.done, None);
            from = upto;
        }
        let mut found = Ok(());
        self.tables.rows(range.table, &range.partition, (range.from, i64::MAX), &mut |row| {
            if found.is_ok() {
                found = last.row(&row, range.to);
            }
        })?;
        found?;
        last.end()?;
        Ok(tally)
    }
}

/// A range of Kafka's log.
struct Log<'r> {
    range: &'r Range,
    reader: Option<streams_kafka::range::RangeReader>,
    next: i64,
}

impl Log<'_> {
    fn open<'r>(reader: &RestoreConsumer, range: &'r Range) -> anyhow::Result<Log<'r>> {
        let is_empty = range.from >= range.to;
        let reader = if is_empty { None } else { Some(reader.range(&range.partition, range.from)?) };
        Ok(Log { range, reader, next: range.from })
    }

    /// Hands over about `count` records; gives the offset up to which the range is read.
    fn read(&mut self, count: usize, take: &mut dyn FnMut(Digest)) -> Result<i64, Failed> {
        let Some(reader) = &mut self.reader else { return Ok(self.range.to) };
        let to = self.range.to;
        let mut taken = 0;
        let mut heard = Instant::now();
        while taken < count && self.next < to {
            let next = &mut self.next;
            let before = taken;
            let end = reader.read(WAIT, &mut |record| {
                // Behind the range: of no interest, and the range is read.
                if record.offset < to {
                    take(Digest::of(record));
                    taken += 1;
                }
                *next = record.offset + 1;
            })?;
            if let Some(end) = end {
                if end < to {
                    return Err(Difference::Ends { log: end, checkpoint: self.range.mirrored.next_offset }.into());
                }
                self.next = to;
            }
            if taken > before {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                return Err(anyhow!("Kafka sent no record within {} s [HS2502]", PATIENCE.as_secs()).into());
            }
        }
        Ok(self.next.min(to))
    }
}
