//! The ways to a database that psql knows: URLs, variables, password files, sockets, several hosts.
//! We are the real binary, and psql says what is right.

use crate::support::{Finished, Helix};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use testkit::postgres::{query, try_query_with};
use testkit::process::temp_dir;
use testkit::{Postgres, repo_path, unique};

/// A password with all that has a meaning in a URL.
const PASSWORD: &str = "p@ss:w/rd?#% ü";
const ENCODED: &str = "p%40ss%3Aw%2Frd%3F%23%25%20%C3%BC";

/// Variables of a process.
type Variables<'v> = &'v [(&'v str, &'v str)];

/// A server that asks for passwords.
struct Server {
    postgres: Postgres,
    database: String,
    folder: PathBuf,
}

impl Server {
    fn start() -> Server {
        let (postgres, database) = (Postgres::start(), unique("way").replace('-', "_"));
        let all = postgres.url("postgres");
        query(&all, &format!("create role someone superuser login password '{PASSWORD}'"));
        query(&all, &format!("create database {database}"));
        postgres.add_access_rules("host all someone all scram-sha-256\nlocal all someone scram-sha-256");
        Server { postgres, database, folder: temp_dir("ways") }
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let file = self.folder.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file.display().to_string()
    }

    fn url(&self, url: &str) -> String {
        let socket = self.postgres.folder().display().to_string();
        let encoded = socket.replace('/', "%2F");
        let url = url.replace("PORT", &self.postgres.port().to_string()).replace("ENCODED_SOCKET", &encoded);
        url.replace("SOCKET", &socket).replace("DB", &self.database).replace("PW", ENCODED)
    }
}

/// `helixstream mirror migrate`, which needs a database and nothing else.
fn migrate(variables: &[(&str, &str)], more: &[&str]) -> Finished {
    migrate_by(&repo_path("topologies/memory.toml"), variables, more)
}

fn migrate_by(topology: &Path, variables: &[(&str, &str)], more: &[&str]) -> Finished {
    let mut command = Helix::command();
    command.args(["mirror", "migrate", "--topology"]).arg(topology).args(more);
    command.envs(variables.iter().copied());
    Helix::spawn_command(command).finish()
}

#[test]
fn a_database_is_found_where_psql_finds_it() {
    let server = Server::start();
    let pgpass = server.file("pgpass", &server.url(r"*:PORT:DB:someone:p@ss\:w/rd?#% ü"), 0o600);
    let for_socket = server.file("socket", &server.url(r"SOCKET:PORT:*:someone:p@ss\:w/rd?#% ü"), 0o600);
    let open = server.file("open", &server.url(r"*:*:*:*:p@ss\:w/rd?#% ü"), 0o644);
    let none: Variables<'_> = &[];
    let cases: [(&str, Variables<'_>, bool); 22] = [
        ("postgres://someone:PW@127.0.0.1:PORT/DB", none, true),
        ("postgresql://someone:PW@localhost:PORT/DB", none, true),
        ("postgres://someone:PW@[::1]:PORT/DB", none, true),
        ("postgres://someone:PW@nowhere.invalid:PORT/DB?hostaddr=127.0.0.1", none, true),
        ("postgres://someone:wrong@127.0.0.1:PORT/DB", none, false),
        ("postgres://someone@127.0.0.1:PORT/DB", none, false),
        ("postgres://someone@127.0.0.1:PORT/DB", &[("PGPASSWORD", PASSWORD)], true),
        ("postgres://someone@127.0.0.1:PORT/DB", &[("PGPASSFILE", &pgpass)], true),
        ("postgres://someone@127.0.0.1:PORT/postgres", &[("PGPASSFILE", &pgpass)], false),
        ("postgres://someone@127.0.0.1:PORT/DB", &[("PGPASSFILE", &open)], false),
        ("postgres://someone:wrong@127.0.0.1:PORT/DB", &[("PGPASSWORD", PASSWORD)], false),
        (
            "postgres://127.0.0.1",
            &[("PGPASSWORD", PASSWORD), ("PGUSER", "someone"), ("PGPORT", "PORT"), ("PGDATABASE", "DB")],
            true,
        ),
        (
            "postgres://",
            &[
                ("PGHOST", "SOCKET"),
                ("PGPASSWORD", PASSWORD),
                ("PGUSER", "someone"),
                ("PGPORT", "PORT"),
                ("PGDATABASE", "DB"),
            ],
            true,
        ),
        ("postgres://someone:PW@/DB?host=SOCKET&port=PORT", none, true),
        ("postgres://someone:PW@ENCODED_SOCKET:PORT/DB?sslmode=require", none, true),
        ("postgres://someone@ENCODED_SOCKET:PORT/DB", &[("PGPASSFILE", &for_socket)], true),
        ("postgres://someone:PW@127.0.0.1:1,127.0.0.1:PORT/DB", none, true),
        ("postgres://someone:PW@127.0.0.1:1,SOCKET:PORT/DB?host=127.0.0.1,SOCKET&port=1,PORT", none, true),
        ("postgres://someone:PW@127.0.0.1:1,127.0.0.1:2/DB", none, false),
        ("postgres://someone:PW@127.0.0.1:PORT/DB?target_session_attrs=read-write", none, true),
        ("postgres://someone:PW@127.0.0.1:PORT/DB?target_session_attrs=standby", none, false),
        ("postgres://someone:PW@127.0.0.1:PORT/DB?nonsense=1", none, false),
    ];
    for (url, variables, expected) in cases {
        let url = server.url(url).replace(&format!("1,{}:", server.postgres.folder().display()), "1,x:");
        let variables: Vec<(&str, String)> = variables.iter().map(|(name, value)| (*name, server.url(value))).collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let psql = try_query_with(&variables, &url, "select current_user || ' ' || current_database()");
        let ours = migrate(&variables, &["--postgres-url", &url]);
        let shown = format!("{url} {variables:?}\nwe: {ours:?}\npsql: {psql:?}");
        assert_eq!((ours.code == Some(0), psql.is_ok()), (expected, expected), "{shown}");
        if let Ok(rows) = psql {
            assert_eq!(rows, [[format!("someone {}", server.database)]], "{shown}");
        }
        assert!(![ENCODED, PASSWORD, "wrong"].iter().any(|secret| ours.stderr.contains(secret)), "{shown}");
    }
}

#[test]
fn passwords_and_urls_come_from_files_and_what_is_wrong_is_told() {
    let server = Server::start();
    let url = server.url("postgres://someone@127.0.0.1:PORT/DB");
    let password = server.file("password", &format!("{PASSWORD}\n"), 0o600);
    let whole = server.file("url", &server.url("postgres://someone:PW@127.0.0.1:PORT/DB\n"), 0o600);
    assert_eq!(
        migrate(&[("HELIXSTREAM_POSTGRES_URL", &url), ("HELIXSTREAM_POSTGRES_PASSWORD_FILE", &password)], &[]).code,
        Some(0)
    );
    assert_eq!(
        migrate(&[("HELIXSTREAM_POSTGRES_URL", &url), ("HELIXSTREAM_POSTGRES_PASSWORD", PASSWORD)], &[]).code,
        Some(0)
    );
    assert_eq!(migrate(&[("HELIXSTREAM_POSTGRES_URL_FILE", &whole)], &[]).code, Some(0));
    assert_eq!(migrate(&[], &["--postgres-url-file", &whole]).code, Some(0));
    assert_eq!(migrate(&[], &["--postgres-url", &url, "--postgres-password-file", &password]).code, Some(0));
    // And by the topology file, from whose folder the path is taken.
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let keys = format!("[run]\npostgres_url = \"{url}\"\npostgres_password_file = \"password\"");
    let topology = server.file("topology.toml", &text.replace("[run]", &keys), 0o600);
    assert_eq!(migrate_by(Path::new(&topology), &[], &[]).code, Some(0));
    let wrong = [
        ("mysql://someone@localhost/d", "`mysql`"),
        ("jdbc:postgresql://localhost/d", "remove `jdbc:`"),
        ("postgres://someone:s3c@ret@localhost/d", "percent-encoded"),
        ("postgres://someone:s3c/ret@localhost/d", "%2F"),
        ("postgres://someone@localhost/d?sslmode=verify-full", "sslrootcert"),
    ];
    for (url, says) in wrong {
        let told = migrate(&[], &["--postgres-url", url]);
        told.assert_failed(2, &["--postgres-url", says, "[HS4501]"]);
        assert!(!told.stderr.contains("s3c") && !told.stderr.contains("ret@"), "{told:?}");
    }
    migrate(&[], &["--postgres-url", &url]).assert_failed(1, &["no password was set", "docs/postgres.md"]);
    migrate(&[("HELIXSTREAM_POSTGRES_URL", &url), ("HELIXSTREAM_POSTGRES_PASSWORD_FILE", "/none")], &[])
        .assert_failed(1, &["/none"]);
}
