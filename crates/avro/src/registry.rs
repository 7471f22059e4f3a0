//! A cache of the schema registry's answers, with a back-off while it does not answer.
//!
//! A question is asked on a thread of its own, so that a stream thread never waits for longer than
//! it may: what is not answered by then is there when the record comes again.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::bad_input::bad_input;
use super::client::Client;
use super::request::{self, Answer, Asked, Question};
use super::settings::{RegistrySettings, SettingsError};
use super::writer::WriterSchema;
use memory::event::Class;
use streams::ports::CodecError;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How long an id counts as unknown before it is asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// How many unknown ids are kept: anyone can write records with ids that nobody has given out.
const MAX_UNKNOWN: usize = 10_000;
/// How long the registry may fail (5xx) at one id, while it serves us otherwise, before the id
/// counts as unknown.
const SERVER_FAULT_FOR: Duration = Duration::from_secs(60);
/// How often the log repeats why the registry is not to be had.
const WARN_EVERY: Duration = Duration::from_secs(60);

enum Entry {
    Asked,
    Known { answer: Answer, until: Option<Instant> },
    Failed { why: String, again: Instant },
}

/// State of a request.
struct Kept {
    entry: Entry,
    /// The last pause before it is asked again.
    backoff: Duration,
    /// Since when the registry fails at it while it serves us otherwise.
    failing_since: Option<Instant>,
}

/// The answers, by question.
#[derive(Default)]
struct Answers {
    all: Mutex<BTreeMap<Question, Kept>>,
    /// The last warning, and when it was given.
    warned: Mutex<Option<(Instant, String)>>,
    came: Condvar,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Question, Kept>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Registry {
    runtime: Runtime,
    client: Arc<Client>,
    register: bool,
    answers: Arc<Answers>,
}

impl Registry {
    pub fn new(settings: &RegistrySettings) -> Result<Registry, SettingsError> {
        let client = Arc::new(Client::new(settings)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("schema-registry")
            .enable_all()
            .build()
            .map_err(|e| {
                SettingsError(format!("cannot start the thread of the schema registry's client: {e} [HS0008]"))
            })?;
        Ok(Registry { runtime, client, register: settings.register, answers: Arc::default() })
    }

    /// The schema of an id that stands in a value; `wait`, here and below: how long the call may
    /// take.
    pub fn schema(&self, id: u32, wait: Duration) -> Result<Arc<WriterSchema>, CodecError> {
        match self.answer(Question::Schema(id), wait)? {
            Answer::Schema(writer) => Ok(writer),
            Answer::Unusable(why) => {
                Err(bad_input(Class::UnknownSchema, format!("the value is Avro of schema id {id}: {why}")))
            }
            Answer::Refused(why) => Err(CodecError::Fatal(why)),
            Answer::Id(_) => {
                Err(CodecError::Fatal(format!("an id was answered where schema {id} was asked for [HS9000]")))
            }
        }
    }

    /// The id of one of our schemas under a subject.
    pub fn id(&self, subject: &str, schema: &'static str, wait: Duration) -> Result<u32, CodecError> {
        match self.answer(Question::Id { subject: subject.to_owned(), schema }, wait)? {
            Answer::Id(id) => Ok(id),
            Answer::Unusable(why) | Answer::Refused(why) => Err(CodecError::Fatal(why)),
            Answer::Schema(_) => {
                Err(CodecError::Fatal(format!("a schema was answered for the id under {subject} [HS9000]")))
            }
        }
    }

    fn answer(&self, question: Question, wait: Duration) -> Result<Answer, CodecError> {
        let deadline = Instant::now() + wait;
        let mut all = self.answers.lock();
        loop {
            let now = Instant::now();
            let until = match all.get(&question).map(|kept| &kept.entry) {
                Some(Entry::Known { answer, until }) if until.is_none_or(|until| now < until) => {
                    return Ok(answer.clone());
                }
                Some(Entry::Failed { why, again }) if now < *again => {
                    if deadline < *again {
                        return Err(CodecError::Unavailable(why.clone()));
                    }
                    *again
                }
                Some(Entry::Asked) if now < deadline => deadline,
                Some(Entry::Asked) => {
                    let what =
                        format!("the schema registry at {} has not answered yet [HS5052]", self.client.address());
                    return Err(CodecError::Unavailable(what));
                }
                Some(Entry::Known { .. } | Entry::Failed { .. }) | None => {
                    let (backoff, failing_since) = match all.get(&question) {
                        Some(Kept { entry: Entry::Failed { .. }, backoff, failing_since }) => {
                            (*backoff, *failing_since)
                        }
                        _ => (Duration::ZERO, None),
                    };
                    all.insert(question.clone(), Kept { entry: Entry::Asked, backoff, failing_since });
                    self.start_request(question.clone());
                    continue;
                }
            };
            let wait = until.saturating_duration_since(now);
            all = self.answers.came.wait_timeout(all, wait).map_or_else(|e| e.into_inner().0, |(all, _)| all);
        }
    }

    fn start_request(&self, question: Question) {
        let client = self.client.clone();
        let answers = self.answers.clone();
        let register = self.register;
        self.runtime.spawn(async move {
            let asked = request::send_request(&client, &question, register).await;
            answers.store(question, asked);
        });
    }
}

impl Answers {
    fn store(&self, question: Question, asked: Asked) {
        let mut all = self.lock();
        let before = all.get(&question).map(|kept| (kept.backoff, kept.failing_since));
        let (backoff, failing_since) = before.unwrap_or_default();
        let now = Instant::now();
        let known = |answer: Answer| {
            let is_final = matches!(answer, Answer::Schema(_) | Answer::Id(_));
            let until = (!is_final).then(|| now + UNKNOWN_FOR);
            Kept { entry: Entry::Known { answer, until }, backoff: Duration::ZERO, failing_since: None }
        };
        let failed = |why: String, failing_since| {
            let backoff = (backoff * 2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
            let why = format!("the schema registry is not available: {why}");
            Kept { entry: Entry::Failed { why, again: now + backoff }, backoff, failing_since }
        };
        let kept = match asked {
            Asked::Answer(answer) => known(answer),
            Asked::FailsAt(why) if failing_since.is_some_and(|since| now - since >= SERVER_FAULT_FOR) => {
                known(Answer::Unusable(format!(
                    "the schema registry has failed at it for {SERVER_FAULT_FOR:?}, and at nothing else: {why}"
                )))
            }
            Asked::FailsAt(why) => failed(format!("{why} [HS5052]"), Some(failing_since.unwrap_or(now))),
            Asked::Outage(why) => failed(why, None),
        };
        self.log_availability(&kept.entry, now);
        all.insert(question, kept);
        forget_unknown(&mut all, now);
        self.came.notify_all();
    }

    /// Warns of a registry that is not to be had, once a minute, and logs when it is back.
    fn log_availability(&self, entry: &Entry, now: Instant) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        match entry {
            Entry::Failed { why, .. } => {
                let is_reported = warned.as_ref().is_some_and(|(at, told)| told == why && now - *at < WARN_EVERY);
                if !is_reported {
                    tracing::warn!(code = "HS5052", "{why}; records that need it wait, and it is asked again");
                    *warned = Some((now, why.clone()));
                }
            }
            Entry::Known { .. } if warned.take().is_some() => tracing::info!("the schema registry answers again"),
            Entry::Known { .. } | Entry::Asked => {}
        }
    }
}

/// Drops unknown ids beyond those that may be kept: those first whose time is over, then any.
fn forget_unknown(all: &mut BTreeMap<Question, Kept>, now: Instant) {
    let is_unknown = |kept: &Kept| matches!(kept.entry, Entry::Known { until: Some(_), .. });
    if all.len() <= MAX_UNKNOWN || all.values().filter(|kept| is_unknown(kept)).count() <= MAX_UNKNOWN {
        return;
    }
    all.retain(|_, kept| !matches!(kept.entry, Entry::Known { until: Some(until), .. } if until <= now));
    let mut left = all.values().filter(|kept| is_unknown(kept)).count().saturating_sub(MAX_UNKNOWN / 2);
    all.retain(|_, kept| {
        let goes = left > 0 && is_unknown(kept);
        left -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(answers: &Answers, id: u32) -> &'static str {
        match &answers.lock()[&Question::Schema(id)].entry {
            Entry::Asked => "asked",
            Entry::Known { .. } => "known",
            Entry::Failed { .. } => "failed",
        }
    }

    #[test]
    fn unknown_ids_are_kept_in_bounds_and_schemas_for_ever() {
        let answers = Answers::default();
        answers.store(Question::Schema(0), Asked::Answer(Answer::Id(0)));
        for id in 1..30_000 {
            answers.store(Question::Schema(id), Asked::Answer(Answer::Unusable(String::new())));
        }
        assert!(answers.lock().len() <= MAX_UNKNOWN + 1);
        assert_eq!(entry(&answers, 0), "known");
    }

    #[test]
    fn an_id_that_the_registry_always_fails_at_becomes_unknown_and_an_outage_never_does() {
        let answers = Answers::default();
        answers.store(Question::Schema(1), Asked::FailsAt("500".to_owned()));
        assert_eq!(entry(&answers, 1), "failed");
        let long_ago = Instant::now().checked_sub(SERVER_FAULT_FOR).unwrap();
        answers.lock().get_mut(&Question::Schema(1)).unwrap().failing_since = Some(long_ago);
        answers.store(Question::Schema(1), Asked::Outage("refused".to_owned()));
        assert_eq!(entry(&answers, 1), "failed");
        answers.store(Question::Schema(1), Asked::FailsAt("500".to_owned()));
        assert_eq!(entry(&answers, 1), "failed");
        answers.lock().get_mut(&Question::Schema(1)).unwrap().failing_since = Some(long_ago);
        answers.store(Question::Schema(1), Asked::FailsAt("500".to_owned()));
        assert_eq!(entry(&answers, 1), "known");
    }
}
