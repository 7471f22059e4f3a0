//! Searches by an embedding, by words, and by both.

use http::tokens::Right;
use serde_json::{Value, json};
use testkit::Random;

use crate::site::{Answer, Site};

const PATH: &str = "/v1/memories/search";

/// Ids and scores of the hits.
fn hits(answer: &Answer) -> Vec<(String, f64)> {
    let json = answer.json();
    let hits = json["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| (hit["memory"]["memory_id"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap()))
        .collect()
}

#[track_caller]
fn ids(site: &Site, body: &Value) -> Vec<String> {
    hits(&site.ask("POST", PATH, &[], &body.to_string()).of(200)).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn an_embedding_finds_the_memories_in_its_direction() {
    let site = Site::open();
    for (id, embedding) in [
        ("same", json!([2, 0, 0])),
        ("near", json!([1, 1, 0])),
        ("across", json!([0, 1e-300, 0])),
        ("against", json!([-1.5, 0, 0])),
        ("short", json!([1, 0])),
        ("zero", json!([0, 0, 0])),
        ("empty", json!([])),
    ] {
        site.create(&json!({"memory_id": id, "content": "text", "embedding": embedding}).to_string());
    }
    site.create(r#"{"memory_id": "none"}"#);
    let answer = site.ask("POST", PATH, &[], r#"{"embedding": [1e300, 0, 0]}"#).of(200);
    assert_eq!((answer.text("/compared"), answer.text("/skipped")), ("4".to_owned(), "1".to_owned()));
    for ((id, score), (expected, cosine)) in
        hits(&answer).iter().zip([("same", 1.0), ("near", 0.5f64.sqrt()), ("across", 0.0), ("against", -1.0)])
    {
        assert!(id == expected && (score - cosine).abs() < 1e-6, "{answer:?}");
    }
    let body = |more: Value| {
        let mut body = json!({"embedding": [1, 0, 0]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(ids(&site, &body(json!({"top_k": 1}))), ["same"]);
    assert_eq!(ids(&site, &body(json!({"min_score": 0.5}))), ["same", "near"]);
    assert_eq!(ids(&site, &json!({"embedding": [0, 3]})), ["short"]);
    // What is written is found so at once, and what is deleted is not found.
    site.ask("PATCH", "/v1/memories/against", &[], r#"{"embedding": [9, 0.1, 0]}"#).of(200);
    site.ask("DELETE", "/v1/memories/same", &[], "").of(200);
    site.ask("PATCH", "/v1/memories/near", &[], r#"{"embedding": null}"#).of(200);
    assert_eq!(ids(&site, &body(json!({}))), ["against", "across"]);
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "11", "reading changes nothing");
}

#[test]
fn words_and_an_embedding_are_blended() {
    let site = Site::open();
    for (id, content, embedding) in [
        ("both", "green tea", Some([1.0, 0.0])),
        ("words", "green tea", None),
        ("other", "green tea", Some([-1.0, 0.0])),
        ("similar", "coffee", Some([1.0, 0.1])),
        ("neither", "coffee", Some([0.0, 1.0])),
    ] {
        let mut memory = json!({"memory_id": id, "content": content});
        if let Some(embedding) = embedding {
            memory["embedding"] = json!(embedding);
        }
        site.create(&memory.to_string());
    }
    let search = |weight: f64| {
        let body = json!({"query": "tea", "embedding": [1, 0], "weight": weight});
        hits(&site.ask("POST", PATH, &[], &body.to_string()).of(200))
    };
    let words = site.ask("POST", PATH, &[], r#"{"query": "tea"}"#).of(200);
    assert_eq!(words, site.get(&format!("{PATH}?query=tea")).of(200));
    let bm25 = hits(&words)[0].1;
    let share = bm25 / (1.0 + bm25);
    let found = search(0.25);
    let names: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(names[0], "both");
    for (id, cosine, words) in [
        ("both", 1.0, share),
        ("words", 0.0, share),
        ("other", -1.0, share),
        ("similar", 0.995_037, 0.0),
        ("neither", 0.0, 0.0),
    ] {
        let score = found.iter().find(|(found, _)| found == id).unwrap().1;
        assert!((score - (0.25 * cosine + 0.75 * words)).abs() < 1e-5, "{id}: {found:?}");
    }
    assert_eq!(search(1.0)[0].0, "both");
    assert_eq!(search(1.0)[1].0, "similar");
    assert_eq!(search(0.0)[..3].iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["both", "other", "words"]);
}

#[test]
fn filters_of_helixagent_hold_for_every_search() {
    let site = Site::open();
    let create = |id: &str, user: &str, session: &str, kind: &str, category: &str| {
        let metadata = json!({"helixagent.type": kind, "helixagent.category": category});
        let memory = json!({
            "memory_id": id, "user_id": user, "session_id": session, "content": "tea", "embedding": [1, 0], "metadata": metadata,
        });
        site.create(&memory.to_string()).text("/memory/created_at")
    };
    let first = create("a", "u", "s", "semantic", "x");
    create("b", "u", "t", "semantic", "y");
    let third = create("c", "v", "s", "episodic", "x");
    create("d", "v", "t", "episodic", "y");
    for (filter, expected) in [
        (json!({}), &["a", "b", "c", "d"][..]),
        (json!({"user_id": "u"}), &["a", "b"]),
        (json!({"session_id": "s"}), &["a", "c"]),
        (json!({"type": "episodic"}), &["c", "d"]),
        (json!({"category": "x", "user_id": "v"}), &["c"]),
        (json!({"type": "other"}), &[]),
        (json!({"created_from": third}), &["c", "d"]),
        (json!({"created_to": first}), &["a"]),
        (json!({"created_from": first, "created_to": third, "type": "semantic"}), &["a", "b"]),
    ] {
        for search in
            [json!({"query": "tea"}), json!({"embedding": [1, 0]}), json!({"query": "tea", "embedding": [1, 0]})]
        {
            let mut body = filter.clone();
            body.as_object_mut().unwrap().extend(search.as_object().unwrap().clone());
            assert_eq!(ids(&site, &body), expected, "{body}");
        }
        let pairs: Vec<String> = filter
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("&{name}={}", value.as_str().unwrap()))
            .collect();
        let words = hits(&site.get(&format!("{PATH}?query=tea{}", pairs.concat())).of(200));
        assert_eq!(words.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected, "{filter}");
    }
    // Mem0's API puts these fields under the same keys.
    let added =
        json!({"messages": [{"role": "user", "content": "mate"}], "user_id": "w", "metadata": {"type": "semantic"}});
    assert!(site.mem0("", "POST", "/v1/memories/", &added.to_string()).status < 300);
    assert_eq!(ids(&site, &json!({"query": "mate", "type": "semantic"})).len(), 1);
    assert!(ids(&site, &json!({"query": "mate", "type": "episodic"})).is_empty());
}

#[test]
fn the_best_of_many_are_those_of_a_naive_search_in_the_same_order() {
    let site = Site::open();
    let seed = testkit::seed();
    let mut random = Random::new(seed);
    // Few different numbers, so that many scores are equal.
    let mut vector =
        |dimensions: usize| -> Vec<f64> { (0..dimensions).map(|_| [-1.0, 0.0, 1.0][random.below(3)]).collect() };
    let mut all: Vec<(String, Vec<f64>)> = Vec::new();
    for n in 0..120 {
        let embedding = vector(9);
        let id = format!("m{:03}", (n * 37) % 120);
        let user = format!("u{}", n % 2);
        site.create(&json!({"memory_id": id, "user_id": user, "embedding": embedding}).to_string());
        all.push((id, embedding));
    }
    for _ in 0..20 {
        let asked = vector(9);
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length(&asked) == 0.0 {
            continue;
        }
        let answer = site.ask("POST", PATH, &[], &json!({"embedding": asked, "top_k": 25}).to_string()).of(200);
        let found = hits(&answer);
        let mut expected: Vec<(String, f64)> = all
            .iter()
            .filter(|(_, vector)| length(vector) > 0.0)
            .map(|(id, vector)| {
                let dot: f64 = vector.iter().zip(&asked).map(|(x, y)| x * y).sum();
                (id.clone(), dot / length(vector) / length(&asked))
            })
            .collect();
        expected.sort_by(|one, other| other.1.total_cmp(&one.1));
        assert_eq!(found.len(), expected.len().min(25), "SEED={seed}");
        for ((id, score), (_, best)) in found.iter().zip(&expected) {
            assert!((score - best).abs() < 1e-6, "{id}; SEED={seed}");
            let (_, cosine) = expected.iter().find(|(other, _)| other == id).unwrap();
            assert!((score - cosine).abs() < 1e-6, "{id}; SEED={seed}");
        }
        assert!(
            found.windows(2).all(|pair| (pair[1].1, &pair[0].0) < (pair[0].1, &pair[1].0)),
            "{found:?}; SEED={seed}"
        );
        let again = site.ask("POST", PATH, &[], &json!({"embedding": asked, "top_k": 25}).to_string()).of(200);
        assert_eq!(again.body, answer.body, "SEED={seed}");
    }
}

#[test]
fn a_wrong_search_is_refused() {
    let site = Site::open();
    for (body, code, status) in [
        ("{", "HS8063", 400),
        ("[]", "HS8063", 400),
        ("{}", "HS8060", 400),
        (r#"{"query": ""}"#, "HS8060", 400),
        (r#"{"query": 5}"#, "HS8060", 400),
        (r#"{"embedding": []}"#, "HS8060", 400),
        (r#"{"embedding": [0, 0]}"#, "HS8060", 400),
        (r#"{"embedding": [1, "x"]}"#, "HS8060", 400),
        (r#"{"embedding": {"0": 1}}"#, "HS8060", 400),
        (r#"{"embedding": null, "query": "x"}"#, "HS8060", 400),
        (r#"{"query": "x", "user_id": null}"#, "HS8060", 400),
        (r#"{"query": "x", "user": "u"}"#, "HS8060", 400),
        (r#"{"query": "x", "weight": 0.5}"#, "HS8060", 400),
        (r#"{"embedding": [1], "weight": 1.5}"#, "HS8060", 400),
        (r#"{"embedding": [1], "top_k": 0}"#, "HS8060", 400),
        (r#"{"embedding": [1], "top_k": 1.5}"#, "HS8060", 400),
        (r#"{"embedding": [1], "min_score": "x"}"#, "HS8060", 400),
        (r#"{"embedding": [1], "created_from": "yesterday"}"#, "HS8060", 400),
        ("", "HS8064", 415),
    ] {
        let answer = site.ask("POST", PATH, &[], body);
        assert_eq!((answer.text("/code").as_str(), answer.status), (code, status), "{body}: {answer:?}");
    }
}

#[test]
fn a_search_stays_among_the_users_of_its_token_and_needs_the_right_to_read() {
    let both = &[Right::Read, Right::Act][..];
    let site = Site::start(&[("ann", both, Some(&["u-ann"])), ("all", both, None), ("writer", &[Right::Act], None)]);
    for user in ["u-ann", "u-bob"] {
        let memory = json!({"memory_id": user, "user_id": user, "content": "tea", "embedding": [1, 0]});
        site.ask_as("all", "POST", "/v1/memories", &[], &memory.to_string()).of(201);
    }
    for body in [r#"{"embedding": [1, 0]}"#, r#"{"embedding": [1, 0], "query": "tea"}"#, r#"{"query": "tea"}"#] {
        let found = |token: &str| -> Vec<String> {
            hits(&site.ask_as(token, "POST", PATH, &[], body).of(200)).into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!((found("ann"), found("all").len()), (vec!["u-ann".to_owned()], 2), "{body}");
        assert_eq!(site.ask_as("writer", "POST", PATH, &[], body).of(403).text("/code"), "HS6512");
    }
    let foreign = site.ask_as("ann", "POST", PATH, &[], r#"{"embedding": [1, 0], "user_id": "u-bob"}"#).of(403);
    assert_eq!(foreign.text("/code"), "HS8073");
    let skipped = site.ask_as("ann", "POST", PATH, &[], r#"{"embedding": [1]}"#).of(200);
    assert_eq!((skipped.text("/compared"), skipped.text("/skipped")), ("0".to_owned(), "1".to_owned()));
}
