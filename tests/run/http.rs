//! The HTTP server as curl sees it: health checks, bearer tokens, the login form and its cookie,
//! the token file while it changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use http::server::{HttpSettings, RunningServer, Server};
use http::{Family, InstanceStatus, Limits, MetricKind, TlsFiles, Value};

use crate::support::Helix;
use testkit::process::temp_dir;
use testkit::{repo_path, wait_for};

/// An instance with one task that restores, and one metric.
pub struct Restoring;

impl InstanceStatus for Restoring {
    fn waiting(&self) -> Vec<String> {
        vec!["task 0_1 (<events>): restoring".to_owned()]
    }

    fn metrics(&self) -> Vec<Family> {
        vec![Family::one("records", "Records processed", MetricKind::Counter, Value::Count(305))]
    }
}

/// A server on a port of its own, stopped when dropped.
pub struct Site {
    _running: RunningServer,
    /// Its URL, with `localhost` for the host, as a certificate has it.
    pub url: String,
    pub dir: PathBuf,
}

impl Site {
    pub fn start(token_file: Option<PathBuf>, tls: Option<TlsFiles>) -> Site {
        Site::of_hosts(token_file, tls, &[])
    }

    fn of_hosts(token_file: Option<PathBuf>, tls: Option<TlsFiles>, hosts: &[String]) -> Site {
        let address = "127.0.0.1:0".parse().unwrap();
        let settings = HttpSettings { address, token_file, hosts: hosts.to_vec(), tls, limits: Limits::default() };
        let server = Server::bind(&settings).unwrap();
        let url = server.url().replace("127.0.0.1", "localhost");
        Site { _running: server.start(Arc::new(Restoring)).unwrap(), url, dir: temp_dir("site") }
    }

    /// What curl gets of a path, headers first, in lower case as far as the body.
    pub fn curl(&self, path: &str, more: &[&str]) -> Answer {
        curl(&format!("{}{path}", self.url), more)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

pub fn curl(url: &str, more: &[&str]) -> Answer {
    let output =
        Command::new("curl").args(["-sS", "-i", "--max-time", "60", url]).args(more).output().expect("run curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Answer { code: 0, head: String::new(), body: String::from_utf8_lossy(&output.stderr).into_owned() };
    };
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { code, head: head.to_owned(), body: body.to_owned() }
}

/// Makes a token by the command line and appends it to a file.
pub fn make_token(file: &Path, name: &str, more: &[&str]) -> String {
    let file = file.display().to_string();
    let arguments = [&["http", "token", "--name", name, "--append", &file], more].concat();
    Helix::run_ok(&arguments).stdout.trim().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn without_a_token_file_every_page_is_open() {
    let site = Site::start(None, None);
    assert_eq!((site.curl("/live", &[]).code, site.curl("/live", &[]).body), (200, "live\n".to_owned()));
    let ready = site.curl("/ready", &[]);
    assert_eq!((ready.code, ready.body.as_str()), (503, "task 0_1 (<events>): restoring\n"));
    let metrics = site.curl("/metrics", &[]);
    assert_eq!(metrics.code, 200);
    assert_eq!(metrics.header("Content-Type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(metrics.body.contains("helixstream_records_total 305"), "{}", metrics.body);
    assert!(metrics.body.contains("helixstream_http_connections 1.0"), "{}", metrics.body);
    assert!(metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    // A browser shows what it knows, and saves the rest to a file.
    let shown = site.curl("/metrics", &["-H", "Accept: text/html,application/xhtml+xml,*/*;q=0.8"]);
    assert_eq!((shown.code, shown.header("Content-Type")), (200, Some("text/plain; charset=utf-8")));
    let prometheus =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
    let scraped = site.curl("/metrics", &["-H", prometheus]);
    assert_eq!(scraped.header("Content-Type"), metrics.header("Content-Type"));
    let page = site.curl("/", &[]);
    assert!(page.body.contains("task 0_1 (&lt;events&gt;): restoring") && !page.body.contains("Log out"), "{page:?}");
    assert_eq!(site.curl("/login?next=/metrics", &[]).header("Location"), Some("/metrics"));
    assert_eq!((site.curl("/nowhere", &[]).code, site.curl("/metrics", &["-X", "POST"]).code), (404, 405));
    // A page of another site can send requests to a port of this machine.
    let foreign = site.curl("/metrics", &["-X", "POST", "-H", "Sec-Fetch-Site: cross-site"]);
    assert_eq!(foreign.code, 403, "{foreign:?}");
    // And it can have its own host's name lead here, so that a browser takes this server for its
    // own.
    for path in ["/", "/live", "/ready", "/metrics", "/login", "/nowhere"] {
        let rebound = site.curl(path, &["-H", "Host: rebound.example:8080"]);
        assert_eq!(rebound.code, 403, "{path}: {rebound:?}");
        assert!(rebound.body.contains("`rebound.example:8080` is not served here: use localhost"), "{rebound:?}");
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]"] {
        assert_eq!(site.curl("/metrics", &["-H", &format!("Host: {host}")]).code, 200, "{host}");
    }
}

#[test]
fn hosts_that_are_named_are_answered_and_no_others() {
    let file = temp_dir("tokens").join("tokens");
    make_token(&file, "me", &[]);
    let named = ["helix-1".to_owned(), "helix.example".to_owned()];
    let code = |site: &Site, host: &str| site.curl("/live", &["-H", &format!("Host: {host}")]).code;
    // With tokens too, where the names are asked for; without tokens, besides those that are
    // answered anyway.
    for tokens in [None, Some(file.clone())] {
        let site = Site::of_hosts(tokens, None, &named);
        assert_eq!(["helix-1:8080", "HELIX.example", "localhost", "127.0.0.1"].map(|host| code(&site, host)), [200; 4]);
        assert_eq!(["helix-2", "example", "helix-1.evil.example"].map(|host| code(&site, host)), [403; 3]);
    }
    let site = Site::start(Some(file), None);
    assert_eq!(code(&site, "any.example"), 200, "who has no token learns nothing");
}

#[test]
fn a_token_file_asks_for_a_token_on_everything_but_health_checks() {
    let file = temp_dir("tokens").join("tokens");
    let reader = make_token(&file, "grafana", &[]);
    let actor = make_token(&file, "robot", &["--rights", "act"]);
    let both = make_token(&file, "support", &["--rights", "read,act", "--users", "u-1,u-2"]);
    let site = Site::start(Some(file), None);
    assert_eq!((site.curl("/live", &[]).code, site.curl("/ready", &[]).code), (200, 503));
    for path in ["/", "/metrics", "/nowhere", "/live/", "//live", "/ready?x", "/logout"] {
        let answer = site.curl(path, &["--path-as-is"]);
        if path.starts_with("/ready") {
            assert_eq!(answer.code, 503, "{path}: {answer:?}");
            continue;
        }
        assert_eq!(answer.code, 401, "{path}: {answer:?}");
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer realm=\"helixstream\""), "{path}");
        assert!(!answer.body.contains("305"), "{answer:?}");
    }
    let ask = |path: &str, token: &str, more: &[&str]| site.curl(path, &[&["-H", &bearer(token)], more].concat());
    let page = ask("/metrics", &reader, &[]);
    assert!(page.code == 200 && page.body.contains("helixstream_records_total 305"), "{page:?}");
    assert!(page.body.contains("helixstream_http_unauthorized_total 6"), "{}", page.body);
    assert_eq!(ask("/nowhere", &reader, &[]).code, 404);
    // Each right is asked for, and neither stands for the other.
    let post = ["-X", "POST"];
    assert_eq!((ask("/metrics", &reader, &post).code, ask("/metrics", &both, &post).code), (403, 405));
    assert_eq!((ask("/metrics", &actor, &post).code, ask("/metrics", &actor, &[]).code), (405, 403));
    let refused = ask("/metrics", &reader, &post);
    assert!(refused.header("WWW-Authenticate").unwrap().contains("scope=\"act\""), "{refused:?}");
    assert!(ask("/", &both, &[]).body.contains("Token support: rights read, act; users u-1, u-2."));
    // Prometheus' `credentials_file` ends in a new line as often as not; Prometheus cuts it off
    // itself, others may not.
    assert_eq!(ask("/metrics", &format!("{reader} "), &[]).code, 200);

    let wrong = ask("/metrics", "geheim", &[]);
    assert_eq!(wrong.code, 401);
    assert!(wrong.header("WWW-Authenticate").unwrap().contains("error=\"invalid_token\""), "{wrong:?}");
    assert_eq!(site.curl("/metrics", &["-u", &format!("grafana:{reader}")]).code, 401, "basic authentication");
    for query in ["access_token", "token", "bearer"] {
        assert_eq!(site.curl(&format!("/metrics?{query}={reader}"), &[]).code, 401, "{query}");
    }
}

/// The value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> String {
    let after = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name}: {page}")).1;
    after.split_once('"').unwrap().0.to_owned()
}

#[test]
fn a_browser_logs_in_by_a_form_and_out_again() {
    let file = temp_dir("tokens").join("tokens");
    let token = make_token(&file, "me", &["--rights", "read"]);
    let site = Site::start(Some(file), None);
    let jar = site.dir.join("jar").display().to_string();
    let browse = |path: &str, more: &[&str]| {
        let always = ["-b", &jar, "-c", &jar, "-H", "Accept: text/html,*/*;q=0.8"];
        site.curl(path, &[&always, more].concat())
    };
    let sent_to_login = browse("/metrics?a=b&c=d", &[]);
    assert_eq!(sent_to_login.code, 303, "{sent_to_login:?}");
    let login = sent_to_login.header("Location").unwrap();
    assert_eq!(login, "/login?next=%2Fmetrics%3Fa%3Db%26c%3Dd");
    let form = browse(login, &[]);
    assert_eq!((form.code, hidden(&form.body, "next")), (200, "/metrics?a=b&amp;c=d".to_owned()));
    let field = |name: &str, value: &str| format!("{name}={value}");
    let log_in = |token: &str, next: &str, more: &[&str]| {
        let (token, next) = (field("token", token), field("next", next));
        browse("/login", &[&["--data-urlencode", &token, "--data-urlencode", &next], more].concat())
    };

    let wrong = log_in("hxs_geheim", "/", &[]);
    assert!(
        wrong.code == 401 && wrong.body.contains("not in the token file") && !wrong.body.contains("geheim"),
        "{wrong:?}"
    );
    assert_eq!(wrong.header("Set-Cookie"), None);
    for foreign in ["Sec-Fetch-Site: cross-site", "Origin: https://evil.example", "Origin: null"] {
        assert_eq!(log_in(&token, "/", &["-H", foreign]).code, 403, "{foreign}");
    }
    assert_eq!(log_in(&token, "//evil.example/", &[]).header("Location"), Some("/"));
    let origin = format!("Origin: {}", site.url);
    let done = log_in(&token, "/metrics?a=b&c=d", &["-H", &origin]);
    assert_eq!((done.code, done.header("Location")), (303, Some("/metrics?a=b&c=d")));
    let cookie = done.header("Set-Cookie").unwrap();
    for part in ["helixstream_session_", "; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(&token), "{cookie}");

    assert!(browse("/metrics", &[]).body.contains("helixstream_records_total 305"));
    let page = browse("/", &[]);
    assert!(page.body.contains("Token me: rights read; all users."), "{page:?}");
    let form_token = hidden(&page.body, "csrf_token");
    // The right comes first: this session may not act on anything, but it may end itself, by a form
    // of ours.
    assert_eq!(browse("/metrics", &["--data", &format!("csrf_token={form_token}")]).code, 403);
    assert_eq!(browse("/logout", &["-X", "POST"]).code, 403);
    assert_eq!(browse("/logout", &["--data", "csrf_token=x"]).code, 403);
    assert_eq!(browse("/logout", &["-X", "POST", "-H", "X-CSRF-Token: x"]).code, 403);
    let too_long = format!("csrf_token={form_token}&x={}", "x".repeat(100_000));
    assert_eq!(browse("/logout", &["--data", &too_long]).code, 413);
    assert_eq!(browse("/", &[]).code, 200);
    let kept = std::fs::read_to_string(&jar).unwrap();
    let out = browse("/logout", &["--data", &format!("csrf_token={form_token}")]);
    assert_eq!((out.code, out.header("Location")), (303, Some("/login")), "{out:?}");
    // The session has ended, not only the browser's cookie.
    std::fs::write(&jar, kept).unwrap();
    assert_eq!(browse("/metrics", &[]).code, 303);
}

#[test]
fn a_session_that_may_act_needs_the_form_token_and_a_bearer_does_not() {
    let file = temp_dir("tokens").join("tokens");
    let token = make_token(&file, "me", &["--rights", "read,act"]);
    let site = Site::start(Some(file), None);
    let jar = site.dir.join("jar").display().to_string();
    let browse = |path: &str, more: &[&str]| site.curl(path, &[&["-b", &jar, "-c", &jar], more].concat());
    assert_eq!(browse("/login", &["--data-urlencode", &format!("token={token}")]).code, 303);
    let form_token = hidden(&browse("/", &[]).body, "csrf_token");
    // No page acts yet, so what is let through is told that the page knows no POST.
    assert_eq!(browse("/metrics", &["-X", "POST"]).code, 403);
    assert_eq!(browse("/metrics", &["-X", "DELETE"]).code, 403);
    assert_eq!(browse("/metrics", &["--data", &format!("a=b&csrf_token={form_token}")]).code, 405);
    assert_eq!(browse("/metrics", &["-X", "POST", "-H", &format!("X-CSRF-Token: {form_token}")]).code, 405);
    assert_eq!(site.curl("/metrics", &["-X", "POST", "-H", &bearer(&token)]).code, 405);
}

#[test]
fn every_answer_tells_browsers_to_keep_nothing_and_run_nothing() {
    let file = temp_dir("tokens").join("tokens");
    let token = make_token(&file, "me", &[]);
    let site = Site::start(Some(file), None);
    for (path, more) in [("/live", None), ("/login", None), ("/metrics", None), ("/metrics", Some(bearer(&token)))] {
        let more: Vec<&str> = more.iter().flat_map(|header| ["-H", header.as_str()]).collect();
        let answer = site.curl(path, &more);
        assert!(answer.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"), "{answer:?}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{path}");
    }
}

#[test]
fn the_token_file_is_read_again_when_it_changes() {
    let file = temp_dir("tokens").join("tokens");
    let first = make_token(&file, "first", &[]);
    let site = Site::start(Some(file.clone()), None);
    let jar = site.dir.join("jar").display().to_string();
    let code = |token: &str| site.curl("/metrics", &["-H", &bearer(token)]).code;
    let by_cookie = || site.curl("/metrics", &["-b", &jar]).code;
    site.curl("/login", &["-c", &jar, "--data-urlencode", &format!("token={first}")]);
    assert_eq!((code(&first), by_cookie()), (200, 200));
    let second = make_token(&file, "second", &[]);
    wait_for("the new token to be known", || (code(&second) == 200).then_some(()));
    // A wrong line: what was read before stays.
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}nonsense\n")).unwrap();
    let third = make_token(&temp_dir("tokens").join("other"), "third", &[]);
    assert_eq!((code(&first), code(&second), code(&third)), (200, 200, 401));
    // Without its line a token is worth nothing, and so are the sessions that it began.
    let without: Vec<&str> = good.lines().filter(|line| line.starts_with("second:")).collect();
    std::fs::write(&file, without.join("\n")).unwrap();
    wait_for("the first token to be forgotten", || (code(&first) == 401).then_some(()));
    assert_eq!((by_cookie(), code(&second)), (401, 200));
}

#[test]
fn the_command_line_makes_tokens_and_says_what_is_wrong() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = temp_dir("tokens").join("tokens");
    let path = file.display().to_string();
    let shown = Helix::run_ok(&["http", "token", "--name", "a", "--rights", "act"]).stdout;
    let (token, line) = shown.trim().split_once('\n').unwrap();
    assert!(token.starts_with("hxs_") && line.starts_with("a:sha256:") && line.ends_with(":act"), "{shown}");
    // The hash is what anybody computes.
    let mut hash = Command::new("sh");
    hash.args(["-c", "printf %s \"$1\" | sha256sum | cut -d' ' -f1", "sh", token]);
    let hash = String::from_utf8(hash.output().unwrap().stdout).unwrap();
    assert_eq!(line, format!("a:sha256:{}:act", hash.trim()));
    std::fs::write(&file, "# ours, without an end of line").unwrap();
    make_token(&file, "b", &[]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# ours, without an end of line\nb:sha256:") && text.ends_with(":read\n"), "{text}");
    let again = Helix::run(&["http", "token", "--name", "b", "--append", &path]);
    again.assert_failed(2, &["has a token with the name b already"]);
    Helix::run(&["http", "token", "--name", "a:b"]).assert_failed(2, &["a name has 1 to 64"]);
    Helix::run(&["http", "token", "--name", "a", "--rights", "write"]).assert_failed(2, &["read", "act"]);
    let made = temp_dir("tokens").join("made");
    make_token(&made, "c", &[]);
    assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o600);

    std::fs::write(&file, format!("{text}hxs_geheim\n")).unwrap();
    let topology = repo_path("topologies/memory.toml").display().to_string();
    let run = |more: &[&str]| Helix::run(&[&["run", "--no-mirror", "--topology", &topology], more].concat());
    let wrong = run(&["--http-listen", "0", "--http-token-file", &path]);
    wrong.assert_failed(2, &[&format!("--http-token-file: {path}:3: "), "helixstream http token"]);
    assert!(!wrong.stderr.contains("geheim"), "{}", wrong.stderr);
    run(&["--http-listen", "0", "--http-token-file", "/nowhere"])
        .assert_failed(2, &["cannot read the token file /nowhere", "[HS6504]"]);
    run(&["--http-listen", "example.org:80"])
        .assert_failed(2, &["--http-listen: `example.org:80` is not", "0.0.0.0:8080"]);
    run(&["--http-listen", "0", "--http-hosts", "a,http://b"])
        .assert_failed(2, &["--http-hosts: `http://b` is not a host name"]);
    run(&["--http-listen", "0", "--http-tls-cert", "c"]).assert_failed(2, &["--http-tls-key"]);
    run(&["--http-listen", "0", "--http-tls-key", "c"]).assert_failed(2, &["--http-tls-cert"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    run(&["--http-listen", &format!(":{port}")])
        .assert_failed(1, &[&format!("cannot serve HTTP at 127.0.0.1:{port}"), "in use"]);
}
