//! Connection URLs, taken apart as libpq does it (PostgreSQL's manual, "Connection URIs"). Nothing
//! of a URL but the names of its scheme and parameters is in an error: a password may stand
//! anywhere in one that is written wrong.

/// Why a URL cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl UrlError {
    pub(super) fn new(reason: impl Into<String>) -> UrlError {
        UrlError(reason.into())
    }
}

/// Hint for a URL whose user or password holds a character that must be escaped.
const ENCODING: &str = "in a user name or password, @ : / ? # % and spaces must be percent-encoded: @ is %40, : is %3A, / is %2F, \
    ? is %3F, # is %23, % is %25 and a space is %20";

/// The parameters that a URL names, in order; of a name that comes twice the later one counts.
pub(super) fn parameters(url: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut rest = without_scheme(url)?;
    let has_credentials = rest.contains('@');
    let wrong = |what: &str| UrlError(if has_credentials { format!("{what}; {ENCODING}") } else { what.to_owned() });
    let mut found = Vec::new();
    let mut put = |name: &str, value: &str| {
        let value = decoded(value).map_err(|what| wrong(&format!("{name}: {what}")))?;
        if !value.is_empty() {
            found.push((name.to_owned(), value));
        }
        Ok(())
    };
    if let Some((credentials, behind)) = rest.split_once('@').filter(|(before, _)| !before.contains('/')) {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        put("user", user)?;
        put("password", password)?;
        rest = behind;
    }
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    loop {
        let (host, port, behind) = one_host(rest).map_err(wrong)?;
        hosts.push(host);
        ports.push(port);
        rest = behind;
        let Some(more) = rest.strip_prefix(',') else { break };
        rest = more;
    }
    put("host", &hosts.join(","))?;
    put("port", &ports.join(","))?;
    if let Some(path) = rest.strip_prefix('/') {
        let (database, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        put("dbname", database)?;
        rest = query;
    }
    for pair in rest.strip_prefix('?').unwrap_or("").split_terminator('&') {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter after ? has no ="))?;
        let name = decoded(name).map_err(wrong)?;
        if value.contains('=') {
            return Err(wrong(&format!("parameter {name} has a second =, which must be written %3D in a value")));
        }
        put(&name, value)?;
    }
    Ok(found)
}

/// Whether a URL holds a password: that of the user, or that of a private key. One that cannot be
/// read counts as holding none.
pub fn url_holds_password(url: &str) -> bool {
    let is_secret = |(name, _): &(String, String)| matches!(name.as_str(), "password" | "sslpassword");
    parameters(url).is_ok_and(|all| all.iter().any(is_secret))
}

fn without_scheme(url: &str) -> Result<&str, UrlError> {
    if let Some(rest) = url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://")) {
        return Ok(rest);
    }
    let scheme: String = url.chars().take_while(|c| c.is_ascii_alphanumeric() || "+.-".contains(*c)).take(20).collect();
    Err(UrlError(match scheme.as_str() {
        "jdbc" => "it is a URL for Java: remove `jdbc:`, and write user and password before the host".to_owned(),
        _ if url[scheme.len()..].starts_with("://") => {
            format!("its scheme is `{scheme}`, but only `postgres` and `postgresql` are supported")
        }
        _ => "it does not begin with postgres:// or postgresql://".to_owned(),
    }))
}

/// A host, its port, and what stands behind both.
fn one_host(rest: &str) -> Result<(&str, &str, &str), &'static str> {
    let (host, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, behind) = bracketed.split_once(']').ok_or("an IPv6 address has no closing ]")?;
            if host.is_empty() || !(behind.is_empty() || behind.starts_with([':', '/', '?', ','])) {
                return Err("an IPv6 address in [ ] is empty, or something other than : / ? or , follows it");
            }
            (host, behind)
        }
        None => rest.split_at(rest.find([':', '/', '?', ',']).unwrap_or(rest.len())),
    };
    if host.contains('@') {
        return Err("there is an @ in the host");
    }
    let Some(behind) = rest.strip_prefix(':') else { return Ok((host, "", rest)) };
    let (port, rest) = behind.split_at(behind.find(['/', '?', ',']).unwrap_or(behind.len()));
    if !port.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) || port.is_empty() {
        return Ok((host, port, rest));
    }
    Err("the port is not a number from 1 to 65535")
}

/// A text without its percent-encoding.
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = behind;
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2).ok_or("a % without two hexadecimal digits behind it")?;
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let value = u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match value {
            Some(0) => return Err("%00 stands for a byte that no name may have"),
            Some(value) => bytes.push(value),
            None => return Err("a % without two hexadecimal digits behind it"),
        }
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| "the bytes that it stands for are not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(url: &str) -> Vec<(String, String)> {
        parameters(url).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    #[test]
    fn urls_fall_apart_as_libpq_says() {
        let cases: [(&str, &[(&str, &str)]); 17] = [
            ("postgres://", &[]),
            ("postgresql://h", &[("host", "h")]),
            ("postgres://u@h:5433/d", &[("user", "u"), ("host", "h"), ("port", "5433"), ("dbname", "d")]),
            ("postgres://u:p@h", &[("user", "u"), ("password", "p"), ("host", "h")]),
            ("postgres://u:@h", &[("user", "u"), ("host", "h")]),
            ("postgres://u:p%40%3A%2F%3F%23%25%20x@h", &[("user", "u"), ("password", "p@:/?#% x"), ("host", "h")]),
            ("postgres://u:p?#:w@h", &[("user", "u"), ("password", "p?#:w"), ("host", "h")]),
            (
                "postgres://u:a+b@h/d?host=x+y",
                &[("user", "u"), ("password", "a+b"), ("host", "h"), ("dbname", "d"), ("host", "x+y")],
            ),
            ("postgres://[::1]/d", &[("host", "::1"), ("dbname", "d")]),
            (
                "postgres://u:p@[2001:db8::7]:5432/d",
                &[("user", "u"), ("password", "p"), ("host", "2001:db8::7"), ("port", "5432"), ("dbname", "d")],
            ),
            ("postgres://u@/d?host=/socket", &[("user", "u"), ("dbname", "d"), ("host", "/socket")]),
            ("postgres://%2Fvar%2Frun%2Fpg/d", &[("host", "/var/run/pg"), ("dbname", "d")]),
            ("postgres:///d", &[("dbname", "d")]),
            ("postgres://a,b:1/d", &[("host", "a,b"), ("port", ",1"), ("dbname", "d")]),
            ("postgres://a:1,[::2]:3/d", &[("host", "a,::2"), ("port", "1,3"), ("dbname", "d")]),
            ("postgres://h?sslmode=require&", &[("host", "h"), ("sslmode", "require")]),
            ("postgres://h/d%2Fe?options=-c%20x%3D1", &[("host", "h"), ("dbname", "d/e"), ("options", "-c x=1")]),
        ];
        for (url, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(all(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_postgres_is_refused_without_its_secrets() {
        let cases = [
            ("mysql://u:s3cret@h/d", "`mysql`"),
            ("jdbc:postgresql://h/d?password=s3cret", "remove `jdbc:`"),
            ("host=h password=s3cret", "postgres://"),
            ("POSTGRES://h", "`POSTGRES`"),
            ("postgres://u:s3cret@ret@h/d", "percent-encoded"),
            ("postgres://u:s3c/ret@h/d", "percent-encoded"),
            ("postgres://u:s3cret%@h/d", "percent-encoded"),
            ("postgres://u:s3cret%zz@h/d", "percent-encoded"),
            ("postgres://u:s3cret%00@h/d", "%00"),
            ("postgres://h:s3cret/d", "port"),
            ("postgres://h:70000/d", "port"),
            ("postgres://[::1/d", "]"),
            ("postgres://[::1]x/d", "IPv6"),
            ("postgres://h/d?sslmode", "no ="),
            ("postgres://h/d?a=b=c", "second ="),
        ];
        for (url, says) in cases {
            let error = parameters(url).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("s3c") && !error.contains("ret@"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_known_wherever_it_stands() {
        for (url, expected) in [
            ("postgres://u:p@h/d", true),
            ("postgres://h/d?password=p", true),
            ("postgres://h/d?sslpassword=p", true),
            ("postgres://u@h/d?sslmode=disable", false),
            ("postgres://u:@h/d", false),
            ("h:5432", false),
        ] {
            assert_eq!(url_holds_password(url), expected, "{url}");
        }
    }
}
