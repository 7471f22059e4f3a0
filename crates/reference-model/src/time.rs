//! RFC 3339 to nanoseconds and back, by counting days one year at a time: slow, and plain to check.

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_year(year: i64) -> i64 {
    if leap(year) { 366 } else { 365 }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 =
        if year >= 1970 { (1970..year).map(days_in_year).sum() } else { -(year..1970).map(days_in_year).sum::<i64>() };
    years + (1..month).map(|m| days_in_month(year, m)).sum::<i64>() + day - 1
}

fn number(text: &str, range: std::ops::Range<usize>, low: i64, high: i64) -> Option<i64> {
    let part = text.get(range)?;
    let value = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok())??;
    (low..=high).contains(&value).then_some(value)
}

fn letter(text: &str, at: usize, allowed: &str) -> Option<char> {
    let c = char::from(*text.as_bytes().get(at)?);
    allowed.contains(c).then_some(c)
}

/// Nanoseconds since 1970 of an RFC 3339 time with zone; `None` unless well-formed and from 1970 to
/// 2^63-1 nanoseconds. Digits of the fraction after the ninth are cut; second 60 is refused.
pub fn parse(text: &str) -> Option<i64> {
    let year = number(text, 0..4, 0, 9999)?;
    letter(text, 4, "-")?;
    let month = number(text, 5..7, 1, 12)?;
    letter(text, 7, "-")?;
    let day = number(text, 8..10, 1, days_in_month(year, month))?;
    letter(text, 10, "Tt")?;
    let hour = number(text, 11..13, 0, 23)?;
    letter(text, 13, ":")?;
    let minute = number(text, 14..16, 0, 59)?;
    letter(text, 16, ":")?;
    let second = number(text, 17..19, 0, 59)?;
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let n = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if n == 0 {
            return None;
        }
        nanos = format!("{:0<9}", &fraction[..n])[..9].parse::<i64>().ok()?;
        rest = &fraction[n..];
    }
    let offset_minutes = match rest {
        "Z" | "z" => 0,
        _ if rest.len() == 6 => {
            let sign = if letter(rest, 0, "+-")? == '+' { 1 } else { -1 };
            letter(rest, 3, ":")?;
            sign * (number(rest, 1..3, 0, 23)? * 60 + number(rest, 4..6, 0, 59)?)
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + (minute - offset_minutes) * 60 + second;
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    i64::try_from(total).ok().filter(|t| *t >= 0)
}

/// UTC, RFC 3339 with `Z`, the fraction as long as needed and absent when zero.
pub fn format(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let fraction = nanos % 1_000_000_000;
    let mut days = seconds / 86_400;
    let second_of_day = seconds % 86_400;
    let mut year = 1970;
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        month += 1;
    }
    let mut text = format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}",
        days + 1,
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60
    );
    if fraction > 0 {
        text.push('.');
        text.push_str(format!("{fraction:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}
