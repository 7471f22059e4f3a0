//! Every route with requests that succeed.

use node::ports::SnapshotRecord;
use node::registry::now_ms;
use serde_json::json;

use crate::site::{Answer, Site};

/// The topic of resolved memories.
pub const SNAPSHOTS: &str = "helixagent.memory.snapshots";

/// A resolved memory of another node, as the follower applies it.
pub fn follow(site: &Site, offset: i64, memory_id: &str, user: &str, status: &str, content: &str) -> String {
    let (record, value) = record(offset, memory_id, user, status, content);
    site.node.journal().apply(SNAPSHOTS, 0, &[record], offset + 1).unwrap();
    value
}

/// The record of such a memory, and its value.
pub fn record(offset: i64, memory_id: &str, user: &str, status: &str, content: &str) -> (SnapshotRecord, String) {
    let mut memory = json!({
        "created_at": "2026-01-01T00:00:00Z", "event_ids": [format!("e{offset}")], "memory_id": memory_id, "status": status,
        "updated_at": "2026-01-01T00:00:00Z", "user_id": user, "vector_clock": {"other": offset + 1}, "version": offset + 1,
    });
    if status == "active" {
        memory["content"] = json!(content);
    }
    // Members come sorted, as in canonical JSON.
    let value = memory.to_string();
    (SnapshotRecord { offset, memory_id: memory_id.to_owned(), value: value.clone().into_bytes() }, value)
}

fn path_of(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}

#[test]
fn a_memory_that_the_node_does_not_know_is_deleted_where_the_request_says_so() {
    let site = Site::open();
    site.ask("DELETE", "/v1/memories/elsewhere", &[], "").of(404);
    let deleted = site.ask("DELETE", "/v1/memories/elsewhere?also_unknown=true", &[], "").of(200);
    assert_eq!((deleted.text("/memory/status"), deleted.text("/event/counter")), ("deleted".into(), "1".into()));
    site.ask("DELETE", "/v1/memories/elsewhere?also_unknown=true", &[], "").of(410);
}

#[test]
fn a_memory_is_created_read_updated_replaced_and_deleted() {
    let site = Site::open();
    let body = r#"{"user_id": "u", "content": "likes tea", "tags": ["a", "b"], "metadata": {"x": 1, "y": [true]},
        "entities": [{"id": "e1", "name": "tea"}], "importance": 0.5, "session_id": "s"}"#;
    let created = site.create(body);
    let path = path_of(&created);
    assert_eq!(created.json()["assumed"], true);
    assert_eq!((created.text("/event/state").as_str(), created.text("/event/counter").as_str()), ("pending", "1"));
    assert!(created.text("/event/node_id").starts_with("n1."));

    let read = site.get(&path).of(200);
    let memory = read.json()["memory"].clone();
    assert_eq!((&memory["content"], &memory["metadata"]), (&json!("likes tea"), &json!({"x": 1, "y": [true]})));
    assert_eq!((&memory["status"], &read.json()["pending"]), (&json!("active"), &json!(true)));
    assert_eq!(read.header("etag").unwrap(), format!("\"{}\"", read.text("/clock")));

    let etag = read.header("etag").unwrap().to_owned();
    let patch = r#"{"content": null, "metadata": {"x": null, "z": "new"}, "entities": [{"id": "e2", "name": "cup"}]}"#;
    let patch_type = ("content-type", "application/merge-patch+json; charset=utf-8");
    let patched = site.ask("PATCH", &path, &[("if-match", &etag), patch_type], patch).of(200);
    assert_eq!(patched.json()["assumed"], false);
    let memory = patched.json()["memory"].clone();
    assert_eq!((memory.get("content"), &memory["metadata"]), (None, &json!({"y": [true], "z": "new"})));
    assert_eq!((memory["entities"].as_array().unwrap().len(), &memory["tags"]), (2, &json!(["a", "b"])));

    let replaced = site.ask("PUT", &path, &[("if-match", &patched.text("/clock"))], r#"{"content": "b"}"#).of(200);
    let memory = replaced.json()["memory"].clone();
    assert_eq!((&memory["content"], &memory["user_id"]), (&json!("b"), &json!("u")));
    assert!(["tags", "importance", "session_id"].iter().all(|name| memory.get(name).is_none()), "{memory}");
    // A key that is cleared is absent, and so is a container without a key.
    assert!(memory.get("metadata").is_none(), "{memory}");

    let deleted = site.ask("DELETE", &path, &[], "").of(200);
    assert_eq!(deleted.text("/memory/status"), "deleted");
    let gone = site.get(&path).of(410);
    assert_eq!((gone.text("/memory/status"), gone.text("/code")), ("deleted".to_owned(), "HS8067".to_owned()));
    for (method, body) in [("PATCH", "{}"), ("DELETE", "")] {
        site.ask(method, &path, &[], body).of(410);
    }
    // PUT creates it again, for the same user.
    let again = site.ask("PUT", &path, &[], r#"{"content": "c"}"#).of(201);
    assert_eq!((again.text("/memory/content"), again.text("/memory/user_id")), ("c".to_owned(), "u".to_owned()));
    site.get(&path).of(200);
}

#[test]
fn a_caller_may_choose_an_id_of_any_characters() {
    let site = Site::open();
    for (id, path) in [("m-1", "m-1"), ("a/b ü?", "a%2Fb%20%C3%BC%3F"), ("search", "%73earch")] {
        let created = site.create(&json!({"memory_id": id, "content": id}).to_string());
        assert_eq!(path_of(&created), format!("/v1/memories/{path}"));
        assert_eq!(site.get(&path_of(&created)).of(200).text("/memory/content"), id);
    }
    let created = site.ask("PUT", "/v1/memories/put", &[], r#"{"content": "p"}"#).of(201);
    assert_eq!(path_of(&created), "/v1/memories/put");
    let exists = site.ask("POST", "/v1/memories", &[], r#"{"memory_id": "put"}"#).of(409);
    assert_eq!((exists.text("/code"), exists.text("/memory/content")), ("HS8072".to_owned(), "p".to_owned()));
}

#[test]
fn a_resolved_memory_is_shown_as_the_topic_has_it() {
    let site = Site::open();
    let value = follow(&site, 0, "m", "u", "active", "by another");
    let read = site.get("/v1/memories/m").of(200);
    assert!(read.body.contains(&format!("\"memory\":{value},\"pending\":false")), "{read:?}");
    follow(&site, 1, "m", "u", "deleted", "");
    assert_eq!(site.get("/v1/memories/m").of(410).text("/pending"), "false");
}

#[test]
fn a_stale_token_is_refused_with_the_present_state_and_the_new_token_works() {
    let site = Site::open();
    let created = site.create(r#"{"memory_id": "m", "content": "1"}"#);
    let first = created.text("/clock");
    site.ask("PATCH", "/v1/memories/m", &[("if-match", &first)], r#"{"content": "2"}"#).of(200);
    for (method, body) in [("PATCH", r#"{"content": "3"}"#), ("PUT", r#"{"content": "3"}"#), ("DELETE", "")] {
        let refused = site.ask(method, "/v1/memories/m", &[("if-match", &first)], body).of(409);
        assert_eq!((refused.text("/code"), refused.text("/memory/content")), ("HS8068".to_owned(), "2".to_owned()));
        assert_eq!(refused.header("etag").unwrap(), format!("\"{}\"", refused.text("/clock")));
    }
    let now = site.ask("PUT", "/v1/memories/m", &[("if-match", &first)], "{}").of(409).text("/clock");
    let weak = format!("W/\"{now}\"");
    site.ask("PATCH", "/v1/memories/m", &[("if-match", &weak)], r#"{"content": "3"}"#).of(200);
}

#[test]
fn a_session_has_seen_what_it_last_read() {
    let site = Site::open();
    site.create(r#"{"memory_id": "m", "content": "1"}"#);
    site.ask("GET", "/v1/memories/m", &[("x-session-id", "s")], "").of(200);
    site.ask("PATCH", "/v1/memories/m", &[], r#"{"content": "2"}"#).of(200);
    // The session has not seen the second content, and another session has read nothing.
    site.ask("PATCH", "/v1/memories/m", &[("x-session-id", "s")], r#"{"content": "3"}"#).of(409);
    let other = site.ask("PATCH", "/v1/memories/m", &[("x-session-id", "t")], r#"{"content": "3"}"#).of(200);
    assert_eq!(other.json()["assumed"], true);
    site.ask("GET", "/v1/memories/m", &[("x-session-id", "s")], "").of(200);
    site.ask("PATCH", "/v1/memories/m", &[("x-session-id", "s")], r#"{"content": "4"}"#).of(200);
    // What it has written itself, it has seen.
    site.ask("PATCH", "/v1/memories/m", &[("x-session-id", "s")], r#"{"content": "5"}"#).of(200);
}

#[test]
fn memories_merge_into_one() {
    let site = Site::open();
    for id in ["a", "b", "c"] {
        site.create(&json!({"memory_id": id, "content": id}).to_string());
    }
    let merged =
        site.ask("POST", "/v1/memories/a/merge", &[], r#"{"merged_from": ["b", "c"], "content": "abc"}"#).of(200);
    assert_eq!(merged.json()["memory"]["merged_from"], json!(["b", "c"]));
    assert_eq!(merged.text("/memory/content"), "abc");
    let gone = site.get("/v1/memories/b").of(410);
    assert_eq!((gone.text("/memory/status"), gone.text("/memory/merged_into")), ("merged".to_owned(), "a".to_owned()));
}

#[test]
fn lists_come_in_pages_that_a_write_does_not_disturb() {
    let site = Site::open();
    for n in 0..23 {
        let user = if n % 2 == 0 { "even" } else { "odd" };
        site.create(
            &json!({"memory_id": format!("m{n:02}"), "user_id": user, "session_id": format!("s{}", n % 3)}).to_string(),
        );
    }
    let ids = |filter: &str| {
        let mut found: Vec<String> = Vec::new();
        let mut next = String::new();
        loop {
            let page = site.get(&format!("/v1/memories?limit=5{filter}{next}")).of(200).json();
            let memories = page["memories"].as_array().unwrap();
            assert!(memories.len() <= 5);
            found.extend(memories.iter().map(|memory| memory["memory"]["memory_id"].as_str().unwrap().to_owned()));
            // A memory before the cursor disturbs no later page.
            site.ask("PUT", "/v1/memories/a", &[], r#"{"user_id": "new"}"#);
            let Some(cursor) = page.get("next") else { return found };
            next = format!("&cursor={}", cursor.as_str().unwrap());
        }
    };
    let of = |keep: &dyn Fn(&usize) -> bool| (0..23).filter(keep).map(|n| format!("m{n:02}")).collect::<Vec<_>>();
    assert_eq!(ids("&user_id=even"), of(&|n| n % 2 == 0));
    assert_eq!(ids("&session_id=s1"), of(&|n| n % 3 == 1));
    assert_eq!(ids("&user_id=odd&session_id=s1"), of(&|n| n % 2 == 1 && n % 3 == 1));
    assert_eq!(ids("&user_id=nobody"), Vec::<String>::new());
    site.ask("DELETE", "/v1/memories/m00", &[], "").of(200);
    assert_eq!(ids("")[1..], of(&|n| *n > 0));
    assert_eq!(ids("&include_inactive=true")[1..], of(&|_| true));
}

#[test]
fn a_page_ends_before_it_becomes_too_large() {
    let site = Site::open();
    let content = "x".repeat(900_000);
    for n in 0..20 {
        site.create(&json!({"memory_id": format!("m{n:02}"), "content": content}).to_string());
    }
    let (mut pages, mut path) = (Vec::new(), "/v1/memories".to_owned());
    loop {
        let page = site.get(&path).of(200).json();
        pages.push(page["memories"].as_array().unwrap().len());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/memories?cursor={next}");
    }
    assert_eq!(pages, [5; 4], "a page has no further memory once it has 4 MiB");
}

#[test]
fn a_search_finds_words() {
    let site = Site::open();
    site.create(r#"{"memory_id": "a", "user_id": "u", "content": "green tea in the morning"}"#);
    site.create(r#"{"memory_id": "b", "user_id": "v", "content": "green grass"}"#);
    site.create(r#"{"memory_id": "c", "user_id": "u", "content": "coffee"}"#);
    let hits = |query: &str| {
        let answer = site.get(&format!("/v1/memories/search?query={query}")).of(200).json();
        let ids = answer["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["memory"]["memory_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(hits("green%20tea"), ["a", "b"]);
    assert_eq!((hits("green&user_id=v"), hits("green%20tea&top_k=1")), (vec!["b".to_owned()], vec!["a".to_owned()]));
    assert!(hits("milk").is_empty() && hits("green&min_score=1000000").is_empty());
}

/// Since when the oldest event of the outbox waits, in milliseconds since 1970, where so many wait.
fn waiting_since(site: &Site, depth: u64) -> i64 {
    let outbox = site.get("/v1/sync/status").of(200).json()["outbox"].clone();
    assert_eq!(outbox["depth"], depth, "{outbox}");
    let nanoseconds = json::rfc3339::parse(outbox["oldest"].as_str().unwrap()).unwrap();
    i64::try_from(nanoseconds / 1_000_000).unwrap()
}

#[test]
fn the_events_of_a_memory_and_the_state_of_the_node_are_shown() {
    let site = Site::open();
    site.create(r#"{"memory_id": "m", "content": "1", "tags": ["t"]}"#);
    let first = waiting_since(&site, 1);
    testkit::wait_until("the next millisecond", || now_ms() > first);
    site.ask("PATCH", "/v1/memories/m", &[], r#"{"importance": 1}"#).of(200);
    let second_at_the_latest = now_ms();
    assert_eq!(waiting_since(&site, 2), first);
    site.node.journal().mark_published(1).unwrap();
    let second = waiting_since(&site, 1);
    assert!(first < second && second <= second_at_the_latest, "{first} {second}");
    site.node.journal().mark_failed(2, "too large for the topic").unwrap();
    let events = site.get("/v1/memories/m/events").of(200).json()["events"].clone();
    let shown = |n: usize, name: &str| events[n][name].clone();
    assert_eq!((shown(0, "event_type"), shown(1, "event_type")), (json!("memory.created"), json!("memory.updated")));
    assert_eq!((shown(0, "fields"), shown(1, "fields")), (json!(["content", "tags"]), json!(["importance"])));
    assert_eq!((shown(0, "state"), shown(1, "state")), (json!("published"), json!("failed")));
    assert_eq!((shown(0, "reason"), shown(1, "reason")), (json!(null), json!("too large for the topic")));
    follow(&site, 0, "other", "u", "active", "x");
    let status = site.get("/v1/sync/status").of(200).json();
    assert_eq!((&status["counter"], &status["published"], &status["failed"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!((&status["memories"], &status["outbox"]), (&json!(2), &json!({"depth": 0})));
    assert_eq!(status["positions"], json!([{"next_offset": 1, "partition": 0, "topic": SNAPSHOTS}]));
}

#[test]
fn a_write_waits_for_kafka_where_it_asks_for_it() {
    let site = Site::open();
    let in_vain = site.ask("POST", "/v1/memories?ack=kafka&ack_timeout=1", &[], r#"{"content": "1"}"#).of(202);
    assert_eq!(in_vain.text("/event/state"), "pending");
    site.get(&path_of(&in_vain)).of(200);
    site.node.journal().mark_published(1).unwrap();
    let journal = site.node.journal();
    let write = |body: &str| site.ask("PUT", "/v1/memories/m?ack=kafka&ack_timeout=25", &[], body);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let first = testkit::wait_for("an event", || journal.unpublished(1, 1).unwrap().pop());
            journal.mark_published(first.counter).unwrap();
        });
        assert_eq!(write(r#"{"content": "2"}"#).of(201).text("/event/state"), "published");
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = testkit::wait_for("an event", || journal.unpublished(1, 1).unwrap().pop());
            journal.mark_failed(next.counter, "the record is too large").unwrap();
        });
        let failed = write(r#"{"content": "3"}"#).of(502);
        assert!(failed.text("/detail").contains("the record is too large"));
    });
}

#[test]
fn a_repeated_request_with_its_key_is_answered_as_before_and_writes_nothing() {
    let site = Site::open();
    let key = [("idempotency-key", "k1")];
    let first = site.ask("POST", "/v1/memories", &key, r#"{"content": "1"}"#).of(201);
    let again = site.ask("POST", "/v1/memories", &key, r#"{"content": "1"}"#).of(201);
    assert_eq!((first.text("/event/event_id"), path_of(&first)), (again.text("/event/event_id"), path_of(&again)));
    assert_eq!((first.text("/repeated"), again.text("/repeated")), ("false".to_owned(), "true".to_owned()));
    let reused = site.ask("POST", "/v1/memories", &key, r#"{"content": "2"}"#).of(422);
    assert_eq!(reused.text("/code"), "HS8075");
    // A repeated PUT finds the memory that the first one has created.
    for (method, key, body) in [("PUT", "k2", r#"{"content": "p"}"#), ("PATCH", "k3", "{}"), ("DELETE", "k4", "")] {
        let ask = || site.ask(method, "/v1/memories/m", &[("idempotency-key", key)], body);
        let (first, again) = (ask(), ask());
        assert_eq!((first.status, first.text("/event/event_id")), (again.status, again.text("/event/event_id")));
        assert_eq!(again.text("/repeated"), "true");
    }
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "4");
    // A key is no way to write a memory that is gone.
    site.ask("PATCH", "/v1/memories/m", &[("idempotency-key", "k5")], "{}").of(410);
    let merge = r#"{"merged_from": ["a"]}"#;
    site.ask("POST", "/v1/memories/m/merge", &[("idempotency-key", "k6")], merge).of(410);
}

#[test]
fn a_memory_is_given_a_time_at_which_it_expires() {
    let site = Site::open();
    let created = site.create(r#"{"content": "x", "expires_at": "2030-01-01T01:00:00+01:00", "metadata": {"k": 1}}"#);
    let path = path_of(&created);
    let metadata = |answer: &Answer| answer.json()["memory"]["metadata"].clone();
    let node = created.text("/event/node_id");
    let expected = json!({
        "helixagent.expires_at": "2030-01-01T01:00:00+01:00", "helixagent.expires_by": node, "k": 1
    });
    assert_eq!(metadata(&created), expected);
    // By its key in the metadata, too; the node says itself who has set it.
    let by_key = r#"{"metadata": {"helixagent.expires_at": "2031-01-01T00:00:00Z", "helixagent.expires_by": "x"}}"#;
    let changed = metadata(&site.ask("PATCH", &path, &[], by_key).of(200));
    assert_eq!(changed["helixagent.expires_at"], "2031-01-01T00:00:00Z");
    assert_eq!(changed["helixagent.expires_by"], json!(node));
    for body in [r#"{"expires_at": "tomorrow"}"#, r#"{"expires_at": 5}"#, r#"{"expires_at": "2030-01-01"}"#] {
        assert_eq!(site.ask("PATCH", &path, &[], body).of(422).text("/code"), "HS8070");
    }
    let cleared = site.ask("PATCH", &path, &[], r#"{"expires_at": null}"#).of(200);
    assert_eq!(metadata(&cleared), json!({"k": 1}));
}

#[test]
fn a_request_is_repeated_also_where_the_memory_was_deleted_or_merged_since() {
    let site = Site::open();
    let merge = r#"{"merged_from": ["b"]}"#;
    for (ends, status) in [("DELETE", "deleted"), ("POST", "merged")] {
        let writes = [
            ("PATCH", "", r#"{"content": "2"}"#),
            ("POST", "/merge", merge),
            ("PUT", "/relationships/r", r#"{"type": "t"}"#),
            ("DELETE", "/relationships/r", ""),
            ("PUT", "", r#"{"content": "3"}"#),
            ("DELETE", "", ""),
        ];
        for (n, (method, path, body)) in writes.into_iter().enumerate() {
            let id = format!("m{n}-{status}");
            let key = format!("key {id}");
            site.create(&format!(r#"{{"memory_id": "{id}", "content": "1"}}"#)).of(201);
            let ask = || site.ask(method, &format!("/v1/memories/{id}{path}"), &[("idempotency-key", &key)], body);
            let first = ask();
            assert_eq!(first.text("/repeated"), "false", "{method} {path}");
            if status == "merged" {
                let absorb = format!(r#"{{"memory_id": "into-{n}", "content": "x"}}"#);
                site.create(&absorb).of(201);
                let absorb = format!(r#"{{"merged_from": ["{id}"]}}"#);
                site.ask(ends, &format!("/v1/memories/into-{n}/merge"), &[], &absorb).of(200);
            } else if method != ends || !path.is_empty() {
                site.ask(ends, &format!("/v1/memories/{id}"), &[], "").of(200);
            }
            let again = ask();
            let found = (again.status, again.text("/event/event_id"), again.text("/repeated"));
            assert_eq!(found, (first.status, first.text("/event/event_id"), "true".to_owned()), "{method} {path}");
            // A new write is refused as before.
            let key = [("idempotency-key", "another key")];
            if method == "PATCH" || (method == "DELETE" && path.is_empty() && status == "merged") {
                site.ask(method, &format!("/v1/memories/{id}"), &key, body).of(410);
            }
        }
    }
}
