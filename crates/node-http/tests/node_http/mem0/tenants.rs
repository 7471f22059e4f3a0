//! Tokens that are bound to users, in Mem0's API: tenants never meet.

use std::collections::BTreeSet;

use http::tokens::Right;
use node::ports::SnapshotRecord;
use serde_json::json;
use testkit::Random;

use super::{add_as, id, texts};
use crate::memories::follow;
use crate::site::Site;

const TOKENS: &[(&str, Option<&[&str]>)] =
    &[("ann", Some(&["u-ann"])), ("bob", Some(&["u-bob"])), ("both", Some(&["u-ann", "u-bob"])), ("all", None)];

#[test]
fn a_token_is_shown_under_the_scheme_of_these_clients_and_has_its_rights() {
    let site = Site::start(&[("reader", &[Right::Read], None)]);
    site.mem0("reader", "GET", "/mem0/v1/ping/", "").of(200);
    // A search is a POST, so it needs the right to act.
    let answer = site.mem0("reader", "POST", "/v1/memories/search/", r#"{"query": "x"}"#);
    assert_eq!((answer.status, answer.text("/code")), (403, "HS6512".to_owned()));
    let wrong = site.mem0("nobody", "GET", "/mem0/v1/ping/", "");
    assert_eq!((wrong.status, wrong.text("/code")), (401, "HS6511".to_owned()));
}

#[test]
fn a_token_that_may_only_act_reads_nothing_by_post() {
    let site = Site::start(&[("writer", &[Right::Act], None), ("both", &[Right::Read, Right::Act], None)]);
    add_as(&site, "writer", "the secret", json!({}));
    for path in ["/v1/memories/search/", "/mem0/v1/memories/search/", "/mem0/v3/memories/search/", "/mem0/v3/memories/"]
    {
        let ask = |token: &str| site.mem0(token, "POST", path, r#"{"query": "secret"}"#);
        let refused = ask("writer").of(403);
        assert_eq!(refused.text("/code"), "HS6512", "{path}");
        assert!(refused.header("www-authenticate").unwrap().contains("scope=\"read\""), "{refused:?}");
        if path != "/mem0/v3/memories/" {
            assert!(ask("both").of(200).body.contains("the secret"), "{path}");
        }
    }
    site.mem0("both", "POST", "/mem0/v3/memories/", "{}").of(200);
}

#[test]
fn what_names_no_user_stays_with_the_users_of_the_token() {
    let site = Site::with_tokens(TOKENS);
    let of_ann = id(&add_as(&site, "ann", "the secret", json!({})));
    let of_bob = id(&add_as(&site, "bob", "the secret", json!({"agent_id": "a"})));
    add_as(&site, "all", "the secret of nobody", json!({}));
    assert_ne!(of_ann, of_bob);
    let everything = |token: &str| {
        let search = site.mem0(token, "POST", "/v1/memories/search/", r#"{"query": "secret"}"#).of(200).json();
        let v3 = site.mem0(token, "POST", "/mem0/v3/memories/search/", r#"{"query": "secret"}"#).of(200).json();
        let page = site.mem0(token, "POST", "/mem0/v3/memories/", "{}").of(200).json();
        let list = site.mem0(token, "GET", "/v1/memories/", "").of(200).json();
        let entities = site.mem0(token, "GET", "/mem0/v1/entities/", "").of(200).json();
        let counts = [&search, &v3["results"], &page["results"], &list].map(|all| texts(all).len());
        (counts, entities["count"].as_u64().unwrap())
    };
    assert_eq!(everything("ann"), ([1; 4], 1));
    assert_eq!(everything("bob"), ([1; 4], 2));
    assert_eq!(everything("both"), ([2; 4], 3));
    assert_eq!(everything("all"), ([3; 4], 3));
    // `*` is every user of the token.
    site.mem0("bob", "DELETE", "/v1/memories/?user_id=*", "").of(200);
    assert_eq!(everything("all"), ([2; 4], 1));
    site.mem0("ann", "GET", &format!("/v1/memories/{of_ann}/"), "").of(200);
}

#[test]
fn a_user_of_somebody_else_is_refused() {
    let site = Site::with_tokens(TOKENS);
    let code = |token: &str, method: &str, path: &str, body: &str| {
        let answer = site.mem0(token, method, path, body);
        (answer.status, answer.text("/code"))
    };
    let forbidden = (403, "HS8073".to_owned());
    let message = json!([{"role": "user", "content": "x"}]);
    for body in [
        json!({"messages": message, "user_id": "u-bob"}),
        json!({"messages": message, "filters": {"user_id": "u-bob"}}),
    ] {
        assert_eq!(code("ann", "POST", "/v1/memories/", &body.to_string()), forbidden);
    }
    assert_eq!(code("both", "POST", "/v1/memories/", &json!({"messages": message}).to_string()), forbidden);
    assert_eq!(code("ann", "GET", "/v1/memories/?user_id=u-bob", ""), forbidden);
    assert_eq!(code("ann", "DELETE", "/v1/memories/?user_id=u-bob", ""), forbidden);
    assert_eq!(code("ann", "DELETE", "/mem0/v2/entities/user/u-bob/", ""), forbidden);
    let filters = json!({"filters": {"AND": [{"user_id": {"in": ["u-ann", "u-bob"]}}]}}).to_string();
    assert_eq!(code("ann", "POST", "/mem0/v3/memories/", &filters), forbidden);
    let search = json!({"query": "x", "user_id": "u-bob"}).to_string();
    assert_eq!(code("ann", "POST", "/v1/memories/search/", &search), forbidden);
}

#[test]
fn a_memory_that_has_moved_to_another_user_is_not_told_of() {
    let site = Site::with_tokens(TOKENS);
    let first = id(&add_as(&site, "ann", "ann's words", json!({})));
    let move_it = r#"{"user_id": "u-bob", "content": "for bob"}"#;
    site.ask_as("both", "PATCH", &format!("/v1/memories/{first}"), &[], move_it).of(200);
    let history = site.mem0("bob", "GET", &format!("/v1/memories/{first}/history/"), "").of(200);
    assert!(!history.body.contains("ann's words"), "{history:?}");
    assert_eq!((&history.json()[0]["old_value"], &history.json()[0]["new_value"]), (&json!(null), &json!("for bob")));
    // Ann's next add of the same words is a memory of its own, and bob's stays.
    let second = id(&add_as(&site, "ann", "ann's words", json!({})));
    assert_ne!(first, second);
    site.mem0("ann", "GET", &format!("/v1/memories/{first}/"), "").of(404);
    assert_eq!(site.mem0("bob", "GET", &format!("/v1/memories/{first}/"), "").of(200).text("/memory"), "for bob");
}

/// What bob is shown of the history of a memory: its texts.
fn history_of_bob(site: &Site, id: &str) -> Vec<serde_json::Value> {
    let history = site.mem0("bob", "GET", &format!("/v1/memories/{id}/history/"), "").of(200);
    assert!(!history.body.contains("ann's"), "{history:?}");
    history.json().as_array().unwrap().iter().map(|entry| entry["new_value"].clone()).collect()
}

#[test]
fn a_move_that_has_failed_shows_nothing_of_the_user_before() {
    let site = Site::with_tokens(TOKENS);
    let first = id(&add_as(&site, "ann", "ann's words", json!({})));
    let path = format!("/v1/memories/{first}");
    site.ask_as("both", "PATCH", &path, &[], r#"{"user_id": "u-bob", "content": "lost"}"#).of(200);
    site.node.journal().mark_failed(2, "too large").unwrap();
    site.mem0("ann", "PUT", &format!("{path}/"), r#"{"text": "ann's other words"}"#).of(200);
    site.ask_as("both", "PATCH", &path, &[], r#"{"user_id": "u-bob"}"#).of(200);
    site.mem0("bob", "PUT", &format!("{path}/"), r#"{"text": "bob's words"}"#).of(200);
    assert_eq!(history_of_bob(&site, &first), [json!(null), json!("bob's words")]);
    // To a client of all users a failed event is no change either.
    let history = site.mem0("all", "GET", &format!("{path}/history/"), "").of(200);
    assert!(!history.body.contains("lost"), "{history:?}");
    let olds: Vec<_> = history.json().as_array().unwrap().iter().map(|entry| entry["old_value"].clone()).collect();
    assert_eq!(olds, [json!(null), json!("ann's words"), json!("ann's other words"), json!("ann's other words")]);
}

#[test]
fn a_move_by_another_node_shows_nothing_of_the_user_between() {
    let site = Site::with_tokens(TOKENS);
    let first = id(&add_as(&site, "bob", "bob's words", json!({})));
    let path = format!("/v1/memories/{first}");
    let actor = site.ask_as("all", "GET", &format!("{path}/events"), &[], "").of(200).text("/events/0/node_id");
    let move_to = |offset: i64, own: u64, user: &str, content: &str| {
        let value = json!({
            "content": content, "created_at": "2026-01-01T00:00:00Z", "event_ids": [format!("e{offset}")],
            "memory_id": first, "status": "active", "updated_at": "2026-01-01T00:00:00Z", "user_id": user,
            "vector_clock": {actor.as_str(): own, "other": offset}, "version": 1_000 + offset,
        });
        let record = SnapshotRecord { offset, memory_id: first.clone(), value: value.to_string().into_bytes() };
        site.node.journal().mark_published(own).unwrap();
        site.node.journal().apply("helixagent.memory.snapshots", 0, &[record], offset + 1).unwrap();
    };
    site.mem0("bob", "PUT", &format!("{path}/"), r#"{"text": "bob's second words"}"#).of(200);
    move_to(1, 2, "u-ann", "ann's");
    site.mem0("ann", "PUT", &format!("{path}/"), r#"{"text": "ann's secret"}"#).of(200);
    move_to(2, 3, "u-bob", "for bob");
    site.mem0("bob", "PUT", &format!("{path}/"), r#"{"text": "bob's third words"}"#).of(200);
    // The states say whose it was: of the time between he sees nothing, and he goes on from the
    // state in which it came back. What he wrote before the first state is in none.
    assert_eq!(history_of_bob(&site, &first), [json!("for bob"), json!("bob's third words")]);
    let history = site.mem0("bob", "GET", &format!("{path}/history/"), "").of(200);
    assert_eq!((&history.json()[0]["event"], &history.json()[0]["old_memory"]), (&json!("ADD"), &json!(null)));
    assert_eq!((&history.json()[1]["old_memory"], history.header("x-truncated")), (&json!("for bob"), Some("true")));
    // It goes to ann and comes back while the node does not know of it: what bob writes meanwhile
    // was written to a state that is none of his any more, until an event names him.
    move_to(3, 3, "u-ann", "ann's again");
    site.ask_as("all", "PATCH", &path, &[], r#"{"content": "ann's last"}"#).of(200);
    let named = r#"{"user_id": "u-bob", "content": "bob's fourth words"}"#;
    site.ask_as("all", "PATCH", &path, &[], named).of(200);
    let texts = history_of_bob(&site, &first);
    assert_eq!(texts, [json!("for bob"), json!("bob's fourth words")]);
    let history = site.mem0("bob", "GET", &format!("{path}/history/"), "").of(200);
    assert_eq!(history.json()[1]["old_memory"], json!(null));
}

/// A request by a token about a memory: its method, its path and its body.
fn any_request(random: &mut Random, name: &str, other: &str, id: &str) -> (&'static str, String, String) {
    let user = random.pick(&["u-ann", "u-bob", "*"]);
    let text = format!("secret of u-{name} {}", random.below(5));
    let filters = random.pick(&[
        json!({}),
        json!({"user_id": user}),
        json!({"OR": [{"user_id": user}, {"user_id": null}]}),
        json!({"NOT": {"user_id": "u-x"}}),
        json!({"user_id": {"ne": user}}),
        json!({"memory_ids": [id]}),
        json!({"user_id": {"in": [user, null]}}),
    ]);
    match random.below(15) {
        0 | 1 => {
            ("POST", "/v1/memories/".to_owned(), json!({"messages": [{"role": "user", "content": text}]}).to_string())
        }
        2 => ("GET", format!("/v1/memories/{id}/"), String::new()),
        3 => ("PUT", format!("/v1/memories/{id}/"), json!({"text": text}).to_string()),
        4 => ("DELETE", format!("/v1/memories/{id}/"), String::new()),
        5 => ("GET", format!("/v1/memories/{id}/history/"), String::new()),
        6 => ("POST", "/mem0/v3/memories/".to_owned(), json!({"filters": filters}).to_string()),
        7 => {
            ("POST", "/mem0/v3/memories/search/".to_owned(), json!({"filters": filters, "query": "secret"}).to_string())
        }
        8 => ("PUT", "/mem0/v1/batch/".to_owned(), json!({"memories": [{"memory_id": id, "text": text}]}).to_string()),
        9 | 10 => (
            "POST",
            "/mem0/v3/memories/add/".to_owned(),
            json!({"messages": [{"role": "user", "content": text}], "user_id": format!("u-{name}")}).to_string(),
        ),
        11 => {
            let users = random.pick(&["", "?user_id=*", "?user_id=u-ann", "?user_id=u-bob"]);
            ("DELETE", format!("/v1/memories/{users}"), String::new())
        }
        12 => {
            let of = random.pick(&[name, name, other]);
            ("DELETE", format!("/mem0/v2/entities/user/u-{of}/"), String::new())
        }
        13 => ("DELETE", "/mem0/v1/batch/".to_owned(), json!({"memories": [{"memory_id": id}]}).to_string()),
        _ => ("GET", "/mem0/v1/entities/".to_owned(), String::new()),
    }
}

#[test]
fn tenants_never_meet_whatever_they_ask_of_mem0s_api() {
    let site = Site::with_tokens(TOKENS);
    let seed = testkit::seed();
    let mut random = Random::new(seed);
    let mut ids: Vec<String> = vec!["unknown".to_owned()];
    for (offset, user) in [(0, "u-ann"), (1, "u-bob")] {
        follow(&site, offset, &format!("followed-{offset}"), user, "active", &format!("secret of {user}"));
        ids.push(format!("followed-{offset}"));
    }
    let mut answered = BTreeSet::new();
    for _ in 0..600 {
        let name = random.pick(&["ann", "bob"]);
        let other = if name == "ann" { "bob" } else { "ann" };
        let id = random.pick(&ids);
        let (method, path, body) = any_request(&mut random, name, other, &id);
        let of_other =
            || site.mem0("all", "GET", &format!("/v1/memories/?user_id=u-{other}&limit=1000"), "").of(200).body;
        let before = of_other();
        let answer = site.mem0(name, method, &path, &body);
        assert!(answer.status < 500, "{method} {path}: {answer:?}; SEED={seed}");
        assert_eq!(of_other(), before, "{name} {method} {path} {body}: {answer:?}; SEED={seed}");
        if answer.status == 200 {
            let route = path.split("u-").next().and_then(|route| route.split('?').next()).unwrap();
            answered.insert(format!("{method} {route}"));
        }
        let shows_other =
            answer.body.contains(&format!("secret of u-{other}")) || answer.body.contains(&format!("\"u-{other}\""));
        assert!(!shows_other, "{name} {method} {path} {body}: {answer:?}; SEED={seed}");
        let added = if path == "/v1/memories/" { "/0/id" } else { "/results/0/id" };
        if answer.status == 200 && method == "POST" {
            ids.extend(answer.json().pointer(added).and_then(|id| id.as_str()).map(str::to_owned));
        }
    }
    // Each of these has done something, so that it could have done too much.
    for kind in ["DELETE /v1/memories/", "DELETE /mem0/v2/entities/user/", "DELETE /mem0/v1/batch/"] {
        assert!(answered.contains(kind), "no {kind} in {answered:?}; SEED={seed}");
    }
    for (name, n) in ["ann", "bob"].into_iter().flat_map(|name| (0..5).map(move |n| (name, n))) {
        add_as(&site, name, &format!("secret of u-{name} {n}"), json!({}));
    }
    let all = site.mem0("all", "GET", "/v1/memories/?limit=1000", "").of(200).json();
    for memory in all.as_array().unwrap() {
        let text = memory["memory"].as_str().unwrap();
        assert!(
            text.starts_with(&format!("secret of {}", memory["user_id"].as_str().unwrap())),
            "{memory}; SEED={seed}"
        );
    }
    assert!(all.as_array().unwrap().len() > 3, "SEED={seed}");
}
