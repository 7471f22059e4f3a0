//! An id in a record is written by anyone. No answer about an id stops the stream; an answer about
//! us, and an outage, pause it.

use crate::avro::newest;
use crate::drive::{event, run_all, shipped};
use crate::front::{Front, Reply, Request, error};
use crate::support::Helix;
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use avro::Avro;
use avro::settings::{Authentication, RegistrySettings};
use secret::SecretSource;
use std::sync::Arc;
use std::time::Duration;
use streams::ports::{Codec, CodecError};
use testkit::process::temp_dir;
use testkit::{Record, Registry, records, repo_path, unique, wait_for};

const EVENT: &[u8] = br#"{"event_id":"e","event_type":"memory.updated","memory_id":"m"}"#;

/// A small event in Avro.
fn body() -> Vec<u8> {
    to_avro::event(&Schema::parse_str(newest("event")).unwrap(), Some(EVENT)).unwrap()
}

fn settings(url: String) -> RegistrySettings {
    RegistrySettings { url, wait: Duration::from_millis(50), ..RegistrySettings::default() }
}

/// What a decision about a value of this id comes to.
fn asked(codec: &Avro, id: u32) -> Result<Vec<u8>, CodecError> {
    wait_for("an answer", || match codec.decode("event", &framed(id, &body())) {
        Err(CodecError::Unavailable(why)) if why.contains("not answered yet") => None,
        other => Some(other),
    })
}

/// Of a registry with this rule: `dead <message>`, `waits <message>` or `read`.
fn outcome(id: u32, rule: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let front = Front::start(rule);
    match asked(&Avro::new(settings(front.url())).unwrap(), id) {
        Ok(_) => "read".to_owned(),
        Err(CodecError::Bad { class, message }) => format!("dead {class}: {message}"),
        Err(CodecError::Unavailable(why)) => format!("waits {why}"),
        Err(CodecError::Fatal(why)) => format!("stops {why}"),
    }
}

/// A rule that treats schemas by id so, and answers all else as a registry does.
fn about_id(reply: impl Fn() -> Reply + Send + Sync + 'static) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| match request.path.contains("/schemas/ids/") {
        true => reply(),
        false => Reply::Answer(200, r#"["a-subject"]"#.to_owned()),
    }
}

#[track_caller]
fn assert_outcome(found: &str, start: &str, part: &str) {
    assert!(found.starts_with(start) && found.contains(part), "{found}");
}

#[test]
fn any_answer_about_an_id_makes_a_dead_letter() {
    let unknown = "dead unknown_schema: the value is Avro of schema id 7";
    // As Confluent's registry answers about an id that it takes for no id of its own, and about one
    // that it does not have.
    let found = outcome(7, about_id(|| error(404, 404, "HTTP 404 Not Found")));
    assert_outcome(&found, unknown, "404, HTTP 404 Not Found");
    assert_outcome(&outcome(7, about_id(|| error(404, 40403, "Schema 7 not found"))), unknown, "does not know it");
    for status in [400, 401, 403, 404, 405, 406, 409, 410, 418, 422, 451] {
        let page = || Reply::Answer(0, "<html>\u{1b}[2J</html>".to_owned());
        let found = outcome(
            7,
            about_id(move || match page() {
                Reply::Answer(_, text) => Reply::Answer(status, text),
                pass => pass,
            }),
        );
        assert_outcome(&found, unknown, &status.to_string());
    }
    assert_outcome(&outcome(7, about_id(|| Reply::Answer(200, "{}".to_owned()))), unknown, "no schema of Avro");
    assert_outcome(&outcome(7, about_id(|| Reply::Answer(200, "<html>".to_owned()))), unknown, "cannot be read");
    let escapes = outcome(7, about_id(|| error(404, 1, "\u{1b}[2J\nfalse line")));
    assert_outcome(&escapes, unknown, r"\x1b[2J\nfalse line");
}

#[test]
fn an_id_that_cannot_exist_is_not_asked_for() {
    let front = Front::start(|_| error(500, 500, "Internal Server Error"));
    let codec = Avro::new(settings(front.url())).unwrap();
    for id in [1 << 31, u32::MAX] {
        let found = codec.decode("event", &framed(id, &body()));
        // The first call may find the answer not there yet, like any other.
        let found = found.or_else(|_| asked(&codec, id));
        assert!(matches!(found, Err(CodecError::Bad { class: "unknown_schema", .. })), "{found:?}");
    }
    assert!(front.seen().is_empty());
}

#[test]
fn an_answer_about_us_and_an_outage_pause() {
    let all = |status: u16| move |_: &Request| error(status, u32::from(status), "No");
    let nothing_set = "it requires authentication, and none is set";
    assert_outcome(&outcome(7, all(401)), "waits", nothing_set);
    assert_outcome(&outcome(7, all(403)), "waits", "denies the request");
    // Where rights are given by subject, the list of subjects is empty to one who has none.
    let no_rights = |request: &Request| match request.path.ends_with("/subjects") {
        true => Reply::Answer(200, "[]".to_owned()),
        false => error(403, 40301, "User is denied operation Read on Subject: events-value"),
    };
    assert_outcome(&outcome(7, no_rights), "waits", "grant this client the right to read schemas");
    for status in [404, 400, 410] {
        assert_outcome(&outcome(7, all(status)), "waits", "check `url`");
    }
    assert_outcome(
        &outcome(7, |_| Reply::Answer(200, "<html>welcome</html>".to_owned())),
        "waits",
        "so it is no schema registry",
    );
    for status in [408, 429, 500, 502, 503] {
        assert_outcome(&outcome(7, all(status)), "waits", &status.to_string());
        assert_outcome(&outcome(7, about_id(move || error(status, 1, "later"))), "waits", &status.to_string());
    }
    let nobody = Avro::new(settings("http://127.0.0.1:1".to_owned())).unwrap();
    assert!(matches!(asked(&nobody, 7), Err(CodecError::Unavailable(_))));
}

#[test]
fn a_registry_that_refuses_us_is_waited_for_and_then_read() {
    let registry = Registry::shared();
    let id = registry.register(&unique("waited"), newest("event"));
    let is_known = |request: &Request| request.headers.get("authorization").is_some_and(|h| h == "Basic dTpuZXc=");
    let front =
        Front::start(move |request| if is_known(request) { Reply::Pass } else { error(401, 40101, "Unauthorized") });
    let password = temp_dir("password").join("password");
    std::fs::write(&password, "old\n").unwrap();
    let source = SecretSource::file(&password, "password_file");
    let authentication = Authentication::Basic { user: "u".to_owned(), password: Some(source) };
    let codec = Avro::new(RegistrySettings { authentication, ..settings(front.url()) }).unwrap();
    let Err(CodecError::Unavailable(why)) = asked(&codec, id) else { panic!("a wrong password was taken") };
    assert!(why.contains("check `user` (u) and `password`"), "{why}");
    // The file is read anew for each request.
    std::fs::write(&password, "new\n").unwrap();
    wait_for("the new password", || codec.decode("event", &framed(id, &body())).ok());
}

#[test]
fn records_behind_a_strangers_id_go_on() {
    let case = records::read_file(repo_path("tests/fixtures/registry-id-with-top-bit.jsonl"));
    let registry = Registry::shared();
    let id = registry.register(&unique("behind"), newest("event"));
    let dir = temp_dir("strangers");
    let strange = |offset: i64, id: u32| Record { offset, ..Record::new("k", framed(id, b"garbage")) };
    // Ids that the real registry has never given out, one of them the greatest there can be.
    let behind =
        [strange(1, 0), strange(2, i32::MAX as u32), Record { offset: 3, ..Record::new("k", framed(id, &body())) }];
    let lines: Vec<String> = case.iter().chain(&behind).map(Record::to_line).collect();
    std::fs::write(dir.join("in.jsonl"), lines.join("\n")).unwrap();
    let confluent =
        Front::start(|request| match request.path.contains("/ids/0?") || request.path.contains("/ids/2147483647?") {
            true => error(404, 404, "HTTP 404 Not Found"),
            false => Reply::Pass,
        });
    for url in [registry.url(), confluent.url()] {
        let path = |name: &str| dir.join(name).display().to_string();
        let topology = repo_path("topologies/memory.toml").display().to_string();
        let args = ["replay", "--topology", &topology, "--input", &path("in.jsonl"), "--output", &path("out")];
        Helix::run_ok(&[&args[..], &["--schema-registry-url", &url]].concat());
        let text = |name: &str| std::fs::read_to_string(dir.join("out").join(name)).unwrap();
        assert_eq!(text("snapshots.jsonl").lines().count(), 1, "the record behind is processed");
        assert_eq!(text("dead-letters.jsonl").lines().count(), 3);
    }
}

#[test]
fn dead_letters_of_strange_ids_say_unknown_schema() {
    let codec: Arc<dyn Codec> = Arc::new(
        Avro::new(RegistrySettings { wait: Duration::from_secs(60), ..settings(Registry::shared().url()) }).unwrap(),
    );
    let records: Vec<_> = [0, 2_000_000_000, i32::MAX as u32, u32::MAX]
        .map(|id| reference_model::Record { value: Some(framed(id, b"x")), ..event(0, "{}") })
        .into();
    let outs = run_all(&shipped("memory.toml", &[]), &records, Some(codec));
    let classes = outs.iter().flat_map(|out| &out.headers).filter(|(name, _)| name == "__streams.errors.exception");
    assert_eq!(classes.map(|(_, class)| class.as_str()).collect::<Vec<_>>(), ["unknown_schema"; 4]);
}
