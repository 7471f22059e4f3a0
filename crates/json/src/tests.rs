//! The parser and the writer against the rules of docs/semantics.md, sections 1 and 4, and numbers
//! by property. The grammar of RFC 8259, the cases of RFC 8785 and the comparison with `serde_json`
//! are the fuzz target `json` (`fuzz/src/json/mod.rs`, `fuzz/tests/plain`).

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn canonical(text: &str) -> String {
    let document = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    String::from_utf8(document.root().canonical()).unwrap()
}

fn fault(text: &[u8]) -> Option<Fault> {
    parse(text).err().map(|e| e.fault)
}

#[test]
fn canonical_forms() {
    for (text, expected) in [
        (" {\"b\" : 1 ,\t\"a\":[ ] , \"\":{\r\n} } ", r#"{"":{},"a":[],"b":1}"#),
        (r#"{"a":1,"b":2,"a":{"z":1,"y":2}}"#, r#"{"a":{"y":2,"z":1},"b":2}"#),
        // By UTF-8 bytes: U+FFFD before U+1F375, which UTF-16 would turn round.
        (r#"{"🍵":1,"�":2,"é":3,"z":4}"#, r#"{"z":4,"é":3,"�":2,"🍵":1}"#),
        (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
        ("[1,1.0,1e0,-0,-0.0,0e999,10E-1]", "[1,1,1,0,0,0,1]"),
        ("[18446744073709551615,-9223372036854775808]", "[18446744073709551615,-9223372036854775808]"),
        ("[18446744073709551616,-9223372036854775809]", "[18446744073709552000,-9223372036854776000]"),
        (
            "[9007199254740993,9007199254740993.0,9007199254740991.0]",
            "[9007199254740993,9007199254740992,9007199254740991]",
        ),
        (
            "[1e21,1e20,123456789012345680000000,1e-6,0.000001,0.0000001,1.5e300]",
            "[1e+21,100000000000000000000,1.2345678901234569e+23,0.000001,0.000001,1e-7,1.5e+300]",
        ),
        (
            "[0.1,0.10,-0.811,1.7976931348623157e308,5e-324,1e-400,-1e-400]",
            "[0.1,0.1,-0.811,1.7976931348623157e+308,5e-324,0,0]",
        ),
        ("[0.1234567890123456789,123456789012.345678]", "[0.12345678901234568,123456789012.34567]"),
        (
            r#""\u0008\t\n\f\r\"\\\/\u0001\u001F\u007f\u2028<\uD83C\uDF75""#,
            "\"\\b\\t\\n\\f\\r\\\"\\\\/\\u0001\\u001f\u{7f}\u{2028}<🍵\"",
        ),
        ("\"\u{7f}\u{2028}/\"", "\"\u{7f}\u{2028}/\""),
        (r#""\u0000""#, r#""\u0000""#),
        ("null", "null"),
        (" [true , false] ", "[true,false]"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn values_are_read_as_they_stand() {
    let text = r#"{"a":[1,[2,{}],"x\n"],"b":null,"a2":true,"b":"last","n":1.50}"#;
    let document = parse(text.as_bytes()).unwrap();
    let root = document.root();
    assert_eq!(root.members().map(|(k, _)| k).collect::<Vec<_>>(), ["a", "b", "a2", "b", "n"]);
    assert_eq!(root.sorted_members().map(|(k, _)| k).collect::<Vec<_>>(), ["a", "a2", "b", "n"]);
    assert_eq!(root.get("b").and_then(Value::as_str), Some("last"));
    assert!(root.get("c").is_none());
    let items: Vec<_> = root.get("a").unwrap().items().collect();
    assert_eq!(
        items.iter().map(|v| v.kind()).collect::<Vec<_>>(),
        [ValueKind::Number, ValueKind::Array, ValueKind::String]
    );
    assert_eq!((items[0].as_number(), items[2].as_str()), (Some(Number::Int(1)), Some("x\n")));
    assert_eq!(items[1].items().count() + items[1].members().count(), 2);
    assert_eq!(root.get("n").and_then(Value::number_text), Some("1.50"));
    assert_eq!((root.items().count(), items[2].items().count(), items[0].members().count()), (0, 0, 0));
}

#[test]
fn a_null_member_can_be_dropped() {
    let without = |text: &str| {
        let mut out = Vec::new();
        parse(text.as_bytes()).unwrap().root().write_canonical_without_null("c", &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(without(r#"{"id":"e","c":null}"#), r#"{"id":"e"}"#);
    assert_eq!(without(r#"{"c":null}"#), "{}");
    assert_eq!(without(r#"{"c":1,"c":null,"d":{"c":null}}"#), r#"{"d":{"c":null}}"#);
    assert_eq!(without(r#"{"c":null,"c":1}"#), r#"{"c":1}"#);
}

#[test]
fn numbers_of_canonical_texts() {
    assert_eq!(parse_number(b"-12"), Some(Number::Int(-12)));
    assert_eq!(parse_number(b"0.5"), Some(Number::Float(0.5)));
    assert_eq!(parse_number(b"18446744073709551615"), Some(Number::Int(u64::MAX.into())));
    assert_eq!(parse_number(b"1.902972011686396e17"), Some(Number::Int(190_297_201_168_639_600)));
    assert_eq!(parse_number(b"1e19"), Some(Number::Int(10_000_000_000_000_000_000)));
    assert_eq!(parse_number(b"18446744073709552000"), Some(Number::Float(18_446_744_073_709_551_616.0)));
    for text in [&b""[..], b"null", b"\"1\"", b"1 ", b"+1", b"-inf", b"nan", b"1e999", b"01"] {
        assert_eq!(parse_number(text), None, "{text:?}");
    }
}

#[test]
fn long_numbers_are_read_to_the_nearest_double() {
    let zeros = "0".repeat(100_000);
    let nines = "9".repeat(100_000);
    for (token, expected) in [
        (format!("1{zeros}e-100000"), "1"),
        (format!("-1.5{zeros}"), "-1.5"),
        (format!("0.{zeros}25e100000"), "0.25"),
        (format!("{nines}e-100001"), "0.1"),
        (format!("{nines}e-9000000"), "0"),
        (format!("-0.{zeros}"), "0"),
        (format!("0.{zeros}e99999999999999999999"), "0"),
        (format!("1.{zeros}e-99999999999999999999"), "0"),
        // Half way between two doubles, and the least bit above.
        (format!("9007199254740993.{zeros}"), "9007199254740992"),
        (format!("9007199254740993.{zeros}1"), "9007199254740994"),
    ] {
        assert_eq!(canonical(&token), expected);
    }
    for token in
        [format!("1{zeros}e-99000"), format!("0.{zeros}1e101000"), format!("1.{zeros}e99999999999999999999"), nines]
    {
        assert_eq!(fault(token.as_bytes()), Some(Fault::Malformed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(testkit::seed()), ..ProptestConfig::default() })]

    #[test]
    fn every_double_keeps_its_value(double in prop_oneof![any::<u64>().prop_map(f64::from_bits), -2e19..2e19]) {
        prop_assume!(double.is_finite());
        let text = canonical(&format!("{double:e}"));
        prop_assert_eq!(text.parse::<f64>().unwrap(), double);
        let mut out = Vec::new();
        write_number(&mut out, Number::from_double(double));
        prop_assert_eq!(String::from_utf8(out).unwrap(), text.clone());
        prop_assert_eq!(canonical(&format!("{double}")), text.clone());
        // What it is read as follows from its canonical form alone.
        let token = format!("{double:e}");
        prop_assert_eq!(parse_number(token.as_bytes()), parse_number(text.as_bytes()));
    }

    #[test]
    fn a_shortened_number_is_the_same(digits in "[1-9][0-9]{0,30}", zeros in 1000..1100_usize, exponent in -400..400_i32) {
        let token = format!("{digits}.{}{digits}e{exponent}", "0".repeat(zeros));
        let double: f64 = token.parse().unwrap();
        let expected = double.is_finite().then(|| parse_number(format!("{double:e}").as_bytes())).flatten();
        prop_assert_eq!(parse_number(token.as_bytes()), expected);
    }

    /// The short way for plain decimals writes what the long way would.
    #[test]
    fn a_plain_decimal_is_written_as_ecmascript_does(whole in 0..1_000_000_000_u64, shift in 0..9_u32, fraction in "[0-9]{1,12}", negative: bool) {
        let sign = if negative { "-" } else { "" };
        let token = format!("{sign}{}.{fraction}", whole / 10_u64.pow(shift));
        let mut long = Vec::new();
        write_number(&mut long, Number::from_double(token.parse().unwrap()));
        prop_assert_eq!(canonical(&token).into_bytes(), long);
    }
}
