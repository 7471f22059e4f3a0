//! Reads leave the database as it is.

use crate::memories::follow;
use crate::site::Site;

#[test]
fn reading_and_searching_change_no_byte_of_the_database() {
    let site = Site::open();
    follow(&site, 0, "resolved", "u", "active", "green tea");
    site.create(r#"{"memory_id": "m", "user_id": "u", "content": "tea", "embedding": [1], "entities": [{"id": "e"}]}"#);
    let before = site.database();
    for path in [
        "/v1/memories/m",
        "/v1/memories/m/events",
        "/v1/memories/m/entities",
        "/v1/memories/m/relationships",
        "/v1/memories/resolved/history",
        "/v1/memories?user_id=u&include_inactive=true",
        "/v1/memories/search?query=tea&user_id=u",
        "/v1/conflicts",
        "/v1/users/u/snapshot",
        "/v1/nodes",
        "/v1/sync/status",
        "/v1/openapi.json",
    ] {
        site.get(path).of(200);
    }
    let search = r#"{"query": "tea", "embedding": [1]}"#;
    site.ask("POST", "/v1/memories/search", &[], search).of(200);
    for (method, path, body) in [
        ("GET", "/v1/memories/?user_id=u", ""),
        ("GET", "/v1/memories/m/history/", ""),
        ("GET", "/mem0/v1/entities/", ""),
        ("POST", "/mem0/v3/memories/", r#"{"filters": {"user_id": "u"}}"#),
        ("POST", "/mem0/v3/memories/search/", r#"{"query": "tea", "filters": {"user_id": "u"}}"#),
    ] {
        site.mem0("", method, path, body).of(200);
    }
    let is_same = before == site.database();
    assert!(is_same, "a read has written");
}
