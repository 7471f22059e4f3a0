//! No secret reaches a log, an error, a page, a command line or the state: every place that takes
//! one is given a marker, and the marker is looked for in all that the program says and keeps.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Helix;
use crate::{Trial, page};
use testkit::process::temp_dir;
use testkit::{Broker, ports, wait_for};

/// Parts that every secret here has, so that one look finds them all.
const MARKER: &str = "k4rfunkel";

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn has_marker(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
}

/// The processes that a process has started: whose parent it is. (Not every kernel lists children.)
fn children(pid: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything, come the state and the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parent == Some(pid)
    };
    ids.filter(is_child).collect()
}

/// One process never holds two OpenSSLs, and libcurl is the one that is built on it. (Debian's
/// other flavour is named libcurl-gnutls.)
fn has_one_openssl(pid: u32) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.contains(".so"));
    let libraries: BTreeSet<&str> = paths.collect();
    let of = |name: &str| libraries.iter().filter(|path| path.contains(&format!("/{name}"))).collect::<Vec<_>>();
    assert_eq!((of("libssl").len(), of("libcrypto").len(), of("libcurl").len()), (1, 1, 1), "{libraries:?}");
    let curl = Command::new("ldd").arg(of("libcurl.")[0]).output().unwrap();
    let needs = String::from_utf8_lossy(&curl.stdout);
    let openssl = Path::new(of("libssl")[0]).file_name().unwrap().to_str().unwrap();
    assert!(needs.contains(openssl), "libcurl does not use {openssl}: {needs}");
}

/// A topology file and variables with secrets wherever one may stand, all of them of no use to the
/// plain broker.
fn with_secrets(trial: &Trial) -> Vec<(String, String)> {
    let secret = |place: &str| format!("{MARKER}-{place}");
    let kafka = format!(
        "[kafka]\n\"sasl.oauthbearer.config\" = \"{}\"\n\"sasl.oauthbearer.client.secret\" = \"{}\"\n\"ssl.keystore.password\" = \"{}\"\n#",
        secret("config"),
        secret("client"),
        secret("keystore")
    );
    trial.change("[kafka] ", &kafka);
    let registry =
        "[schema_registry]\nuser = \"u\"\npassword = \"${REGISTRY_SECRET}\"\nurl = \"http://localhost:1\"\n#";
    trial.change("[schema_registry] ", registry);
    trial.change("[run] ", &format!("[run]\npostgres_url = \"postgres://u:{}@localhost:1/d\"\n#", secret("postgres")));
    vec![
        (
            "HELIXSTREAM_X".to_owned(),
            format!("sasl.password={};ssl.key.password={}", secret("password"), secret("key")),
        ),
        ("REGISTRY_SECRET".to_owned(), secret("registry")),
    ]
}

#[test]
fn a_run_shows_and_keeps_no_secret_starts_no_process_and_has_one_openssl() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    trial.produce_samples();
    let variables = with_secrets(&trial);
    let http = format!("127.0.0.1:{}", ports::free_port());
    let (file, state, broker) = (trial.path("t.toml"), trial.path("state"), Broker::shared().bootstrap());
    let mut command = Helix::command();
    command.args(["run", "--no-mirror", "--topology", &file, "--state-dir", &state, "--bootstrap-servers", &broker]);
    command.args(["--http-listen", &http, "--log-level", "trace", "-X", "debug=all"]).envs(variables);
    let mut helix = Helix::spawn_command(command);
    let mut pages = String::new();
    wait_for("the instance to be ready", || {
        assert!(helix.is_running(), "{}", helix.stderr());
        pages = page(&http, "/ready").filter(|text| text.starts_with("HTTP/1.1 200"))?;
        Some(())
    });
    wait_for("the samples to be processed", || {
        let metrics = page(&http, "/metrics")?;
        let total = metrics.lines().find_map(|line| line.strip_prefix("helixstream_records_total "))?;
        (total.parse::<f64>().unwrap() >= 305.0).then(|| pages.push_str(&metrics))
    });
    let pid = helix.pid();
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    // The look finds what is there: the variables do hold it.
    assert!(has_marker(&environment) && !has_marker(&command_line));
    assert!(children(std::process::id()).contains(&pid), "the look finds a child");
    assert_eq!(children(pid), Vec::<u32>::new(), "a process of ours inherits the variables");
    has_one_openssl(pid);
    let finished = helix.terminate();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        finished.stderr.contains("sasl.password = [redacted]"),
        "librdkafka tells its settings: {}",
        finished.stderr.len()
    );
    for (what, text) in [("log", &finished.stderr), ("output", &finished.stdout), ("pages", &pages)] {
        let line = text.lines().find(|line| line.contains(MARKER));
        assert_eq!(line, None, "the {what} has a secret");
    }
    let kept = files(Path::new(&state));
    assert!(kept.iter().any(|path| path.ends_with("topology.toml")), "{kept:?}");
    for path in kept {
        assert!(!has_marker(&fs::read(&path).unwrap()), "{} has a secret", path.display());
    }
}

#[test]
fn commands_and_complaints_show_no_secret() {
    let trial = Trial::new();
    let mut variables = with_secrets(&trial);
    let file = trial.path("t.toml");
    let said = |arguments: &[&str], variables: &[(String, String)]| {
        let mut command = Helix::command();
        command.args(arguments).envs(variables.iter().map(|(key, value)| (key, value)));
        let finished = Helix::spawn_command(command).finish();
        assert!(!format!("{}{}", finished.stdout, finished.stderr).contains(MARKER), "{arguments:?}: {finished:?}");
        finished.code
    };
    for format in ["text", "mermaid", "dot", "json"] {
        assert_eq!(said(&["topology", "describe", &file, "--format", format], &variables), Some(0));
    }
    let plan =
        ["topics", "plan", "--topology", &file, "--bootstrap-servers", "localhost:1", "--set", "broker_timeout=1s"];
    assert_eq!(said(&plan, &variables), Some(0));
    // Of no use to OpenSSL as a key: the client is not made, and says why.
    variables[0].1 = format!("security.protocol=ssl;ssl.key.pem={MARKER}");
    assert_eq!(said(&plan, &variables), Some(1));
    let verify =
        ["mirror", "verify", "--topology", &file, "--bootstrap-servers", "localhost:1", "--set", "broker_timeout=1s"];
    variables[0].1.clear();
    assert_eq!(said(&verify, &variables), Some(1));
    let refused = [
        ("HELIXSTREAM_X", format!("acks={MARKER}")),
        ("HELIXSTREAM_KAFKA_SECURITY", "sasl_ssl".to_owned()),
        ("HELIXSTREAM_KAFKA_PASSWORD_FILE", "nowhere".to_owned()),
    ];
    for (name, value) in refused {
        let with = [(name.to_owned(), value), ("REGISTRY_SECRET".to_owned(), MARKER.to_owned())];
        assert_eq!(said(&plan, &with), Some(2), "{name}");
    }
    let folder = temp_dir("secret");
    for (at, content) in [&b"k4rfunkel\xff"[..], &[b"k4rfunkel".as_slice(); 40_000].concat()].into_iter().enumerate() {
        let path = folder.join(at.to_string());
        fs::write(&path, content).unwrap();
        let with = [
            ("HELIXSTREAM_KAFKA_PASSWORD_FILE".to_owned(), path.display().to_string()),
            ("REGISTRY_SECRET".to_owned(), MARKER.to_owned()),
        ];
        assert_eq!(said(&plan, &with), Some(2));
    }
}
