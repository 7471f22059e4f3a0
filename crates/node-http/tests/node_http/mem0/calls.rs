//! The nine calls of HelixAgent's memory client, as it makes them, at both places.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{add, id, texts};
use crate::site::Site;

/// Whether a memory has what HelixAgent's client decodes: texts, and times in RFC 3339.
fn is_decodable(memory: &Value) -> bool {
    let is_time = |name: &str| {
        let text = memory[name].as_str().unwrap_or_default();
        text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
    };
    let is_optional = |name: &str| memory[name].is_null() || memory[name].is_string();
    memory["id"].is_string()
        && memory["memory"].is_string()
        && ["user_id", "agent_id", "session_id"].into_iter().all(is_optional)
        && memory["metadata"].is_object()
        && memory["categories"].is_array()
        && is_time("created_at")
        && is_time("updated_at")
}

#[test]
fn helixagents_nine_calls_succeed_at_the_root_and_under_the_base_path() {
    for base in ["", "/mem0"] {
        let site = Site::open();
        let ask = |method: &str, path: &str, body: &str| site.mem0("", method, &format!("{base}{path}"), body);
        ask("GET", "/v1/health/", "").of(200);
        let body = json!({
            "messages": [{"role": "user", "content": "The debate preferred Rust"}],
            "metadata": {"type": "debate_analysis", "sentiment": "good", "confidence": 0.75, "category": "code", "importance": 1},
        });
        let added = ask("POST", "/v1/memories/", &body.to_string()).of(200).json()[0].clone();
        assert_eq!((&added["event"], &added["memory"]), (&json!("ADD"), &json!("The debate preferred Rust")));
        let path = format!("/v1/memories/{}/", id(&added));

        let query = json!({"query": "what did the debate say", "top_k": 5}).to_string();
        let found = ask("POST", "/v1/memories/search/", &query).of(200).json();
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert!(is_decodable(&found[0]) && found[0]["score"].is_number(), "{found}");
        assert_eq!(found[0]["metadata"], body["metadata"]);

        let read = ask("GET", &path, "").of(200).json();
        assert!(is_decodable(&read), "{read}");
        assert_eq!(read["score"], Value::Null);

        let update = json!({"memory_id": id(&added), "memory": "The debate preferred Go"}).to_string();
        let updated = ask("PUT", &path, &update).of(200).json();
        assert_eq!((&updated["memory"], &updated["metadata"]), (&json!("The debate preferred Go"), &body["metadata"]));

        let history = ask("GET", &format!("{path}history/"), "").of(200).json();
        let changes: Vec<_> = history
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                assert!(entry["id"].is_string() && entry["created_at"].is_string(), "{entry}");
                assert_eq!(entry["memory_id"], added["id"]);
                (entry["action"].clone(), entry["old_value"].clone(), entry["new_value"].clone())
            })
            .collect();
        let (rust, go) = (json!("The debate preferred Rust"), json!("The debate preferred Go"));
        assert_eq!(changes, [(json!("ADD"), Value::Null, rust.clone()), (json!("UPDATE"), rust, go)]);

        for n in 0..3 {
            let body = json!({"messages": [{"role": "user", "content": format!("fact {n}")}], "user_id": "u", "agent_id": "a", "session_id": "s"});
            ask("POST", "/v1/memories/", &body.to_string()).of(200);
        }
        let listed = ask("GET", "/v1/memories/?user_id=u&limit=2", "").of(200);
        assert_eq!((listed.json().as_array().unwrap().len(), listed.header("x-truncated")), (2, Some("true")));
        let listed = ask("GET", "/v1/memories/?user_id=u", "").of(200);
        assert_eq!(
            (texts(&listed.json()), listed.header("x-truncated")),
            (vec!["fact 0".into(), "fact 1".into(), "fact 2".into()], None)
        );
        assert!(
            listed
                .json()
                .as_array()
                .unwrap()
                .iter()
                .all(|memory| { is_decodable(memory) && memory["session_id"] == "s" && memory["agent_id"] == "a" })
        );

        ask("DELETE", &path, "").of(200);
        // To this client a deleted memory is unknown, and 404 is no failure.
        assert_eq!(ask("DELETE", &path, "").of(404).text("/code"), "HS8066");
        ask("GET", &path, "").of(404);
        ask("PUT", &path, &update).of(404);
        assert_eq!(ask("GET", &format!("{path}history/"), "").of(200).json()[2]["action"], "DELETE");
        ask("DELETE", "/v1/memories/?user_id=u", "").of(200);
        assert_eq!(ask("GET", "/v1/memories/", "").of(200).json(), json!([]));
    }
}

#[test]
fn a_delete_by_agent_leaves_the_others() {
    let site = Site::open();
    for n in 0..70 {
        let agent = if n % 2 == 0 { "even" } else { "odd" };
        add(&site, &format!("fact {n}"), json!({"agent_id": agent}));
    }
    let deleted = site.mem0("", "DELETE", "/v1/memories/?agent_id=even", "").of(200);
    assert_eq!(deleted.text("/message"), "35 memories deleted successfully!");
    let listed = site.mem0("", "GET", "/v1/memories/?limit=1000", "").of(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 35);
    assert!(listed.as_array().unwrap().iter().all(|memory| memory["agent_id"] == "odd"));
}

#[test]
fn a_memory_that_is_moved_while_its_agent_is_deleted_stays() {
    let site = Site::open();
    let mut ids: Vec<String> =
        (0..240).map(|n| id(&add(&site, &format!("fact {n}"), json!({"agent_id": "old"})))).collect();
    ids.sort_unstable();
    let move_it = json!({"metadata": {"helixagent.agent_id": "new"}}).to_string();
    let (deleted, moved) = std::thread::scope(|scope| {
        let movers: Vec<_> = ids
            .chunks(60)
            .map(|part| {
                // From the end, so that the delete meets them.
                let move_one =
                    |id: &&String| site.ask("PATCH", &format!("/v1/memories/{id}"), &[], &move_it).status == 200;
                scope.spawn(move || part.iter().rev().filter(move_one).collect::<Vec<_>>())
            })
            .collect();
        let deleted = site.mem0("", "DELETE", "/v1/memories/?agent_id=old", "").of(200).text("/message");
        (deleted, movers.into_iter().flat_map(|mover| mover.join().unwrap()).collect::<Vec<_>>())
    });
    assert_eq!(deleted, format!("{} memories deleted successfully!", ids.len() - moved.len()));
    let listed = site.mem0("", "GET", "/v1/memories/?agent_id=new&limit=1000", "").of(200).json();
    let listed: BTreeSet<String> = listed.as_array().unwrap().iter().map(id).collect();
    assert_eq!(listed, moved.into_iter().cloned().collect());
}

#[test]
fn fields_of_these_clients_lie_under_one_prefix_in_the_metadata() {
    let site = Site::open();
    let metadata = json!({"type": "semantic", "category": "c", "summary": "short", "mood": {"calm": [1]}});
    let more = json!({"agent_id": "a", "app_id": "p", "run_id": "r", "user_id": "u", "categories": ["x", "y"], "metadata": metadata});
    let body = json!({"messages": [{"role": "assistant", "content": "text"}]});
    let mut body = body;
    more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
    let added = site.mem0("", "POST", "/mem0/v3/memories/add/", &body.to_string()).of(200).json();
    assert_eq!(added["status"], "SUCCEEDED");
    let id = id(&added["results"][0]);
    let own = site.get(&format!("/v1/memories/{id}")).of(200).json()["memory"].clone();
    assert_eq!((&own["content"], &own["user_id"], &own["session_id"]), (&json!("text"), &json!("u"), &json!("r")));
    let stored = json!({
        "helixagent.agent_id": "a", "helixagent.app_id": "p", "helixagent.categories": ["x", "y"], "helixagent.category": "c",
        "helixagent.role": "assistant", "helixagent.summary": "short", "helixagent.type": "semantic", "mood": {"calm": [1]},
    });
    assert_eq!(own["metadata"], stored);
    let shown = site.mem0("", "GET", &format!("/v1/memories/{id}/"), "").of(200).json();
    let expected =
        json!({"agent_id": "a", "app_id": "p", "run_id": "r", "session_id": "r", "user_id": "u", "role": "assistant"});
    expected.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(shown[name], *value, "{name}"));
    assert_eq!((&shown["metadata"], &shown["categories"]), (&metadata, &json!(["x", "y"])));
    // An update writes the keys that it has; null clears one.
    let update = json!({"metadata": {"type": "episodic", "mood": null}}).to_string();
    let updated = site.mem0("", "PUT", &format!("/v1/memories/{id}/"), &update).of(200).json();
    assert_eq!(updated["metadata"], json!({"type": "episodic", "category": "c", "summary": "short"}));
    assert_eq!((&updated["memory"], &updated["agent_id"]), (&json!("text"), &json!("a")));
    // Metadata that our own API has written without the prefix are shown as well.
    let plain = site
        .create(r#"{"content": "plain", "metadata": {"type": "t", "n": 9007199254740993}}"#)
        .text("/memory/memory_id");
    let shown = site.mem0("", "GET", &format!("/v1/memories/{plain}/"), "").of(200);
    assert!(shown.body.contains(r#""metadata":{"n":9007199254740993,"type":"t"}"#), "{shown:?}");
}

#[test]
fn pages_hold_every_memory_once_and_say_how_many_there_are() {
    let site = Site::open();
    for n in 0..75 {
        add(&site, &format!("fact {n}"), json!({"user_id": if n < 70 { "u" } else { "v" }}));
    }
    let filters = json!({"filters": {"user_id": "u"}, "fields": ["id"]}).to_string();
    let mut path = "/mem0/v3/memories/?page_size=30".to_owned();
    let (mut ids, mut pages) = (BTreeSet::new(), 0);
    loop {
        let page = site.mem0("", "POST", &path, &filters).of(200).json();
        assert_eq!((&page["count"], page["previous"].is_null()), (&json!(70), pages == 0));
        for memory in page["results"].as_array().unwrap() {
            assert_eq!(memory.as_object().unwrap().len(), 1);
            assert!(ids.insert(id(memory)));
        }
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!((ids.len(), pages), (70, 3));
}

#[test]
fn entities_are_those_of_the_memories() {
    let site = Site::open();
    add(&site, "one", json!({"user_id": "u", "agent_id": "a"}));
    add(&site, "two", json!({"user_id": "u", "run_id": "r"}));
    add(&site, "three", json!({"app_id": "p/1 ü"}));
    let entities = site.mem0("", "GET", "/mem0/v1/entities/", "").of(200).json();
    let found: Vec<_> = entities["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entity| {
            (
                entity["type"].as_str().unwrap(),
                entity["name"].as_str().unwrap(),
                entity["total_memories"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [("agent", "a", 1), ("app", "p/1 ü", 1), ("run", "r", 1), ("user", "u", 2)]);
    assert_eq!((&entities["count"], &entities["total_users"]), (&json!(4), &json!(1)));
    site.mem0("", "DELETE", "/mem0/v2/entities/app/p%2F1%20%C3%BC/", "").of(200);
    site.mem0("", "DELETE", "/mem0/v2/entities/run/r/", "").of(200);
    assert_eq!(texts(&site.mem0("", "GET", "/v1/memories/", "").json()), ["one"]);
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let site = Site::open();
    let ids: Vec<String> = (0..3).map(|n| id(&add(&site, &format!("fact {n}"), json!({})))).collect();
    let counter = || site.get("/v1/sync/status").text("/counter");
    let unknown =
        json!({"memories": [{"memory_id": ids[0], "text": "x"}, {"memory_id": "unknown", "text": "x"}]}).to_string();
    for method in ["PUT", "DELETE"] {
        let body = if method == "PUT" { unknown.clone() } else { unknown.replace(r#","text":"x""#, "") };
        assert_eq!(site.mem0("", method, "/mem0/v1/batch/", &body).of(404).text("/code"), "HS8066");
    }
    assert_eq!(counter(), "3");
    let update = json!({"memories": [{"memory_id": ids[0], "text": "x"}, {"memory_id": ids[1], "metadata": {"k": 1}}]});
    let answer = site.mem0("", "PUT", "/mem0/v1/batch/", &update.to_string()).of(200);
    assert_eq!(answer.text("/message"), "Successfully updated 2 memories");
    let listed = site.mem0("", "GET", "/v1/memories/", "").json();
    assert_eq!(texts(&listed), ["fact 1", "fact 2", "x"]);
    // The first of them is deleted already.
    site.mem0("", "DELETE", &format!("/v1/memories/{}/", ids[0]), "").of(200);
    let all: Vec<Value> = ids.iter().map(|id| json!({"memory_id": id})).collect();
    site.mem0("", "DELETE", "/mem0/v1/batch/", &json!({"memories": all}).to_string()).of(200);
    assert_eq!(site.mem0("", "GET", "/v1/memories/", "").json(), json!([]));
    assert_eq!(counter(), "8");
}
