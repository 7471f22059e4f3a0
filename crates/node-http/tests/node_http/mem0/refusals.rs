//! Errors of Mem0's API are problem documents, too.

use serde_json::json;

use super::{add, id};
use crate::site::Site;

/// Method, path, body; status and code of the answer.
type RefusedRequest<'c> = (&'c str, &'c str, &'c str, u16, &'c str);

#[track_caller]
fn check(site: &Site, cases: &[RefusedRequest]) {
    let counter = site.get("/v1/sync/status").text("/counter");
    for (method, path, body, status, code) in cases {
        let answer = site.mem0("", method, path, body);
        assert_eq!(
            (answer.status, answer.text("/code")),
            (*status, (*code).to_owned()),
            "{method} {path} {body}: {answer:?}"
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    }
    assert_eq!(site.get("/v1/sync/status").text("/counter"), counter, "nothing is written");
}

#[test]
fn what_the_node_does_not_have_is_answered_with_501() {
    let site = Site::open();
    let add = r#"{"messages": [{"role": "user", "content": "x"}], "#;
    let is_fixed = format!(r#"{add}"immutable": true}}"#);
    check(
        &site,
        &[
            ("POST", "/mem0/v1/exports/", "{}", 501, "HS8080"),
            ("POST", "/mem0/v1/exports/get/", "{}", 501, "HS8080"),
            ("POST", "/mem0/v1/summary/", "{}", 501, "HS8080"),
            ("POST", "/mem0/v1/feedback/", "{}", 501, "HS8080"),
            ("GET", "/mem0/api/v1/webhooks/projects/p/", "", 501, "HS8080"),
            ("DELETE", "/mem0/api/v1/webhooks/w/", "", 501, "HS8080"),
            ("GET", "/mem0/api/v1/orgs/organizations/o/projects/p/", "", 501, "HS8080"),
            ("GET", "/mem0/v2/entities/user/u/profile/", "", 501, "HS8080"),
            ("POST", "/mem0/v2/profiles/jobs/", "{}", 501, "HS8080"),
            ("GET", "/mem0/v1/event/e/", "", 501, "HS8080"),
            ("POST", "/mem0/v2/memories/search/", "{}", 501, "HS8080"),
            ("POST", "/v1/memories/", &is_fixed, 501, "HS8080"),
            ("POST", "/mem0/v3/memories/search/", r#"{"query": "x", "reference_date": "2026-01-01"}"#, 501, "HS8080"),
            ("POST", "/mem0/v9/nothing/", "{}", 404, "HS8061"),
            ("GET", "/mem0/v1/memories", "", 404, "HS8061"),
            ("GET", "/mem0/", "", 404, "HS8061"),
            ("GET", "/mem0", "", 404, "HS8061"),
            ("PATCH", "/mem0/v1/memories/", "{}", 405, "HS8062"),
            ("GET", "/v1/memories/search/", "", 405, "HS8062"),
        ],
    );
    // Set to nothing they mean nothing.
    let body = format!(r#"{add}"immutable": false, "expiration_date": null}}"#);
    site.mem0("", "POST", "/v1/memories/", &body).of(200);
}

#[test]
fn a_wrong_request_is_refused_and_writes_nothing() {
    let site = Site::open();
    let path = format!("/v1/memories/{}/", id(&add(&site, "text", json!({}))));
    let path = path.as_str();
    let too_many = json!({"memories": vec![json!({"memory_id": "m", "text": "x"}); 1001]}).to_string();
    let twice = json!({"memories": vec![json!({"memory_id": "m", "text": "x"}); 2]}).to_string();
    let message = r#"{"messages": [{"role": "user", "content": "x"}], "#;
    let [user, metadata, reserved, filters] = [
        r#""userid": "u"}"#,
        r#""metadata": []}"#,
        r#""metadata": {"helixagent.type": 1}}"#,
        r#""filters": {"OR": []}}"#,
    ]
    .map(|rest| format!("{message}{rest}"));
    check(
        &site,
        &[
            ("POST", "/v1/memories/", "[]", 400, "HS8081"),
            ("POST", "/v1/memories/", "{", 400, "HS8063"),
            ("POST", "/v1/memories/", "{}", 400, "HS8081"),
            ("POST", "/v1/memories/", r#"{"messages": []}"#, 400, "HS8081"),
            ("POST", "/v1/memories/", r#"{"messages": "text"}"#, 400, "HS8081"),
            ("POST", "/v1/memories/", r#"{"messages": ["text"]}"#, 400, "HS8081"),
            ("POST", "/v1/memories/", r#"{"messages": [{"role": "user", "content": " "}]}"#, 400, "HS8081"),
            (
                "POST",
                "/v1/memories/",
                r#"{"messages": [{"content": "a"}, {"content": [{"type": "text"}]}]}"#,
                400,
                "HS8081",
            ),
            ("POST", "/v1/memories/", r#"{"messages": [{"content": "a", "tool_calls": []}]}"#, 400, "HS8081"),
            ("POST", "/v1/memories/", &user, 400, "HS8081"),
            ("POST", "/v1/memories/", &metadata, 400, "HS8081"),
            ("POST", "/v1/memories/", &reserved, 400, "HS8081"),
            ("POST", "/v1/memories/", &filters, 400, "HS8081"),
            ("POST", "/v1/memories/?user_id=u", "{}", 400, "HS8060"),
            ("GET", "/v1/memories/?user=u", "", 400, "HS8060"),
            ("GET", "/v1/memories/?limit=1001", "", 400, "HS8060"),
            ("DELETE", "/v1/memories/", "", 400, "HS8082"),
            ("DELETE", "/v1/memories/?filters=%7B%7D", "", 400, "HS8082"),
            ("DELETE", "/v1/memories/?filters=%7B'user_id'%3A+'u'%7D", "", 400, "HS8081"),
            ("DELETE", "/mem0/v2/entities/team/t/", "", 400, "HS8081"),
            ("PUT", path, "{}", 400, "HS8081"),
            ("PUT", path, r#"{"text": ""}"#, 400, "HS8081"),
            ("PUT", path, r#"{"memory_id": "other", "memory": "x"}"#, 400, "HS8081"),
            ("PUT", path, r#"{"text": "x", "expiration_date": "2030-02-30"}"#, 400, "HS8081"),
            ("PUT", path, r#"{"text": "x", "timestamp": 1}"#, 501, "HS8080"),
            ("PUT", "/v1/memories/unknown/", r#"{"text": "x"}"#, 404, "HS8066"),
            ("GET", "/v1/memories/unknown/history/", "", 404, "HS8066"),
            ("POST", "/v1/memories/search/", "{}", 400, "HS8081"),
            ("POST", "/v1/memories/search/", r#"{"query": "x", "top_k": 0}"#, 400, "HS8081"),
            ("POST", "/v1/memories/search/", r#"{"query": "x", "threshold": 2}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/search/", r#"{"query": "x", "user_id": "u"}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/search/", r#"{"query": "x", "filters": {"bogus": "u"}}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/", r#"{"filters": {"user_id": {"gt": "u"}}}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/", r#"{"filters": {"user_id": 7}}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/", r#"{"filters": {"created_at": {"gte": "yesterday"}}}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/", r#"{"filters": {"AND": ["u"]}}"#, 400, "HS8081"),
            ("POST", "/mem0/v3/memories/?page=0", "{}", 400, "HS8060"),
            ("POST", "/mem0/v3/memories/?page_size=201", "{}", 400, "HS8060"),
            ("PUT", "/mem0/v1/batch/", &too_many, 400, "HS8081"),
            ("PUT", "/mem0/v1/batch/", &twice, 400, "HS8081"),
            ("DELETE", "/mem0/v1/batch/", r#"{"memories": [{}]}"#, 400, "HS8081"),
        ],
    );
}

#[test]
fn an_empty_name_is_refused_and_does_not_mean_everybody() {
    let site = Site::open();
    add(&site, "tea", json!({"user_id": "u"}));
    for (path, body) in [
        ("/v1/memories/search/", json!({"query": "tea", "user_id": ""})),
        ("/v1/memories/search/", json!({"query": "tea", "user_id": null})),
        ("/v1/memories/search/", json!({"query": "tea", "session_id": ""})),
        ("/v1/memories/search/", json!({"query": "tea", "filters": {"agent_id": ""}})),
        ("/mem0/v3/memories/search/", json!({"query": "tea", "filters": {"user_id": ""}})),
        ("/mem0/v3/memories/search/", json!({"query": "tea", "filters": {"user_id": {}}})),
        ("/mem0/v3/memories/", json!({"filters": {"user_id": {"ne": ""}}})),
        ("/mem0/v3/memories/", json!({"filters": {"OR": [{"user_id": {"in": ["u", ""]}}]}})),
    ] {
        check(&site, &[("POST", path, &body.to_string(), 400, "HS8081")]);
    }
    // {"user_id": ""} and {"user_id": {}}
    let deletes = ["%7B%22user_id%22%3A%22%22%7D", "%7B%22user_id%22%3A%7B%7D%7D"];
    for filters in deletes {
        check(&site, &[("DELETE", &format!("/v1/memories/?filters={filters}"), "", 400, "HS8081")]);
    }
    check(&site, &[("GET", "/v1/memories/?user_id=", "", 400, "HS8060")]);
}

#[test]
fn a_request_has_so_many_conditions_and_no_more() {
    let site = Site::open();
    add(&site, "tea", json!({"metadata": {"k": 1}}));
    let many = |count: usize| json!({"OR": vec![json!({"run_id": null}); count]});
    let texts = |count: usize| json!({"OR": vec![json!({"text": "TEA"}); count]});
    // Each part counts, and each operator of it.
    for (filters, status) in [
        (many(50), 200),
        (many(51), 400),
        (texts(10), 200),
        (texts(11), 400),
        (json!({"AND": [texts(5), {"NOT": {"keywords": {"contains": "x", "icontains": "x"}}}, texts(4)]}), 400),
        (json!({"AND": vec![json!({}); 101]}), 400),
        (json!({"NOT": [{"AND": [many(50)]}]}), 400),
        (json!({"metadata": (0..101).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>()}), 400),
        (json!({"user_id": {"in": vec!["u"; 1001]}}), 400),
    ] {
        let answer = site.mem0("", "POST", "/mem0/v3/memories/", &json!({"filters": filters}).to_string());
        assert_eq!(answer.status, status, "{filters}: {answer:?}");
        let body = json!({"filters": filters, "query": "tea"}).to_string();
        assert_eq!(site.mem0("", "POST", "/mem0/v3/memories/search/", &body).status, status, "{filters}");
    }
    let metadata: serde_json::Map<_, _> = (0..101).map(|n| (n.to_string(), json!(n))).collect();
    let body = json!({"metadata": metadata, "query": "tea"}).to_string();
    check(&site, &[("POST", "/v1/memories/search/", &body, 400, "HS8081")]);
}

#[test]
fn what_messages_share_counts_for_each_of_them() {
    let site = Site::open();
    let body = |messages: usize| {
        let message = |n: usize| json!({"role": "user", "content": format!("text {n}")});
        let messages: Vec<_> = (0..messages).map(message).collect();
        json!({"messages": messages, "metadata": {"k": "x".repeat(400_000)}, "user_id": "u"}).to_string()
    };
    check(&site, &[("POST", "/v1/memories/", &body(3), 413, "HS8065")]);
    let categories = json!({"messages": vec![json!({"content": "x"}); 3], "categories": ["x".repeat(400_000)]});
    check(&site, &[("POST", "/v1/memories/", &categories.to_string(), 413, "HS8065")]);
    let user = json!({"messages": vec![json!({"content": "x"}); 3], "user_id": "x".repeat(400_000)});
    check(&site, &[("POST", "/v1/memories/", &user.to_string(), 413, "HS8065")]);
    assert_eq!(site.mem0("", "POST", "/v1/memories/", &body(2)).of(200).json().as_array().unwrap().len(), 2);
}

#[test]
fn a_history_and_the_entities_that_would_be_too_large_say_so() {
    let site = Site::open();
    let large = "x".repeat(900_000);
    let path = format!("/v1/memories/{}/", id(&add(&site, "first", json!({}))));
    for n in 0..4 {
        site.mem0("", "PUT", &path, &json!({"text": format!("{n} {large}")}).to_string()).of(200);
    }
    let history = site.mem0("", "GET", &format!("{path}history/"), "").of(200);
    let (entries, is_cut) = (history.json().as_array().unwrap().len(), history.header("x-truncated"));
    // Each entry has a text twice as the old one and twice as the new one.
    assert_eq!((entries, is_cut), (3, Some("true")));
    for n in 0..4 {
        add(&site, &format!("text {n}"), json!({"agent_id": format!("{n} {large}"), "run_id": "r"}));
    }
    let entities = site.mem0("", "GET", "/mem0/v1/entities/", "").of(200);
    assert_eq!((&entities.json()["total_agents"], entities.header("x-truncated")), (&json!(3), Some("true")));
}

#[test]
fn an_answer_that_would_be_too_large_says_so() {
    let site = Site::open();
    let large = "tea ".repeat(200_000);
    for n in 0..8 {
        add(&site, &format!("{n} {large}"), json!({}));
    }
    let page = site.mem0("", "POST", "/mem0/v3/memories/", "{}");
    assert_eq!((page.status, page.text("/code")), (422, "HS8083".to_owned()));
    site.mem0("", "POST", "/mem0/v3/memories/?page_size=4", "{}").of(200);
    for answer in [
        site.mem0("", "GET", "/v1/memories/", ""),
        site.mem0("", "POST", "/v1/memories/search/", r#"{"query": "tea"}"#),
    ] {
        assert_eq!((answer.status, answer.header("x-truncated")), (200, Some("true")));
        assert!((4..8).contains(&answer.json().as_array().unwrap().len()));
    }
}
