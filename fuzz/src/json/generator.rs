//! JSON texts with the spellings that matter: repeated keys, escapes, white space, numbers of every
//! form.

use testkit::Random;

/// Pieces that mean something to a reader of JSON.
pub const DICTIONARY: &[&[u8]] = &[
    b"null",
    b"true",
    b"false",
    b"[",
    b"]",
    b"{",
    b"}",
    b"[]",
    b"{}",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\\uD83C\\uDF75",
    b"\"a\":",
    b"{\"\":",
    b"-",
    b"-0",
    b"0",
    b".",
    b".0",
    b"e",
    b"E+",
    b"e-",
    b"e308",
    b"e-324",
    b"1e999",
    b"9007199254740993",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1.7976931348623157",
    b" ",
    b"\t",
    b"\n",
    b"\r",
    b"\x00",
    b"\x1f",
    b"\x7f",
    b"\xc3\xa9",
    b"\xf0\x9f\x8d\xb5",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
];

/// A JSON text.
pub fn text(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    if random.one_in(40) {
        nest(random, &mut out);
    } else {
        value(random, 5, &mut out);
    }
    out
}

/// Containers in each other, around the limit of depth.
fn nest(random: &mut Random, out: &mut Vec<u8>) {
    let depth = random.pick(&[2, 126, 127, 128, 129, 130, 300]);
    let mut close = Vec::new();
    for _ in 0..depth {
        if random.one_in(2) {
            out.push(b'[');
            close.push(b']');
        } else {
            out.extend_from_slice(b"{\"a\":");
            close.push(b'}');
        }
    }
    scalar(random, out);
    close.reverse();
    out.extend(close);
}

fn value(random: &mut Random, depth: usize, out: &mut Vec<u8>) {
    space(random, out);
    match random.below(if depth == 0 { 3 } else { 6 }) {
        0..3 => scalar(random, out),
        kind => {
            let is_object = kind > 3;
            out.push(if is_object { b'{' } else { b'[' });
            for index in 0..random.below(5) {
                if index > 0 {
                    out.push(b',');
                }
                if is_object {
                    space(random, out);
                    string(random, out);
                    space(random, out);
                    out.push(b':');
                }
                value(random, depth - 1, out);
            }
            space(random, out);
            out.push(if is_object { b'}' } else { b']' });
        }
    }
    space(random, out);
}

fn space(random: &mut Random, out: &mut Vec<u8>) {
    if random.one_in(4) {
        out.extend_from_slice(random.pick(&[&b" "[..], b"\n", b"\t ", b"\r\n"]));
    }
}

fn scalar(random: &mut Random, out: &mut Vec<u8>) {
    match random.below(5) {
        0 => out.extend_from_slice(random.pick(&[&b"null"[..], b"true", b"false"])),
        1 => string(random, out),
        _ => number(random, out),
    }
}

fn number(random: &mut Random, out: &mut Vec<u8>) {
    let finite = |double: f64| if double.is_finite() { double } else { 0.5 };
    let text = match random.below(9) {
        0 => random.below(300).to_string(),
        1 => random.number().to_string(),
        2 => (random.number() as i64).to_string(),
        3 => format!("{:e}", finite(f64::from_bits(random.number()))),
        4 => format!("{}", finite(f32::from_bits(random.number() as u32).into())),
        5 => format!("{}.{}", random.number() as i32, digits(random, 20)),
        6 => {
            // Near 2^53, 2^63 and 2^64, where integers and doubles part.
            let near = random.pick(&[1_u128 << 53, 1 << 63, 1 << 64, 1 << 80]) + random.below(2000) as u128 - 1000;
            let sign = random.pick(&["", "-"]);
            format!("{sign}{near}{}", random.pick(&["", ".0", ".5", "e0", "E-2", "e+3"]))
        }
        7 => {
            let sign = random.pick(&["", "-"]);
            format!("{sign}1.{}e{}", digits(random, 40), random.below(640) as i64 - 330)
        }
        _ => random.pick(&["-0", "-0.0", "0e5", "1e0", "100e-2", "0.1000", "1E400", "1.797693134862315708e308"]).into(),
    };
    out.extend_from_slice(text.as_bytes());
}

fn digits(random: &mut Random, most: usize) -> String {
    (0..1 + random.below(most)).map(|_| char::from(b'0' + random.below(10) as u8)).collect()
}

fn string(random: &mut Random, out: &mut Vec<u8>) {
    out.push(b'"');
    for _ in 0..random.below(5) {
        let character = match random.below(6) {
            0 => char::from(random.below(128) as u8),
            1 => random.pick(&['é', '\u{7f}', '\u{80}', '\u{2028}', '\u{fffd}', '\u{ffff}', '🍵', '\u{10ffff}']),
            2 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{d7ff}'),
            // Few keys, so that some are repeated.
            _ => random.pick(&['a', 'b', 'c']),
        };
        let must_escape = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
        if must_escape || random.one_in(3) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let escape = if random.one_in(2) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                out.extend_from_slice(escape.as_bytes());
            }
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.push(b'"');
}
