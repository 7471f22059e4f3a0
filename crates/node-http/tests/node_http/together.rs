//! Many clients at a time.

use std::collections::BTreeSet;

use serde_json::json;

use crate::site::{Answer, Site};

/// What each of so many threads is answered, all at a time.
fn at_a_time(count: usize, ask: impl Fn(usize) -> Answer + Sync) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|n| {
                scope.spawn({
                    let ask = &ask;
                    move || ask(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_hundred_writers_are_all_accepted_each_with_a_counter_of_its_own() {
    let site = Site::open();
    site.create(r#"{"memory_id": "shared", "content": "start"}"#);
    let answers = at_a_time(100, |n| {
        site.create(&json!({"memory_id": format!("m{n}"), "content": n.to_string()}).to_string());
        site.ask("PATCH", "/v1/memories/shared", &[], &json!({"metadata": {format!("k{n}"): n}}).to_string()).of(200)
    });
    let counters: BTreeSet<String> = answers.iter().map(|answer| answer.text("/event/counter")).collect();
    assert_eq!(counters.len(), 100);
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "201");
    let shared = site.get("/v1/memories/shared").of(200).json();
    assert_eq!(shared["memory"]["metadata"].as_object().unwrap().len(), 100);
    assert!(shared["memory"].get("conflicted_fields").is_none_or(|fields| fields == &json!([])), "{shared}");
    for n in 0..100 {
        assert_eq!(site.get(&format!("/v1/memories/m{n}")).of(200).text("/memory/content"), n.to_string());
    }
}

#[test]
fn of_many_writes_with_the_same_token_one_is_accepted() {
    let site = Site::open();
    let clock = site.create(r#"{"memory_id": "m", "content": "start"}"#).text("/clock");
    let answers = at_a_time(30, |n| {
        let body = json!({"content": n.to_string()}).to_string();
        site.ask("PATCH", "/v1/memories/m", &[("if-match", &clock)], &body)
    });
    let accepted: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(accepted.len(), 1);
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.text("/code") == "HS8068"));
    let content = site.get("/v1/memories/m").of(200).text("/memory/content");
    assert_eq!(content, accepted[0].text("/memory/content"));
}

#[test]
fn of_many_creates_with_the_same_id_one_is_accepted() {
    let site = Site::open();
    let answers = at_a_time(30, |n| {
        site.ask("POST", "/v1/memories", &[], &json!({"memory_id": "m", "content": n.to_string()}).to_string())
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.text("/code") == "HS8072"));
}

#[test]
fn of_many_requests_with_the_same_key_one_writes() {
    let site = Site::open();
    let answers = at_a_time(30, |_| site.ask("POST", "/v1/memories", &[("idempotency-key", "k")], "{}").of(201));
    let events: BTreeSet<String> = answers.iter().map(|answer| answer.text("/event/event_id")).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "1");
}
