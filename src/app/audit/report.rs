//! The report of an audit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tasks::AuditedTask;
use crate::app::report;
use streams::audit::AuditOutcome;
use streams::record::TopicPartition;

/// Everything that an audit has found.
pub struct AuditReport {
    pub application_id: String,
    pub seconds: u64,
    /// A log, and the offsets between which it was re-run.
    pub tasks: Vec<ReportedTask>,
    /// Of each topic.
    pub topics: BTreeMap<String, AuditOutcome>,
}

/// One task of the report.
pub struct ReportedTask {
    pub task: String,
    pub log: String,
    pub from: i64,
    pub to: i64,
    pub records: u64,
}

impl AuditReport {
    /// An empty report.
    pub fn new(application_id: &str) -> AuditReport {
        AuditReport {
            application_id: application_id.to_owned(),
            seconds: 0,
            tasks: Vec::new(),
            topics: BTreeMap::new(),
        }
    }

    /// Adds the outcome of one partition.
    pub fn add(&mut self, partition: &TopicPartition, outcome: AuditOutcome) {
        self.topics.entry(partition.topic.to_string()).or_default().add(outcome);
    }

    /// Notes how far a task was re-run.
    pub fn add_task(&mut self, task: &AuditedTask) {
        self.tasks.push(ReportedTask {
            task: task.rerun.id().to_string(),
            log: task.stretch.source.to_string(),
            from: task.from,
            to: task.stretch.must_to,
            records: task.rerun.records(),
        });
    }

    /// How many differences there are.
    pub fn differences(&self) -> u64 {
        self.topics.values().map(AuditOutcome::count).sum()
    }

    /// Records and rows that were compared.
    pub fn compared(&self) -> u64 {
        self.topics.values().map(|outcome| outcome.compared).sum()
    }

    /// Records that were re-run.
    pub fn records(&self) -> u64 {
        self.tasks.iter().map(|task| task.records).sum()
    }

    fn left_out(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for (reason, count) in self.topics.values().flat_map(|outcome| &outcome.left_out) {
            *all.entry(*reason).or_default() += count;
        }
        all
    }

    /// For a person.
    pub fn text(&self) -> String {
        let heads = ["TOPIC", "COMPARED", "WITHOUT ORDER", "LEFT OUT", "DIFFERENCES"];
        let rows = self.topics.iter().map(|(topic, outcome)| {
            let left_out: u64 = outcome.left_out.values().sum();
            let counts = [outcome.compared, outcome.unordered, left_out, outcome.count()];
            [vec![topic.clone()], counts.map(|count| count.to_string()).to_vec()].concat()
        });
        let mut text = report::table(&heads, rows);
        text += &format!(
            "\n{}: {} records of {} tasks re-run, {} s followed, {} records and rows compared, {} differences\n",
            self.application_id,
            self.records(),
            self.tasks.len(),
            self.seconds,
            self.compared(),
            self.differences()
        );
        for (reason, count) in self.left_out() {
            text += &format!("left out: {count} {reason}\n");
        }
        for difference in self.topics.values().flat_map(|outcome| &outcome.differences) {
            text += &format!("DIFFERS ({}): {}\n", difference.kind.name(), escape::line(&difference.text));
        }
        text
    }

    /// For a program.
    pub fn json(&self) -> Value {
        let topics = self.topics.iter().map(|(topic, outcome)| {
            let differing: BTreeMap<_, _> =
                outcome.differing.iter().map(|(kind, count)| (kind.name(), count)).collect();
            json!({ "topic": topic, "compared": outcome.compared, "unordered": outcome.unordered,
                "left_out": outcome.left_out, "differing": differing })
        });
        let differences = self.topics.values().flat_map(|outcome| &outcome.differences);
        let differences =
            differences.map(|difference| json!({ "kind": difference.kind.name(), "text": difference.text }));
        let tasks = self.tasks.iter().map(|task| {
            json!({ "task": task.task, "log": task.log, "from": task.from, "to": task.to, "records": task.records })
        });
        json!({
            "application_id": self.application_id,
            "result": if self.differences() == 0 { "same" } else { "differs" },
            "seconds": self.seconds,
            "records": self.records(),
            "compared": self.compared(),
            "differing": self.differences(),
            "left_out": self.left_out(),
            "tasks": tasks.collect::<Vec<_>>(),
            "topics": topics.collect::<Vec<_>>(),
            "differences": differences.collect::<Vec<_>>(),
        })
    }
}
