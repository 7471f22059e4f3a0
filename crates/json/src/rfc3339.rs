//! Times of events: RFC 3339 with a zone, as nanoseconds since 1970 that fit 63 bits (Go's
//! `int64`), so up to 2262.

/// The greatest time that is read: 2^63-1 nanoseconds, 2262-04-11T23:47:16.854775807Z.
pub const MAX_NANOS: u64 = i64::MAX as u64;

/// How Go's nodes write "no time".
pub const GO_ZERO: &str = "0001-01-01T00:00:00Z";

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Why a text is no time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not of the form `2026-11-23T13:51:27.5Z`. A blank between date and time is refused: the
    /// grammar of RFC 3339 section 5.6 has `T` there, and its note on readability names no fixed
    /// other character.
    #[error("is no RFC 3339 time with a zone, such as 2026-11-23T13:51:27.5Z or 2026-11-23T14:51:27.5+01:00")]
    Form,
    /// A part that no calendar or clock has: month 13, 30 February, hour 24, second 60.
    #[error("has a date, time of day or zone that does not exist")]
    Calendar,
    /// Before 1970, or after [`MAX_NANOS`].
    #[error("lies before 1970 or after 2262-04-11T23:47:16.854775807Z, which is as far as 64-bit nanoseconds go")]
    Range,
}

/// Nanoseconds since 1970 of an RFC 3339 time; digits beyond the nanosecond are cut. `t` and `z`
/// may be lower-case (section 5.6).
///
/// # Errors
/// [`TimeError`]; also for a leap second (`:60`), which no count of nanoseconds distinguishes from
/// the second after it.
pub fn parse(text: &str) -> Result<u64, TimeError> {
    let (stamp, rest) = text.as_bytes().split_first_chunk::<19>().ok_or(TimeError::Form)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| stamp[*at].to_ascii_uppercase() == *mark) {
        return Err(TimeError::Form);
    }
    let part = |at: usize| digits(&stamp[at..at + 2]);
    let year = digits(&stamp[..4])?;
    let month = part(5)?;
    let day = part(8)?;
    let hour = part(11)?;
    let minute = part(14)?;
    let second = part(17)?;
    let (fraction, zone) = fraction(rest)?;
    let offset = offset(zone)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) || hour > 23 || minute > 59 || second > 59 {
        return Err(TimeError::Calendar);
    }
    let seconds = days_since_1970(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    let nanos = seconds.checked_mul(NANOS_PER_SECOND).and_then(|n| n.checked_add(fraction));
    nanos.and_then(|n| u64::try_from(n).ok()).ok_or(TimeError::Range)
}

fn digits(text: &[u8]) -> Result<i64, TimeError> {
    let step = |n: i64, byte: &u8| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0'));
    text.iter().try_fold(0, step).ok_or(TimeError::Form)
}

/// The fraction in nanoseconds, and what follows it.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeError> {
    let Some(text) = text.strip_prefix(b".") else { return Ok((0, text)) };
    let len = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    if len == 0 {
        return Err(TimeError::Form);
    }
    let kept = len.min(9);
    Ok((digits(&text[..kept])? * 10_i64.pow(9 - kept as u32), &text[len..]))
}

/// Seconds by which a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Result<i64, TimeError> {
    let (sign, zone) = match zone {
        [b'Z' | b'z'] => return Ok(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(TimeError::Form),
    };
    let [h, i, b':', m, n] = zone else { return Err(TimeError::Form) };
    let hours = digits(&[*h, *i])?;
    let minutes = digits(&[*m, *n])?;
    if hours > 23 || minutes > 59 { Err(TimeError::Calendar) } else { Ok(sign * (hours * 3600 + minutes * 60)) }
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in eras of 400 years that begin in March
/// (Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Appends a time in UTC with `Z`, its fraction as long as needed and absent when zero.
pub fn write(out: &mut Vec<u8>, nanos: u64) {
    let seconds = nanos / 1_000_000_000;
    let mut fraction = nanos % 1_000_000_000;
    let days = seconds / 86_400;
    let of_day = seconds % 86_400;
    let (year, month, day) = date_of(days);
    for (value, width, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
        (of_day % 60, 2, b'.'),
    ] {
        padded(out, value, width);
        out.push(end);
    }
    if fraction == 0 {
        out.pop();
    } else {
        let mut width = 9;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        padded(out, fraction, width);
    }
    out.push(b'Z');
}

/// A time as [`write()`] puts it.
pub fn format(nanos: u64) -> String {
    let mut out = Vec::with_capacity(30);
    write(&mut out, nanos);
    out.into_iter().map(char::from).collect()
}

fn padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The inverse of [`days_since_1970`] (Hinnant, `civil_from_days`).
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.000000001z", 1),
            ("1970-01-01T00:00:00.0000000019999Z", 1),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T00:01:00-23:59", 0),
            ("1970-01-01T23:59:00.5+23:59", 500_000_000),
            ("2026-11-23T13:51:27.51504488Z", 1_795_441_887_515_044_880),
            ("2000-02-29T00:00:00-00:00", 951_782_400_000_000_000),
            ("2262-04-11T23:47:16.854775807Z", MAX_NANOS),
            ("2262-04-11T23:47:16.8547758079Z", MAX_NANOS),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_by_its_kind() {
        for text in [
            "",
            "2026",
            "2026-11-23",
            "2026-11-23T13:51:27",
            "2026-11-23 13:51:27Z",
            "2026-11-23T13:51Z",
            "2026-11-23T13:51:27.Z",
            "2026-11-23T13:51:27,5Z",
            "2026-11-23T13:51:27 Z",
            "2026-11-23T13:51:27Z ",
            " 2026-11-23T13:51:27Z",
            "2026-11-23T13:51:27+0100",
            "2026-11-23T13:51:27+01",
            "2026-11-23T13:51:27+1:00",
            "2026-11-23T13:51:27UTC",
            "2026-1-23T13:51:27Z",
            "20261123T135127Z",
            "+026-11-23T13:51:27Z",
            "2026-11-23T13:51:2éZ",
            "12026-11-23T13:51:27Z",
        ] {
            assert_eq!(parse(text), Err(TimeError::Form), "{text}");
        }
        for text in [
            "2026-00-23T13:51:27Z",
            "2026-13-23T13:51:27Z",
            "2026-11-00T13:51:27Z",
            "2026-11-31T13:51:27Z",
            "2026-02-29T13:51:27Z",
            "1900-02-29T13:51:27Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T13:60:27Z",
            "2026-11-23T13:51:60Z",
            "2016-12-31T23:59:60Z",
            "2026-11-23T13:51:27+24:00",
            "2026-11-23T13:51:27-01:60",
        ] {
            assert_eq!(parse(text), Err(TimeError::Calendar), "{text}");
        }
        for text in [
            GO_ZERO,
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00+00:01",
            "2262-04-11T23:47:16.854775808Z",
            "2262-04-11T23:47:17Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse(text), Err(TimeError::Range), "{text}");
        }
    }

    #[test]
    fn times_are_written_as_short_as_they_can_be() {
        assert_eq!(format(0), "1970-01-01T00:00:00Z");
        assert_eq!(format(1_795_441_887_515_044_880), "2026-11-23T13:51:27.51504488Z");
        assert_eq!(format(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(format(MAX_NANOS), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(format(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(testkit::seed()), ..ProptestConfig::default() })]

        #[test]
        fn a_time_comes_back(nanos in 0..=MAX_NANOS) {
            prop_assert_eq!(parse(&format(nanos)), Ok(nanos));
        }

        #[test]
        fn whole_seconds_sort_as_text(a in 0..MAX_NANOS / 1_000_000_000, b in 0..MAX_NANOS / 1_000_000_000) {
            let text = |seconds: u64| format(seconds * 1_000_000_000);
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }
    }
}
