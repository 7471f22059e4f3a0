//! An example of each row of the list in `helixstream_fuzz::json::differences`, so that the list
//! stays true: what we do, and what `serde_json` does.

use helixstream_fuzz::json::differences::is_refused_by_serde_json_alone;
use helixstream_fuzz::json::{canonical, check};
use json::{Number, parse};

fn theirs(text: &str) -> serde_json::Result<serde_json::Value> {
    serde_json::from_str(text)
}

fn number(text: &str) -> Number {
    parse(text.as_bytes()).unwrap().root().as_number().unwrap()
}

#[test]
fn depth() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, ours_reads, theirs_reads) in [(127, true, true), (128, true, false), (129, false, false)] {
        let text = nested(depth);
        assert_eq!((parse(text.as_bytes()).is_ok(), theirs(&text).is_ok()), (ours_reads, theirs_reads), "{depth}");
        check(text.as_bytes());
    }
    let text = nested(128);
    let document = parse(text.as_bytes()).unwrap();
    let error = theirs(&text).unwrap_err();
    assert!(is_refused_by_serde_json_alone(&document, &error));
    // Another document does not explain the same error.
    let other = parse(b"[]").unwrap();
    assert!(!is_refused_by_serde_json_alone(&other, &error));
}

/// The greatest double is 1.7976931348623157081…e308, and from half a unit above it,
/// 1.797693134862315807…e308, the nearest double is infinite.
#[test]
fn the_edge_of_a_doubles_range() {
    for (text, is_read) in [
        ("1.7976931348623157e308", true),
        ("1.797693134862315807e308", true),
        ("1.7976931348623158e308", true),
        ("1.79769313486231592e308", false),
        ("1.7976931348623159e308", false),
        ("1e309", false),
    ] {
        assert_eq!((parse(text.as_bytes()).is_ok(), theirs(text).is_ok()), (is_read, is_read), "{text}");
        check(text.as_bytes());
        check(format!("{{\"a\":[0,-{text}]}}").as_bytes());
    }
}

#[test]
fn doubles() {
    for text in ["0.1", "2.2250738585072014e-308", "6.9294956446009195e15", "3.14159265358979323846e-300", "9.5e-320"] {
        let exact: f64 = text.parse().unwrap();
        let ours = match number(text) {
            Number::Float(double) => double,
            Number::Int(integer) => integer as f64,
        };
        assert_eq!((ours, theirs(text).unwrap().as_f64()), (exact, Some(exact)), "{text}");
        check(text.as_bytes());
    }
    let long = format!("1{}e-800", "0".repeat(823));
    assert_eq!((number(&long), theirs(&long).unwrap().as_f64()), (Number::Float(1e23), Some(1e23_f64.next_up())));
    check(long.as_bytes());
}

#[test]
fn whole_doubles() {
    for text in ["1", "1.0", "1e0", "10e-1"] {
        assert_eq!((number(text), canonical(text.as_bytes())), (Number::Int(1), b"1".to_vec()));
        assert_eq!(theirs(text).unwrap().is_f64(), text != "1", "{text}");
        check(text.as_bytes());
    }
    assert_eq!((number("-0"), theirs("-0").unwrap().as_f64().map(f64::is_sign_negative)), (Number::Int(0), Some(true)));
    let text = "1.902972011686396e17";
    assert_eq!(number(text), Number::Int(190_297_201_168_639_600));
    assert_eq!(theirs(text).unwrap().as_f64(), Some(190_297_201_168_639_616.0));
}

#[test]
fn in_these_points_both_do_the_same() {
    for text in [r#""\ud800""#, r#"{"\udc00x":1}"#, r#""\ud800\u0041""#] {
        assert!(parse(text.as_bytes()).is_err() && theirs(text).is_err(), "{text}");
    }
    let repeated = r#"{"a":1,"b":2,"\u0061":3}"#;
    assert_eq!(canonical(repeated.as_bytes()), theirs(repeated).unwrap().to_string().into_bytes());
    for text in ["9223372036854775807", "-9223372036854775808", "18446744073709551615", "9007199254740993"] {
        assert_eq!(canonical(text.as_bytes()), text.as_bytes());
        assert_eq!(theirs(text).unwrap().to_string(), text);
    }
    for text in ["18446744073709551616", "-9223372036854775809"] {
        assert!(matches!(number(text), Number::Float(_)) && theirs(text).unwrap().is_f64(), "{text}");
    }
    assert!(parse(b"1e999").is_err() && theirs("1e999").is_err());
    assert_eq!((number("1e-999"), theirs("1e-999").unwrap().as_f64()), (Number::Int(0), Some(0.0)));
    for bytes in [&b"\xef\xbb\xbf1"[..], b"\"\xff\"", b"\"\xed\xa0\x80\""] {
        assert!(parse(bytes).is_err() && serde_json::from_slice::<serde_json::Value>(bytes).is_err());
    }
}
