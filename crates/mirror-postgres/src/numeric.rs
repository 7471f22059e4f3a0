//! `numeric` in Postgres' binary form: digits to base 10,000, the weight of the first, a sign, and
//! how many decimals show.

/// Appends the binary form of a JSON number, exact to its last digit; false, and nothing appended,
/// when it is none or beyond what `numeric` holds.
pub(super) fn write(json: &str, to: &mut Vec<u8>) -> bool {
    let Some(decimal) = Decimal::parse(json) else { return false };
    let Some((weight, scale)) = decimal.weight().zip(decimal.scale()) else { return false };
    let groups = decimal.groups();
    let Ok(count) = i16::try_from(groups.len()) else { return false };
    to.extend_from_slice(&count.to_be_bytes());
    to.extend_from_slice(&weight.to_be_bytes());
    to.extend_from_slice(&(if decimal.negative { 0x4000_u16 } else { 0 }).to_be_bytes());
    to.extend_from_slice(&scale.to_be_bytes());
    for group in groups {
        to.extend_from_slice(&group.to_be_bytes());
    }
    true
}

/// The number 0.`digits` · 10^`point`; no zero at either end of the digits.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i32,
}

impl Decimal {
    fn parse(json: &str) -> Option<Decimal> {
        let (negative, rest) = json.strip_prefix('-').map_or((false, json), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let exponent: i32 = exponent.parse().ok()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
        let mut point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        point = point.checked_sub(i32::try_from(zeros).ok()?)?;
        digits.truncate(digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1));
        if digits.is_empty() {
            point = 0;
        }
        Some(Decimal { negative: negative && !digits.is_empty(), digits, point })
    }

    /// The power of 10,000 of the first group.
    fn weight(&self) -> Option<i16> {
        if self.digits.is_empty() { Some(0) } else { i16::try_from((self.point - 1).div_euclid(4)).ok() }
    }

    /// Decimals that show; `numeric` holds at most 16,383.
    fn scale(&self) -> Option<u16> {
        let decimals = (i32::try_from(self.digits.len()).ok()? - self.point).max(0);
        u16::try_from(decimals).ok().filter(|scale| *scale <= 16_383)
    }

    fn groups(&self) -> Vec<i16> {
        let lead = (4 - self.point.rem_euclid(4)) % 4;
        let mut padded = vec![0; usize::try_from(lead).unwrap_or(0)];
        padded.extend_from_slice(&self.digits);
        padded.resize(padded.len().next_multiple_of(4), 0);
        if self.digits.is_empty() {
            padded.clear();
        }
        padded.chunks(4).map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(*digit))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(json: &str) -> (i16, u16, u16, Vec<i16>) {
        let mut bytes = Vec::new();
        assert!(write(json, &mut bytes), "{json}");
        let words: Vec<i16> = bytes.chunks(2).map(|word| i16::from_be_bytes([word[0], word[1]])).collect();
        assert_eq!(usize::try_from(words[0]).unwrap(), words.len() - 4);
        (words[1], words[2].cast_unsigned(), words[3].cast_unsigned(), words[4..].to_vec())
    }

    #[test]
    fn numbers_have_their_digits_in_groups_of_four() {
        assert_eq!(parts("0"), (0, 0, 0, vec![]));
        assert_eq!(parts("-0.0"), (0, 0, 0, vec![]));
        assert_eq!(parts("1"), (0, 0, 0, vec![1]));
        assert_eq!(parts("12345"), (1, 0, 0, vec![1, 2345]));
        assert_eq!(parts("-0.5"), (-1, 0x4000, 1, vec![5000]));
        assert_eq!(parts("120000.0625"), (1, 0, 4, vec![12, 0, 625]));
        assert_eq!(parts("1e-7"), (-2, 0, 7, vec![10]));
        assert_eq!(parts("1e+21"), (5, 0, 0, vec![10]));
        assert_eq!(parts("18446744073709551615"), (4, 0, 0, vec![1844, 6744, 737, 955, 1615]));
    }

    #[test]
    fn what_is_no_number_or_too_long_is_refused() {
        for text in ["", "-", ".5", "1e", "x", "1e999999999999", "1e-20000", "1e200000"] {
            assert!(!write(text, &mut Vec::new()), "{text}");
        }
    }
}
