//! The operators with state: aggregate and count, behind a repartition.

use crate::drive::{HEAD, Out, Run};
use testkit::Record;

fn keyed(node: &str) -> String {
    format!(
        "{HEAD}[[source]]\nname = \"in\"\ntopic = \"in\"\npartitions = 2\n\
         [[processor]]\nname = \"key\"\noperator = \"rekey\"\nfrom = \"in\"\nkey = 'value.user'\n\
         [[repartition]]\nname = \"by-user\"\nfrom = \"key.records\"\n\
         [[store]]\nname = \"s\"\n\
         [[processor]]\nname = \"p\"\nfrom = \"by-user\"\nstores = \"s\"\n{node}\n\
         [[sink]]\nname = \"out\"\ntopic = \"out\"\npartitions = 1\nfrom = \"p.aggregates\"\n"
    )
}

fn record(user: &str, n: i64) -> Record {
    let mut record = Record::new("any", format!("{{\"n\":{n},\"user\":\"{user}\"}}"));
    record.headers = vec![("type".to_owned(), Some(b"t".to_vec()))];
    record
}

#[test]
fn an_aggregate_is_given_out_when_it_changes() {
    let mut run = Run::new(&keyed(
        "operator = \"aggregate\"\ninitial = '#{ of: key, sum: 0 }'\nadd = 'aggregate.put(\"sum\", aggregate.sum + value.n)'",
    ));
    let mut one = |user: &str, n| -> Vec<String> { run.pipe("in", &record(user, n)).iter().map(Out::text).collect() };
    assert_eq!(one("a", 2), [r#"a={"of":"a","sum":2}"#]);
    assert_eq!(one("b", 5), [r#"b={"of":"b","sum":5}"#]);
    assert_eq!(one("a", 3), [r#"a={"of":"a","sum":5}"#]);
    assert!(one("a", 0).is_empty());
    assert_eq!(one("", 1), [r#"={"of":"","sum":1}"#]);
    let out = run.pipe("in", &record("a", 1).at_ms(9));
    assert!(out[0].record.headers.is_empty() && out[0].record.timestamp_ms == 9, "an aggregate is a record of its own");
}

#[test]
fn what_cannot_be_added_is_a_dead_letter_and_leaves_the_aggregate() {
    let mut run = Run::new(&keyed("operator = \"aggregate\"\ninitial = '0'\nadd = 'aggregate + value.n'"));
    run.pipe("in", &record("a", i64::MAX));
    let out = run.pipe("in", &record("a", 1));
    let (class, message, topic) = out[0].reason();
    assert_eq!(
        (out.len(), class.as_str(), topic.as_str()),
        (1, "script_failed", "app-by-user-repartition"),
        "{message}"
    );
    assert_eq!(out[0].record.value.as_deref(), record("a", 1).value.as_deref());
    assert_eq!(run.pipe("in", &record("a", -7))[0].text(), format!("a={}", i64::MAX - 7));
}

#[test]
fn a_count_counts_by_what_an_expression_says() {
    let mut run = Run::new(&keyed(
        "operator = \"count\"\nby = 'if value.n < 0 { () } else if value.n % 2 == 0 { \"even\" } else { \"odd\" }'",
    ));
    let out: Vec<String> =
        [1, 2, 3, -1, 5].into_iter().flat_map(|n| run.pipe("in", &record("a", n))).map(|out| out.text()).collect();
    assert_eq!(
        out,
        [r#"a={"odd":1}"#, r#"a={"even":1,"odd":1}"#, r#"a={"even":1,"odd":2}"#, r#"a={"even":1,"odd":3}"#]
    );
    assert_eq!(run.counter("left_out_records", "p"), 1);
}

#[test]
fn a_record_without_a_key_has_no_aggregate() {
    let text = keyed("operator = \"count\"\nby = '\"all\"'")
        .replace("operator = \"rekey\"", "operator = \"filter\"")
        .replace("key = 'value.user'", "when = 'true'");
    let mut run = Run::new(&text);
    let out = run.pipe("in", &Record { key: None, ..record("a", 1) });
    assert_eq!(out[0].reason().0, "missing_key", "{out:?}");
    assert_eq!(run.pipe("in", &record("a", 1))[0].text(), r#"any={"all":1}"#);
}

#[test]
fn a_store_with_a_retention_forgets_keys_that_no_record_came_for() {
    let node = "operator = \"aggregate\"\ninitial = '0'\nadd = 'if value.n > aggregate { value.n } else { aggregate }'";
    let text = keyed(node).replace("name = \"s\"\n", "name = \"s\"\nretention = \"10s\"\n");
    let mut run = Run::new(&text);
    let mut at = |user: &str, n, seconds: i64| -> Vec<String> {
        run.pipe("in", &record(user, n).at_ms(seconds * 1000)).iter().map(Out::text).collect()
    };
    assert_eq!([at("a", 7, 100), at("b", 8, 100)], [["a=7"], ["b=8"]]);
    assert!(at("a", 1, 108).is_empty(), "it changes nothing, but it came");
    assert!(at("a", 2, 117).is_empty());
    assert_eq!(at("b", 3, 118), ["b=3"], "what it was before is forgotten");
    assert_eq!(at("a", 4, 130), ["a=4"]);
}
