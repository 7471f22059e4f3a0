//! TLS to a real PostgreSQL: with every `sslmode` and every kind of certificate we say what psql
//! says, on the same URL.

use mirror_postgres::Database;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::Postgres;
use testkit::postgres::{query, try_query};
use testkit::process::temp_dir;
use testkit::wait_until;

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("run openssl");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Authorities, servers and clients.
fn certificates() -> PathBuf {
    let dir = temp_dir("certificates");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2";
    for name in ["ca", "stranger"] {
        openssl(&dir, &format!("req -x509 {key} -subj /CN={name} -keyout {name}.key -out {name}.pem"));
    }
    let of_ca = "-CA ca.pem -CAkey ca.key -addext basicConstraints=CA:FALSE";
    let server = |name: &str, more: &str| {
        openssl(&dir, &format!("req -x509 {key} -keyout {name}.key -out {name}.pem {more}"));
    };
    server("signed", &format!("-subj /CN=x -addext subjectAltName=DNS:localhost,IP:127.0.0.1 {of_ca}"));
    server("elsewhere", &format!("-subj /CN=localhost -addext subjectAltName=DNS:db.example {of_ca}"));
    server("common", &format!("-subj /CN=localhost {of_ca}"));
    server("alone", "-subj /CN=localhost -addext subjectAltName=DNS:localhost");
    // One of version 1 has no extensions; one that has expired; each by an authority.
    for (name, days) in [("v1", "-days 2"), ("expired", "-not_before 20200101000000Z -not_after 20200102000000Z")] {
        openssl(
            &dir,
            &format!("req {} -subj /CN=localhost -keyout {name}.key -out {name}.csr", key.replace(" -days 2", "")),
        );
        if name == "v1" {
            openssl(
                &dir,
                &format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem {days}"),
            );
        } else {
            std::fs::write(dir.join("index.txt"), "").unwrap();
            std::fs::write(dir.join("serial"), "01\n").unwrap();
            let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nunique_subject=no\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
            std::fs::write(dir.join("ca.cnf"), config).unwrap();
            openssl(
                &dir,
                "ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in expired.csr -out expired.pem -notext -startdate 20200101000000Z -enddate 20200102000000Z",
            );
        }
    }
    // Which certificates the authority has revoked.
    openssl(&dir, "ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -revoke common.pem");
    openssl(&dir, "ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -crldays 2 -out revoked.crl");
    let authorities = ["stranger", "ca"].map(|name| std::fs::read_to_string(dir.join(format!("{name}.pem"))).unwrap());
    std::fs::write(dir.join("both.pem"), authorities.concat()).unwrap();
    dir
}

/// Has the server show a certificate, and waits until it does.
fn show(postgres: &Postgres, dir: &Path, name: &str) {
    let url = postgres.url("postgres");
    for end in ["pem", "key"] {
        let (from, to) = (dir.join(format!("{name}.{end}")), postgres.folder().join(format!("{name}.{end}")));
        std::fs::copy(from, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(postgres.folder()).unwrap());
        std::os::unix::fs::chown(&to, Some(owner), None).unwrap();
    }
    let folder = postgres.folder().display();
    for (setting, value) in [
        ("ssl_cert_file", format!("{folder}/{name}.pem")),
        ("ssl_key_file", format!("{folder}/{name}.key")),
        ("ssl", "on".to_owned()),
    ] {
        query(&url, &format!("alter system set {setting} = '{value}'"));
    }
    query(&url, "select pg_reload_conf()");
    let shown = || try_query(&url, "show ssl_cert_file").is_ok_and(|rows| rows[0][0].ends_with(&format!("{name}.pem")));
    wait_until("the certificate to be shown", || {
        shown() && try_query(&url, "show ssl").is_ok_and(|rows| rows == [["on"]])
    });
}

/// What we say to a URL, and what psql says.
fn verdicts(url: &str) -> (Result<(), String>, Result<(), String>) {
    let ours = Database::new(url, "public").map_err(|e| e.to_string());
    let ours = ours.and_then(|database| database.check(Duration::from_secs(60)).map_err(|e| e.to_string()));
    (ours, try_query(url, "select 1").map(drop))
}

/// How many comparisons run at a time.
const SIDE_BY_SIDE: usize = 8;

/// The URLs that are compared while the server shows a certificate.
fn urls(postgres: &Postgres, dir: &Path, shown: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
        for roots in ["", "ca", "both", "stranger", "alone", "ca.pem&sslcrl"] {
            for (user, host) in [("encrypted", "localhost"), ("encrypted", "127.0.0.1"), ("plain", "localhost")] {
                // What cannot differ from its neighbours is left out.
                let differs = match (roots, user) {
                    ("both" | "stranger", "encrypted") => matches!(mode, "prefer" | "require" | "verify-ca"),
                    ("alone", "encrypted") => shown == "alone",
                    ("ca.pem&sslcrl", "encrypted") => {
                        matches!(shown, "signed" | "common" | "alone") && matches!(mode, "prefer" | "verify-ca")
                    }
                    ("", _) | ("ca", "encrypted") => true,
                    _ => false,
                };
                if !differs || host == "127.0.0.1" && (mode, roots) != ("verify-full", "ca") {
                    continue;
                }
                let roots = match roots {
                    "" => String::new(),
                    "ca.pem&sslcrl" => format!("&sslrootcert={0}/ca.pem&sslcrl={0}/revoked.crl", dir.display()),
                    name => format!("&sslrootcert={}/{name}.pem", dir.display()),
                };
                let port = postgres.port();
                found.push(format!("postgres://{user}@{host}:{port}/postgres?sslmode={mode}{roots}"));
            }
        }
    }
    found
}

/// Whether a URL leads to the server; we and psql must agree on it.
fn is_good_to_both(url: &str, shown: &str) -> bool {
    let (ours, psql) = verdicts(url);
    assert_eq!(ours.is_ok(), psql.is_ok(), "the server shows {shown}; {url}\nwe: {ours:?}\npsql: {psql:?}");
    ours.is_ok()
}

#[test]
fn every_sslmode_says_of_every_certificate_what_psql_says() {
    let (postgres, dir) = (Postgres::start(), certificates());
    query(&postgres.url("postgres"), "create role encrypted login; create role plain login");
    postgres.add_access_rules(
        "hostnossl all encrypted all reject\nhostssl all encrypted all trust\nhostssl all plain all reject\nhostnossl all plain all trust",
    );
    let (mut compared, mut good) = (0, 0);
    for shown in ["none", "signed", "elsewhere", "common", "alone", "v1", "expired"] {
        if shown != "none" {
            show(&postgres, &dir, shown);
        }
        let urls = urls(&postgres, &dir, shown);
        compared += urls.len();
        // Side by side, since each waits for the server most of the time.
        let good_of = |urls: &[String]| urls.iter().filter(|url| is_good_to_both(url, shown)).count();
        good += std::thread::scope(|scope| {
            let parts: Vec<_> = urls.chunks(urls.len().div_ceil(SIDE_BY_SIDE)).collect();
            let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| good_of(part))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
    }
    assert!(compared > 120 && good > 40 && good < compared - 40, "{good} of {compared}");
    // What is refused names what to look at.
    let says = |shown: &str, parameters: &str, parts: &[&str]| {
        show(&postgres, &dir, shown);
        let url = format!("postgres://encrypted@localhost:{}/postgres?{parameters}", postgres.port());
        let reason = verdicts(&url).0.unwrap_err();
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
    };
    let ca = format!("sslrootcert={}/ca.pem", dir.display());
    says("alone", &format!("sslmode=require&{ca}"), &["certificate is refused", "self-signed", "sslrootcert"]);
    says("expired", &format!("sslmode=verify-ca&{ca}"), &["expired"]);
    says("common", &format!("sslmode=verify-ca&{ca}&sslcrl={}/revoked.crl", dir.display()), &["revoked", "another"]);
    says("common", &format!("sslmode=verify-ca&{ca}&sslcrl=/none.crl"), &["sslcrl /none.crl"]);
    says("elsewhere", &format!("sslmode=verify-full&{ca}"), &["db.example", "localhost"]);
    says("signed", "sslrootcert=system", &["certificate is refused"]);
    says("signed", "sslmode=require&sslrootcert=/none.pem", &["sslrootcert /none.pem", "No such file"]);
}

#[test]
fn clients_show_certificates_of_every_form_that_psql_takes() {
    let (postgres, dir) = (Postgres::start(), certificates());
    query(&postgres.url("postgres"), "create role client login");
    std::fs::copy(dir.join("ca.pem"), postgres.folder().join("ca.pem")).unwrap();
    std::fs::set_permissions(postgres.folder().join("ca.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    query(
        &postgres.url("postgres"),
        &format!("alter system set ssl_ca_file = '{}/ca.pem'", postgres.folder().display()),
    );
    show(&postgres, &dir, "signed");
    postgres.add_access_rules("hostssl all client all cert\nhostnossl all client all reject");
    let of_ca = "-CA ca.pem -CAkey ca.key -addext basicConstraints=CA:FALSE -days 2 -noenc -subj /CN=client";
    for (name, key) in [("ec", "ec -pkeyopt ec_paramgen_curve:prime256v1"), ("rsa", "rsa:2048")] {
        openssl(&dir, &format!("req -x509 -newkey {key} -keyout {name}.key -out {name}.pem {of_ca}"));
        openssl(&dir, &format!("pkey -in {name}.key -traditional -out {name}.old.key"));
        openssl(&dir, &format!("pkey -in {name}.key -outform DER -out {name}.der.key"));
        openssl(&dir, &format!("pkcs8 -topk8 -in {name}.key -passout pass:geheim -out {name}.locked.key"));
    }
    openssl(&dir, "req -x509 -newkey rsa:2048 -keyout wrong.key -out wrong.pem -noenc -subj /CN=client");
    let check = |certificate: &str, key: &str, mode: u32, more: &str, expected: bool| {
        std::fs::set_permissions(dir.join(key), std::fs::Permissions::from_mode(mode)).unwrap();
        let url = format!(
            "postgres://client@localhost:{}/postgres?sslmode=verify-full&sslrootcert={1}/ca.pem&sslcert={1}/{certificate}&sslkey={1}/{key}{more}",
            postgres.port(),
            dir.display()
        );
        let (ours, psql) = verdicts(&url);
        assert_eq!(ours.is_ok(), psql.is_ok(), "{url}\nwe: {ours:?}\npsql: {psql:?}");
        assert_eq!(ours.is_ok(), expected, "{url}: {ours:?}");
        ours.err().unwrap_or_default()
    };
    for name in ["ec", "rsa"] {
        let certificate = format!("{name}.pem");
        for key in [".key", ".old.key", ".der.key"] {
            check(&certificate, &format!("{name}{key}"), 0o600, "", true);
        }
        check(&certificate, &format!("{name}.locked.key"), 0o600, "&sslpassword=geheim", true);
        let reason = check(&certificate, &format!("{name}.locked.key"), 0o600, "&sslpassword=falsch", false);
        assert!(reason.contains("sslpassword") && !reason.contains("falsch"), "{reason}");
    }
    assert!(check("ec.pem", "ec.key", 0o644, "", false).contains("0600"));
    assert!(check("ec.pem", "rsa.key", 0o600, "", false).contains("is not the key of"));
    let reason = check("wrong.pem", "wrong.key", 0o600, "", false);
    assert!(reason.contains("client certificate"), "{reason}");
}
