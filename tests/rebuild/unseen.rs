//! `get_unseen_memories` computes from mirrored events what a sync request is answered with
//! (docs/semantics.md, section 5, "Sync request"), of generated streams against the reference
//! model.

use super::database::{Database, sql};
use super::names;
use memory::event::Limits;
use reference_model::{Record, Settings, generate, sync};
use serde_json::{Value, json};

/// A request as a record, with the members that are given.
fn request(clock: Option<&str>, user: Option<&str>) -> Record {
    let mut event =
        json!({"event_id": "asks", "event_type": "memory.sync_request", "timestamp": "2026-01-01T00:00:00Z"});
    let mut put = |name: &str, value: Value| event[name] = value;
    if let Some(clock) = clock {
        put("vector_clock", serde_json::from_str(clock).unwrap());
    }
    if let Some(user) = user {
        put("user_id", json!(user));
    }
    Record { value: Some(event.to_string().into_bytes()), ..Record::default() }
}

#[test]
fn sql_answers_a_sync_request_as_the_stream_does() {
    let settings = Settings { max_clock_entries: 4, max_value_bytes: 4000, ..Settings::default() };
    let mut database = Database::create();
    let mut records: Vec<Record> = Vec::new();
    for seed in testkit::seeds(32) {
        let (prefix, topic) = (format!("s{seed}/"), format!("events-{seed}"));
        let stream = generate::stream(seed, 40, true).records;
        records
            .extend(stream.iter().map(|record| Record { topic: topic.clone(), ..names::with_prefix(record, &prefix) }));
    }
    database.mirror(&records, Limits { max_clock_entries: 4, max_value_bytes: 4000 });
    let records: Vec<Record> = records.iter().map(names::without_nul).collect();
    let clocks = [
        None,
        Some("null"),
        Some("{\"n1\":0}"),
        Some("{\"n1\":1,\"n2\":2}"),
        Some("{\"n1\":3,\"n2\":3,\"~\":1700000002000000000}"),
    ];
    // The memories that were asked for, of users and of all.
    let (mut of_users, mut of_all) = (0, 0);
    for (clock, user) in
        clocks.into_iter().flat_map(|clock| [None, Some(""), Some("u"), Some("v"), Some("w")].map(|user| (clock, user)))
    {
        let expected = sync::answers(&records, &request(clock, user), &settings);
        *(if user.is_some_and(|user| !user.is_empty()) { &mut of_users } else { &mut of_all }) += expected.len();
        let (ids, resolved): (Vec<String>, Vec<String>) =
            expected.into_iter().map(|answer| (answer.key, answer.value)).unzip();
        let apart = "SELECT memory_id, stream.resolved, answer.resolved::text
            FROM get_unseen_memories($1::jsonb, $2) AS answer FULL JOIN unnest($3, $4) AS stream (memory_id, resolved) USING (memory_id)
            WHERE memory_members_apart(coalesce(stream.resolved::jsonb, '{}'), coalesce(answer.resolved, '{}')) IS NOT NULL";
        let apart = sql(apart).bind(clock.map(str::to_owned)).bind(user.map(str::to_owned)).bind(ids).bind(resolved);
        assert_eq!(database.rows(apart), Vec::<Vec<Option<String>>>::new(), "clock {clock:?}, user {user:?}");
    }
    assert!(of_users > 20 && of_all > 50, "{of_users} memories of users, {of_all} of all");
}
