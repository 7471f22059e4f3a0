//! Scripts: permitted and forbidden code, and the message of each failure.

use super::{Budget, Script};
use json::Number;
use memory::causality::EventHeader;
use memory::event::wire::Source;
use memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};

const BUDGET: Budget = Budget { operations: 50_000, bytes: 1 << 20, items: 10_000, depth: 8 };

fn header(id: &'static str, time: u64) -> EventHeader<'static> {
    EventHeader {
        seq: 1,
        digest: 0,
        event_id: id,
        node_id: Some("acme/eu-1"),
        version: 7,
        timestamp: time,
        importance: Some(Number::Float(0.5)),
        clock: vec![("n1", 3), ("~", time)],
        is_delete: false,
        absorb_into: None,
        source: Source { topic: "t", partition: 0, offset: 0 },
    }
}

fn ask_within(budget: Budget, script: &str, path: &str, values: &[&str]) -> Result<String, String> {
    let script = Script::compile("s", script, budget).map_err(|flaw| flaw.message)?;
    let headers: Vec<EventHeader<'_>> = (0..values.len()).map(|i| header("e", 1_000_000_001 + i as u64)).collect();
    let contenders: Vec<Contender<'_>> =
        headers.iter().zip(values).map(|(event, value)| Contender { event, value: value.as_bytes() }).collect();
    match script.resolve(path, &contenders) {
        Ok(Resolution::Value(json)) => Ok(String::from_utf8(json).unwrap()),
        Ok(Resolution::Defer) => Ok("deferred".to_owned()),
        Err(ResolverFailure(why)) => Err(why),
    }
}

fn ask(body: &str, values: &[&str]) -> Result<String, String> {
    ask_within(BUDGET, &format!("fn resolve(path, contenders) {{ {body} }}"), "content", values)
}

#[track_caller]
fn assert_fails(asked: Result<String, String>, part: &str) {
    let why = asked.unwrap_err();
    assert!(why.contains(part), "{why}");
}

#[test]
fn a_script_sees_the_path_and_each_contender_as_conflict_records_name_it() {
    let body = "let c = contenders[1]; [path, contenders.len, c.event_id, c.node_id, c.version, c.timestamp, c.time_ns, \
                c.importance, c.vector_clock, c.value]";
    let clock = r#"{"n1":3,"~":1000000002}"#;
    let seen =
        format!(r#"["content",2,"e","acme/eu-1",7,"1970-01-01T00:00:01.000000002Z",1000000002,0.5,{clock},"b"]"#);
    assert_eq!(ask(body, &[r#""a""#, r#""b""#]), Ok(seen));
}

#[test]
fn every_value_of_json_comes_back_as_it_went() {
    for value in [
        "null",
        "true",
        "0",
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615",
        "0.1",
        "1e+300",
        "5e-324",
        r#""\n\u0000é😀""#,
        r#"[1,[],{"a":null,"é":[2.5]}]"#,
    ] {
        assert_eq!(ask("contenders[0].value", &[value, "1"]).as_deref(), Ok(value));
    }
}

#[test]
fn a_script_defers_clears_or_fails_to_answer() {
    let values = &[r#""a""#, r#""b""#];
    assert_eq!(ask("defer()", values).as_deref(), Ok("deferred"));
    assert_eq!(ask("clear()", values).as_deref(), Ok("null"));
    assert_fails(ask("if false { 1 }", values), "script s: it returned nothing");
    assert_eq!(ask("if false { 1 }", &[r#""a""#, "null"]).as_deref(), Ok("null"));
    assert_fails(ask("0.0 / 0.0", values), "is no number of JSON");
    assert_fails(ask("1..2", values), "holds something of type");
    assert_fails(ask("throw \"no\"", values), "no");
    assert_fails(ask("contenders[9].value", values), "script s:");
    assert_fails(ask("9223372036854775807 + 1", values), "overflow");
    let long = ask("let s = \"é\"; while s.len < 1000 { s += s; } throw s", values).unwrap_err();
    assert!(long.ends_with('…') && long.chars().count() < 220, "{long}");
}

#[test]
fn a_script_ends_within_its_budget() {
    let values = &[r#""a""#, r#""b""#];
    let text = |script: &str| ask_within(BUDGET, script, "content", values);
    assert_fails(ask("loop {}", values), "operations");
    assert_fails(ask("let n = 0; while true { n += 1; } n", values), "operations");
    assert_fails(text("fn f(n) { f(n + 1) } fn resolve(path, contenders) { f(0) }"), "Stack overflow");
    assert_fails(text("fn resolve(path, contenders) { resolve(path, contenders) }"), "Stack overflow");
    assert_fails(ask("let s = \"x\"; loop { s += s; }", values), "Length of string too large");
    assert_fails(ask("let s = \"x\"; loop { s = `${s}${s}`; }", values), "Length of string too large");
    assert_fails(ask("let a = [1]; loop { a = [a, a]; }", values), "Size of array");
    let few = |body: &str| {
        let budget = Budget { items: 100, ..BUDGET };
        ask_within(budget, &format!("fn resolve(path, contenders) {{ {body} }}"), "content", values)
    };
    assert_fails(few("let a = []; loop { a.push(1); }"), "Size of array");
    assert_fails(few("let m = #{}; let i = 0; loop { m[i.to_string()] = i; i += 1; m.len(); }"), "object map");
    let long = format!("\"{}\"", "x".repeat(600_000));
    assert_fails(ask("1", &[&long, &long]), "`script_bytes`");
    let many = format!("[{}1]", "1,".repeat(9_000));
    assert_fails(ask("1", &[&many, &many]), "`script_items`");
}

#[test]
fn a_value_that_nests_deep_takes_no_stack_of_ours() {
    let budget = Budget { operations: 10_000_000, items: 3_000, ..BUDGET };
    let script = "fn resolve(path, contenders) { let a = []; loop { a = [a]; } }";
    assert_fails(ask_within(budget, script, "content", &["1", "2"]), "Size of array");
    let script = "fn resolve(path, contenders) { let a = []; for i in 0..200 { a = [a]; } a }";
    assert_fails(ask_within(budget, script, "content", &["1", "2"]), "nested deeper than 128");
}

#[test]
fn nothing_of_the_world_is_there() {
    let bodies = [
        "eval(\"1\")",
        "print(1)",
        "debug(1)",
        "2.0 ** 0.5",
        "timestamp()",
        "rand()",
        "sleep(1)",
        "exit()",
        "(2.0).sqrt()",
        "sin(1.0)",
        "import \"x\" as x; 1",
        "let f = |x| x; f.call(1)",
        "parse_json(\"1\")",
    ];
    for body in bodies {
        assert!(ask(body, &["1", "2"]).is_err(), "{body}");
    }
}

#[test]
fn what_is_no_script_is_told_with_its_place() {
    let flaw = |text: &str| Script::compile("s", text, BUDGET).err().unwrap();
    let text = "// é\nfn resolve(path, contenders) {\n    let x = ;\n}\n";
    assert_eq!(flaw(text).at, text.find(';').unwrap());
    let text = "fn resolve(path, contenders) { mistyped }";
    let found = flaw(text);
    assert_eq!((found.at, found.message.contains("mistyped")), (text.find("mistyped").unwrap(), true), "{found:?}");
    assert!(flaw("fn resolve(path) { 1 }").message.contains("no function `resolve` with two parameters"));
    assert_eq!(flaw("fn resolve(path, contenders) {").at, 30);
    assert!(flaw("").fix.contains("fn resolve(path, contenders)"));
}

#[test]
fn the_same_question_has_the_same_answer() {
    let body = "let sum = 0.1; for c in contenders { sum += c.value * 0.7 / 3.0; } #{ b: sum, a: contenders[0].vector_clock.keys() }";
    let asked = ask(body, &["0.3", "12345.678", "1e-7"]);
    assert_eq!(asked.as_deref(), Ok(r#"{"a":["n1","~"],"b":2880.8282000233335}"#));
    for _ in 0..20 {
        assert_eq!(ask(body, &["0.3", "12345.678", "1e-7"]), asked);
    }
}
