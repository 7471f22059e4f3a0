//! The stream of events.

use serde_json::json;
use testkit::{Random, wait_until};

use crate::event_reader::{EventReader, SentEvent};
use crate::memories::{SNAPSHOTS, follow, record};
use crate::site::{Options, Site};

fn ids(events: &[SentEvent]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_deref().unwrap()).collect()
}

#[test]
fn each_change_is_an_event_with_the_memory_as_a_read_answers_it() {
    let site = Site::open();
    site.create(r#"{"memory_id": "before"}"#);
    let mut stream = site.stream("/v1/events", &[]);
    let opened = stream.next_named("opened");
    assert_eq!(opened.json(), json!({"resumed": false}));
    site.create(r#"{"memory_id": "m", "user_id": "u", "content": "1\nü\u2028"}"#);
    let read = site.get("/v1/memories/m").of(200);
    let event = stream.next_named("memory");
    assert_eq!(event.data, read.body);
    // What another node has written, the own write over it, and the deletion.
    follow(&site, 0, "other", "u", "active", "by another");
    let event = stream.next_named("memory").json();
    assert_eq!((&event["memory"]["content"], &event["pending"]), (&json!("by another"), &json!(false)));
    let clock = ("if-match", event["clock"].as_str().unwrap());
    site.ask("PATCH", "/v1/memories/other", &[clock], r#"{"content": "own"}"#).of(200);
    let event = stream.next_named("memory").json();
    assert_eq!((&event["memory"]["content"], &event["pending"]), (&json!("own"), &json!(true)));
    site.ask("DELETE", "/v1/memories/m", &[], "").of(200);
    let event = stream.next_named("memory").json();
    assert_eq!((&event["memory"]["status"], &event["memory"]["user_id"]), (&json!("deleted"), &json!("u")));
    // What changes nothing that is shown is no event.
    site.ask("PATCH", "/v1/memories/m", &[], r#"{"content": "x"}"#).of(410);
    follow(&site, 1, "last", "u", "active", "1");
    follow(&site, 1, "last", "u", "active", "1");
    site.create(r#"{"memory_id": "end", "content": "end"}"#);
    assert_eq!(stream.next_named("memory").content(), "1");
    assert_eq!(stream.next_named("memory").content(), "end");
}

#[test]
fn a_client_goes_on_behind_the_last_event_that_it_has_seen_also_after_a_restart() {
    let mut site = Site::open();
    let mut stream = site.stream("/v1/events", &[]);
    let opened = stream.next_named("opened");
    for n in 0..5 {
        site.ask("PUT", "/v1/memories/m", &[], &json!({"content": n.to_string()}).to_string());
    }
    let all: Vec<SentEvent> = (0..5).map(|_| stream.next_named("memory")).collect();
    let contents: Vec<String> = all.iter().map(SentEvent::content).collect();
    assert_eq!(contents, ["0", "1", "2", "3", "4"]);
    for restarted in [false, true] {
        if restarted {
            site.restart();
            assert_eq!(stream.next(), None, "the stop of the node ends its streams");
        }
        for (seen, left) in [(opened.id.as_deref().unwrap(), &all[..])]
            .into_iter()
            .chain((0..5).map(|at| (all[at].id.as_deref().unwrap(), &all[at + 1..])))
        {
            let mut again = site.stream("/v1/events", &[("last-event-id", seen)]);
            assert_eq!(again.next_named("opened").json(), json!({"resumed": true}));
            let rest: Vec<SentEvent> = left.iter().map(|_| again.next_named("memory")).collect();
            assert_eq!(rest, left, "after {seen}");
        }
    }
    site.create(r#"{"memory_id": "n", "content": "after"}"#);
    let mut again = site.stream("/v1/events", &[("last-event-id", all[4].id.as_deref().unwrap())]);
    again.next_named("opened");
    assert_eq!(again.next_named("memory").content(), "after");
}

#[test]
fn an_id_that_the_node_does_not_have_is_answered_with_a_reset_and_never_with_a_gap() {
    let site = Site::with(Options { kept_changes: 3, ..Options::default() });
    let mut stream = site.stream("/v1/events", &[("last-event-id", "")]);
    let opened = stream.next_named("opened");
    let events: Vec<SentEvent> = (0..6)
        .map(|n| {
            site.create(&json!({"memory_id": format!("m{n}"), "content": n.to_string()}).to_string());
            stream.next_named("memory")
        })
        .collect();
    let known = ids(&events);
    let of_another = Site::open().stream("/v1/events", &[]).next_named("opened").id.unwrap();
    let ahead = format!("9{}", known[5]);
    for id in [opened.id.as_deref().unwrap(), known[0], known[1], &of_another, &ahead, "nonsense", "1.", "\u{e9}"] {
        let id = if id.is_ascii() { id } else { "-1.x" };
        let mut again = site.stream("/v1/events", &[("last-event-id", id)]);
        let reset = again.next_named("reset");
        assert!(reset.json()["reason"].as_str().unwrap().contains("list the memories anew"), "{reset:?}");
        // It goes on from now, and its id is one to go on from.
        assert_eq!(reset.id.as_deref(), Some(known[5]));
    }
    // Of the change itself nothing is needed any more.
    let mut again = site.stream("/v1/events", &[("last-event-id", known[2])]);
    again.next_named("opened");
    assert_eq!(["3", "4", "5"].map(|_| again.next_named("memory").content()), ["3", "4", "5"]);
}

#[test]
fn a_folder_that_was_rolled_back_has_none_of_the_ids_that_it_has_lost() {
    let mut site = Site::open();
    site.create(r#"{"memory_id": "m", "content": "both"}"#);
    let kept = site.stream("/v1/events", &[]).next_named("opened").id.unwrap();
    site.stop();
    let backup = site.copy_folder();
    site.restart();
    let mut stream = site.stream("/v1/events", &[("last-event-id", &kept)]);
    stream.next_named("opened");
    site.create(r#"{"memory_id": "lost", "content": "lost"}"#);
    let lost = stream.next_named("memory").id.unwrap();
    site.stop();
    site.restart_from(backup);
    site.create(r#"{"memory_id": "new", "content": "new"}"#);
    site.create(r#"{"memory_id": "newer", "content": "newer"}"#);
    site.stream("/v1/events", &[("last-event-id", &lost)]).next_named("reset");
    let mut stream = site.stream("/v1/events", &[("last-event-id", &kept)]);
    stream.next_named("opened");
    assert_eq!([stream.next_named("memory").content(), stream.next_named("memory").content()], ["new", "newer"]);
}

#[test]
fn filters_leave_out_the_memories_of_others_and_say_which_have_left() {
    let site = Site::open();
    let [mut of_user, mut of_session] =
        ["user_id=u", "session_id=s"].map(|filter| site.stream(&format!("/v1/events?{filter}"), &[]));
    of_user.next_named("opened");
    of_session.next_named("opened");
    let patch = |body: &str| site.ask("PATCH", "/v1/memories/m", &[], body).of(200);
    site.create(r#"{"memory_id": "m", "user_id": "u", "session_id": "s", "content": "1"}"#);
    site.create(r#"{"memory_id": "n", "user_id": "v", "session_id": "t", "content": "of others"}"#);
    site.create(r#"{"memory_id": "o", "content": "of nobody"}"#);
    patch(r#"{"user_id": "v", "content": "2"}"#);
    patch(r#"{"content": "3"}"#);
    patch(r#"{"user_id": "u", "session_id": null, "content": "4"}"#);
    patch(r#"{"session_id": "s", "content": "5"}"#);
    site.ask("DELETE", "/v1/memories/m", &[], "").of(200);
    let content = |event: SentEvent| {
        if event.json()["memory"]["status"] == "deleted" { "deleted".to_owned() } else { event.content() }
    };
    let read = |stream: &mut EventReader, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| content(stream.next_named(name))).collect()
    };
    let names = ["memory", "left", "memory", "memory", "memory"];
    assert_eq!(read(&mut of_user, &names), ["1", "m", "4", "5", "deleted"]);
    let names = ["memory", "memory", "memory", "left", "memory", "memory"];
    assert_eq!(read(&mut of_session, &names), ["1", "2", "3", "m", "5", "deleted"]);
}

#[test]
fn a_token_that_is_bound_to_users_gets_the_events_of_its_users_alone() {
    let tokens: &[(&str, Option<&[&str]>)] = &[("ann", Some(&["u-ann"])), ("bob", Some(&["u-bob"])), ("all", None)];
    let site = Site::with_tokens(tokens);
    let forbidden = site.ask_as("ann", "GET", "/v1/events?user_id=u-bob", &[], "").of(403);
    assert_eq!(forbidden.text("/code"), "HS8073");
    let seed = testkit::seed();
    let mut random = Random::new(seed);
    let mut streams = ["ann", "bob"].map(|token| site.stream_as(token, "/v1/events", &[]));
    streams.iter_mut().for_each(|stream| _ = stream.next_named("opened"));
    let first = site.stream_as("all", "/v1/events", &[]).next_named("opened").id.unwrap();
    for offset in 0..60 {
        let (id, user) = (random.below(5), random.pick(&["u-ann", "u-bob", "u-eve"]));
        let status = if random.below(4) == 0 { "deleted" } else { "active" };
        follow(&site, offset, &format!("m{id}"), user, status, &format!("secret of {user}"));
    }
    for (offset, user) in [(60, "u-ann"), (61, "u-bob")] {
        follow(&site, offset, "end", user, "active", "end");
    }
    for ((name, other), stream) in [("ann", "u-bob"), ("bob", "u-ann")].into_iter().zip(&mut streams) {
        let mut again = site.stream_as(name, "/v1/events", &[("last-event-id", &first)]);
        again.next_named("opened");
        let mut count = 0;
        loop {
            let event = stream.next().unwrap();
            assert_eq!(again.next().as_ref(), Some(&event), "SEED={seed}");
            assert!(!event.data.contains(other) && !event.data.contains("u-eve"), "{event:?}; SEED={seed}");
            count += 1;
            if event.name == "memory" && event.data.contains("\"end\"") {
                break;
            }
        }
        assert!(count > 5, "SEED={seed}");
    }
}

#[test]
fn a_stream_that_has_nothing_to_say_writes_comments() {
    let site = Site::open();
    let mut stream = site.stream("/v1/events", &[]);
    stream.next_named("opened");
    assert_eq!(stream.next_of_any_kind(), Some(SentEvent::default()));
}

#[test]
fn the_id_of_a_client_follows_the_changes_of_others() {
    let site = Site::with(Options { kept_changes: 1500, ..Options::default() });
    let mut stream = site.stream("/v1/events?user_id=u", &[]);
    let first = stream.next_named("opened").id.unwrap();
    let follow_many = |from: i64| {
        let records: Vec<_> = (from..from + 1200).map(|offset| record(offset, "m", "other", "active", "x").0).collect();
        site.node.journal().apply(SNAPSHOTS, 0, &records, from + 1200).unwrap();
    };
    follow_many(0);
    let id = std::iter::from_fn(|| stream.next_of_any_kind()).find_map(|event| event.id).unwrap();
    follow_many(1200);
    // It is not the changes of this user that were removed.
    let again = |path: &str, id: &str| site.stream(path, &[("last-event-id", id)]).next().unwrap().name;
    assert_eq!(["", "?user_id=other"].map(|query| again(&format!("/v1/events{query}"), &first)), ["reset", "reset"]);
    assert_eq!([&first, &id].map(|id| again("/v1/events?user_id=u", id)), ["opened", "opened"]);
    assert_eq!(again("/v1/events", &id), "opened");
}

#[test]
fn the_number_of_open_streams_has_a_limit() {
    let site = Site::with_tokens(&[("one", None), ("two", None)]);
    let open: Vec<EventReader> = (0..16).map(|_| site.stream_as("one", "/v1/events", &[])).collect();
    let refused = site.ask_as("one", "GET", "/v1/events", &[], "").of(503);
    assert_eq!((refused.text("/code").as_str(), refused.header("retry-after")), ("HS8078", Some("10")));
    site.stream_as("two", "/v1/events", &[]).next_named("opened");
    drop(open);
    // The node sees that a client has gone when it writes to it.
    wait_until("a place to be free", || {
        site.ask_as("one", "POST", "/v1/memories", &[], "{}").of(201);
        site.is_answered_as("one", "/v1/events")
    });
}

/// Five tenants; two of them have two tokens.
const TENANTS: &[(&str, Option<&[&str]>)] = &[
    ("t0", Some(&["u-0"])),
    ("more-of-t0", Some(&["u-0"])),
    ("t1", Some(&["u-1"])),
    ("t2", Some(&["u-2"])),
    ("t3", Some(&["u-3"])),
    ("t4", Some(&["u-4"])),
    ("more-of-t4", Some(&["u-4"])),
];

#[test]
fn a_tenant_that_has_taken_many_places_gives_some_of_them_to_others() {
    let site = Site::with_tokens(TENANTS);
    let open = |token: &str| {
        let mut stream = site.stream_as(token, "/v1/events", &[]);
        stream.next_named("opened");
        stream
    };
    // Two tokens of the same users are one tenant.
    let mut taken: Vec<EventReader> = (0..16).map(|n| open(if n % 2 == 0 { "t0" } else { "more-of-t0" })).collect();
    assert_eq!(site.ask_as("more-of-t0", "GET", "/v1/events", &[], "").of(503).text("/code"), "HS8078");
    for tenant in ["t1", "t2", "t3"] {
        taken.extend((0..16).map(|_| open(tenant)));
    }
    // All 64 are open. Another tenant gets a place, and the latest of those with most streams ends.
    let late = open("t4");
    assert_eq!(taken[63].next(), None);
    let more: Vec<EventReader> = (0..11).map(|_| open("more-of-t4")).collect();
    assert_eq!(site.ask_as("t4", "GET", "/v1/events", &[], "").of(503).text("/code"), "HS8078");
    let content = r#"{"content": "for those who are left"}"#;
    for tenant in ["t0", "t1", "t2", "t3"] {
        site.ask_as(tenant, "POST", "/v1/memories", &[], content).of(201);
    }
    let ended = taken[..63].iter_mut().map(EventReader::next).filter(Option::is_none).count();
    assert_eq!((ended, more.len()), (11, 11));
    drop(late);
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_and_goes_on_where_it_was() {
    // More than the time between two heartbeats, which a client that reads gets.
    let limits = http::Limits { stalled: std::time::Duration::from_secs(20), ..http::Limits::default() };
    let site = Site::with(Options { limits, ..Options::default() });
    let mut slow = site.stream("/v1/events", &[]);
    let mut id = slow.next_named("opened").id.unwrap();
    let mut quick = site.stream("/v1/events", &[]);
    quick.next_named("opened");
    // More than the buffers of a connection hold.
    let content = "x".repeat(1 << 19);
    for n in 0..60 {
        site.create(&json!({"memory_id": format!("m{n}"), "content": content}).to_string());
        assert_eq!(quick.next_named("memory").json()["memory"]["memory_id"], format!("m{n}"));
    }
    wait_until("the slow client to be cut off", || {
        // Where the machine is slow, further connections may be cut off, too.
        let metrics = site.page("/metrics");
        let closed =
            metrics.lines().find_map(|line| line.split_once("http_connections_closed_total{reason=\"slow\"} "));
        closed.is_some_and(|(_, count)| count != "0")
    });
    let mut seen = 0;
    for _ in 0..60 {
        while let Some(event) = slow.next() {
            assert_eq!(event.json()["memory"]["memory_id"], format!("m{seen}"));
            (id, seen) = (event.id.unwrap(), seen + 1);
            if seen == 60 {
                return;
            }
        }
        slow = site.stream("/v1/events", &[("last-event-id", &id)]);
        slow.next_named("opened");
    }
    panic!("{seen} events");
}

#[test]
fn a_token_that_is_withdrawn_ends_its_streams() {
    let site = Site::with_tokens(&[("ann", Some(&["u"])), ("all", None)]);
    let mut stream = site.stream_as("ann", "/v1/events", &[]);
    stream.next_named("opened");
    site.withdraw("ann");
    wait_until("the token to be refused", || !site.is_answered_as("ann", "/v1/memories"));
    site.ask_as("all", "POST", "/v1/memories", &[], r#"{"user_id": "u", "content": "secret"}"#).of(201);
    assert_eq!(stream.next(), None);
}

#[test]
fn the_stop_of_the_server_ends_streams() {
    let mut site = Site::open();
    let mut stream = site.stream("/v1/events", &[]);
    stream.next_named("opened");
    site.stop_server();
    assert_eq!(stream.next(), None);
}
