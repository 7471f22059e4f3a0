//! Why a connection to a broker is refused: librdkafka's log lines, turned into one sentence that
//! says which side refused what and which setting to look at.
//!
//! Pure: lines come in, sentences come out. The texts are those of librdkafka 2.12.1 and OpenSSL 3;
//! the tests hold what they were seen to say, and `tests/secure/refusals.rs` meets them on real
//! brokers.

use super::certificate_reason::remedy_of;

/// A refused connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Whether one side has said no. Otherwise the connection was only cut off, which a wrong
    /// protocol does at each try and a broker that stops does once.
    pub is_certain: bool,
    /// The event, the side that caused it, and the remedy.
    pub message: String,
}

impl Refusal {
    fn certain(code: &str, message: String) -> Option<Refusal> {
        Some(Refusal { is_certain: true, message: format!("{message} [{code}]") })
    }

    fn suspected(code: &str, message: String) -> Option<Refusal> {
        Some(Refusal { is_certain: false, message: format!("{message} [{code}]") })
    }
}

/// State derived from a client's log lines so far.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    /// The last broker certificate that this client refused, in librdkafka's words.
    certificate: Option<String>,
    /// Whether the client certificate was kept back, since its authority is none of those that the
    /// broker asked for.
    is_certificate_kept_back: bool,
    /// The last refusal; `None` when the last failure was of another kind.
    last: Option<Refusal>,
    /// The last failure, in librdkafka's words.
    failure: Option<String>,
}

impl Diagnosis {
    /// Reads one log line, and returns the refusal that it reports.
    pub fn read_line(&mut self, facility: &str, text: &str) -> Option<&Refusal> {
        match facility {
            "SSLCERTVRFY" => self.certificate = Some(text.to_owned()),
            "SSL" if text.contains("not sending any client certificates") => self.is_certificate_kept_back = true,
            "FAIL" | "OIDC" | "JWT" => {
                self.last = self.explain(text);
                self.failure = Some(said_of(text).to_owned());
                return self.last.as_ref();
            }
            _ => {}
        }
        None
    }

    /// The last refusal, unless the last failure was of another kind.
    pub fn last(&self) -> Option<&Refusal> {
        self.last.as_ref()
    }

    /// The last failure of a connection.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The refusal that a failure's text means; `None` when it is no refusal.
    pub fn explain(&self, text: &str) -> Option<Refusal> {
        let broker = broker_of(text);
        let said = said_of(text);
        None.or_else(|| self.of_certificate(broker, said))
            .or_else(|| self.of_alert(broker, said))
            .or_else(|| of_login(broker, said))
            .or_else(|| of_token(text))
            .or_else(|| of_protocol(broker, text))
    }

    /// This client refuses the broker's certificate.
    fn of_certificate(&self, broker: &str, said: &str) -> Option<Refusal> {
        if !said.contains("certificate verify failed") && !said.contains("Failed to verify broker certificate") {
            return None;
        }
        let told = self.certificate.as_deref().unwrap_or(said);
        let whose =
            told.split_once("Certificate (").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(who, _)| who);
        let whose = if whose.is_empty() { String::new() } else { format!(" ({whose})") };
        let why = told.rsplit_once("callback failed: ").map_or("it cannot be verified", |(_, why)| why);
        let remedy = remedy_of(why);
        let message = format!("this client refuses the TLS certificate of broker {broker}{whose}: {why}. {remedy}");
        Refusal::certain("HS2050", message)
    }

    /// The broker ends the handshake, with an alert of RFC 8446 section 6 that says why. A Java
    /// broker sends 42 when no client certificate comes.
    fn of_alert(&self, broker: &str, said: &str) -> Option<Refusal> {
        let number: u32 =
            said.split_once("SSL alert number ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        let files = "`certificate_file` and `key_file` of [kafka] (ssl.certificate.location, ssl.key.location)";
        let code = if matches!(number, 42..=46 | 48 | 116) { "HS2051" } else { "HS2052" };
        let message = match number {
            42 | 116 if self.is_certificate_kept_back => format!(
                "broker {broker} asks for a client certificate of an authority that it trusts, and the one that is set is of another (TLS alert {number}). Set {files} \
                 to a certificate that an authority in the broker's trust store has signed"
            ),
            42 | 116 => format!(
                "broker {broker} asks for a client certificate and got none that it can use (TLS alert {number}). Set {files} to a certificate that \
                 the broker trusts"
            ),
            43..=46 | 48 => format!(
                "broker {broker} refuses the client certificate (TLS alert {number}): it has expired, is revoked, or is of an authority that the broker does not \
                 trust; the broker's log says which. Renew the certificate in {files}"
            ),
            40 | 70 | 71 => format!(
                "broker {broker} has no TLS version or cipher in common with this client (TLS alert {number}). Compare the broker's ssl.enabled.protocols and \
                 ssl.cipher.suites with -X ssl.cipher.suites"
            ),
            other => format!("broker {broker} ends the TLS handshake (TLS alert {other}). The broker's log says why"),
        };
        Refusal::certain(code, message)
    }
}

/// The broker refuses the login.
fn of_login(broker: &str, said: &str) -> Option<Refusal> {
    if let Some((_, rest)) = said.split_once("SASL ")
        && let Some((mechanism, rest)) = rest.split_once(" mechanism handshake failed: ")
    {
        let offered = rest.split_once("supported mechanisms: ").map_or("", |(_, offered)| offered).trim();
        let message = match offered {
            "" => format!(
                "broker {broker} asks for no login at this port, and `security` of [kafka] (security.protocol) says that it does ({mechanism}). Use the port \
                 of a SASL listener, or set `security` to ssl or plaintext"
            ),
            offered => format!(
                "broker {broker} does not offer the SASL mechanism {mechanism}; it offers {offered}. Set `mechanism` of [kafka] (sasl.mechanism) to one of these"
            ),
        };
        return Refusal::certain("HS2053", message);
    }
    let words =
        said.split_once("SASL authentication error: ").or_else(|| said.split_once("SASL authentication failure: "))?.1;
    let advice = if words.contains("OAUTHBEARER") || words.contains("invalid_token") {
        "Check that the broker trusts the token server and expects the token's audience and scope"
    } else {
        "Check `user` and `password` of [kafka] (sasl.username, sasl.password), and that the broker knows the user for this mechanism"
    };
    let message = format!("broker {broker} refuses the login: {}. {advice}", words.trim_end_matches('.'));
    Refusal::certain("HS2054", message)
}

/// The token server refuses the client, or cannot be used.
fn of_token(text: &str) -> Option<Refusal> {
    if !text.contains("OAUTHBEARER token")
        && !text.contains("retrieve OIDC token")
        && !text.contains("retrieve JWT token")
    {
        return None;
    }
    let settings = "`oauth_client_id`, `oauth_client_secret` and `oauth_token_endpoint_url` of [kafka] (sasl.oauthbearer.client.id, …client.secret, …token.endpoint.url)";
    let refused = ["401", "403", "400", "invalid_client", "unauthorized_client", "invalid_scope"];
    if refused.iter().any(|part| text.contains(part)) {
        let message = format!("the token server refuses this client: {}. Check {settings}", said_of(text));
        return Refusal::certain("HS2055", message);
    }
    if text.to_lowercase().contains("certificate") || text.contains("SSL peer") {
        let message = format!(
            "this client refuses the TLS certificate of the token server: {}. Set `oauth_ca_file` of [kafka] (https.ca.location) to the certificate of \
             the authority that signed it",
            said_of(text)
        );
        return Refusal::certain("HS2055", message);
    }
    None
}

/// One side speaks TLS or SASL and the other does not: nobody says no, the connection is cut off.
/// Where it stood tells what the broker waited for.
fn of_protocol(broker: &str, text: &str) -> Option<Refusal> {
    let setting = "`security` of [kafka] (security.protocol)";
    let no_tls = format!(
        "broker {broker} does not answer the TLS handshake: its port most likely speaks no TLS. Use the port of a TLS listener, or set \
         {setting} to plaintext or sasl_plaintext"
    );
    if text.contains("wrong version number") || text.contains("unknown protocol") {
        return Refusal::certain("HS2056", no_tls);
    }
    let is_cut_off = ["Disconnected", "Broken pipe", "reset by peer"].iter().any(|part| text.contains(part));
    let (millis, state) = state_of(text)?;
    match state {
        _ if !is_cut_off => None,
        "SSL_HANDSHAKE" => Refusal::suspected("HS2056", no_tls),
        "APIVERSION_QUERY" if !text.contains("ssl://") => Refusal::suspected(
            "HS2056",
            format!(
                "broker {broker} ends the connection at the first request: its port most likely speaks TLS. Set {setting} to ssl or sasl_ssl, or \
             use a port without TLS"
            ),
        ),
        "UP" if millis < SOON && !text.contains("sasl_") => Refusal::suspected(
            "HS2056",
            format!(
                "broker {broker} ends the connection at the first request for data: it most likely asks for a login. Set {setting} to sasl_ssl \
             or sasl_plaintext, and `mechanism`, `user` and `password`"
            ),
        ),
        _ => None,
    }
}

/// A connection that ends so many milliseconds after it was ready has ended at the first request.
const SOON: u64 = 2000;

/// For how long (ms) a connection was in which state when it failed: librdkafka adds `(after 3ms in
/// state UP)`.
fn state_of(text: &str) -> Option<(u64, &str)> {
    let (millis, state) = text.rsplit_once(" (after ")?.1.split_once("ms in state ")?;
    Some((millis.parse().ok()?, state.split([',', ')']).next()?))
}

/// `host:port` of `[thrd:…]: ssl://host:port/1: what happened`; a coordinator's line has its name
/// before.
fn broker_of(text: &str) -> &str {
    let line = text.split_once("]: ").map_or(text, |(_, rest)| rest);
    let is_address = |word: &&str| {
        let address = word.split_once("://").map_or(*word, |(_, address)| address);
        address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.split('/').next().is_some_and(is_number))
    };
    let found =
        line.split_whitespace().map(|word| word.trim_end_matches(':')).find(is_address).unwrap_or("of this cluster");
    let found = found.split_once("://").map_or(found, |(_, address)| address);
    found.split_once('/').map_or(found, |(address, _)| address)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The event in a log line, without its source and its duration.
fn said_of(text: &str) -> &str {
    let line = if text.starts_with("[thrd:") { text.split_once("]: ").map_or(text, |(_, rest)| rest) } else { text };
    let said = match line.split_once(": ") {
        Some((who, said)) if who.contains('/') && !who.contains(' ') => said,
        _ => line,
    };
    said.rsplit_once(" (after ").map_or(said, |(said, _)| said)
}

/// Why a client could not be made, where a file of keys or certificates is the cause; `None` for
/// other causes.
pub(super) fn of_files(text: &str) -> Option<String> {
    let (setting, why) = text.split_once(" failed: ").filter(|(setting, _)| setting.starts_with("ssl."))?;
    let key = match setting {
        "ssl.ca.location" => "`ca_file` of [kafka]",
        "ssl.certificate.location" => "`certificate_file` of [kafka]",
        "ssl.key.location" => "`key_file` of [kafka]",
        "ssl.keystore.location" => "the key store",
        _ => return None,
    };
    Some(match why {
        why if why.contains("key values mismatch") => {
            format!(
                "the private key in {key} ({setting}) is not that of the certificate in `certificate_file` (ssl.certificate.location)"
            )
        }
        why if why.contains("bad decrypt") || why.contains("bad password") => {
            format!("the private key in {key} ({setting}) cannot be decrypted: check `key_password` (ssl.key.password)")
        }
        why => format!(
            "{key} ({setting}) cannot be used: check that the file exists, that this user may read it, and that it is in PEM form ({why})"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::certificate_reason::certificate_reason;
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Option<Refusal> {
        let mut diagnosis = Diagnosis::default();
        lines.iter().for_each(|(facility, text)| _ = diagnosis.read_line(facility, text));
        diagnosis.last().cloned()
    }

    /// The prefix of librdkafka's lines before `: `, for a listener at localhost:9093.
    fn line(protocol: &str, said: &str) -> String {
        format!("[thrd:{protocol}localhost:9093/bootstrap]: {protocol}localhost:9093/bootstrap: {said}")
    }

    #[track_caller]
    fn assert_told(refusal: Option<Refusal>, is_certain: bool, parts: &[&str]) {
        let refusal = refusal.expect("a refusal");
        assert_eq!(refusal.is_certain, is_certain, "{refusal:?}");
        for part in parts.iter().chain(&["localhost:9093"]) {
            assert!(refusal.message.contains(part), "no {part:?} in {}", refusal.message);
        }
        assert!(!refusal.message.contains('\n') && !refusal.message.contains("thrd"), "{}", refusal.message);
    }

    const VERIFY: &str = "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify \
        that ssl.ca.location is correctly configured or root CA certificates are installed (install ca-certificates package) (after 5ms in state SSL_HANDSHAKE)";

    #[test]
    fn a_broker_certificate_is_refused_for_its_reason() {
        let refused = |number: i32| {
            let why = certificate_reason(number, 0, "a word");
            let verify =
                format!("Certificate (subject=/CN=broker, issuer=/CN=authority) verification callback failed: {why}");
            of(&[("SSLCERTVRFY", &line("ssl://", &verify)), ("FAIL", &line("ssl://", VERIFY))])
        };
        assert_told(
            refused(20),
            true,
            &["this client refuses", "/CN=authority", "not known here", "`ca_file`", "ssl.ca.location"],
        );
        assert_told(refused(10), true, &["this client refuses", "it has expired", "Renew", "on the broker"]);
        assert_told(refused(62), true, &["this client refuses", "host name is not in it", "advertised.listeners"]);
        assert_told(refused(73), true, &["verification error 73", "openssl s_client"]);
    }

    #[test]
    fn the_broker_refuses_a_client_certificate() {
        let alert = |number: u32| {
            line(
                "ssl://",
                &format!(
                    "Receive failed: error:0A000412:SSL routines::alert: SSL alert number {number} (after 3ms in state APIVERSION_QUERY)"
                ),
            )
        };
        assert_told(
            of(&[("FAIL", &alert(42))]),
            true,
            &["broker localhost:9093 asks for a client certificate", "`certificate_file`", "ssl.key.location"],
        );
        let kept = (
            "SSL",
            "[thrd:x]: No matching issuer found in server trusted certificate authorities, not sending any client certificates",
        );
        assert_told(of(&[kept, ("FAIL", &alert(42))]), true, &["is of another", "trust store"]);
        assert_told(
            of(&[("FAIL", &alert(46))]),
            true,
            &["refuses the client certificate", "expired", "`certificate_file`"],
        );
        assert_told(of(&[("FAIL", &alert(70))]), true, &["ssl.enabled.protocols"]);
    }

    #[test]
    fn the_broker_refuses_a_login() {
        let wrong = "SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256 (after 8ms in state AUTH_REQ)";
        assert_told(
            of(&[("FAIL", &line("sasl_ssl://", wrong))]),
            true,
            &["refuses the login", "invalid credentials", "`password`", "sasl.password"],
        );
        let other = "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-256 (after 3ms in state AUTH_HANDSHAKE)";
        assert_told(
            of(&[("FAIL", &line("sasl_ssl://", other))]),
            true,
            &["does not offer the SASL mechanism PLAIN", "it offers SCRAM-SHA-256.", "`mechanism`"],
        );
        let none = "SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms:  (after 1ms in state AUTH_HANDSHAKE)";
        assert_told(of(&[("FAIL", &line("sasl_ssl://", none))]), true, &["asks for no login", "`security`"]);
    }

    #[test]
    fn a_token_server_refuses_the_client() {
        let diagnosis = Diagnosis::default();
        let told =
            diagnosis.explain("Failed to acquire SASL OAUTHBEARER token: HTTP error 401: invalid_client").unwrap();
        assert!(
            told.is_certain
                && told.message.contains("token server refuses")
                && told.message.contains("oauth_client_secret"),
            "{told:?}"
        );
        let told = diagnosis.explain("Failed to acquire SASL OAUTHBEARER token: SSL certificate problem: unable to get local issuer certificate").unwrap();
        assert!(told.is_certain && told.message.contains("https.ca.location"), "{told:?}");
        // A token server that is away is waited for.
        assert_eq!(diagnosis.explain("Failed to acquire SASL OAUTHBEARER token: Couldn't connect to server"), None);
    }

    #[test]
    fn one_side_speaks_another_protocol() {
        let plain = "SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener? (after 113ms in state SSL_HANDSHAKE)";
        assert_told(
            of(&[("FAIL", &line("ssl://", plain))]),
            false,
            &["speaks no TLS", "`security`", "security.protocol"],
        );
        let tls = "Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?) or broker version is < 0.10 (see api.version.request) (after 4ms in state APIVERSION_QUERY)";
        assert_told(of(&[("FAIL", &line("", tls))]), false, &["most likely speaks TLS", "ssl or sasl_ssl"]);
        let login = "Disconnected: verify that security.protocol is correctly configured, broker might require SASL authentication (after 1ms in state UP)";
        for cut in [login, "Send failed: Broken pipe (after 0ms in state UP)"] {
            assert!(
                of(&[("FAIL", &line("ssl://", cut))]).is_some_and(|told| told.message.contains("asks for a login"))
            );
        }
        assert_told(of(&[("FAIL", &line("", login))]), false, &["asks for a login", "`mechanism`"]);
    }

    #[test]
    fn a_broker_that_is_away_is_no_refusal() {
        for said in [
            "Connect to ipv4#127.0.0.1:9093 failed: Connection refused (after 0ms in state CONNECT)",
            "Disconnected (after 60012ms in state UP)",
            "Failed to resolve 'kafka:9093': Name or service not known (after 1ms in state CONNECT)",
            "1 request(s) timed out: disconnect (after 61000ms in state UP)",
        ] {
            assert_eq!(of(&[("FAIL", &line("ssl://", VERIFY)), ("FAIL", &line("ssl://", said))]), None, "{said}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let told = of_files("ssl.ca.location failed: error:05880002:x509 certificate routines::system lib").unwrap();
        assert!(told.contains("`ca_file`") && told.contains("ssl.ca.location"), "{told}");
        let told =
            of_files("ssl.key.location failed: error:05800074:x509 certificate routines::key values mismatch").unwrap();
        assert!(told.contains("is not that of the certificate"), "{told}");
        assert_eq!(of_files("No provider for SASL mechanism X"), None);
    }
}
