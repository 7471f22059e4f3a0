//! Every error is a problem document with its code.

use http::tokens::Right;
use serde_json::json;

use crate::site::Site;

/// Method, path, headers, body; status and code of the answer.
type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], &'c str, u16, &'c str);

/// A node with the memories `m` and `other`, and a token of `other`.
fn with_two_memories() -> (Site, String) {
    let site = Site::open();
    site.create(r#"{"memory_id": "m", "content": "1"}"#);
    let other = site.create(r#"{"memory_id": "other"}"#).text("/clock");
    (site, other)
}

/// Sends the requests: each is refused, and nothing is written.
#[track_caller]
fn check(site: &Site, cases: &[Case]) {
    for (method, path, headers, body, status, code) in cases {
        let answer = site.ask(method, path, headers, body);
        let found = (answer.status, answer.text("/code"));
        assert_eq!(found, (*status, (*code).to_owned()), "{method} {path} {headers:?} {body}: {answer:?}");
        assert_eq!(answer.text("/type"), format!("urn:helixstream:problem:{code}"));
    }
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "2");
}

#[test]
fn a_wrong_path_method_or_query_parameter_is_refused() {
    let (site, _) = with_two_memories();
    let cases: &[Case] = &[
        ("GET", "/v1", &[], "", 404, "HS8061"),
        ("GET", "/v1/", &[], "", 404, "HS8061"),
        ("GET", "/v1/nothing", &[], "", 404, "HS8061"),
        ("POST", "/v1/memories/m/more/parts", &[], "{}", 404, "HS8061"),
        ("GET", "/v1/memories/%ff", &[], "", 400, "HS8060"),
        ("DELETE", "/v1/memories", &[], "", 405, "HS8062"),
        ("POST", "/v1/sync/status", &[], "{}", 405, "HS8062"),
        ("BREW", "/v1/memories/m", &[], "", 405, "HS8062"),
        ("GET", "/v1/memories?user=u", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?user_id=", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?user_id=a&user_id=b", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?user_id=%ff", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?limit=0", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?limit=201", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?limit=x", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?cursor=%25", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories?include_inactive=yes", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories/m?fields=content", &[], "", 400, "HS8060"),
        ("GET", "/v1/events?users=u", &[], "", 400, "HS8060"),
        ("GET", "/v1/events?session_id=", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories/search", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories/search?query=a&created_from=now", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories/search?query=a&top_k=101", &[], "", 400, "HS8060"),
        ("GET", "/v1/memories/search?query=a&min_score=NaN", &[], "", 400, "HS8060"),
        ("PATCH", "/v1/memories/m?ack=all", &[], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m?ack_timeout=3", &[], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m?ack=kafka&ack_timeout=26", &[], "{}", 400, "HS8060"),
    ];
    check(&site, cases);
}

#[test]
fn a_wrong_header_is_refused() {
    let (site, other) = with_two_memories();
    let long_key = "k".repeat(191);
    let cases: &[Case] = &[
        ("PATCH", "/v1/memories/m", &[("if-match", "*")], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m", &[("if-match", "\"a\", \"b\"")], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m", &[("if-match", "a"), ("if-match", "a")], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m", &[("if-none-match", "*")], "{}", 400, "HS8060"),
        ("POST", "/v1/memories", &[("if-match", &other)], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m", &[("x-session-id", "")], "{}", 400, "HS8060"),
        ("PATCH", "/v1/memories/m", &[("idempotency-key", &long_key)], "{}", 400, "HS8060"),
        ("GET", "/v1/events", &[("last-event-id", "a"), ("last-event-id", "a")], "", 400, "HS8060"),
        ("PATCH", "/v1/memories/m", &[("if-match", "nonsense")], "{}", 400, "HS8069"),
        ("PATCH", "/v1/memories/m", &[("if-match", &other)], "{}", 400, "HS8069"),
    ];
    check(&site, cases);
}

#[test]
fn a_wrong_body_and_an_unknown_memory_are_refused() {
    let (site, _) = with_two_memories();
    let long_id = format!("/v1/memories/{}", "x".repeat(1025));
    let cases: &[Case] = &[
        ("POST", "/v1/memories", &[], "{", 400, "HS8063"),
        ("POST", "/v1/memories", &[], "[]", 400, "HS8063"),
        ("POST", "/v1/memories", &[], "{\"content\": \"\\ud800\"}", 400, "HS8063"),
        ("PUT", "/v1/memories/m", &[], "null", 400, "HS8063"),
        ("PATCH", "/v1/memories/m", &[("content-type", "text/plain")], "{}", 415, "HS8064"),
        ("PUT", "/v1/memories/m", &[("content-type", "application/merge-patch+json")], "{}", 415, "HS8064"),
        ("PUT", "/v1/memories/m", &[], "", 415, "HS8064"),
        ("POST", "/v1/memories", &[], r#"{"contnt": "x"}"#, 422, "HS8070"),
        ("POST", "/v1/memories", &[], r#"{"content": 5}"#, 422, "HS8070"),
        ("POST", "/v1/memories", &[], r#"{"memory_id": 5}"#, 422, "HS8070"),
        ("POST", "/v1/memories", &[], r#"{"memory_id": ""}"#, 422, "HS8070"),
        ("PATCH", "/v1/memories/m", &[], r#"{"memory_id": "m"}"#, 422, "HS8070"),
        ("PATCH", "/v1/memories/m", &[], r#"{"entities": [{"name": "no id"}]}"#, 422, "HS8070"),
        ("PUT", &long_id, &[], "{}", 422, "HS8070"),
        ("POST", "/v1/memories/m/merge", &[], "{}", 422, "HS8070"),
        ("POST", "/v1/memories/m/merge", &[], r#"{"merged_from": []}"#, 422, "HS8070"),
        ("POST", "/v1/memories/m/merge", &[], r#"{"merged_from": "a"}"#, 422, "HS8070"),
        ("POST", "/v1/memories/m/merge", &[], r#"{"merged_from": [""]}"#, 422, "HS8070"),
        ("POST", "/v1/memories/m/merge", &[], r#"{"merged_from": ["m"]}"#, 422, "HS8070"),
        ("GET", "/v1/memories/none", &[], "", 404, "HS8066"),
        ("GET", "/v1/memories/none/events", &[], "", 404, "HS8066"),
        ("PATCH", "/v1/memories/none", &[], "{}", 404, "HS8066"),
        ("DELETE", "/v1/memories/none", &[], "", 404, "HS8066"),
        ("DELETE", "/v1/memories/none?also_unknown=yes", &[], "", 400, "HS8060"),
        ("POST", "/v1/memories/none/merge", &[], r#"{"merged_from": ["m"]}"#, 404, "HS8066"),
    ];
    check(&site, cases);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_accepted() {
    let site = Site::open();
    // White space does not count for the event, whose limit is one MiB.
    let event = json!({"content": "x".repeat(1 << 20)}).to_string();
    assert_eq!(site.ask("POST", "/v1/memories", &[], &event).of(413).text("/code"), "HS8071");
    let body = " ".repeat(2 << 20) + "{}";
    assert_eq!(site.ask("POST", "/v1/memories", &[], &body).of(413).text("/code"), "HS8065");
    let spaced = format!("{}{}", " ".repeat(60_000), json!({"content": "x".repeat(1_000_000)}));
    site.create(&spaced);
}

#[test]
fn access_control_answers_with_problem_documents_too() {
    let site = Site::start(&[("reader", &[Right::Read], None), ("actor", &[Right::Act], None)]);
    let none = site.get("/v1/memories").of(401);
    assert_eq!(
        (none.text("/code").as_str(), none.header("www-authenticate")),
        ("HS6511", Some("Bearer realm=\"helixstream\""))
    );
    let wrong = site.ask("GET", "/v1/nothing", &[("authorization", "Bearer wrong")], "").of(401);
    assert_eq!(wrong.text("/code"), "HS6511");
    let write = site.ask_as("reader", "POST", "/v1/memories", &[], "{}").of(403);
    let read = site.ask_as("actor", "GET", "/v1/memories", &[], "").of(403);
    assert_eq!((write.text("/code"), read.text("/code")), ("HS6512".to_owned(), "HS6512".to_owned()));
    site.ask_as("reader", "GET", "/v1/memories", &[], "").of(200);
    site.ask_as("actor", "POST", "/v1/memories", &[], "{}").of(201);
    let open = Site::open();
    let foreign = open.ask("POST", "/v1/memories", &[("origin", "http://evil.example")], "{}").of(403);
    assert_eq!(foreign.text("/code"), "HS6513");
}

#[test]
fn a_node_that_has_stopped_says_so() {
    let site = Site::open();
    site.node.stop();
    for (method, path, body) in [
        ("GET", "/v1/memories", ""),
        ("GET", "/v1/memories/m", ""),
        ("GET", "/v1/memories/search?query=a", ""),
        ("POST", "/v1/memories/search", r#"{"embedding": [1]}"#),
        ("GET", "/v1/memories/m/events", ""),
        ("GET", "/v1/sync/status", ""),
        ("GET", "/v1/events", ""),
        ("POST", "/v1/memories", "{}"),
        ("PUT", "/v1/memories/m", "{}"),
        ("PATCH", "/v1/memories/m", "{}"),
        ("DELETE", "/v1/memories/m", ""),
    ] {
        let answer = site.ask(method, path, &[], body).of(503);
        assert_eq!((answer.text("/code").as_str(), answer.header("retry-after")), ("HS8076", Some("1")));
    }
}
