//! What a source's values are: told apart by their bytes, or one encoding alone; and keys of
//! sources and sinks.

use crate::drive::{Run, around};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::Record;

fn filter(source: &str) -> Run {
    let text = around("operator = \"filter\"\nwhen = 'value.a == 1'", "\"p.records\"");
    Run::new(&text.replacen("topic = \"in\"", &format!("topic = \"in\"\n{source}"), 1))
}

fn envelope(payload: &str) -> String {
    format!("{{\"id\":\"x\",\"payload\":\"{}\",\"type\":\"t\"}}", BASE64_STANDARD.encode(payload))
}

#[test]
fn an_envelope_is_opened_and_what_it_holds_goes_on() {
    let mut run = filter("");
    assert_eq!(run.texts(&envelope("{\"a\": 1}")), ["k={\"a\": 1}"]);
    assert_eq!(run.texts("{\"a\":1}"), ["k={\"a\":1}"]);
    let out = run.dead(&envelope("{\"a\""));
    assert_eq!(out.0, "malformed_json");
    assert_eq!(run.dead("{\"payload\":\"%\"}").0, "bad_envelope");
    let out = run.pipe("in", &Record::new("k", [0, 0, 0, 0, 1, 9]));
    assert_eq!(out[0].reason().0, "unknown_schema");
}

#[test]
fn another_encoding_than_the_one_set_is_a_dead_letter() {
    let mut json = filter("format = \"json\"");
    assert_eq!(json.texts("{\"a\":1,\"payload\":\"eA==\"}").len(), 1, "bare JSON is what it is");
    assert_eq!(json.pipe("in", &Record::new("k", [0, 0, 0, 0, 1, 9]))[0].reason().0, "malformed_json");
    let mut helixagent = filter("format = \"helixagent\"");
    assert_eq!(helixagent.texts(&envelope("{\"a\":1}")), ["k={\"a\":1}"]);
    assert_eq!(helixagent.dead("{\"a\":1}").0, "bad_envelope");
    assert_eq!(filter("format = \"avro\"").dead("{\"a\":1}").0, "malformed_avro");
}

#[test]
fn decode_takes_the_encoding_of_its_source() {
    let decode = |format: &str| {
        let text = std::fs::read_to_string(testkit::repo_path("topologies/memory.toml")).unwrap();
        Run::new(&text.replacen("name = \"events\"", &format!("name = \"events\"\nformat = \"{format}\""), 1))
    };
    let event = "{\"event_id\":\"e\",\"event_type\":\"memory.created\",\"memory_id\":\"m\",\"content\":\"c\"}";
    let classes = |format: &str, value: &[u8]| -> String {
        let out = decode(format).pipe("helixagent.memory.events", &Record::new("k", value));
        out[0].reason().0
    };
    let (bare, wrapped) = (event.as_bytes(), envelope(event));
    assert_eq!([classes("auto", bare), classes("json", bare), classes("helixagent", wrapped.as_bytes())], ["", "", ""]);
    assert_eq!(classes("json", wrapped.as_bytes()), "bad_envelope");
    assert_eq!(classes("helixagent", bare), "bad_envelope");
    assert_eq!([classes("avro", bare), classes("json", &[0, 1])], ["malformed_avro", "malformed_json"]);
}

#[test]
fn sources_and_sinks_have_keys() {
    let mut run = filter("key = 'value.source'");
    assert_eq!(run.texts("{\"a\":1,\"source\":\"s\"}"), ["s={\"a\":1,\"source\":\"s\"}"]);
    assert_eq!(run.texts("{\"a\":1}"), ["-={\"a\":1}"]);
    assert!(run.dead("{\"a\":1,\"source\":[]}").1.starts_with("the source's key: "));
    let text = around("operator = \"filter\"\nwhen = 'key == \"k\"'", "\"p.records\"");
    let text = [text.as_str(), "key = 'value.sink'\n"].concat();
    let mut run = Run::new(&text);
    assert_eq!(run.texts("{\"sink\":\"s\"}"), ["s={\"sink\":\"s\"}"]);
    assert_eq!(run.texts("{}"), ["-={}"]);
    assert!(run.dead("{\"sink\":1}").1.starts_with("the key of `out`: "));
}
