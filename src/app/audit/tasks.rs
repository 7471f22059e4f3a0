//! The tasks that are audited: where each begins, how far it is re-run, and its changelogs.

use std::sync::Arc;

use super::clients::{AuditError, Clients};
use super::log_reader::{LogReader, patiently};
use streams::audit::{AuditOutcome, AuditRules, ChangelogAudit, Commit, DifferenceKind, Rerun, Stretch, WorkDone};
use streams::offset::{Offset, StartOffset};
use streams::ports::Admin as _;
use streams::record::{TaskId, TopicPartition};
use streams::task::Plan;
use streams::topology_digest::{Stamp, TopologyDigest};

/// A task before its start is known.
pub struct Place {
    pub plan: Arc<Plan>,
    pub id: TaskId,
    pub source: TopicPartition,
}

/// A task that is audited.
pub struct AuditedTask {
    pub rerun: Rerun,
    pub stretch: Stretch,
    /// The first record that is re-run.
    pub from: i64,
    log: LogReader,
    changelogs: Vec<(ChangelogAudit, LogReader)>,
}

/// The commits of all tasks, in their order.
pub fn commits(clients: &Clients, places: &[Place], digest: &TopologyDigest) -> Result<Vec<Commit>, AuditError> {
    let partitions: Vec<TopicPartition> = places.iter().map(|place| place.source.clone()).collect();
    let found = patiently(|| clients.admin.committed(&partitions))?;
    let of = |(place, committed): (&Place, &Option<_>)| Commit::of(committed.as_ref(), &place.plan);
    let commits = places.iter().zip(&found).map(of).collect::<Result<Vec<Commit>, _>>()?;
    let mut generation = None;
    for (place, commit) in places.iter().zip(&commits) {
        let Some(stamp) = &commit.stamp else {
            if commit.next_offset() > Offset::FIRST {
                return Err(AuditError::NotComparable(format!(
                    "the last commit of {} does not say which topology made it: an earlier release did",
                    place.source
                )));
            }
            continue;
        };
        check_stamp(place, stamp, digest)?;
        if *generation.get_or_insert(stamp.generation) != stamp.generation {
            return Err(AuditError::NotComparable(
                "the topology of the application was changed in the stretch, or some tasks have committed nothing since it \
                 was: wait until all of them have"
                    .to_owned(),
            ));
        }
    }
    Ok(commits)
}

fn check_stamp(place: &Place, stamp: &Stamp, digest: &TopologyDigest) -> Result<(), AuditError> {
    if stamp.digest == *digest {
        return Ok(());
    }
    Err(AuditError::NotComparable(format!(
        "the last commit of {} was made by another topology, which differs in: {}; give the topology file, settings and scripts \
         that the instances have",
        place.source,
        stamp.digest.differences(digest).join(", ")
    )))
}

impl AuditedTask {
    /// A task at a commit, with the state that its changelogs have there. The second value says
    /// what is wrong with that state.
    pub fn start(
        clients: &Clients,
        place: &Place,
        commit: &Commit,
        rules: &dyn AuditRules,
    ) -> Result<(AuditedTask, AuditOutcome), AuditError> {
        let from = commit.next_offset();
        let range = patiently(|| clients.admin.log_range(&place.source))?;
        if range.start > from {
            return Err(AuditError::NotComparable(format!(
                "the records of {} before offset {} are deleted, and the audit begins at {from}: begin at the last commits \
                 (`--start commit`), or run the application without purge ([runtime] purge)",
                place.source, range.start
            )));
        }
        let mut outcome = AuditOutcome::default();
        let mut changelogs = Vec::new();
        for (at, store) in place.plan.stores.iter().enumerate() {
            let partition = TopicPartition::new(store.changelog.clone(), place.id.partition);
            let mut changelog = ChangelogAudit::new(partition.clone(), &store.name, at);
            let mut reader = LogReader::open(&clients.reader, &partition, StartOffset::Beginning)?;
            let checkpoint = commit.checkpoint.stores[at];
            let to = checkpoint.changelog_offset.map_or(0, |last| last.next().number());
            reader.read_to(to, &mut |record| {
                changelog.restore(record);
                Ok(())
            })?;
            let found = changelog.checksum();
            if found != checkpoint.checksum {
                outcome.differs(DifferenceKind::Commit, || {
                    format!(
                        "store `{}` of task {}: the commit at offset {from} of {} has the checksum {:x}, and changelog {partition} up to \
                         offset {to} has {found:x}",
                        store.name, place.id, place.source, checkpoint.checksum
                    )
                });
            }
            changelogs.push((changelog, reader));
        }
        let rows: Vec<_> = changelogs.iter().map(|(changelog, _)| changelog.rows()).collect();
        let rerun = Rerun::new(&place.plan, place.id, commit.checkpoint.clone(), &rows, rules)?;
        let stretch = Stretch { source: place.source.clone(), must_from: from.number(), must_to: from.number() };
        let log = LogReader::open(&clients.reader, &place.source, from.into())?;
        Ok((AuditedTask { rerun, stretch, from: from.number(), log, changelogs }, outcome))
    }

    /// Re-runs the records below a commit.
    pub fn follow(&mut self, commit: &Commit, rules: &dyn AuditRules) -> Result<(), AuditError> {
        let AuditedTask { rerun, log, .. } = self;
        log.read_to(commit.next_offset().number(), &mut |record| rerun.process(record, rules))?;
        Ok(())
    }

    /// Compares the state at the commit up to which the task was re-run.
    pub fn compare_state(
        &mut self,
        clients: &Clients,
        commit: &Commit,
        work: &WorkDone,
        rules: &dyn AuditRules,
    ) -> Result<Vec<(TopicPartition, AuditOutcome)>, AuditError> {
        let mut outcomes = Vec::new();
        let checkpoint = &commit.checkpoint;
        let (found, expected) = (checkpoint.stream_time, self.rerun.stream_time());
        if found != expected {
            let mut outcome = AuditOutcome::default();
            outcome.differs(DifferenceKind::Commit, || {
                let task = self.rerun.id();
                format!("task {task}: the commit has the stream time {found}, and the re-run {expected}")
            });
            outcomes.push((self.stretch.source.clone(), outcome));
        }
        for (changelog, reader) in &mut self.changelogs {
            let at = &checkpoint.stores[changelog.store()];
            let partition = changelog.partition().clone();
            reader.read_to(at.changelog_offset.map_or(0, |last| last.next().number()), &mut |record| {
                changelog.follow(record);
                Ok(())
            })?;
            let (_, end) = patiently(|| clients.reader.bounds(&partition))?;
            reader.read_to(end, &mut |record| {
                changelog.follow_later(record);
                Ok(())
            })?;
            outcomes.push((partition, changelog.compare(&self.rerun, at, work, rules)?));
        }
        Ok(outcomes)
    }
}
