//! A registry that asks who we are: basic and bearer authentication, OAuth client credentials, TLS
//! both ways; one clear message for each refusal; and several addresses of one registry, of which
//! some do not answer. The real registry stands behind each front.

use crate::avro::newest;
use crate::front::{Front, Reply, Request, error};
use crate::tls::certificates;
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use avro::Avro;
use avro::settings::{Authentication, OAuth, RegistrySettings};
use secret::SecretSource;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use streams::ports::{Codec, CodecError};
use testkit::process::temp_dir;
use testkit::{Registry, unique, wait_for};

/// A value that can be read by whom the registry serves, of a schema that nobody has asked for
/// before.
fn value() -> Vec<u8> {
    let subject = unique("secured");
    let schema = newest("event").replacen("An event of topic", &subject, 1);
    let id = Registry::shared().register(&subject, &schema);
    let json = br#"{"event_id":"e","event_type":"memory.updated","memory_id":"m"}"#;
    framed(id, &to_avro::event(&Schema::parse_str(newest("event")).unwrap(), Some(json)).unwrap())
}

fn settings(url: &str, authentication: Authentication) -> RegistrySettings {
    RegistrySettings {
        url: url.to_owned(),
        authentication,
        wait: Duration::from_millis(50),
        ..RegistrySettings::default()
    }
}

/// What reading a value comes to: nothing, or why it waits.
fn read(codec: &Avro, value: &[u8]) -> Result<(), String> {
    wait_for("an answer", || match codec.decode("event", value) {
        Ok(_) => Some(Ok(())),
        Err(CodecError::Unavailable(why)) if why.contains("not answered yet") => None,
        Err(CodecError::Unavailable(why)) => Some(Err(why)),
        Err(other) => panic!("{other:?}"),
    })
}

fn refused(settings: RegistrySettings, value: &[u8], parts: &[&str]) {
    let why = read(&Avro::new(settings).unwrap(), value).unwrap_err();
    assert!(parts.iter().all(|part| why.contains(part)), "{why}");
}

/// Serves whoever sends this header.
fn with_header(value: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| match request.headers.get("authorization").map(String::as_str) {
        Some(found) if found == value => Reply::Pass,
        _ => error(401, 40101, "Unauthorized"),
    }
}

fn secret_file(dir: &Path, name: &str, text: &str) -> SecretSource {
    std::fs::write(dir.join(name), text).unwrap();
    SecretSource::file(dir.join(name), name)
}

fn basic(user: &str, password: SecretSource) -> Authentication {
    Authentication::Basic { user: user.to_owned(), password: Some(password) }
}

#[test]
fn passwords_and_tokens_are_sent_and_a_refusal_says_which_setting_to_check() {
    let (dir, value) = (temp_dir("secured"), value());
    // The password is p:@/%ß.
    let by_password = Front::start(with_header("Basic dTpwOkAvJcOf"));
    let right = secret_file(&dir, "password", "p:@/%ß\n");
    read(&Avro::new(settings(&by_password.url(), basic("u", right))).unwrap(), &value).unwrap();
    let wrong = || SecretSource::value("geheim");
    refused(settings(&by_password.url(), basic("u", wrong())), &value, &["401", "check `user` (u) and `password`"]);
    refused(
        settings(&by_password.url(), Authentication::None),
        &value,
        &["401", "set `user` and `password_file`, `token_file`"],
    );
    let in_url = by_password.url().replace("http://", "http://u:p%3A%40%2F%25%C3%9F@");
    read(&Avro::new(settings(&in_url, Authentication::None)).unwrap(), &value).unwrap();
    assert!(Avro::new(settings(&in_url, basic("u", wrong()))).is_err());

    let by_token = Front::start(with_header("Bearer abc.def"));
    let right = secret_file(&dir, "token", "abc.def\n");
    read(&Avro::new(settings(&by_token.url(), Authentication::Bearer(right))).unwrap(), &value).unwrap();
    refused(
        settings(&by_token.url(), Authentication::Bearer(wrong())),
        &value,
        &["401", "`token_file`", "may have expired"],
    );
    let missing =
        Avro::new(settings("http://localhost", Authentication::Bearer(SecretSource::file("/nowhere", "token_file"))));
    let missing = missing.err().unwrap().to_string();
    assert!(missing.contains("/nowhere") && missing.contains("token_file"), "{missing}");
    // None of the refusals holds the secret.
    let why =
        read(&Avro::new(settings(&by_token.url(), Authentication::Bearer(wrong()))).unwrap(), &value).unwrap_err();
    assert!(!why.contains("geheim"), "{why}");
}

#[test]
fn whom_the_registry_knows_and_denies_is_told_what_to_ask_for() {
    let denied = Front::start(|_| error(403, 40301, "User is denied operation Read"));
    let known = basic("reader", SecretSource::value("p"));
    refused(settings(&denied.url(), known), &value(), &["403", "user reader", "the right to read schemas"]);
    // A sink's schema is refused to one who may only read: the sink waits, and says what it needs.
    let registering = Front::start(|request| match request.method.as_str() {
        "POST" => error(403, 40301, "User is denied operation Write on Subject"),
        _ => Reply::Pass,
    });
    let known = basic("reader", SecretSource::value("p"));
    let codec = Avro::new(RegistrySettings { register: true, ..settings(&registering.url(), known) }).unwrap();
    let why = wait_for("an answer", || match codec.encode("event", "t", b"{}") {
        Err(CodecError::Unavailable(why)) if !why.contains("not answered yet") => Some(why),
        Err(CodecError::Unavailable(_)) => None,
        other => panic!("{other:?}"),
    });
    assert!(why.contains("write the subjects of our outputs unless `schemas = \"look_up\"`"), "{why}");
}

/// An issuer whose tokens live so many seconds, to one client alone, and a registry that takes the
/// newest token alone.
fn oauth(seconds: f64) -> (Front, Front, Arc<AtomicU32>) {
    let issued = Arc::new(AtomicU32::new(0));
    let (newest, count) = (issued.clone(), issued.clone());
    let issuer = Front::start(move |request| {
        // Client `my client` with secret `s+c`: both are form-encoded before they are joined.
        let is_client = request.headers.get("authorization").is_some_and(|h| h == "Basic bXkrY2xpZW50OnMlMkJj");
        if !is_client || request.method != "POST" || request.body != "grant_type=client_credentials&scope=read+schemas"
        {
            let body = r#"{"error":"invalid_client","error_description":"Client authentication failed"}"#;
            return Reply::Answer(401, body.to_owned());
        }
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let token = serde_json::json!({ "access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": seconds });
        Reply::Answer(200, token.to_string())
    });
    let registry = Front::start(move |request| {
        let wanted = format!("Bearer token-{}", newest.load(Ordering::SeqCst));
        match request.headers.get("authorization") == Some(&wanted) {
            true => Reply::Pass,
            false => error(401, 40101, "the token has expired"),
        }
    });
    (issuer, registry, issued)
}

fn client_of(issuer: &Front, secret: &str) -> Authentication {
    Authentication::OAuth(OAuth {
        token_url: issuer.url(),
        client_id: "my client".to_owned(),
        client_secret: SecretSource::value(secret),
        scope: Some("read schemas".to_owned()),
    })
}

#[test]
fn tokens_are_asked_for_kept_and_renewed() {
    let (issuer, registry, issued) = oauth(3600.0);
    let codec = Avro::new(settings(&registry.url(), client_of(&issuer, "s+c"))).unwrap();
    (0..3).for_each(|_| read(&codec, &value()).unwrap());
    assert_eq!(issued.load(Ordering::SeqCst), 1, "a token serves until shortly before it expires");
    // Revoked before its time: the registry's 401 leads to another one, and no record waits.
    issued.fetch_add(1, Ordering::SeqCst);
    read(&codec, &value()).unwrap();
    assert_eq!(issued.load(Ordering::SeqCst), 3);

    // Of tokens that are over at once each request gets its own.
    let (issuer, registry, issued) = oauth(0.0);
    let codec = Avro::new(settings(&registry.url(), client_of(&issuer, "s+c"))).unwrap();
    (0..3).for_each(|_| read(&codec, &value()).unwrap());
    assert_eq!(issued.load(Ordering::SeqCst), 3);
    assert!(registry.seen().iter().all(|request| request.headers.contains_key("authorization")));
    refused(
        settings(&registry.url(), client_of(&issuer, "geheim")),
        &value(),
        &["invalid_client", "`oauth_client_id` (my client)"],
    );
    let nowhere = Front::start(|_| Reply::Answer(200, "<html>log in</html>".to_owned()));
    refused(
        settings(&registry.url(), client_of(&nowhere, "s+c")),
        &value(),
        &["is not an answer of an OAuth token endpoint", "[HS5507]", "`oauth_token_url`"],
    );
}

#[test]
fn certificates_are_checked_both_ways_and_a_refusal_says_what_to_do() {
    let (dir, value) = (certificates(), value());
    let with = |url: String, ca: &str, client: Option<&str>| RegistrySettings {
        ca_file: Some(dir.join(ca)),
        certificate_file: client.map(|name| dir.join(format!("{name}.pem"))),
        key_file: client.map(|name| dir.join(format!("{name}.key"))),
        ..settings(&url, Authentication::None)
    };
    let front = Front::start_tls(&dir, false, |_| Reply::Pass);
    read(&Avro::new(with(front.url(), "ca.pem", None)).unwrap(), &value).unwrap();
    refused(with(front.url(), "other.pem", None), &value, &["UnknownIssuer", "as `ca_file` in [schema_registry]"]);
    refused(settings(&front.url(), Authentication::None), &value, &["UnknownIssuer", "`ca_file`"]);
    refused(with(front.url_at("127.0.0.1"), "ca.pem", None), &value, &["it was not made for the host name 127.0.0.1"]);
    let plain = Registry::shared().url().replace("http:", "https:");
    refused(with(plain, "ca.pem", None), &value, &["does not speak TLS", "http://"]);
    refused(with(front.url().replace("https:", "http:"), "ca.pem", None), &value, &["speak TLS", "https://"]);

    let front = Front::start_tls(&dir, true, |_| Reply::Pass);
    read(&Avro::new(with(front.url(), "ca.pem", Some("client"))).unwrap(), &value).unwrap();
    for client in [None, Some("other")] {
        refused(with(front.url(), "ca.pem", client), &value, &["`certificate_file` and `key_file`"]);
    }
    // Renewed files are used without a restart.
    let name = |name: &str| dir.join(name);
    std::fs::copy(name("other.pem"), name("new.pem")).unwrap();
    std::fs::copy(name("other.key"), name("new.key")).unwrap();
    let codec = Avro::new(with(front.url(), "ca.pem", Some("new"))).unwrap();
    assert!(read(&codec, &value).is_err());
    std::fs::copy(name("client.pem"), name("new.pem")).unwrap();
    std::fs::copy(name("client.key"), name("new.key")).unwrap();
    wait_for("the new certificate", || codec.decode("event", &value).ok());
}

#[test]
fn the_next_address_is_asked_where_one_does_not_answer() {
    let (mut first, second) = (Front::start(|_| Reply::Pass), Front::start(|_| Reply::Pass));
    let codec = Avro::new(settings(&format!("{}, {}", first.url(), second.url()), Authentication::None)).unwrap();
    read(&codec, &value()).unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
    first.stop();
    (0..2).for_each(|_| read(&codec, &value()).unwrap());
    assert_eq!(second.seen().len(), 2);
    drop(second);
    let why = read(&codec, &value()).unwrap_err();
    assert!(why.matches("http://localhost:").count() == 2, "{why}");
    // One that answers with a fault of its own is passed by as well; one that knows nothing of an
    // id has answered.
    let (broken, well) = (Front::start(|_| error(503, 50301, "starting")), Front::start(|_| Reply::Pass));
    let codec = Avro::new(settings(&format!("{},{}", broken.url(), well.url()), Authentication::None)).unwrap();
    read(&codec, &value()).unwrap();
    let unknown = wait_for("an answer", || match codec.decode("event", &framed(i32::MAX as u32, b"x")) {
        Err(CodecError::Unavailable(_)) => None,
        other => Some(other),
    });
    assert!(matches!(unknown, Err(CodecError::Bad { class: "unknown_schema", .. })), "{unknown:?}");
    assert_eq!(broken.seen().len(), 1);
}
