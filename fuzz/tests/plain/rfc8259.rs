//! What RFC 8259 says of JSON texts, section by section: texts that a parser must accept, texts
//! that are no JSON, and those that the RFC leaves open, for which docs/semantics.md, section 1,
//! decides. A case that is accepted has its canonical form beside it.

use helixstream_fuzz::json::{canonical, check};
use json::{Fault, parse};

/// Texts with their canonical forms.
const ACCEPTED: &[(&str, &str)] = &[
    // Section 2, structural characters and white space.
    (" \t\n\r[ \t\n\r1 \t\n\r, \t\n\r2 \t\n\r] \t\n\r", "[1,2]"),
    (" { \"a\" : 1 , \"b\" : [ ] } ", r#"{"a":1,"b":[]}"#),
    // Section 3, values: any value may be a text.
    ("null", "null"),
    ("true", "true"),
    ("false", "false"),
    ("\"\"", "\"\""),
    ("0", "0"),
    ("[]", "[]"),
    ("{}", "{}"),
    // Section 4, objects.
    (r#"{"":{"":{}}}"#, r#"{"":{"":{}}}"#),
    (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
    (r#"{"a":[],"A":{},"aa":null}"#, r#"{"A":{},"a":[],"aa":null}"#),
    (r#"{"\u0061\"":1}"#, r#"{"a\"":1}"#),
    // Section 4, open: repeated names. The last one counts.
    (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
    (r#"{"a":1,"\u0061":2,"b":0,"a":{"z":1,"y":2}}"#, r#"{"a":{"y":2,"z":1},"b":0}"#),
    (r#"{"a":1,"a":null}"#, r#"{"a":null}"#),
    // Section 5, arrays of any values.
    (r#"[[],[[]],{},"",0,null,true]"#, r#"[[],[[]],{},"",0,null,true]"#),
    // Section 6, numbers.
    ("-0", "0"),
    ("-1", "-1"),
    ("10", "10"),
    ("0.0", "0"),
    ("0.5", "0.5"),
    ("-0.5", "-0.5"),
    ("1.50", "1.5"),
    ("0e0", "0"),
    ("0E+5", "0"),
    ("1e2", "100"),
    ("1E2", "100"),
    ("1e+2", "100"),
    ("1e-2", "0.01"),
    ("1e002", "100"),
    ("1.5e00000000000000000000000000001", "15"),
    ("123456789", "123456789"),
    // Section 6, open: range and precision. Integers of 64 bits are exact, others the nearest
    // double.
    ("9007199254740993", "9007199254740993"),
    ("9223372036854775807", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("18446744073709551615", "18446744073709551615"),
    ("18446744073709551616", "18446744073709552000"),
    ("-9223372036854775809", "-9223372036854776000"),
    ("123456789012345678901234567890", "1.2345678901234568e+29"),
    ("0.1234567890123456789", "0.12345678901234568"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("5e-324", "5e-324"),
    ("1e-400", "0"),
    ("-1e-400", "0"),
    ("0e99999999999999999999", "0"),
    ("1e-99999999999999999999", "0"),
    // Section 7, strings: each escape, and characters that need none.
    (r#""\"\\\/\b\f\n\r\t""#, r#""\"\\/\b\f\n\r\t""#),
    (r#""\u0041\u00e9\u00E9""#, "\"Aéé\""),
    (r#""\u0000\u001F\u0008\u000C""#, r#""\u0000\u001f\b\f""#),
    (r#""\ud83c\udf75\uDBFF\uDFFF""#, "\"🍵\u{10ffff}\""),
    (
        "\"🍵é\u{7f}\u{2028}\u{2029}\u{feff}\u{ffff}\u{10ffff}\"",
        "\"🍵é\u{7f}\u{2028}\u{2029}\u{feff}\u{ffff}\u{10ffff}\"",
    ),
    (r#""\\u0041\\\"""#, r#""\\u0041\\\"""#),
    ("\"[,{:}]//\"", "\"[,{:}]//\""),
    // Section 8.2, open: unassigned code points and noncharacters are characters.
    (r#""\uFFFF\uFDD0\u0378""#, "\"\u{ffff}\u{fdd0}\u{378}\""),
];

/// Texts that are no JSON.
const MALFORMED: &[&str] = &[
    // Section 2.
    "",
    " ",
    "\n",
    "\u{a0}1",
    "1\u{a0}",
    "\u{c}1",
    "\u{b}[]",
    "[\u{2003}]",
    "// 1\n1",
    "/**/1",
    "1 # one",
    "1 2",
    "[] []",
    "{}{}",
    "[]]",
    "1,",
    ",1",
    "\0",
    "1\0",
    // Section 3.
    "nul",
    "nulll",
    "Null",
    "NULL",
    "True",
    "tru",
    "truefalse",
    "undefined",
    "NaN",
    "Infinity",
    "-Infinity",
    "'a'",
    "a",
    // Section 4.
    "{",
    "}",
    "{\"a\"",
    "{\"a\"}",
    "{\"a\":",
    "{\"a\":}",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"1}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{\"a\":1:2}",
    "{:1}",
    "{1:2}",
    "{a:1}",
    "{'a':1}",
    "{null:1}",
    "{[]:1}",
    "{\"a\":1]",
    "{\"a\",1}",
    // Section 5.
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[,]",
    "[1,,2]",
    "[1 2]",
    "[1;2]",
    "[1}",
    "[\"a\":1]",
    "[[]",
    // Section 6.
    "-",
    "+",
    "+1",
    "--1",
    "-+1",
    "01",
    "-01",
    "00",
    "-00.5",
    "1.",
    ".5",
    "-.5",
    "1.e5",
    "1..5",
    "1.5.5",
    "1e",
    "1e+",
    "1e-",
    "1e5.5",
    "1e+-5",
    "1ee5",
    "e5",
    "0x1",
    "1_000",
    "1 000",
    "1,5",
    "1f",
    "١",
    "-\u{2212}1",
    "- 1",
    // Section 6, open: numbers outside a double's range.
    "1e309",
    "-1e309",
    "1e999",
    "-1e999",
    "1.8e308",
    "1e99999999999999999999",
    // Section 7.
    "\"",
    "\"a",
    "\"\\",
    "\"\\\"",
    "\"a\"b\"",
    "\"\\x41\"",
    "\"\\x\"",
    "\"\\a\"",
    "\"\\'\"",
    "\"\\0\"",
    "\"\\U0041\"",
    "\"\\\n\"",
    "\"\\u\"",
    "\"\\u1\"",
    "\"\\u12\"",
    "\"\\u123\"",
    "\"\\u12g4\"",
    "\"\\u+123\"",
    "\"\\u 123\"",
    "\"\\u00é\"",
    "\"\0\"",
    "\"\n\"",
    "\"\t\"",
    "\"\r\"",
    "\"\u{1f}\"",
    "{\"\n\":1}",
    // Section 8.1, open: a byte order mark.
    "\u{feff}1",
    "\u{feff}",
    "1\u{feff}",
    // Section 8.2, open: surrogates that are no pair, in values and in names.
    r#""\ud800""#,
    r#""\udc00""#,
    r#""\udbff\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud800x""#,
    r#""\ud800\n""#,
    r#""\ud800\u0041""#,
    r#""\ud83c\ud83c\udf75""#,
    r#""\udf75\ud83c\udf75""#,
    r#"{"\ud800":1}"#,
];

/// Bytes that are no UTF-8 (section 8.1).
const NO_UTF8: &[&[u8]] = &[
    b"\xff",
    b"\x80",
    b"[\xe9]",
    b"\"\xff\"",
    b"\"\x80\"",
    b"\"\xc3\"",
    b"\"\xc0\xaf\"",
    b"\"\xe0\x80\xaf\"",
    b"\"\xe2\x82\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xed\xb0\x80\"",
    b"\"\xf0\x9f\x8d\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\"\xf8\x88\x80\x80\x80\"",
    b"{\"\xff\":1}",
    b"\xff\xfe1\x00",
    b"1\x00\x00\x00",
    b"\xfe\xff\x001",
];

fn fault(text: &[u8]) -> Option<Fault> {
    parse(text).err().map(|error| error.fault)
}

#[test]
fn a_text_of_the_grammar_is_accepted_and_has_its_canonical_form() {
    for (text, expected) in ACCEPTED {
        assert_eq!(String::from_utf8_lossy(&canonical(text.as_bytes())), *expected, "{text}");
        assert!(check(text.as_bytes()));
    }
}

#[test]
fn what_the_grammar_has_not_is_malformed() {
    for text in MALFORMED.iter().map(|text| text.as_bytes()).chain(NO_UTF8.iter().copied()) {
        assert_eq!(fault(text), Some(Fault::Malformed), "{}", text.escape_ascii());
        assert!(!check(text));
    }
}

/// 310 digits are outside a double's range, and inside with an exponent that takes some back.
#[test]
fn the_range_of_a_double_is_that_of_the_value() {
    let digits = "9".repeat(310);
    assert_eq!(fault(digits.as_bytes()), Some(Fault::Malformed));
    assert!(!check(digits.as_bytes()));
    assert!(check(format!("{digits}e-9").as_bytes()));
}

/// Each text of the grammar, cut anywhere, is a text of the grammar only where it is a number or
/// lacks white space alone; `serde_json` is asked.
#[test]
fn every_start_of_a_text_is_judged_as_serde_json_does() {
    for (text, _) in ACCEPTED {
        for end in 0..text.len() {
            check(&text.as_bytes()[..end]);
        }
    }
}

/// Section 9: an implementation may limit the depth of nesting.
#[test]
fn nesting_ends_at_128() {
    for (open, close, inner) in [("[", "]", "0"), ("{\"a\":", "}", "0"), ("[", "]", ""), ("[{\"a\":", "}]", "[]")] {
        let levels = open.matches(['[', '{']).count();
        let own = inner.matches('[').count();
        let nested = |depth: usize| {
            let times = (depth - own) / levels;
            format!("{}{inner}{}", open.repeat(times), close.repeat(times)).into_bytes()
        };
        let deepest = (128 - own) / levels * levels + own;
        assert_eq!(fault(&nested(deepest)), None, "{open}");
        assert_eq!(fault(&nested(deepest + levels)), Some(Fault::TooDeep), "{open}");
        for depth in [1 + own, 125, 126, 127, 128, 129, 130, 131].into_iter().filter(|depth| *depth >= levels + own) {
            check(&nested(depth));
        }
    }
    assert_eq!(fault("[".repeat(1 << 20).as_bytes()), Some(Fault::TooDeep));
}
