//! Filters, each against the memories that pass it.

use serde_json::{Value, json};

use super::{add, id, texts};
use crate::site::Site;

/// A node with the memories `one` to `four`.
fn with_four() -> Site {
    let site = Site::open();
    add(&site, "tea one", json!({"user_id": "u", "agent_id": "a", "run_id": "r", "metadata": {"k": 1, "type": "x"}}));
    add(&site, "tea two", json!({"user_id": "u", "categories": ["Food", "drink"], "metadata": {"k": 2}}));
    add(&site, "tea three", json!({"user_id": "v", "app_id": "p", "metadata": {"k": 1}}));
    add(&site, "Tea four", json!({"agent_id": "a"}));
    site
}

#[test]
fn a_filter_lets_pass_what_it_says() {
    let site = with_four();
    let (one, two, three, four) = ("tea one", "tea two", "tea three", "Tea four");
    let first = site.mem0("", "GET", "/v1/memories/?run_id=r", "").json();
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({}), vec![four, one, three, two]),
        (json!({"user_id": "u"}), vec![one, two]),
        (json!({"user_id": "U"}), vec![]),
        (json!({"user_id": "*"}), vec![one, three, two]),
        (json!({"user_id": null}), vec![four]),
        (json!({"user_id": {"ne": "u"}}), vec![four, three]),
        (json!({"user_id": {"in": ["u", "v"]}}), vec![one, three, two]),
        (json!({"user_id": {"in": ["u", null]}}), vec![four, one, two]),
        (json!({"user_id": "u", "agent_id": "a"}), vec![one]),
        (json!({"user_id": "u", "AND": [{"user_id": "v"}]}), vec![]),
        (json!({"AND": [{"user_id": "u"}, {"run_id": "*"}]}), vec![one]),
        (json!({"session_id": "r"}), vec![one]),
        (json!({"OR": [{"app_id": "p"}, {"agent_id": "a"}]}), vec![four, one, three]),
        (json!({"NOT": {"agent_id": "a"}}), vec![three, two]),
        (json!({"NOT": [{"agent_id": "a"}, {"user_id": "v"}]}), vec![two]),
        (json!({"categories": {"in": ["Food", "x"]}}), vec![two]),
        (json!({"categories": {"contains": "foo"}}), vec![two]),
        (json!({"categories": "food"}), vec![]),
        (json!({"metadata": {"k": 1}}), vec![one, three]),
        (json!({"metadata": {"k": 1, "type": "x"}}), vec![one]),
        (json!({"metadata": {"ne": {"k": 1}}}), vec![four, two]),
        (json!({"metadata": {"contains": {"k": 2}}}), vec![two]),
        (json!({"keywords": {"contains": "Tea"}}), vec![four]),
        (json!({"keywords": {"icontains": "T"}, "text": "THREE"}), vec![three]),
        (json!({"memory_ids": [first[0]["id"], "unknown"]}), vec![one]),
        (json!({"created_at": {"gte": "2020-01-01", "lte": "2200-12-31"}}), vec![four, one, three, two]),
        (json!({"updated_at": {"lt": "2020-01-01T00:00:00+01:00"}}), vec![]),
        (json!({"created_at": {"ne": "2020-01-01"}}), vec![four, one, three, two]),
        (json!({"created_at": "2020-01-01"}), vec![]),
    ];
    for (filters, mut expected) in cases {
        expected.sort_unstable();
        let body = json!({"filters": filters}).to_string();
        let page = site.mem0("", "POST", "/mem0/v3/memories/", &body).of(200).json();
        assert_eq!(texts(&page["results"]), expected, "{filters}");
        assert_eq!(page["count"], expected.len());
        let body = json!({"filters": filters, "query": "tea", "top_k": 100}).to_string();
        let found = site.mem0("", "POST", "/mem0/v3/memories/search/", &body).of(200).json();
        assert_eq!(texts(&found["results"]), expected, "search {filters}");
    }
}

#[test]
fn members_beside_the_filters_narrow_them() {
    let site = with_four();
    let search = |more: Value| {
        let mut body = json!({"query": "tea"});
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        texts(&site.mem0("", "POST", "/v1/memories/search/", &body.to_string()).of(200).json())
    };
    assert_eq!(search(json!({"user_id": "u"})), ["tea one", "tea two"]);
    assert_eq!(search(json!({"agent_id": "a", "session_id": "r"})), ["tea one"]);
    // HelixAgent's filters name keys of the metadata.
    assert_eq!(search(json!({"filters": {"type": "x"}})), ["tea one"]);
    assert_eq!(search(json!({"metadata": {"k": 1}})), ["tea one", "tea three"]);
    assert_eq!(search(json!({"categories": ["drink"]})), ["tea two"]);
    assert_eq!(search(json!({"top_k": 2})).len(), 2);
    assert_eq!(search(json!({"threshold": 1.0})), Vec::<String>::new());
    let page = |more: Value| {
        let answer = site.mem0("", "POST", "/mem0/v3/memories/", &more.to_string()).of(200);
        texts(&answer.json()["results"])
    };
    assert_eq!(page(json!({"start_date": "2200-01-01"})), Vec::<String>::new());
    assert_eq!(page(json!({"end_date": "2200-01-01", "keywords": "Two"})), ["tea two"]);
}

#[test]
fn a_search_looks_through_more_hits_than_it_answers_with() {
    let site = Site::open();
    for n in 0..250 {
        add(&site, &format!("tea {n}"), json!({"user_id": "u", "metadata": {"last": n >= 245}}));
    }
    let body = json!({"query": "tea", "user_id": "u", "filters": {"last": true}, "top_k": 4}).to_string();
    let found = site.mem0("", "POST", "/v1/memories/search/", &body).of(200).json();
    assert_eq!(found.as_array().unwrap().len(), 4);
    let body = json!({"query": "tea", "top_k": 220}).to_string();
    let found = site.mem0("", "POST", "/v1/memories/search/", &body).of(200).json();
    let scores: Vec<f64> = found.as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert_eq!(found.as_array().unwrap().iter().map(id).collect::<std::collections::BTreeSet<_>>().len(), 220);
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]) && scores.iter().all(|score| (0.0..=1.0).contains(score)));
}
