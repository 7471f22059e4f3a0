//! Tokens that are bound to users: tenants never meet.

use std::collections::{BTreeSet, VecDeque};

use node::clock_token::ClockToken;
use serde_json::{Value, json};
use testkit::Random;

use crate::event_reader::EventReader;
use crate::memories::follow;
use crate::site::{Answer, Site};

const TOKENS: &[(&str, Option<&[&str]>)] =
    &[("ann", Some(&["u-ann"])), ("bob", Some(&["u-bob"])), ("both", Some(&["u-ann", "u-bob"])), ("all", None)];

#[test]
fn a_token_is_refused_what_belongs_to_other_users() {
    let site = Site::with_tokens(TOKENS);
    let created = site.ask_as("ann", "POST", "/v1/memories", &[], r#"{"content": "a"}"#).of(201);
    assert_eq!(created.text("/memory/user_id"), "u-ann");
    let path = created.header("location").unwrap().to_owned();
    site.ask_as("all", "GET", &path, &[], "").of(200);
    let code = |token: &str, method: &str, path: &str, body: &str| {
        let answer = site.ask_as(token, method, path, &[], body);
        (answer.status, answer.text("/code"))
    };
    let forbidden = (403, "HS8073".to_owned());
    // Another user, no user, or an id of the client's choice.
    assert_eq!(code("ann", "POST", "/v1/memories", r#"{"user_id": "u-bob"}"#), forbidden);
    assert_eq!(code("ann", "POST", "/v1/memories", r#"{"user_id": null}"#), forbidden);
    assert_eq!(code("both", "POST", "/v1/memories", "{}"), forbidden);
    assert_eq!(code("ann", "POST", "/v1/memories", r#"{"memory_id": "m"}"#), forbidden);
    for method in ["PUT", "PATCH"] {
        assert_eq!(code("ann", method, &path, r#"{"user_id": "u-bob"}"#), forbidden);
        assert_eq!(code("ann", method, &path, r#"{"user_id": null}"#), forbidden);
    }
    assert_eq!(code("ann", "GET", "/v1/memories?user_id=u-bob", ""), forbidden);
    assert_eq!(code("ann", "GET", "/v1/memories/search?query=a&user_id=u-bob", ""), forbidden);
    // A token of two users moves a memory between them.
    site.ask_as("both", "PATCH", &path, &[], r#"{"user_id": "u-bob"}"#).of(200);
    site.ask_as("ann", "GET", &path, &[], "").of(404);
    site.ask_as("bob", "GET", &path, &[], "").of(200);
}

#[test]
fn a_memory_of_somebody_else_is_as_unknown_as_one_that_does_not_exist() {
    let site = Site::with_tokens(TOKENS);
    let created = site.ask_as("ann", "POST", "/v1/memories", &[], r#"{"content": "a"}"#).of(201);
    let (of_ann, clock) = (created.text("/memory/memory_id"), created.text("/clock"));
    let own = site.ask_as("bob", "POST", "/v1/memories", &[], r#"{"content": "b"}"#).text("/memory/memory_id");
    follow(&site, 0, "gone", "u-ann", "deleted", "");
    follow(&site, 1, "elsewhere", "u-ann", "active", "x");
    let merge = |id: &str| json!({"merged_from": [id]}).to_string();
    for foreign in [of_ann.as_str(), "gone", "elsewhere"] {
        for headers in [&[][..], &[("if-match", clock.as_str())], &[("x-session-id", "s")], &[("idempotency-key", "k")]]
        {
            for (method, more, body) in [
                ("GET", "", ""),
                ("GET", "/events", ""),
                ("GET", "/history", ""),
                ("GET", "/entities", ""),
                ("GET", "/relationships", ""),
                ("PUT", "/entities/e", "{}"),
                ("PUT", "/relationships/r", "{}"),
                ("DELETE", "/relationships/r", ""),
                ("PUT", "", r#"{"content": "c"}"#),
                ("PATCH", "", r#"{"content": "c"}"#),
                ("DELETE", "", ""),
                ("POST", "/merge", &merge(&own)),
            ] {
                let ask = |id: &str| site.ask_as("bob", method, &format!("/v1/memories/{id}{more}"), headers, body);
                let without_date = |id: &str| (ask(id).of(404).body, ask(id).header("etag").map(str::to_owned));
                assert_eq!(without_date(foreign), without_date("unknown"), "{method} {more} {headers:?}");
            }
        }
        let absorb =
            |id: &str| site.ask_as("bob", "POST", &format!("/v1/memories/{own}/merge"), &[], &merge(id)).of(404);
        assert_eq!(absorb(foreign).body, absorb("unknown").body);
    }
    assert_eq!(
        site.ask_as("ann", "GET", &format!("/v1/memories/{of_ann}"), &[], "").of(200).text("/memory/content"),
        "a"
    );
}

#[test]
fn a_made_up_version_does_not_raise_the_versions_of_everybody() {
    let site = Site::with_tokens(TOKENS);
    follow(&site, 0, "m", "u-ann", "active", "a");
    let version_now = || -> u64 {
        let created = site.ask_as("bob", "POST", "/v1/memories", &[], "{}").of(201);
        created.text("/event/version").parse().unwrap()
    };
    let token = ClockToken::decode(&site.ask_as("ann", "GET", "/v1/memories/m", &[], "").text("/clock")).unwrap();
    let second = 1_000_000_000;
    let (greatest, day) = (version_now(), 86_400 * second);
    let write = |name: &str, version: u64, issuer: &str| {
        let forged = ClockToken { version, issuer: issuer.to_owned(), ..token.clone() }.encode();
        let answer = site.ask_as(name, "PATCH", "/v1/memories/m", &[("if-match", &forged)], "{}");
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = (400, "HS8069".to_owned());
    for name in ["ann", "all"] {
        assert_eq!(write(name, greatest + 1, &token.issuer), refused, "this node has shown no such version");
    }
    assert_eq!(write("ann", greatest + 2 * day, "elsewhere.1"), refused);
    assert_eq!(write("ann", i64::MAX as u64, "elsewhere.1"), refused);
    assert_eq!(write("ann", greatest + second, "elsewhere.1").0, 200);
    assert!(version_now() < greatest + day);
}

/// What the clients have been shown, whoever of them that was.
struct Shown {
    ids: Vec<String>,
    clocks: Vec<String>,
    cursors: Vec<String>,
    /// The memories that were shown last, each with the client and the clock.
    latest: VecDeque<(String, String, String)>,
}

impl Shown {
    /// Keeps what an answer shows to a client.
    fn add(&mut self, name: &str, answer: &Answer) {
        let json = answer.json();
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        self.clocks.extend(text("/clock"));
        self.cursors.extend(text("/next"));
        if answer.status == 201 {
            self.ids.extend(text("/memory/memory_id"));
        }
        if let (Some(id), Some(clock), Some("active")) =
            (text("/memory/memory_id"), text("/clock"), text("/memory/status").as_deref())
        {
            self.latest.push_back((name.to_owned(), id, clock));
            self.latest.drain(..self.latest.len().saturating_sub(20));
        }
    }

    /// A merge of two memories, with a clock of the absorbed one: of any client, or of this one.
    fn merge(&self, random: &mut Random, name: &str) -> (&'static str, String, String) {
        let of_client: Vec<_> = self.latest.iter().filter(|(client, ..)| client == name).collect();
        let (id, absorbed, clock) = match of_client[..] {
            [.., (_, absorbed, clock), (_, id, _)] if random.one_in(2) => (id.clone(), absorbed.clone(), clock.clone()),
            _ => (random.pick(&self.ids), random.pick(&self.ids), random.pick(&self.clocks)),
        };
        let body = json!({"merged_from": [absorbed], "clocks": {absorbed: clock}});
        ("POST", format!("/v1/memories/{id}/merge"), body.to_string())
    }
}

/// A request by a token: its method, its path and its body.
fn any_request(random: &mut Random, name: &str, shown: &Shown) -> (&'static str, String, String) {
    let Shown { ids, cursors, .. } = shown;
    let id = random.pick(ids);
    let path = format!("/v1/memories/{id}");
    let user = random.pick(&["", "", "u-ann", "u-bob"]);
    let mut fields = json!({"content": format!("secret of u-{name}"), "tags": [random.below(4).to_string()]});
    if !user.is_empty() {
        fields["user_id"] = json!(user);
    }
    let filter = if user.is_empty() { String::new() } else { format!("&user_id={user}") };
    // More new memories than deletes and merges take away, so that many are left to be looked at.
    match random.below(25) {
        0 | 20..=24 => ("POST", "/v1/memories".to_owned(), fields.to_string()),
        1 => ("GET", path, String::new()),
        2 => ("PUT", path, fields.to_string()),
        3 => ("PATCH", path, fields.to_string()),
        4 => ("DELETE", path, String::new()),
        5 => ("GET", format!("{path}/events"), String::new()),
        6 => ("POST", format!("{path}/merge"), json!({"merged_from": [random.pick(ids)]}).to_string()),
        7 => {
            let cursor = random.pick(cursors);
            ("GET", format!("/v1/memories?include_inactive=true&limit=3&cursor={cursor}{filter}"), String::new())
        }
        8 => ("GET", format!("{path}/entities"), String::new()),
        9 => {
            let entity = json!({"name": format!("secret of u-{name}")}).to_string();
            ("PUT", format!("{path}/entities/{}", random.below(3)), entity)
        }
        10 => ("DELETE", format!("{path}/relationships/{}", random.below(3)), String::new()),
        12 => ("POST", "/v1/memories/search".to_owned(), json!({"query": "secret"}).to_string()),
        11 => ("GET", format!("/v1/conflicts?limit=3{filter}"), String::new()),
        13 => ("GET", format!("{path}/history"), String::new()),
        14 => ("GET", format!("/v1/users/{}/snapshot", random.pick(&["u-ann", "u-bob"])), String::new()),
        15 => ("POST", format!("/v1/sync/force{}", filter.replace('&', "?")), String::new()),
        16 => ("GET", random.pick(&["/v1/sync/status", "/v1/nodes"]).to_owned(), String::new()),
        17 | 18 => shown.merge(random, name),
        _ => ("GET", format!("/v1/memories/search?query=secret{filter}"), String::new()),
    }
}

/// All that a client has followed is its own.
fn follows_no_other(site: &Site, name: &str, other: &str, stream: &mut EventReader, seed: u64) {
    let last = json!({"content": "the last one"}).to_string();
    site.ask_as(name, "POST", "/v1/memories", &[], &last).of(201);
    let mut events = 0;
    loop {
        let event = stream.next().expect("the stream goes on");
        let is_of_other =
            event.data.contains(&format!("secret of u-{other}")) || event.data.contains(&format!("\"u-{other}\""));
        assert!(!is_of_other, "{name} follows {event:?}; SEED={seed}");
        if event.name == "memory" && event.data.contains("the last one") {
            break;
        }
        events += 1;
    }
    assert!(events > 10, "{name} has followed {events} changes; SEED={seed}");
}

#[test]
fn tenants_never_meet_whatever_they_ask() {
    let site = Site::with_tokens(TOKENS);
    let seed = testkit::seed();
    let mut random = Random::new(seed);
    let tenants = ["ann", "bob"];
    let mut ids: Vec<String> = vec!["unknown".to_owned(), "search".to_owned()];
    for (offset, user) in [(0, "u-ann"), (1, "u-bob"), (2, "u-ann")] {
        let id = format!("followed-{offset}");
        follow(&site, offset, &id, user, "active", &format!("secret of {user}"));
        ids.push(id);
    }
    let (clocks, cursors) = (vec!["nonsense".to_owned()], vec!["bQ".to_owned()]);
    let mut shown = Shown { ids, clocks, cursors, latest: VecDeque::new() };
    let mut streams = tenants.map(|name| site.stream_as(name, "/v1/events", &[]));
    streams.iter_mut().for_each(|stream| drop(stream.next_named("opened")));
    let mut answered = BTreeSet::new();
    for _ in 0..800 {
        let name = random.pick(&tenants);
        let other = if name == "ann" { "bob" } else { "ann" };
        let (method, path, body) = any_request(&mut random, name, &shown);
        let (clock, key) = (random.pick(&shown.clocks), random.below(20).to_string());
        let headers: &[(&str, &str)] = match random.below(4) {
            0 if !path.ends_with("/memories") => &[("if-match", &clock)],
            1 => &[("x-session-id", "shared")],
            2 => &[("idempotency-key", &key)],
            _ => &[],
        };
        let answer = site.ask_as(name, method, &path, headers, &body);
        assert!(answer.status < 500, "{method} {path}: {answer:?}; SEED={seed}");
        let shows_other = [format!("secret of u-{other}"), format!("\"u-{other}\"")]
            .iter()
            .any(|secret| answer.body.contains(secret));
        assert!(!shows_other, "{name} {method} {path} {headers:?} {body}: {answer:?}; SEED={seed}");
        shown.add(name, &answer);
        if answer.status < 300 {
            let kind = path.split('?').next().unwrap().rsplit('/').next().unwrap();
            let has_clocks = if body.contains("\"clocks\"") { " with clocks" } else { "" };
            answered.insert(format!("{method} {kind}{has_clocks}"));
        }
    }
    // Each of these has shown something, so that it could have shown too much.
    for kind in ["GET history", "GET snapshot", "POST force", "POST merge with clocks"] {
        assert!(answered.contains(kind), "no {kind} in {answered:?}; SEED={seed}");
    }
    // All that each of them has followed meanwhile.
    for ((name, other), mut stream) in [("ann", "bob"), ("bob", "ann")].into_iter().zip(streams) {
        follows_no_other(&site, name, other, &mut stream, seed);
    }
    // Nobody has written into a memory of the other one.
    let mut seen = 0;
    for id in &shown.ids {
        let answer = site.ask_as("all", "GET", &format!("/v1/memories/{}", id.replace("search", "%73earch")), &[], "");
        if answer.status == 200 {
            seen += 1;
            assert_eq!(
                answer.text("/memory/content"),
                format!("secret of {}", answer.text("/memory/user_id")),
                "SEED={seed}"
            );
        }
    }
    assert!(seen > 10, "{seen} memories; SEED={seed}");
}

#[test]
fn equal_keys_and_sessions_of_two_tokens_are_two() {
    let site = Site::with_tokens(&[("one", Some(&["u"])), ("two", Some(&["u"]))]);
    let key = [("idempotency-key", "k")];
    let [first, second] =
        ["one", "two"].map(|token| site.ask_as(token, "POST", "/v1/memories", &key, r#"{"content": "a"}"#).of(201));
    assert_ne!(first.text("/event/event_id"), second.text("/event/event_id"));
    let path = first.header("location").unwrap();
    let session = [("x-session-id", "s")];
    site.ask_as("one", "GET", path, &session, "").of(200);
    site.ask_as("two", "PATCH", path, &[], r#"{"content": "b"}"#).of(200);
    // The session of the second token has read nothing, so that it has seen what the node shows.
    site.ask_as("two", "PATCH", path, &session, r#"{"content": "c"}"#).of(200);
    site.ask_as("one", "PATCH", path, &session, r#"{"content": "d"}"#).of(409);
}

#[test]
fn the_events_of_a_memory_of_which_every_write_has_failed_are_shown_to_its_user() {
    let site = Site::with_tokens(TOKENS);
    let created = site.ask_as("ann", "POST", "/v1/memories", &[], r#"{"content": "a"}"#).of(201);
    site.node.journal().mark_failed(1, "too large").unwrap();
    let path = format!("/v1/memories/{}", created.text("/memory/memory_id"));
    site.ask_as("ann", "GET", &path, &[], "").of(404);
    let events = site.ask_as("ann", "GET", &format!("{path}/events"), &[], "").of(200);
    assert_eq!(
        (events.text("/events/0/state"), events.text("/events/0/reason")),
        ("failed".into(), "too large".into())
    );
    site.ask_as("bob", "GET", &format!("{path}/events"), &[], "").of(404);
}
