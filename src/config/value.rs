//! Values of settings as people write them: `2s`, `8MiB`, `true`, the same in a file and behind `--set`.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::settings::UnknownValue;

/// A value before it is checked: typed where it comes from a file, text where it comes from a flag or a variable.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// Behind `--set` or in a variable: may be meant as anything.
    Text(&'a str),
    /// A string of the file.
    String(&'a str),
    /// An integer of the file.
    Integer(i128),
    /// A boolean of the file.
    Boolean(bool),
    /// Anything else of the file, by the name of its type.
    Other(&'static str),
}

impl<'a> Raw<'a> {
    /// What a message calls it.
    fn shown(self) -> String {
        match self {
            Raw::Text(s) | Raw::String(s) => format!("`{s}`"),
            Raw::Integer(n) => format!("the number {n}"),
            Raw::Boolean(b) => format!("the boolean {b}"),
            Raw::Other(kind) => kind.to_owned(),
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Raw::Text(s) | Raw::String(s) => Some(s),
            _ => None,
        }
    }

    /// One of a fixed set of names.
    pub fn choice<T: FromStr<Err = UnknownValue>>(self, known: &str) -> Result<T, String> {
        let found = self.text().ok_or_else(|| format!("{} is not one of {known}", self.shown()))?;
        found.parse().map_err(|e: UnknownValue| e.to_string())
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Result<bool, String> {
        match self {
            Raw::Boolean(b) => Ok(b),
            Raw::Text("true") => Ok(true),
            Raw::Text("false") => Ok(false),
            _ => Err(format!("{} is not true or false", self.shown())),
        }
    }

    /// A whole number within `min..=max`.
    pub fn number(self, min: u64, max: u64) -> Result<u64, String> {
        let n = match self {
            Raw::Integer(n) => u64::try_from(n).ok(),
            Raw::Text(s) => s.parse().ok(),
            _ => None,
        };
        n.filter(|n| (min..=max).contains(n))
            .ok_or_else(|| format!("{} is not a whole number from {min} to {max}", self.shown()))
    }

    /// Bytes within `min..=max`: a whole number, or a string like `8MiB`.
    pub fn bytes(self, min: u64, max: u64) -> Result<u64, String> {
        let n = match self {
            Raw::Integer(n) => u64::try_from(n).ok(),
            Raw::Text(s) | Raw::String(s) => parse_bytes(s),
            _ => None,
        };
        n.filter(|n| (min..=max).contains(n))
            .ok_or_else(|| format!("{} is not a size from {min} bytes to {max}, like 8388608 or 8MiB", self.shown()))
    }

    /// A time within `min..=max`: a number with its unit, like `2s`.
    pub fn duration(self, min: Duration, max: Duration) -> Result<Duration, String> {
        let found = self.text().and_then(parse_duration);
        found.filter(|d| (min..=max).contains(d)).ok_or_else(|| {
            format!(
                "{} is not a duration from {} to {}, like 2s, 500ms or 5m",
                self.shown(),
                show_duration(min),
                show_duration(max)
            )
        })
    }
}

/// A duration from a whole number and its unit: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(s: &str) -> Option<Duration> {
    let (n, unit) = split(s)?;
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    n.checked_mul(nanos).map(Duration::from_nanos)
}

/// Bytes from a whole number and `B`, `KiB`, `MiB`, `GiB` or nothing.
pub fn parse_bytes(s: &str) -> Option<u64> {
    let (n, unit) = split(s)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    n.checked_mul(1 << shift)
}

fn split(s: &str) -> Option<(u64, &str)> {
    let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (n, unit) = s.split_at(digits);
    Some((n.parse().ok()?, unit.trim_start()))
}

/// A duration in the greatest unit that holds it whole.
pub fn show_duration(d: Duration) -> String {
    let nanos = d.as_nanos();
    let units = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
    ];
    let fits = units.iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit));
    match fits {
        _ if nanos == 0 => "0s".to_owned(),
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        assert_eq!(parse_duration("2"), None);
        assert_eq!(parse_duration("-2s"), None);
        assert_eq!(parse_duration("s"), None);
        assert_eq!(parse_duration("99999999999999999d"), None);
    }

    #[test]
    fn sizes_may_have_one() {
        assert_eq!(parse_bytes("8MiB"), Some(8 << 20));
        assert_eq!(parse_bytes("17"), Some(17));
        assert_eq!(parse_bytes("8MB"), None);
    }

    #[test]
    fn a_file_keeps_its_types_and_a_flag_is_read_as_what_is_meant() {
        assert_eq!(Raw::Text("true").boolean(), Ok(true));
        assert!(Raw::String("true").boolean().is_err());
        assert_eq!(Raw::Text("7").number(1, 9), Ok(7));
        assert!(Raw::String("7").number(1, 9).is_err());
        assert!(Raw::Integer(-1).number(0, 9).is_err());
        assert_eq!(show_duration(Duration::from_secs(120)), "2m");
    }
}
