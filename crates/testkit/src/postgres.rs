//! A real PostgreSQL on a free port, its data in a temporary folder. Durability is off: a test's
//! database need not survive a power cut.

use super::process::{Process, temp_dir};
use super::{SmallDisk, ports, unique, wait_for};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// A running (or stopped) server; ended when dropped, its data removed with the test process.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    port: Mutex<u16>,
    process: Mutex<Option<Process>>,
    disk: Option<SmallDisk>,
}

impl Postgres {
    /// The server that all tests of this binary share. Never stop it: make a database of your own
    /// ([`Postgres::create_database`]).
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// A server of the test's own, empty and ready.
    pub fn start() -> Postgres {
        Postgres::start_with(None)
    }

    /// The same, that sees a small disk, for a tablespace on it; its own data lie elsewhere. `None`
    /// where there can be no such disk.
    pub fn start_beside_disk(mib: usize) -> Option<Postgres> {
        let disk = SmallDisk::new(mib, server_user().unwrap_or_default())?;
        Some(Postgres::start_with(Some(disk)))
    }

    /// The disk that it was started beside.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("it was started beside a disk")
    }

    fn start_with(disk: Option<SmallDisk>) -> Postgres {
        let dir = temp_dir("postgres");
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(&dir, Some(user), Some(group)).unwrap();
        }
        let mut initdb = server_command("initdb");
        initdb.arg("-D").arg(dir.join("data")).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        initdb.args(["--locale=C.UTF-8", "--no-sync"]).current_dir(&dir);
        let output = initdb.output().expect("start initdb");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let postgres = Postgres { dir, port: Mutex::new(ports::free_port()), process: Mutex::new(None), disk };
        for attempt in 1.. {
            if postgres.try_restart() {
                break;
            }
            assert!(attempt < 3, "PostgreSQL does not start:\n{}", postgres.log());
            *postgres.port.lock().unwrap() = ports::free_port();
        }
        postgres
    }

    /// The folder of its data, configuration and socket.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        *self.port.lock().unwrap()
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port.lock().unwrap())
    }

    /// Makes an empty database that no other test uses and gives its URL.
    pub fn create_database(&self) -> String {
        let name = unique("test").replace('-', "_");
        query(&self.url("postgres"), &format!("create database {name}"));
        self.url(&name)
    }

    /// Puts rules in front of those by which it lets clients in (lines of `pg_hba.conf`); they
    /// count at once.
    pub fn add_access_rules(&self, lines: &str) {
        let file = self.dir.join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{lines}\n{rules}")).unwrap();
        query(&self.url("postgres"), "select pg_reload_conf()");
    }

    /// The processes that serve its clients, and its own helpers.
    pub fn pids(&self) -> Vec<u32> {
        let pid = self.process.lock().unwrap().as_ref().expect("the server runs").pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    }

    /// Text of the server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Stops it in good order, cutting the connections (a "fast" shutdown).
    pub fn stop(&self) {
        let mut process = self.process.lock().unwrap().take().expect("the server runs");
        process.signal(Signal::INT);
        process.wait(Duration::from_secs(60)).expect("PostgreSQL stops within a minute of SIGINT");
    }

    /// Ends it at once, without a checkpoint (an "immediate" shutdown, as after a crash).
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap().take().expect("the server runs");
        process.signal(Signal::QUIT);
        process.wait(Duration::from_secs(60)).expect("PostgreSQL ends within a minute of SIGQUIT");
    }

    /// SIGKILL to the server and to all that it has started, as when memory runs out.
    pub fn kill_hard(&self) {
        let mut process = self.process.lock().unwrap().take().expect("the server runs");
        let pid = process.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        process.kill();
        for child in children.split_whitespace().filter_map(|child| rustix::process::Pid::from_raw(child.parse().ok()?))
        {
            // It may have ended by itself: its parent is gone.
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
    }

    /// Starts it again after [`Postgres::stop`], [`Postgres::kill`] or [`Postgres::kill_hard`], on
    /// the same port and data; returns when it serves.
    pub fn restart(&self) {
        assert!(self.try_restart(), "PostgreSQL does not start again:\n{}", self.log());
    }

    fn try_restart(&self) -> bool {
        let port = self.port.lock().unwrap().to_string();
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = server_command("postgres");
        command.arg("-D").arg(self.dir.join("data")).args(["-p", &port, "-k"]).arg(&self.dir);
        for setting in ["listen_addresses=127.0.0.1,::1", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        {
            command.args(["-c", setting]);
        }
        if let (Some(disk), Some(user)) = (&self.disk, server_user()) {
            command = disk.inside(&SmallDisk::as_user(&command, user));
        }
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = Process::start(command, Signal::QUIT).expect("start postgres");
        let serves = wait_for("PostgreSQL to serve", || {
            if process.poll().is_some() {
                return Some(false);
            }
            try_query(&self.url("postgres"), "select 1").is_ok().then_some(true)
        });
        *self.process.lock().unwrap() = serves.then_some(process);
        serves
    }
}

/// Runs SQL with psql and gives the rows, each column as text (`NULL` is the empty text); panics
/// when it fails.
#[track_caller]
pub fn query(url: &str, sql: &str) -> Vec<Vec<String>> {
    try_query(url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// [`query`], with psql's message when it fails.
pub fn try_query(url: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
    try_query_with(&[], url, sql)
}

/// [`try_query`], with variables for psql.
pub fn try_query_with(variables: &[(&str, &str)], url: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let mut command = Command::new("psql");
    command.envs(variables.iter().copied()).args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-F",
        "\u{1f}",
        "-R",
        "\u{1e}",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url,
        "-c",
        sql,
    ]);
    let output = command.stdin(Stdio::null()).output().expect("start psql");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("psql writes UTF-8");
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let rows = text.split('\u{1e}').filter(|row| !row.is_empty());
    Ok(rows.map(|row| row.split('\u{1f}').map(str::to_owned).collect()).collect())
}

/// Runs a file of SQL with psql; panics when it fails.
#[track_caller]
pub fn run_file(url: &str, path: &str) {
    let mut command = Command::new("psql");
    command
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", path])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output().expect("start psql");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A server program of the newest PostgreSQL here; as user `postgres` when we are root, since it
/// refuses to run as root.
fn server_command(program: &str) -> Command {
    let mut command = Command::new(server_folder().join(program));
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}

fn server_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
        folders.retain(|folder| folder.join("initdb").exists());
        folders.sort();
        let found = folders.pop();
        found.expect("no PostgreSQL server below /usr/lib/postgresql: run scripts/packages (make test does)")
    })
}

pub(super) fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let line = line.expect("there is no user postgres: run scripts/packages (make test does)");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().expect("a user's number"));
    Some((fields.next().unwrap(), fields.next().unwrap()))
}
