//! The source record of an event on the repartition topic, carried along in that record's headers:
//! what comes too late is known only behind the hop, and goes to the dead letters as it came. It is
//! carried where tombstones are forgotten, and only there: it doubles the topic.

use streams::processor::{HEADER_DIGEST, HEADER_SIZE, size_and_digest};
use streams::record::{Header, Headers, Record};

/// Header: the source record's key; absent where it has none.
const KEY: &str = "k";
/// Header: its value.
const VALUE: &str = "v";
/// Before the name of each header of its own.
const OWN: &str = "h.";

/// The headers that carry a record: names, and the values that they have.
pub struct Carried<'r> {
    own: Vec<String>,
    record: Record<'r>,
    /// Size and digest of the value, where it is too large to be carried.
    instead: Option<(String, String)>,
}

impl<'r> Carried<'r> {
    /// Of a record, whole.
    pub fn of(record: &Record<'r>) -> Carried<'r> {
        let own = record.headers.iter().map(|(name, _)| format!("{OWN}{name}")).collect();
        Carried { own, record: *record, instead: None }
    }

    /// The same, without the value: its size and digest in its place.
    pub fn without_value(self) -> Carried<'r> {
        let value = self.record.value.unwrap_or_default();
        Carried { instead: Some(size_and_digest(value)), ..self }
    }

    /// The headers of the record on the repartition topic.
    pub fn headers(&self) -> Vec<Header<'_>> {
        let mut headers: Vec<Header<'_>> = Vec::with_capacity(self.own.len() + 3);
        headers.extend(self.record.key.map(|key| (KEY, Some(key))));
        match &self.instead {
            None => headers.extend(self.record.value.map(|value| (VALUE, Some(value)))),
            Some((size, digest)) => {
                headers.push((HEADER_SIZE, Some(size.as_bytes())));
                headers.push((HEADER_DIGEST, Some(digest.as_bytes())));
            }
        }
        let own = self.own.iter().zip(self.record.headers.iter());
        headers.extend(own.map(|(name, (_, value))| (name.as_str(), value)));
        headers
    }
}

/// The source record that a record of the repartition topic carries.
pub struct Original<'r> {
    key: Option<&'r [u8]>,
    value: Option<&'r [u8]>,
    headers: Vec<Header<'r>>,
}

impl<'r> Original<'r> {
    /// Reads it out of the headers.
    pub fn of(record: &Record<'r>) -> Original<'r> {
        let mut original = Original { key: None, value: None, headers: Vec::new() };
        for (name, value) in record.headers.iter() {
            match (name.strip_prefix(OWN), name) {
                (Some(own), _) => original.headers.push((own, value)),
                (None, KEY) => original.key = value,
                (None, VALUE) => original.value = value,
                // Size and digest stand as a dead letter has them.
                (None, _) => original.headers.push((name, value)),
            }
        }
        original
    }

    /// As a record of this time.
    pub fn record(&self, timestamp_ms: i64) -> Record<'_> {
        Record { key: self.key, value: self.value, headers: Headers::List(&self.headers), timestamp_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come_back(sent: &Record<'_>, carried: &Carried<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>, Vec<String>) {
        let headers = carried.headers();
        let hop = Record { key: Some(b"m"), value: Some(b"e"), headers: Headers::List(&headers), ..*sent };
        let original = Original::of(&hop);
        let record = original.record(5);
        let headers = record.headers.iter().map(|(name, value)| format!("{name}={value:?}"));
        (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers.collect())
    }

    #[test]
    fn a_record_comes_back_as_it_went() {
        let headers: [Header<'_>; 3] = [("v", Some(b"x")), ("k", None), ("v", Some(b""))];
        for (key, value) in [(Some(&b"key"[..]), Some(&b"value"[..])), (None, Some(b"")), (Some(b""), None)] {
            let sent = Record { key, value, headers: Headers::List(&headers), timestamp_ms: 5 };
            let expected = headers.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            assert_eq!(
                come_back(&sent, &Carried::of(&sent)),
                (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec), expected)
            );
        }
    }

    #[test]
    fn a_large_value_is_known_by_size_and_digest() {
        let sent = Record { key: None, value: Some(b"value"), headers: Headers::NONE, timestamp_ms: 5 };
        let (_, value, headers) = come_back(&sent, &Carried::of(&sent).without_value());
        assert_eq!(value, None);
        assert!(headers[0].starts_with("__streams.errors.value.size=Some([53])"), "{headers:?}");
    }
}
