//! The operators without state: filter, map, rekey, branch.

use crate::drive::{HEAD, Out, Run, around};
use testkit::Record;

const LEFT_OUT: &str = "left_out_records";

#[track_caller]
fn assert_failed((class, message): (String, String), part: &str) {
    assert_eq!(class, "script_failed");
    assert!(message.contains(part), "{message}");
}

#[test]
fn a_filter_hands_on_what_it_is_true_of_as_it_came() {
    let mut run = Run::new(&around("operator = \"filter\"\nwhen = 'value.n > 1'", "\"p.records\""));
    let value = "{ \"n\": 2, \"b\":1.0, \"a\": 18446744073709551615 }";
    let mut record = Record::new("k", value).at_ms(7);
    record.headers = vec![("type".to_owned(), Some(b"t".to_vec())), ("h".to_owned(), None)];
    let out = run.pipe("in", &record);
    assert_eq!(out.len(), 1, "{out:?}");
    assert_eq!(out[0].record, Record { partition: 0, offset: 0, ..record });
    assert!(run.texts("{\"n\":1}").is_empty());
    assert_eq!(run.counter(LEFT_OUT, "p"), 1);
}

#[test]
fn what_cannot_be_read_or_asked_is_a_dead_letter_and_stops_nothing() {
    let mut run = Run::new(&around("operator = \"filter\"\nwhen = 'value.a.b == key'", "\"p.records\""));
    assert_eq!(run.dead("no").0, "malformed_json");
    assert_eq!(run.dead(&format!("{}1{}", "[".repeat(200), "]".repeat(200))).0, "too_deep");
    assert_failed(run.dead("{}"), "failed");
    let out = run.pipe("in", &Record { value: None, ..Record::new("k", "") });
    assert_eq!(out[0].reason().0, "empty_value");
    let mut binary = Record::new([0xff], "{\"a\":{\"b\":1}}");
    assert_failed(run.pipe("in", &binary).first().map(|o| (o.reason().0, o.reason().1)).unwrap(), "no text in UTF-8");
    binary.key = None;
    assert!(run.pipe("in", &binary).is_empty());
    assert_eq!(run.texts("{\"a\":{\"b\":\"k\"}}"), ["k={\"a\":{\"b\":\"k\"}}"]);
    let mut run = Run::new(&around("operator = \"filter\"\nwhen = 'value.n'", "\"p.records\""));
    assert_failed(run.dead("{\"n\":1}"), "it gave a number, not true or false");
    assert_failed(run.dead("{}"), "it gave (), not true or false");
}

#[test]
fn an_expression_ends_within_its_budget() {
    let small = |node: &str| {
        around(node, "\"p.records\"").replacen(
            "[dead",
            "[limits]\nscript_items = 16\nscript_bytes = \"1KiB\"\n\n[dead",
            1,
        )
    };
    let mut run = Run::new(&small("operator = \"filter\"\nwhen = 'value.a.len == 1'"));
    let many = format!("{{\"a\":[{}1]}}", "1,".repeat(20));
    assert_failed(run.dead(&many), "`script_items`");
    assert_failed(run.dead(&format!("{{\"a\":\"{}\"}}", "x".repeat(2000))), "`script_bytes`");
    // What is not looked at counts for nothing.
    assert_eq!(run.texts(&many.replace("\"a\"", "\"b\":[1],\"c\"").replace("[1]", "[1],\"a\":[1]")).len(), 1);
}

#[test]
fn expressions_see_key_value_headers_and_time() {
    let value = "value = \"[key, value, headers, timestamp]\"";
    let mut run = Run::new(&around(&format!("operator = \"map\"\n{value}"), "\"p.records\""));
    let mut record = Record::new("é", "[9223372036854775808,-1,0.1,null]").at_ms(17);
    record.headers =
        vec![("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None), ("a".to_owned(), Some(b"2".to_vec()))];
    let seen = r#"é=["é",[9223372036854775808,-1,0.1,null],{"a":"2","b":null},17]"#;
    assert_eq!(run.pipe("in", &record).iter().map(Out::text).collect::<Vec<_>>(), [seen]);
    record.key = None;
    assert!(run.pipe("in", &record)[0].text().starts_with("-=[null,"));
}

#[test]
fn a_map_keeps_drops_and_sets_fields() {
    let map = |told: &str| Run::new(&around(&format!("operator = \"map\"\n{told}"), "\"p.records\""));
    let value = r#"{"b": {"x": 1.0, "y": [2]}, "a": "é\u00e9", "c": null}"#;
    let one = |told: &str| map(told).texts(value);
    assert_eq!(
        one("set = { n = 'value.b.x + 1.5', \"b.z.w\" = 'key', c = '()' }"),
        [r#"k={"a":"éé","b":{"x":1,"y":[2],"z":{"w":"k"}},"c":null,"n":2.5}"#]
    );
    assert_eq!(one("set.b.y = 'value.b.y.put(3)'"), [r#"k={"a":"éé","b":{"x":1,"y":[2,3]},"c":null}"#]);
    assert_eq!(one("drop = [\"b.x\", \"a\", \"nothing.here\"]"), [r#"k={"b":{"y":[2]},"c":null}"#]);
    assert_eq!(one("keep = [\"b.y\", \"c\", \"d\"]"), [r#"k={"b":{"y":[2]},"c":null}"#]);
    assert_eq!(one("keep = \"b\"\ndrop = \"b.y\"\nset = { a = 'value.a + \"!\"' }"), [r#"k={"a":"éé!","b":{"x":1}}"#]);
    assert_eq!(one("value = '#{ only: value.a }'\nset = { more = 'value.b.x' }"), [r#"k={"more":1,"only":"éé"}"#]);
    assert_eq!(one("value = 'value.b.y'"), ["k=[2]"]);
    assert_eq!(
        map("set = { \"a.b\" = '1' }").dead(value),
        ("wrong_type".to_owned(), "`a.b` cannot be set: `a` is no object".to_owned())
    );
    assert_eq!(map("drop = \"a\"").dead("[1]").0, "wrong_type");
    assert_failed(map("set = { a = 'value.b.y.x' }").dead(value), "failed");
    assert_failed(map("set = { a = '0.0 / 0.0' }").dead(value), "no number of JSON");
}

#[test]
fn a_new_key_is_a_string_and_none_leaves_the_record_out() {
    let mut run = Run::new(&around("operator = \"rekey\"\nkey = 'value.user'", "\"p.records\""));
    assert_eq!(run.texts("{\"user\":\"ü\\n\"}"), ["ü\n={\"user\":\"ü\\n\"}"]);
    assert!(run.texts("{\"user\":null}").is_empty() && run.texts("{}").is_empty());
    assert_eq!(run.counter(LEFT_OUT, "p"), 2);
    assert_failed(run.dead("{\"user\":7}"), "it gave a number, not a string or ()");
}

#[test]
fn a_record_goes_to_the_first_branch_that_is_true_of_it() {
    let node = "operator = \"branch\"\n[[processor.branch]]\nname = \"big\"\nwhen = 'value > 9'\n\
        [[processor.branch]]\nname = \"odd\"\nwhen = 'value % 2 == 1'\n";
    let sink = |name: &str, output: &str| {
        format!("[[sink]]\nname = \"{name}\"\ntopic = \"{name}\"\npartitions = 1\nfrom = \"p.{output}\"\n")
    };
    let text = format!(
        "{HEAD}[[source]]\nname = \"in\"\ntopic = \"in\"\npartitions = 1\n[[processor]]\nname = \"p\"\nfrom = \"in\"\n{node}{}{}",
        sink("b", "big"),
        sink("o", "odd")
    );
    let topics = |text: &str, value: &str| -> Vec<String> {
        Run::new(text).pipe("in", &Record::new("k", value)).into_iter().map(|out| out.topic).collect()
    };
    assert_eq!([topics(&text, "11"), topics(&text, "3"), topics(&text, "\"x\"")], [["b"], ["o"], ["dead"]]);
    assert!(topics(&text, "2").is_empty());
    let whole = [text.clone(), sink("e", "otherwise")].concat();
    assert_eq!([topics(&whole, "2"), topics(&whole, "10")], [["e"], ["b"]]);
    let mut run = Run::new(&text);
    run.pipe("in", &Record::new("k", "2"));
    assert_eq!(run.counter(LEFT_OUT, "p"), 1);
}

#[test]
fn operators_stand_on_each_other_and_several_take_one() {
    let text = around("operator = \"filter\"\nwhen = 'value.n > 1'", "[\"p.records\", \"q.records\"]");
    let more = "[[processor]]\nname = \"q\"\noperator = \"map\"\nfrom = \"p.records\"\nset = { n = 'value.n * 2' }\n";
    let mut run = Run::new(&[text.as_str(), more].concat());
    let mut out = run.texts("{\"n\":2}");
    out.sort();
    assert_eq!(out, ["k={\"n\":2}", "k={\"n\":4}"]);
}
