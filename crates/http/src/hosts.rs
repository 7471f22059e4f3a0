//! The host names that requests may name. A page of any site can have its own name lead to this
//! machine (DNS rebinding): the browser then takes our pages for that site's and lets its scripts
//! read them. Such a request still names that site's host, and is refused. An address in place of a
//! name needs no DNS, so nobody can lead it elsewhere.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};

use super::problem::{Problem, ProblemKind};
use super::throttle::Throttle;

/// The most of a refused name that is shown, in characters.
const SHOWN: usize = 100;
/// The answer to a request that names a host which is none of ours.
pub const UNKNOWN_HOST: ProblemKind =
    ProblemKind::new(StatusCode::FORBIDDEN, "HS6514", "The host of the request is not served");

/// Which hosts are answered for.
pub(super) struct Hosts {
    /// Names besides `localhost`, in small letters; `None` where every name is.
    names: Option<Vec<String>>,
    /// Lines about refused names.
    refusals: Throttle,
}

impl Hosts {
    /// The rule of a server: the names that were given, or if none were, `localhost` alone where a
    /// listener `is_local` (only this machine reaches it, so that browsers of this machine are the
    /// only way in) and `is_open` (no token is asked for).
    pub fn new(given: &[String], is_local: bool, is_open: bool) -> Hosts {
        let is_checked = !given.is_empty() || (is_local && is_open);
        let names = is_checked.then(|| given.iter().map(|name| plain(name)).collect());
        Hosts { names, refusals: Throttle::default() }
    }

    /// The answer to a request that names a host which is none of ours. A request without a host
    /// comes from no browser.
    pub fn refusal(&self, request: &Request) -> Option<Problem> {
        let names = self.names.as_ref()?;
        let of_header = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let mut all = of_header.chain(request.uri().authority().map(|whole| whole.as_str().as_bytes()));
        let foreign = all.find(|host| !std::str::from_utf8(host).is_ok_and(|host| is_ours(host, names)))?;
        let shown = String::from_utf8_lossy(foreign);
        let shown = escape::cell(&shown, SHOWN);
        if let Some(count) = self.refusals.count() {
            tracing::warn!(
                code = "HS6060",
                "HTTP: a request for the host `{shown}` was refused, because --http-hosts does not name it; add it there if these requests are \
                 yours ({count} of them since the last such line)"
            );
        }
        let detail = format!(
            "the host `{shown}` is not served here: use localhost or an IP address, or name the host in --http-hosts"
        );
        Some(Problem::new(UNKNOWN_HOST, detail))
    }
}

/// Describes the problem with the name of a host in a setting.
pub(super) fn check(name: &str) -> Result<(), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "`{name}` is not a host name: write the name alone, without a scheme and without a port [HS6503]"
        ));
    }
    Ok(())
}

/// Without what makes no difference: a full stop at its end, and the size of letters.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a `host:port` is one that we answer for.
fn is_ours(host: &str, names: &[String]) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split_once(']').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    }
    let name = plain(host.split_once(':').map_or(host, |(name, _)| name));
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok() || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn names_and_addresses_of_this_machine_are_ours() {
        let names = ["helixstream-1".to_owned()];
        for host in ["localhost", "LOCALHOST:80", "a.localhost:1", "127.0.0.1:8080", "127.8.9.1", "[::1]:80", "[::1]"] {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in ["helixstream-1:8080", "Helixstream-1.", "10.0.0.7:1"] {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil@localhost",
            "[evil]:1",
            "2130706433",
        ] {
            assert!(!is_ours(host, &names), "{host}");
        }
    }

    #[test]
    fn hosts_are_checked_where_nothing_else_keeps_strangers_out() {
        let given = ["Helix".to_owned()];
        let refuses = |hosts: &Hosts, host: &str| {
            let request = Request::builder().header("host", host).body(Body::empty()).unwrap();
            hosts.refusal(&request).is_some_and(|refusal| refusal.kind.status == StatusCode::FORBIDDEN)
        };
        for (names, is_local, is_open, evil) in [
            (&[][..], true, true, true),
            (&[][..], true, false, false),
            (&[][..], false, true, false),
            (&given[..], false, true, true),
            (&given[..], true, false, true),
        ] {
            let hosts = Hosts::new(names, is_local, is_open);
            assert_eq!(refuses(&hosts, "evil.example:80"), evil, "{names:?} {is_local} {is_open}");
            assert!(!refuses(&hosts, "localhost:80") && (names.is_empty() || !refuses(&hosts, "helix:80")));
        }
        // Whoever speaks HTTP/1.0 without a host is no browser; what stands in the first line
        // counts as well.
        let hosts = Hosts::new(&[], true, true);
        let ask = |uri: &str| hosts.refusal(&Request::builder().uri(uri).body(Body::empty()).unwrap());
        assert!(ask("/metrics").is_none() && ask("http://localhost/metrics").is_none());
        assert!(ask("http://evil.example/metrics").is_some());
    }

    #[test]
    fn a_name_is_given_alone() {
        assert!(check("helixstream-1.example").is_ok());
        for bad in ["", "http://a", "a:80", "a b", "*"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
