//! Tombstones: docs/semantics.md, section 3, "Tombstones".

use crate::drive::Driven;
use memory::state::memory_of_head;
use reference_model::json::Json;
use reference_model::run::DeadLetter;
use reference_model::task::{Task, log_of};
use reference_model::{Outputs, Record, Settings, generate_time, sync};

/// What the reference makes of one record.
fn expected(task: &mut Task<'_>, record: &Record, settings: &Settings) -> Outputs {
    let mut outputs = Outputs::default();
    match log_of(record, settings) {
        Ok(log) => log.iter().for_each(|record| outputs.append(task.process(record))),
        Err(bad) => outputs.dead_letters.push(DeadLetter::of(record, bad.class)),
    }
    outputs.normalised()
}

#[test]
fn what_is_forgotten_expired_and_answered_follows_from_the_log() {
    let (mut expired, mut forgotten, mut answers, mut of_a_user) = (0, 0, 0, 0);
    for seed in testkit::seeds(900) {
        let stream = generate_time::aging(seed, 40);
        let (mut driven, mut task) = (Driven::new(&stream.settings, &[]), Task::new(&stream.settings));
        for (at, record) in stream.records.iter().enumerate() {
            let came = driven.pipe(record);
            let model = expected(&mut task, record, &stream.settings);
            expired += model.dead_letters.iter().filter(|letter| letter.class == "expired").count();
            assert_eq!(came.outputs, model, "seed {seed}, record {at}");
            let model = sync::answers_of(&task, record, &stream.settings);
            answers += model.len();
            let asks = reference_model::decode(record, &stream.settings).ok();
            if asks.is_some_and(|event| matches!(event.user_id, Some(Json::Str(_)))) {
                of_a_user += model.len();
            }
            assert_eq!(came.answers, model, "seed {seed}, answers to record {at}");
            if at % 7 == 0 {
                driven.commit();
            }
        }
        let keys = driven.keys("memories");
        let known: Vec<&str> = keys.iter().filter_map(|key| memory_of_head(key)).collect();
        assert_eq!(known.into_iter().collect::<std::collections::BTreeSet<_>>(), task.known(), "seed {seed}");
        if task.known().is_empty() {
            assert_eq!(keys, [] as [Vec<u8>; 0], "seed {seed}: a memory that is forgotten leaves no row behind");
        }
        forgotten += driven.count("forgotten_memories", "");
    }
    assert!(
        expired > 300 && forgotten > 300 && answers > 1000 && of_a_user > 30,
        "{expired} expired, {forgotten} forgotten, {answers} answers, {of_a_user} of them to requests with a user"
    );
}

#[test]
fn without_retention_nothing_more_is_kept_or_sent_along() {
    let stream = generate_time::aging(7, 40);
    let settings = Settings { tombstone_retention_ms: None, ..stream.settings };
    let mut driven = Driven::new(&settings, &[]);
    for record in &stream.records {
        assert!(driven.pipe(record).outputs.dead_letters.iter().all(|letter| letter.class != "expired"));
    }
    assert!(driven.keys("memories").iter().all(|key| key[0] != 0));
}

/// A memory deleted at second 10, forgotten at second 20, and an event of second 5 after that.
#[test]
fn a_late_event_of_a_forgotten_memory_is_a_dead_letter_as_it_came() {
    let settings = Settings { tombstone_retention_ms: Some(10_000), ..Settings::default() };
    let mut driven = Driven::new(&settings, &[]);
    let record = |offset: i64, kind: &str, memory: &str, second: i64| Record {
        topic: settings.events_topic.clone(),
        offset,
        timestamp_ms: second * 1000,
        key: Some(b"\xff".to_vec()),
        value: Some(
            format!("{{\"event_id\":\"e{offset}\", \"event_type\":\"memory.{kind}\",\"memory_id\":\"{memory}\"}}")
                .into_bytes(),
        ),
        headers: vec![("h".to_owned(), b"1".to_vec()), ("h".to_owned(), b"".to_vec())],
        ..Record::default()
    };
    assert_eq!(driven.pipe(&record(0, "created", "m", 9)).outputs.snapshots.len(), 1);
    assert_eq!(driven.pipe(&record(1, "deleted", "m", 10)).outputs.snapshots.len(), 1);
    assert_eq!(driven.pipe(&record(2, "created", "other", 20)).outputs.dead_letters, []);
    assert_eq!(driven.keys("memories").len(), 1, "the deleted memory is gone, with its rows in the index");
    let late = record(3, "created", "m", 5);
    let letters = driven.pipe(&late).outputs.dead_letters;
    assert_eq!(letters, [DeadLetter::of(&late, "expired")]);
    assert_eq!(driven.pipe(&record(4, "created", "m", 21)).outputs.snapshots.len(), 1, "a later event begins it anew");
}
