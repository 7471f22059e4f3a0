//! Verifies the host name in a certificate as libpq does (`sslmode=verify-full`): by its
//! alternative names, and by its common name only where it has none of the kind.

use std::net::IpAddr;

/// The names in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Alternative names that are host names.
    pub(super) dns: Vec<String>,
    /// Alternative names that are addresses: 4 or 16 bytes each.
    pub(super) addresses: Vec<Vec<u8>>,
    /// The first common name.
    pub(super) common: Option<String>,
}

impl Names {
    /// Whether one of them is the host's.
    pub(super) fn has(&self, host: &str) -> bool {
        let address = host.parse::<IpAddr>().ok();
        let same_address = |bytes: &Vec<u8>| match address {
            Some(IpAddr::V4(address)) => bytes[..] == address.octets(),
            Some(IpAddr::V6(address)) => bytes[..] == address.octets(),
            None => false,
        };
        let of_the_kind = if address.is_some() { self.addresses.is_empty() } else { self.dns.is_empty() };
        self.dns.iter().any(|name| matches(name, host))
            || self.addresses.iter().any(same_address)
            || of_the_kind && self.common.as_deref().is_some_and(|name| matches(name, host))
    }

    /// One of them, to name in a message.
    pub(super) fn first(&self) -> String {
        let address = |bytes: &Vec<u8>| match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(v4) => Some(IpAddr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|v6| IpAddr::from(v6).to_string()),
        };
        let first = self.dns.first().cloned().or_else(|| self.addresses.first().and_then(address));
        first.or_else(|| self.common.clone()).unwrap_or_else(|| "nobody".to_owned())
    }
}

/// `*.` at the start of a name stands for one label.
fn matches(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = name.strip_prefix("*.").filter(|domain| !domain.is_empty()) else { return false };
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_they_do_for_libpq() {
        let dns =
            |name: &str| Names { dns: vec![name.to_owned()], common: Some("common".to_owned()), ..Names::default() };
        let common = |name: &str| Names { common: Some(name.to_owned()), ..Names::default() };
        let v4 = Names { addresses: vec![vec![127, 0, 0, 1]], ..common("localhost") };
        let cases = [
            (dns("db.example"), "DB.example", true),
            (dns("*.example"), "db.example", true),
            (dns("*.example"), "a.db.example", false),
            (dns("*.example"), "example", false),
            (dns("*.example"), ".example", false),
            (dns("d*.example"), "db.example", false),
            (dns("db.example"), "common", false),
            (common("db"), "db", true),
            (common("127.0.0.1"), "127.0.0.1", true),
            (dns("127.0.0.1"), "127.0.0.1", true),
            (v4.clone(), "127.0.0.1", true),
            (v4.clone(), "127.0.0.2", false),
            (v4, "localhost", true),
            (Names::default(), "localhost", false),
        ];
        for (names, host, expected) in cases {
            assert_eq!(names.has(host), expected, "{names:?} {host}");
        }
    }
}
