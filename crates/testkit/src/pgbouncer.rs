//! A real PgBouncer on a free port, in front of a [`Postgres`]: every transaction may get another
//! session.

use super::postgres::{server_user, try_query};
use super::process::{Process, temp_dir};
use super::{Postgres, ports, wait_for};
use rustix::process::Signal;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A running pooler; ended when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _process: Process,
}

impl PgBouncer {
    /// A pooler of `pool_size` sessions for each database of `postgres`, in transaction mode,
    /// otherwise as it comes.
    pub fn start(postgres: &Postgres, pool_size: usize) -> PgBouncer {
        let dir = temp_dir("pgbouncer");
        let port = ports::free_port();
        let users = dir.join("users");
        let config = dir.join("pgbouncer.ini");
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = {pool_size}\n",
            postgres.port(),
            users.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        // It refuses to run as root, too.
        if let Some((user, group)) = server_user() {
            for path in [&dir, &users, &config] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
            command.uid(user).gid(group);
        }
        let log = std::fs::File::create(dir.join("log")).unwrap();
        command.arg(&config).current_dir(&dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = Process::start(command, Signal::INT);
        let process = process.expect("no PgBouncer at /usr/sbin/pgbouncer: run scripts/packages (make test does)");
        let pooler = PgBouncer { port, _process: process };
        wait_for("PgBouncer to serve", || try_query(&pooler.of(&postgres.url("postgres")), "select 1").ok());
        pooler
    }

    /// The URL of a database of the server behind it, by way of the pooler.
    pub fn of(&self, url: &str) -> String {
        let database = url.rsplit_once('/').map_or("", |(_, rest)| rest);
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
