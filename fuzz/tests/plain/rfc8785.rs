//! RFC 8785 (JSON Canonicalization Scheme): the numbers of its appendix B, its examples of sections
//! 3.2.2 to 3.2.4, and where docs/semantics.md, section 4, differs: keys are sorted by UTF-8 bytes
//! and not by UTF-16 units, and integers within 64 bits keep their digits.

use helixstream_fuzz::json::{canonical, check};
use json::{Number, parse_number, write_number};

/// Appendix B: a double's bits, and its text.
const NUMBERS: &[(u64, &str)] = &[
    (0x0000_0000_0000_0000, "0"),
    (0x8000_0000_0000_0000, "0"),
    (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"),
    (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
    (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
    (0x4340_0000_0000_0000, "9007199254740992"),
    (0xc340_0000_0000_0000, "-9007199254740992"),
    (0x4430_0000_0000_0000, "295147905179352830000"),
    (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
    (0x44b5_2d02_c7e1_4af6, "1e+23"),
    (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
    (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
    (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
    (0x444b_1ae4_d6e2_ef50, "1e+21"),
    (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
    (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
    (0x41b3_de43_5555_5553, "333333333.3333332"),
    (0x41b3_de43_5555_5554, "333333333.33333325"),
    (0x41b3_de43_5555_5555, "333333333.3333333"),
    (0x41b3_de43_5555_5556, "333333333.3333334"),
    (0x41b3_de43_5555_5557, "333333333.33333343"),
    (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
    (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
];

#[test]
fn the_numbers_of_appendix_b() {
    for (bits, expected) in NUMBERS {
        let double = f64::from_bits(*bits);
        let mut written = Vec::new();
        write_number(&mut written, Number::from_double(double));
        assert_eq!(String::from_utf8_lossy(&written), *expected, "{bits:#x}");
        // And read from any spelling, the exact decimal expansion among them.
        for text in [format!("{double:e}"), format!("{double}"), format!("{double:.1100}"), (*expected).to_owned()] {
            assert_eq!(String::from_utf8_lossy(&canonical(text.as_bytes())), *expected, "{text}");
            let read: f64 = expected.parse().unwrap();
            assert_eq!(read, double, "{expected}");
            assert_eq!(parse_number(text.as_bytes()), parse_number(expected.as_bytes()), "{text}");
            assert!(check(text.as_bytes()));
        }
    }
}

/// Appendix B: NaN and Infinity are no JSON.
#[test]
fn what_is_not_finite_has_no_form() {
    for text in ["NaN", "Infinity", "-Infinity", "nan", "inf"] {
        assert_eq!(parse_number(text.as_bytes()), None);
        assert!(!check(text.as_bytes()));
    }
}

/// The example of section 3.2.2: primitive types.
#[test]
fn the_example_of_primitive_types() {
    let text = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(String::from_utf8_lossy(&canonical(text.as_bytes())), expected);
    assert!(check(text.as_bytes()));
}

/// The example of section 3.2.3, in the order of RFC 8785 but for one pair: by UTF-16 units U+1F600
/// (0xD83D 0xDE00) stands before U+FB33, by UTF-8 bytes behind it.
#[test]
fn keys_are_sorted_by_utf8_bytes() {
    let text = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
        \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
        \"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\",\"😀\":\"Emoji: Grinning Face\"}";
    assert_eq!(String::from_utf8_lossy(&canonical(text.as_bytes())), expected);
    assert!(check(text.as_bytes()));
}

/// Keys are compared as they are unescaped, a shorter one before those that it begins; arrays keep
/// their order, and the objects in them are sorted.
#[test]
fn order_is_that_of_the_unescaped_keys_at_every_level() {
    for (text, expected) in [
        (
            r#"{"b":0,"\u0061":1,"ab":2,"":3,"A":4,"1":5,"10":6,"2":7}"#,
            r#"{"":3,"1":5,"10":6,"2":7,"A":4,"a":1,"ab":2,"b":0}"#,
        ),
        (r#"{"\n":1,"\\n":2,"\u0000":3,"\"":4,"\/":5," ":6}"#, r#"{"\u0000":3,"\n":1," ":6,"\"":4,"/":5,"\\n":2}"#),
        (r#"[{"b":[{"d":1,"c":2}],"a":3},{"f":4,"e":5}]"#, r#"[{"a":3,"b":[{"c":2,"d":1}]},{"e":5,"f":4}]"#),
        (
            "{\"\u{7f}\":1,\"\u{80}\":2,\"\u{7ff}\":3,\"\u{800}\":4,\"\u{ffff}\":5,\"\u{10000}\":6,\"\u{10ffff}\":7}",
            "{\"\u{7f}\":1,\"\u{80}\":2,\"\u{7ff}\":3,\"\u{800}\":4,\"\u{ffff}\":5,\"\u{10000}\":6,\"\u{10ffff}\":7}",
        ),
    ] {
        assert_eq!(String::from_utf8_lossy(&canonical(text.as_bytes())), expected, "{text}");
        assert!(check(text.as_bytes()));
    }
}

/// Unlike RFC 8785, which makes a double of every number: integers within 64 bits are exact.
#[test]
fn integers_of_64_bits_keep_their_digits() {
    for (text, expected) in [
        ("9007199254740993", "9007199254740993"),
        ("9007199254740993.0", "9007199254740992"),
        ("-9223372036854775807", "-9223372036854775807"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551615.0", "18446744073709552000"),
        ("18446744073709551616", "18446744073709552000"),
    ] {
        assert_eq!(String::from_utf8_lossy(&canonical(text.as_bytes())), expected, "{text}");
        assert!(check(text.as_bytes()));
    }
}
