//! Values of settings as people write them: `2s`, `8MiB`, `true`, the same in a file and behind
//! `--set`.

use std::str::FromStr;
use std::time::Duration;

use memory::settings::{Strategy, UnknownValue};

/// The strategies, by the names that files give them.
pub const STRATEGIES: &str = "last_write_wins, importance, vector_clock, merge_all, custom";

/// A value before it is checked: typed where it comes from a file, text where it comes from a flag
/// or a variable.
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
    /// Its name in messages.
    fn shown(self) -> String {
        match self {
            Raw::Text(s) | Raw::String(s) => format!("`{s}`"),
            Raw::Integer(n) => format!("the number {n}"),
            Raw::Boolean(b) => format!("the boolean {b}"),
            Raw::Other(kind) => kind.to_owned(),
        }
    }

    /// Its name in messages about strings, which are of the wrong type whatever they hold.
    fn shown_typed(self) -> String {
        match self {
            Raw::String(s) => format!("the string `{s}`"),
            other => other.shown(),
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

    /// A strategy; of `custom:NAME` the name as well.
    pub fn strategy(self) -> Result<(Strategy, Option<&'a str>), String> {
        match self.text().and_then(|text| text.strip_prefix("custom:")) {
            Some("") => Err("`custom:` does not name a custom resolver; write its name after the colon".to_owned()),
            Some(name) => Ok((Strategy::Custom, Some(name))),
            None => self.choice(STRATEGIES).map(|strategy| (strategy, None)),
        }
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Result<bool, String> {
        match self {
            Raw::Boolean(b) => Ok(b),
            Raw::Text("true") => Ok(true),
            Raw::Text("false") => Ok(false),
            _ => Err(format!("{} is not true or false", self.shown_typed())),
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
            .ok_or_else(|| format!("{} is not a whole number from {min} to {max}", self.shown_typed()))
    }

    /// Bytes within `min..=max`: a whole number, or a string like `8MiB`.
    pub fn bytes(self, min: u64, max: u64) -> Result<u64, String> {
        let n = match self {
            Raw::Integer(n) => u64::try_from(n).ok(),
            Raw::Text(s) | Raw::String(s) => parse_bytes(s),
            _ => None,
        };
        n.filter(|n| (min..=max).contains(n))
            .ok_or_else(|| format!("{} is not a size from {min} to {max} bytes, like 8388608 or 8MiB", self.shown()))
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

    /// The name of a topic, by Kafka's rule, or `off`.
    pub fn topic_or_off(self) -> Result<Option<String>, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = |text: &&str| {
            (1..=249).contains(&text.len()) && text.chars().all(is_allowed) && !matches!(*text, "." | "..")
        };
        match self.text() {
            Some("off") => Ok(None),
            text => text.filter(is_name).map(|name| Some(name.to_owned())).ok_or_else(|| {
                format!(
                    "{} is not the name of a topic (up to 249 letters, digits, `.`, `_` and `-`); or off",
                    self.shown()
                )
            }),
        }
    }

    /// A time as [`Raw::duration`] reads it, or `off`.
    pub fn duration_or_off(self, min: Duration, max: Duration) -> Result<Option<Duration>, String> {
        match self {
            Raw::Text("off") | Raw::String("off") => Ok(None),
            _ => self.duration(min, max).map(Some).map_err(|e| format!("{e}; or off")),
        }
    }
}

/// Units of time, in nanoseconds.
pub const TIME_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Units of size, in bytes.
pub const BYTE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

fn in_units(s: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (n, unit) = split(s)?;
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    n.checked_mul(*size)
}

/// A duration from a whole number and one of [`TIME_UNITS`].
pub fn parse_duration(s: &str) -> Option<Duration> {
    in_units(s, TIME_UNITS).map(Duration::from_nanos)
}

/// Bytes from a whole number and one of [`BYTE_UNITS`], or nothing.
pub fn parse_bytes(s: &str) -> Option<u64> {
    in_units(s, BYTE_UNITS).or_else(|| split(s).filter(|(_, unit)| unit.is_empty()).map(|(n, _)| n))
}

fn split(s: &str) -> Option<(u64, &str)> {
    let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (n, unit) = s.split_at(digits);
    Some((n.parse().ok()?, unit.trim_start()))
}

/// A duration in the greatest unit that holds it whole.
pub fn show_duration(d: Duration) -> String {
    let nanos = d.as_nanos();
    let unit = |name: &str| matches!(name, "ms" | "s" | "m" | "h" | "d");
    let mut units = TIME_UNITS.iter().rev().filter(|(name, _)| unit(name));
    let fits = units.find(|(_, size)| nanos > 0 && nanos.is_multiple_of(u128::from(*size)));
    match fits {
        _ if nanos == 0 => "0s".to_owned(),
        Some((name, size)) => format!("{}{name}", nanos / u128::from(*size)),
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
    fn a_topic_has_a_name_by_kafkas_rule() {
        assert_eq!(Raw::Text("off").topic_or_off(), Ok(None));
        assert_eq!(Raw::String("a.B_c-1").topic_or_off(), Ok(Some("a.B_c-1".to_owned())));
        let long = "x".repeat(250);
        for wrong in [Raw::Text(""), Raw::Text("."), Raw::Text("a b"), Raw::String(&long), Raw::Integer(1)] {
            assert!(wrong.topic_or_off().is_err(), "{wrong:?}");
        }
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
