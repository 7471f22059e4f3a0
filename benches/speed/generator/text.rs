//! The generator's JSON, written as the anchor writes it: members in order, no white space.

use std::io::Write as _;

/// JSON text under construction.
#[derive(Clone, Debug, Default)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// Bytes as they are.
    pub fn raw(&mut self, text: impl AsRef<[u8]>) -> &mut Text {
        self.0.extend_from_slice(text.as_ref());
        self
    }

    /// A formatted piece.
    pub fn format(&mut self, text: std::fmt::Arguments<'_>) -> &mut Text {
        // Writing to a vector cannot fail.
        let _ = self.0.write_fmt(text);
        self
    }

    /// `"name":`, behind a comma unless it is the first of its object.
    pub fn key(&mut self, name: &str) -> &mut Text {
        self.comma().raw("\"").raw(name).raw("\":")
    }

    /// A comma, unless an object or array was just opened.
    pub fn comma(&mut self) -> &mut Text {
        if !matches!(self.0.last(), Some(b'{' | b'[')) {
            self.0.push(b',');
        }
        self
    }

    /// A string of the generator's own words: none of them needs an escape.
    pub fn string(&mut self, text: &str) -> &mut Text {
        self.raw("\"").raw(text).raw("\"")
    }

    /// Nanoseconds since 1970 as an RFC 3339 string, with as many digits as needed.
    pub fn time(&mut self, nanos: u64) -> &mut Text {
        let seconds = nanos / 1_000_000_000;
        let mut fraction = nanos % 1_000_000_000;
        let (year, month, day) = date(seconds / 86_400);
        let hour = seconds / 3600 % 24;
        let minute = seconds / 60 % 60;
        let second = seconds % 60;
        self.format(format_args!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"));
        if fraction > 0 {
            let mut digits = 9;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            self.format(format_args!(".{fraction:0digits$}"));
        }
        self.raw("Z\"")
    }
}

/// Year, month and day of a number of days since 1970, by counting years and months.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}
