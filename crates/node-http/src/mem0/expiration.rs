//! The expiration date of Mem0's clients: the last day, in UTC, on which a memory is shown.
//!
//! It is kept as the time at which a memory of ours expires ([`node::expiry`]): the end of that
//! day. The node deletes the memory then, while Mem0 hides it from searches and lists and keeps it.
//! Until it is deleted, which takes half a minute at least, it is hidden here too.

use http::Problem;
use json::rfc3339;

use super::body::Members;
use crate::problems;

/// The member of these clients.
pub(super) const MEMBER: &str = "expiration_date";
/// The member by which a search or a list shows memories whose date is over.
pub(super) const SHOW_EXPIRED: &str = "show_expired";
/// The name of the time among the metadata, behind their prefix.
pub(super) const STORED: &str = "expires_at";
/// Nanoseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

/// The time at which a memory expires, as JSON, which a body sets by a date; `null` where it says
/// that the memory never does.
pub(super) fn of_body(members: Members<'_>) -> Result<Option<Vec<u8>>, Problem> {
    let Some(value) = members.with_null(MEMBER) else { return Ok(None) };
    if value.is_null() {
        return Ok(Some(b"null".to_vec()));
    }
    let date = value.as_str().filter(|text| text.len() == "2026-11-28".len());
    let begin = date.and_then(|date| rfc3339::parse(&format!("{date}T00:00:00Z")).ok());
    let end = begin.and_then(|begin| begin.checked_add(DAY));
    let end = end.ok_or_else(|| problems::mem0_request("`expiration_date` should be a date such as 2026-11-28"))?;
    let mut time = Vec::new();
    json::write_string(&mut time, &rfc3339::format(end));
    Ok(Some(time))
}

/// The last day that is before this time as a whole.
pub(super) fn date_of(expires_at: u64) -> String {
    rfc3339::format(expires_at.saturating_sub(DAY) / DAY * DAY).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<String>, String> {
        let document = json::parse(text.as_bytes()).unwrap();
        let members =
            Members::of(&document, &[&[crate::description::optional(MEMBER, crate::description::Shape::Any, "")]])
                .unwrap_or_else(|_| panic!("{text}"));
        let time = of_body(members).map_err(|_| text.to_owned())?;
        Ok(time.map(|time| String::from_utf8(time).unwrap()))
    }

    #[test]
    fn a_memory_is_shown_on_its_last_day_and_no_longer() {
        assert_eq!(read(r#"{"expiration_date": "2028-02-28"}"#), Ok(Some("\"2028-02-29T00:00:00Z\"".to_owned())));
        assert_eq!(read(r#"{"expiration_date": null}"#), Ok(Some("null".to_owned())));
        assert_eq!(read("{}"), Ok(None));
        for wrong in ["", "2028-02-30", "2028-2-1", "2028-02-28T09:00:00Z", "soon", "+028-02-28"] {
            assert!(read(&format!(r#"{{"expiration_date": "{wrong}"}}"#)).is_err(), "{wrong}");
        }
        assert!(read(r#"{"expiration_date": 20280228}"#).is_err());
    }

    #[test]
    fn the_date_of_a_time_is_the_last_day_before_it_as_a_whole() {
        let of = |text: &str| date_of(rfc3339::parse(text).unwrap());
        assert_eq!(of("2028-03-01T00:00:00Z"), "2028-02-29");
        assert_eq!(of("2028-03-01T23:59:59.999999999Z"), "2028-02-29");
    }
}
