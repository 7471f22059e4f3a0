//! Numbers of JSON texts: an integer within 64 bits exactly, any other the nearest double.

use super::Number;

const INTEGERS: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

/// The number token that starts at `from`: where it ends, and whether it has neither fraction nor
/// exponent. `Err` is the index at which a digit is missing.
pub fn token(bytes: &[u8], from: usize) -> Result<(usize, bool), usize> {
    let digits = |at: usize| {
        let end = bytes.iter().skip(at).position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |n| at + n);
        if end == at { Err(at) } else { Ok(end) }
    };
    let mut at = from + usize::from(bytes.get(from) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    let mut is_integer = true;
    if bytes.get(at) == Some(&b'.') {
        is_integer = false;
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        is_integer = false;
        at += 1;
        at = digits(at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-'))))?;
    }
    Ok((at, is_integer))
}

/// The value of a whole token; `None` if it lies outside of a double's range.
pub fn read(token: &str) -> Option<Number> {
    // 20 digits and a sign hold every integer of 64 bits; a longer one without leading zeros lies
    // beyond.
    if token.len() <= 21
        && let Ok(integer) = token.parse::<i128>()
        && INTEGERS.contains(&integer)
    {
        return Some(Number::Int(integer));
    }
    let double: f64 = if token.len() > 1024 { shortened(token).parse() } else { token.parse() }.ok()?;
    double.is_finite().then(|| by_canonical(Number::from_double(double)))
}

/// The same double in a short token: std stops counting an exponent above 65,536, which a mantissa
/// as long would need. What follows 800 digits can only tip a tie (at most 767 tell one double from
/// the next), so one digit stands for it.
fn shortened(token: &str) -> String {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let beyond = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    let exponent = exponent.parse().unwrap_or(beyond);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = || whole.chars().chain(fraction.chars());
    let zeros = all().take_while(|digit| *digit == '0').count();
    let mut digits: String = all().skip(zeros).take(800).collect();
    if all().skip(zeros + 800).any(|digit| digit != '0') {
        digits.push('1');
    }
    let point = (exponent.saturating_add(whole.len() as i64 - zeros as i64)).clamp(-10_000, 10_000);
    format!("{sign}0.{digits}0e{point}")
}

/// Canonical JSON decides which numbers are equal. ECMAScript writes a whole double within 64 bits
/// as digits, and those read as an integer, maybe not quite the double's value: that integer is
/// what the number is, whichever way it was written.
fn by_canonical(number: Number) -> Number {
    match number {
        Number::Float(d) if d.fract() == 0.0 && d.abs() < 2e19 => {
            let digits = ryu_js::Buffer::new().format(d).parse::<i128>();
            digits.ok().filter(|i| INTEGERS.contains(i)).map_or(number, Number::Int)
        }
        _ => number,
    }
}

/// Whether a token of this form might lie outside of a double's range, so that it must be read to
/// know.
pub fn may_overflow(token: &str) -> bool {
    token.len() > 300 || token.bytes().any(|b| matches!(b, b'e' | b'E'))
}

/// A token that is canonical as it stands, which spares reading and writing it. At most 15
/// significant digits without trailing zeros are the shortest text of the double nearest to them,
/// and ECMAScript writes no exponent from 1e-6 up to 1e21.
pub fn is_canonical(token: &str, is_integer: bool) -> bool {
    let size = token.strip_prefix('-').unwrap_or(token);
    if is_integer {
        return size.len() <= 18 && token != "-0";
    }
    size.len() <= 16
        && !size.ends_with('0')
        && !size.starts_with("0.000000")
        && !size.bytes().any(|b| matches!(b, b'e' | b'E'))
}

/// The value of a JSON number, such as a canonical one; `None` if the text is anything else.
pub fn parse_number(text: &[u8]) -> Option<Number> {
    let (end, _) = token(text, 0).ok()?;
    if end == text.len() { read(std::str::from_utf8(text).ok()?) } else { None }
}
