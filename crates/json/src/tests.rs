//! The parser and the writer against the rules of docs/semantics.md, sections 1 and 4, against
//! `serde_json`, and by property.

use proptest::prelude::*;

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
fn what_is_not_json_is_malformed() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{1:2}",
        "{a:1}",
        "{\"a\" 1}",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "]",
        "1 2",
        "[]]",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e5",
        "0x1",
        "1e999",
        "-1e999",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud800\\n\"",
        "\"\n\"",
        "\"\u{1f}\"",
        "\u{feff}1",
        "// 1\n1",
        "1\u{a0}",
        "'a'",
    ] {
        assert_eq!(fault(text.as_bytes()), Some(Fault::Malformed), "{text}");
    }
}

#[test]
fn what_is_not_utf8_or_no_double_is_malformed() {
    for bytes in
        [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\"\xf4\x90\x80\x80\"", b"\"\xe2\x82\"", b"\xff"]
    {
        assert_eq!(fault(bytes), Some(Fault::Malformed), "{bytes:?}");
    }
    let digits = "9".repeat(310);
    assert_eq!(fault(digits.as_bytes()), Some(Fault::Malformed));
    assert_eq!(fault(format!("{digits}e-9").as_bytes()), None);
}

#[test]
fn nesting_ends_at_128() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(fault(nested(128).as_bytes()), None);
        assert_eq!(canonical(&nested(128)), nested(128));
        assert_eq!(fault(nested(129).as_bytes()), Some(Fault::TooDeep));
    }
    assert_eq!(fault("[".repeat(1 << 20).as_bytes()), Some(Fault::TooDeep));
    assert_eq!(fault(format!("{}{}", "[".repeat(128), "]".repeat(128)).as_bytes()), None);
    assert_eq!(fault(format!("{}{}", "[".repeat(129), "]".repeat(129)).as_bytes()), Some(Fault::TooDeep));
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
    assert_eq!(items.iter().map(|v| v.kind()).collect::<Vec<_>>(), [Kind::Number, Kind::Array, Kind::String]);
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
    let (zeros, nines) = ("0".repeat(100_000), "9".repeat(100_000));
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

/// A JSON text, with its repeats, escapes, white space and odd spellings of numbers.
fn json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        "[a-c]{0,2}".prop_map(|s| format!("\"{s}\"")),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        any::<String>().prop_map(|s| {
            let units: String = s.encode_utf16().map(|u| format!("\\u{u:04X}")).collect();
            format!("\"{units}\"")
        }),
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |d| d.is_finite()).prop_map(|d| format!("{d:e}")),
        any::<f32>().prop_filter("finite", |d| d.is_finite()).prop_map(|d| format!("{d}")),
        (-999_999_i64..999_999, 0..9_usize).prop_map(|(n, digits)| format!(
            "{n}.{n:0>digits$}",
            n = n.abs(),
            digits = digits
        )),
        Just("-0".to_owned()),
    ];
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), string.clone(), number];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        let member = (string.clone(), inner.clone()).prop_map(|(k, v)| format!("{k} :{v}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[ {}]", items.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}\n}}", members.join(", "))),
        ]
    })
}

/// Numbers as docs/semantics.md, section 1, reads them, from `serde_json`'s: only its integers are
/// exact, so doubles are read again from their text.
fn same(ours: Value<'_>, theirs: &serde_json::Value) -> bool {
    match theirs {
        serde_json::Value::Null => ours.is_null(),
        serde_json::Value::Bool(_) => ours.kind() == Kind::Bool,
        serde_json::Value::Number(n) => match n.as_i128() {
            Some(i) => ours.as_number() == Some(Number::Int(i)),
            None => ours.kind() == Kind::Number,
        },
        serde_json::Value::String(s) => ours.as_str() == Some(s),
        serde_json::Value::Array(items) => {
            ours.kind() == Kind::Array
                && ours.items().count() == items.len()
                && ours.items().zip(items).all(|(a, b)| same(a, b))
        }
        serde_json::Value::Object(members) => {
            let mut sorted = ours.sorted_members();
            ours.kind() == Kind::Object
                && sorted.len() == members.len()
                && sorted.all(|(key, value)| members.get(key).is_some_and(|v| same(value, v)))
        }
    }
}

proptest! {
    #[test]
    fn canonical_is_canonical(text in json()) {
        let once = canonical(&text);
        prop_assert_eq!(canonical(&once), once.clone());
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        let document = parse(once.as_bytes()).unwrap();
        prop_assert!(same(document.root(), &theirs), "{} read as {}", text, once);
    }

    #[test]
    fn a_changed_byte_is_judged_as_serde_json_does(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
        prop_assert_eq!(parse(&bytes).is_ok(), theirs.is_ok(), "{}", String::from_utf8_lossy(&bytes));
    }

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

    #[test]
    fn any_string_comes_back(text: String) {
        let mut out = Vec::new();
        write_string(&mut out, &text);
        let document = parse(&out).unwrap();
        prop_assert_eq!(document.root().as_str(), Some(text.as_str()));
        prop_assert_eq!(document.root().canonical(), out.clone());
    }
}
