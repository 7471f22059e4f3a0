//! Real servers of the services around helixstream, each on free ports. `scripts/service-servers`
//! puts them into the cache.

use super::http::call;
use super::process::{Process, temp_dir};
use super::{ports, skip, wait_for, wait_until};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct ServiceServer {
    port: u16,
    dir: PathBuf,
    process: Mutex<Process>,
}

/// The folder of a server in the cache.
pub(super) fn folder(name: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    cache.expect("HOME or XDG_CACHE_HOME is set").join("helixstream/services").join(name)
}

/// Whether the cache has a server. Where it does not, that must be allowed: see [`skip`]. What
/// Maven fetches, every machine can have.
pub(super) fn is_there(name: &str) -> bool {
    if folder(name).join(".version").exists() {
        return true;
    }
    let why = format!("there is no {}, which 'scripts/service-servers {name}' makes", folder(name).display());
    match name {
        "clickhouse" | "prometheus" => skip::allow("debian", &why),
        "minio" | "toxiproxy" => skip::allow("go", &why),
        _ => panic!("{why}"),
    }
    false
}

impl ServiceServer {
    fn start(port: u16, dir: PathBuf, mut command: Command) -> ServiceServer {
        let log = File::create(dir.join("log")).unwrap();
        command.current_dir(&dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let program = command.get_program().to_owned();
        let process = Process::start(command, Signal::KILL);
        let process = process.unwrap_or_else(|e| panic!("start {}: {e}", program.display()));
        ServiceServer { port, dir, process: Mutex::new(process) }
    }

    /// The port of its service, or of its page.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once.
    pub fn kill(&self) {
        self.process.lock().unwrap().kill();
    }

    /// A ZooKeeper that serves alone.
    pub fn zookeeper() -> ServiceServer {
        ServiceServer::zookeeper_with(&[])
    }

    /// A ZooKeeper of three that finds none of the others.
    pub fn zookeeper_without_quorum() -> ServiceServer {
        let server = |id: usize| format!("server.{id}=127.0.0.1:{}:{}", ports::free_port(), ports::free_port());
        ServiceServer::zookeeper_with(&[
            "initLimit=5".to_owned(),
            "syncLimit=2".to_owned(),
            server(1),
            server(2),
            server(3),
        ])
    }

    fn zookeeper_with(more: &[String]) -> ServiceServer {
        let (dir, port) = (temp_dir("zookeeper"), ports::free_port());
        std::fs::create_dir(dir.join("data")).unwrap();
        std::fs::write(dir.join("data/myid"), "1").unwrap();
        let config = format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=srvr,ruok\n{}\n",
            dir.join("data").display(),
            more.join("\n")
        );
        std::fs::write(dir.join("zoo.cfg"), config).unwrap();
        let mut command = java("zookeeper", "128m", &[], "org.apache.zookeeper.server.quorum.QuorumPeerMain");
        command.arg("zoo.cfg");
        ServiceServer::start(port, dir, command)
    }

    /// A Neo4j with its pages over HTTP; its port is that of these.
    pub fn neo4j() -> ServiceServer {
        let (dir, port) = (temp_dir("neo4j"), ports::free_port());
        let config = format!(
            "server.http.listen_address=127.0.0.1:{port}\nserver.bolt.listen_address=127.0.0.1:{}\n\
             server.https.enabled=false\nserver.memory.pagecache.size=64m\ndb.tx_log.preallocate=false\n\
             dbms.usage_report.enabled=false\n",
            ports::free_port()
        );
        std::fs::write(dir.join("neo4j.conf"), config).unwrap();
        let mut command =
            java("neo4j", "512m", &["java.nio", "java.io", "sun.nio.ch"], "org.neo4j.server.CommunityEntryPoint");
        let at = dir.display();
        command.arg(format!("--home-dir={at}")).arg(format!("--config-dir={at}"));
        ServiceServer::start(port, dir, command)
    }

    /// A ClickHouse; its port is that of HTTP. `None` where the machine has none and that is
    /// allowed.
    pub fn clickhouse() -> Option<ServiceServer> {
        let home = Some(folder("clickhouse")).filter(|_| is_there("clickhouse"))?;
        let (dir, port) = (temp_dir("clickhouse"), ports::free_port());
        let at = dir.display();
        let config = format!(
            "<yandex><logger><level>warning</level><console>1</console></logger><listen_host>127.0.0.1</listen_host>\
             <http_port>{port}</http_port><path>{at}/data/</path><tmp_path>{at}/data/tmp/</tmp_path>\
             <users_config>users.xml</users_config><default_profile>default</default_profile>\
             <default_database>default</default_database><mark_cache_size>5368709</mark_cache_size></yandex>"
        );
        let users = "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default>\
             <password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>\
             <quota>default</quota></default></users></yandex>";
        std::fs::create_dir(dir.join("data")).unwrap();
        std::fs::write(dir.join("config.xml"), config).unwrap();
        std::fs::write(dir.join("users.xml"), users).unwrap();
        let mut command = Command::new(home.join("usr/sbin/clickhouse-server"));
        command.arg("--config-file=config.xml").env("LD_LIBRARY_PATH", libraries(&home));
        Some(ServiceServer::start(port, dir, command))
    }

    /// A MinIO. `None` where the machine has none and that is allowed.
    pub fn minio() -> Option<ServiceServer> {
        let home = Some(folder("minio")).filter(|_| is_there("minio"))?;
        let (dir, port) = (temp_dir("minio"), ports::free_port());
        let mut command = Command::new(home.join("minio"));
        command.args(["server", "--address", &format!("127.0.0.1:{port}")]).arg(dir.join("data"));
        command.env("MINIO_ROOT_USER", "of-tests").env("MINIO_ROOT_PASSWORD", "of-tests").env("MINIO_BROWSER", "off");
        Some(ServiceServer::start(port, dir, command))
    }

    /// A Prometheus at this port. `None` where the machine has none and that is allowed.
    pub fn prometheus_at(port: u16) -> Option<ServiceServer> {
        let home = Some(folder("prometheus")).filter(|_| is_there("prometheus"))?;
        let dir = temp_dir("prometheus");
        std::fs::write(dir.join("prometheus.yml"), "global: {}\n").unwrap();
        let mut command = Command::new(home.join("usr/bin/prometheus"));
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Some(ServiceServer::start(port, dir, command))
    }

    /// A master of Spark at this port of its protocol; its own port is that of its page.
    pub fn spark_master(at: u16) -> ServiceServer {
        let (dir, port) = (temp_dir("spark-master"), ports::free_port());
        let mut command = java("spark", "256m", SPARK_OPENS, "org.apache.spark.deploy.master.Master");
        command.args(["--host", "127.0.0.1", "--port", &at.to_string(), "--webui-port", &port.to_string()]);
        command.env("SPARK_LOCAL_IP", "127.0.0.1");
        ServiceServer::start(port, dir, command)
    }

    /// A worker of Spark, of the master at this port; its own port is that of its page.
    pub fn spark_worker(master: u16) -> ServiceServer {
        let (dir, port) = (temp_dir("spark-worker"), ports::free_port());
        let mut command = java("spark", "256m", SPARK_OPENS, "org.apache.spark.deploy.worker.Worker");
        command.args(["--host", "127.0.0.1", "--webui-port", &port.to_string(), "--cores", "1", "--memory", "512m"]);
        command.args(["--work-dir", "work", &format!("spark://127.0.0.1:{master}")]);
        command.env("SPARK_LOCAL_IP", "127.0.0.1").env("SPARK_HOME", &dir);
        ServiceServer::start(port, dir, command)
    }

    /// Waits until GET of the path is answered with status 200 and this text.
    #[track_caller]
    pub fn wait_for_page(&self, path: &str, text: &str) {
        wait_until(&format!("{path} of {}", self.dir.display()), || {
            self.panic_if_ended();
            let answer = call(self.port, "GET", path, "", "");
            answer.is_some_and(|(status, body)| status == 200 && body.contains(text))
        });
    }

    /// Waits until ZooKeeper answers `ruok`; returns what.
    #[track_caller]
    pub fn wait_for_zookeeper(&self) -> String {
        wait_for("ZooKeeper", || {
            self.panic_if_ended();
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            stream.write_all(b"ruok").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer).filter(|answer| !answer.is_empty())
        })
    }

    #[track_caller]
    fn panic_if_ended(&self) {
        let ended = self.process.lock().unwrap().poll();
        let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        assert!(ended.is_none(), "it ended with {ended:?}: {}", log());
    }
}

/// The packages of the JVM that Spark needs opened.
const SPARK_OPENS: &[&str] = &[
    "java.lang",
    "java.lang.invoke",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "sun.nio.ch",
];

/// A command that runs a class of a server's jars.
fn java(server: &str, heap: &str, opened: &[&str], class: &str) -> Command {
    assert!(is_there(server), "without jars");
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{heap}")).args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.args(opened.iter().map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")));
    command.arg("-cp").arg(folder(server).join("libs/*")).arg(class);
    command
}

/// The folders of libraries below an unpacked package, for `LD_LIBRARY_PATH`.
fn libraries(home: &Path) -> String {
    let mut found = Vec::new();
    for lib in ["usr/lib", "lib"] {
        let folders = std::fs::read_dir(home.join(lib)).into_iter().flatten().flatten();
        found.extend(folders.map(|folder| folder.path()).filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
    }
    found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}
