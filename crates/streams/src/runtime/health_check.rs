//! Watches over the instance: whether Kafka can be reached, whether the topics are still there,
//! whether the threads commit. It says so in one line when that changes and once a minute while it
//! lasts, and leaves it in the metrics, where `/ready` finds it.
//!
//! The threads cannot say this of themselves: one that has nothing to do notices no outage, and one
//! that has something to do sees a row of failed calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::instance::Instance;
use super::metrics::StoppedTaskStatus;
use crate::error::Result;
use crate::record::TaskId;

/// How often a line is logged again about what lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How often Kafka is asked, as a part of [`super::RuntimeConfig::contact_timeout`].
const CHECK_FRACTION: u32 = 5;

/// Answer of Kafka to a check.
struct Answer {
    /// Whether the group's coordinator answered.
    group: Result<()>,
    /// Topics that are gone; `None`: it was not asked.
    missing: Option<Vec<String>>,
}

/// Something that is wrong and lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    /// Its subject: two of the same name are the same trouble.
    name: String,
    since: Duration,
    what: String,
    /// When it was last logged.
    logged_at: Duration,
}

/// A trouble that a check has found.
struct Found {
    since: Duration,
    /// The code of its message (docs/operations.md).
    code: &'static str,
    what: String,
}

/// The health check of an instance, driven by [`HealthCheck::run`].
pub struct HealthCheck {
    instance: Arc<Instance>,
    pending_answer: Option<Receiver<Answer>>,
    next_check: Duration,
    /// When Kafka was last heard of.
    contact: Duration,
    /// When the last outage was over.
    back: Duration,
    /// Why the last question got no answer.
    why: String,
    /// Topics that were gone at the last look.
    missing: Vec<String>,
    troubles: Vec<Problem>,
    /// When it was last logged which tasks are stopped, or when there were none.
    stopped_tasks_logged_at: Duration,
}

impl HealthCheck {
    /// Of an instance that has just been made, and so has just heard of Kafka.
    pub fn new(instance: &Arc<Instance>) -> HealthCheck {
        let now = instance.now();
        HealthCheck {
            instance: instance.clone(),
            pending_answer: None,
            next_check: now,
            contact: now,
            back: now,
            why: "no answer".to_owned(),
            missing: Vec::new(),
            troubles: Vec::new(),
            stopped_tasks_logged_at: now,
        }
    }

    /// Looks once; waits for nothing. To be called several times a second.
    pub fn run(&mut self) {
        let now = self.instance.now();
        let metrics = self.instance.metrics();
        let before = self.contact;
        self.receive_answer(now);
        let committed = metrics.threads().values().filter_map(|thread| thread.last_commit()).max();
        self.contact = self.contact.max(committed.unwrap_or_default());
        if self.contact.saturating_sub(before) > self.instance.config.contact_timeout {
            self.back = now;
        }
        self.start_check(now);
        let found = self.found(now);
        self.log_changes(now, &found);
        self.remind_of_stopped_tasks(now);
        let shown = |found: Found| format!("{} [{}]", text(now, found.since, &found.what), found.code);
        metrics.set_troubles(found.into_values().map(shown).collect());
    }

    fn receive_answer(&mut self, now: Duration) {
        let Some(pending_answer) = &self.pending_answer else { return };
        match pending_answer.try_recv() {
            Err(TryRecvError::Empty) => return,
            // Whoever asked could not be started, or the instance stops.
            Err(TryRecvError::Disconnected) => {}
            Ok(answer) => {
                match answer.group {
                    Ok(()) => self.contact = now,
                    Err(error) => self.why = error.to_string(),
                }
                if let Some(missing) = answer.missing {
                    self.missing = missing;
                }
            }
        }
        self.pending_answer = None;
    }

    /// Asks Kafka when it is time, on another thread. Who has just committed need not ask.
    fn start_check(&mut self, now: Duration) {
        if self.pending_answer.is_some() || now < self.next_check {
            return;
        }
        let interval = self.instance.config.contact_timeout / CHECK_FRACTION;
        self.next_check = now + interval;
        let metrics = self.instance.metrics();
        let is_late = |since: Duration| now.saturating_sub(since) > interval;
        let waits =
            metrics.threads().values().any(|thread| thread.uncommitted().is_some_and(|(since, _)| is_late(since)));
        let asks_topics = waits || !self.missing.is_empty();
        if !asks_topics && !is_late(self.contact) {
            return;
        }
        let (send, answer) = channel();
        let admin = self.instance.ports.admin.clone();
        let Some(source) = self.instance.plans.first().map(|plan| plan.source.clone()) else { return };
        let topics = if asks_topics { self.instance.topics() } else { Vec::new() };
        self.instance.ports.executor.run_at_once(Box::new(move || {
            let group = admin.reach_group(&source);
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let found = if group.is_ok() && asks_topics { admin.topics(&names).ok() } else { None };
            let missing = found.map(|found| {
                let gone = names.iter().zip(found).filter(|(_, info)| info.is_none());
                gone.map(|(name, _)| (*name).to_owned()).collect()
            });
            // Who asked may be gone by then.
            _ = send.send(Answer { group, missing });
        }));
        self.pending_answer = Some(answer);
    }

    /// The troubles of this moment, by their names.
    fn found(&self, now: Duration) -> BTreeMap<String, Found> {
        let mut found = BTreeMap::new();
        let limit = self.instance.config.contact_timeout;
        let is_late = |since: Duration| now.saturating_sub(since) > limit;
        if is_late(self.contact) {
            let what = format!(
                "Kafka has not been reachable ({}); the stream threads wait and go on by themselves when it is back, and nothing is lost",
                self.why
            );
            found.insert("Kafka".to_owned(), Found { since: self.contact, code: "HS2001", what });
            return found;
        }
        for topic in &self.missing {
            let known = self.troubles.iter().find(|trouble| trouble.name == *topic);
            // While it is gone nobody can commit, so there is nothing to be said of the threads.
            let what = format!(
                "topic `{topic}` does not exist any more; make it again with `helixstream topics create`, or correct the topology. Its records \
                 cannot be processed until then (a broker says the same of a topic that this principal has lost the right to Describe)"
            );
            let since = known.map_or(now, |trouble| trouble.since);
            found.insert(topic.clone(), Found { since, code: "HS2004", what });
        }
        if !found.is_empty() {
            return found;
        }
        if let Some((since, why)) = self.instance.pauses.failing()
            && is_late(since)
        {
            let what = format!(
                "what is paused could not be read from the control log ({why}); what was read before holds, and tasks that are assigned meanwhile \
                 wait until it can be read"
            );
            found.insert("control log".to_owned(), Found { since, code: "HS1038", what });
        }
        // What waits for Kafka to answer is no trouble of a thread's own.
        let answers = now.saturating_sub(self.contact) <= limit / CHECK_FRACTION * 2;
        let metrics = self.instance.metrics();
        for (at, thread) in metrics.threads() {
            let name = format!("stream thread {at}");
            let is_known = self.troubles.iter().any(|trouble| trouble.name == name);
            if let Some((since, why)) = thread.uncommitted()
                && is_late(self.back.max(since))
                && (answers || is_known)
            {
                let what = format!(
                    "stream thread {at} could not commit ({}); it goes back to its last commit and tries again, and nothing is lost",
                    why.as_deref().unwrap_or("its transaction is still open")
                );
                found.insert(name, Found { since, code: "HS1001", what });
            }
        }
        found
    }

    /// Logs which tasks are stopped, once a minute. Their threads have logged why, once for each.
    fn remind_of_stopped_tasks(&mut self, now: Duration) {
        let stopped = self.instance.metrics().stopped_tasks();
        if stopped.is_empty() {
            // The first line comes a minute after the stop.
            self.stopped_tasks_logged_at = now;
            return;
        }
        if now < self.stopped_tasks_logged_at + LOG_INTERVAL {
            return;
        }
        self.stopped_tasks_logged_at = now;
        let shown = |(id, stopped): (&TaskId, &Arc<StoppedTaskStatus>)| {
            format!("{id} for {} s ({})", now.saturating_sub(stopped.since).as_secs(), stopped.reason.code)
        };
        let all: Vec<String> = stopped.iter().map(shown).collect();
        tracing::warn!(
            code = "HS1039",
            "tasks of this instance are stopped, and the others go on: {}; /ready says why, and names the ways out",
            all.join(", ")
        );
    }

    /// Logs what is new, what still lasts after a minute, and what is over.
    fn log_changes(&mut self, now: Duration, found: &BTreeMap<String, Found>) {
        for trouble in std::mem::take(&mut self.troubles) {
            if found.contains_key(&trouble.name) {
                self.troubles.push(trouble);
            } else {
                let lasted = now.saturating_sub(trouble.since).as_secs();
                tracing::info!("a problem that /ready reported is over after {lasted} s: {}", trouble.what);
            }
        }
        for (name, Found { since, code, what }) in found {
            let at = self.troubles.iter().position(|trouble| trouble.name == *name);
            if at.is_some_and(|at| now < self.troubles[at].logged_at + LOG_INTERVAL) {
                continue;
            }
            tracing::warn!(code, "{}", text(now, *since, what));
            let trouble = Problem { name: name.clone(), since: *since, what: what.clone(), logged_at: now };
            match at {
                Some(at) => self.troubles[at] = trouble,
                None => self.troubles.push(trouble),
            }
        }
    }
}

fn text(now: Duration, since: Duration, what: &str) -> String {
    match now.saturating_sub(since).as_secs() {
        0 => what.to_owned(),
        seconds => format!("for {seconds} s: {what}"),
    }
}
