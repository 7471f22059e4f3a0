//! What a rebuild resolves with: what it is told, what `run` wrote down, the defaults; and what it
//! refuses.

use super::database::{Database, sql};
use super::{event, mirrored};
use serde_json::json;

/// Two concurrent updates: `long` is the longer text, `late` the later one.
fn two_writers() -> Database {
    mirrored([
        event("long", &json!({"n1": 1}), 0, json!({"content": "the longer text", "metadata": {"k": 1, "l": 1}})),
        event("late", &json!({"n2": 1}), 9, json!({"content": "later", "metadata": {"k": 2, "l": 2}})),
    ])
}

#[track_caller]
fn refusal(database: &mut Database, call: &str) -> String {
    database.try_rows(sql(format!("SELECT {call}::text"))).expect_err("is refused")
}

#[test]
fn what_is_not_given_is_what_the_application_that_started_last_resolves_with() {
    let mut database = two_writers();
    let content = "SELECT rebuild_memory_from_events('m') ->> 'content'";
    assert_eq!(database.text(content).unwrap(), "the longer text");
    database.run(
        "INSERT INTO memory_resolver_settings (application_id, strategy, written_at) VALUES
        ('old', 'merge_all', '2026-01-01'), ('new', 'last_write_wins', '2026-01-02'), ('older', 'merge_all', '2025-01-01')",
    );
    assert_eq!(database.text(content).unwrap(), "later");
    let given = "SELECT rebuild_memory_from_events('m', strategy => 'merge_all') ->> 'content'";
    assert_eq!(database.text(given).unwrap(), "the longer text");
}

#[test]
fn a_field_keeps_its_own_strategy_whatever_is_given_for_all() {
    let mut database = two_writers();
    database.run(
        r#"INSERT INTO memory_resolver_settings (application_id, strategy, overrides)
        VALUES ('a', 'merge_all', '{"content": "last_write_wins", "metadata": "merge_all", "metadata.k": "vector_clock"}')"#,
    );
    assert_eq!(database.text("SELECT rebuild_memory_from_events('m', 'merge_all') ->> 'content'").unwrap(), "later");
}

#[test]
fn what_sql_cannot_follow_is_refused_and_says_so() {
    let mut database = two_writers();
    assert!(
        refusal(&mut database, "rebuild_memory_from_events('m', 'custom')")
            .contains("a custom resolver runs in the stream alone")
    );
    assert!(refusal(&mut database, "rebuild_memory_from_events('nobody', 'custom')").contains("custom"));
    assert!(
        refusal(&mut database, "rebuild_memory_from_events('m', 'newest')")
            .contains("must be one of last_write_wins, importance")
    );
    let policy = refusal(&mut database, "rebuild_memory_from_events('m', delete_policy => 'never')");
    assert!(policy.contains("delete_policy is \"never\", but must be one of update_wins, delete_wins"), "{policy}");
    assert!(refusal(&mut database, "rebuild_memory_from_events('m', unclocked => '')").contains("by_time, concurrent"));
    let skew = refusal(&mut database, "rebuild_memory_from_events('m', max_clock_skew => interval '-1 s')");
    assert!(skew.contains("max_clock_skew is negative"), "{skew}");

    database.run("INSERT INTO memory_resolver_settings (application_id, strategy) VALUES ('a', 'custom')");
    assert!(refusal(&mut database, "memory_as_of('m', now())").contains("strategy is custom"));
    assert!(database.text("SELECT rebuild_memory_from_events('m', 'merge_all') ->> 'content'").is_some());
    database
        .run(r#"UPDATE memory_resolver_settings SET strategy = 'merge_all', overrides = '{"metadata.k": "custom"}'"#);
    let field = refusal(&mut database, "rebuild_memory_from_events('m', 'merge_all')");
    assert!(field.contains("the strategy of metadata.k is custom"), "{field}");
    database.run("UPDATE memory_resolver_settings SET overrides = '{}', tombstone_retention_ns = 1");
    assert!(refusal(&mut database, "rebuild_memory_from_events('m')").contains("tombstone_retention is set"));
    // What does not resolve does not mind.
    assert_eq!(database.rows(sql("SELECT event_id FROM causal_history('m')")).len(), 2);
}

#[test]
fn functions_find_their_tables_whatever_the_search_path() {
    let mut first = Database::create();
    first.run("CREATE SCHEMA other; CREATE TABLE other.memory_events (memory_id text, event_id int)");
    let mut database = Database::connect(first.url().to_owned()).in_schema("mirror");
    database.mirror(
        &super::records([event(
            "e",
            &json!({"n": 1}),
            0,
            json!({"content": "found", "tags": ["t"], "metadata": {"k": 1}}),
        )]),
        memory::event::Limits::default(),
    );
    database.run("SET search_path = other, public; SET default_transaction_read_only = on");
    assert_eq!(database.text("SELECT mirror.rebuild_memory_from_events('m') ->> 'content'").unwrap(), "found");
    assert_eq!(database.text("SELECT public.rebuild_memory_from_events('m')::text"), None);
    for call in [
        "mirror.memory_as_of('m', now())",
        "mirror.causal_history('m')",
        "mirror.get_memory_event_history('m')",
        "mirror.get_events_since('2000-01-01')",
        "mirror.get_conflict_stats('2000-01-01', '2100-01-01')",
        "mirror.diff_rebuilt('u')",
        "mirror.get_unseen_memories(NULL, 'u')",
    ] {
        database.rows(sql(format!("SELECT 'called' FROM {call}")));
    }
}
