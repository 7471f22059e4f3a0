//! The file of the containers that `up` has started, by which `down` removes these and no others. A
//! start is written down before it begins, and the ids of its containers behind it: after a kill in
//! between, `down` sees that something may be left. A lock beside the file keeps a second `up` or
//! `down` away.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::SERVICES;

/// The version of the file that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartedError {
    /// Another process has it.
    #[error("another `services up` or `services down` is at work with {}; wait for its end [HS9006]", .0.display())]
    Busy(PathBuf),
    /// It cannot be read or written.
    #[error("the file {} of the started services cannot be {doing}: {source} [HS9007]", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation that was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "the file {} does not hold the started services of this version ({why}); look which containers run, and remove it [HS9007]",
        .path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault of the content.
        why: String,
    },
}

/// A service that `up` has started, or has begun to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedService {
    /// Its name in the compose file.
    pub service: String,
    /// The compose file.
    pub compose_file: PathBuf,
    /// The compose project, by which `docker compose` knows its containers.
    pub project: String,
    /// The ids of the containers that were started.
    pub containers: Vec<String>,
    /// Whether a start was begun whose end is not noted, so that containers may be missing above.
    pub is_starting: bool,
}

impl StartedService {
    /// A start that begins.
    pub fn new(service: &str, compose_file: &Path, project: &str) -> StartedService {
        StartedService {
            service: service.to_owned(),
            compose_file: compose_file.to_owned(),
            project: project.to_owned(),
            containers: Vec::new(),
            is_starting: true,
        }
    }

    fn is_same(&self, other: &StartedService) -> bool {
        (&self.service, &self.compose_file, &self.project) == (&other.service, &other.compose_file, &other.project)
    }

    /// Why it is not used: its texts become arguments of `docker`.
    fn fault(&self) -> Option<String> {
        if !SERVICES.iter().any(|spec| spec.name == self.service) {
            return Some(format!("{:?} is no service", self.service));
        }
        let of_project = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if !self.project.starts_with(|c: char| c.is_ascii_alphanumeric()) || !self.project.chars().all(of_project) {
            return Some(format!("{:?} is no compose project", self.project));
        }
        let wrong = self.containers.iter().find(|id| !is_container_id(id));
        wrong.map(|id| format!("{id:?} is no id of a container"))
    }
}

/// Whether a text is the full id of a container, as `docker` prints it.
pub fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    started: Vec<StartedService>,
}

/// The file, locked until it is dropped.
#[derive(Debug)]
pub struct StartedFile {
    path: PathBuf,
    started: Vec<StartedService>,
    _lock: File,
}

impl StartedFile {
    /// Locks and reads it. A file that is missing holds nothing.
    ///
    /// # Errors
    /// [`StartedError`].
    pub fn open(path: &Path) -> Result<StartedFile, StartedError> {
        let failed = |doing| move |source| StartedError::Io { path: path.to_owned(), doing, source };
        let lock = File::create(beside(path, ".lock")).map_err(failed("locked"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartedError::Busy(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("locked")(source)),
        }
        let started = match fs::read(path) {
            Ok(bytes) => read(&bytes).map_err(|why| StartedError::Content { path: path.to_owned(), why })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed("read")(e)),
        };
        Ok(StartedFile { path: path.to_owned(), started, _lock: lock })
    }

    /// The services in it, in the order in which they were started.
    pub fn services(&self) -> &[StartedService] {
        &self.started
    }

    /// The ids of the containers of a service that were started, as far as they are noted.
    pub fn containers(&self, service: &StartedService) -> Vec<String> {
        self.started.iter().find(|other| other.is_same(service)).map_or_else(Vec::new, |found| found.containers.clone())
    }

    /// Notes that a start begins. Containers of an earlier start stay noted.
    ///
    /// # Errors
    /// [`StartedError::Io`].
    pub fn begin(&mut self, service: &StartedService) -> Result<(), StartedError> {
        match self.started.iter_mut().find(|other| other.is_same(service)) {
            Some(found) => found.is_starting = true,
            None => self.started.push(service.clone()),
        }
        self.write()
    }

    /// Notes the containers that are there behind a start; without any the service is taken out.
    ///
    /// # Errors
    /// [`StartedError::Io`].
    pub fn end(&mut self, service: &StartedService, containers: Vec<String>) -> Result<(), StartedError> {
        if containers.is_empty() {
            return self.remove(service);
        }
        if let Some(found) = self.started.iter_mut().find(|other| other.is_same(service)) {
            found.containers = containers;
            found.is_starting = false;
        }
        self.write()
    }

    /// Takes a service out.
    ///
    /// # Errors
    /// [`StartedError::Io`].
    pub fn remove(&mut self, service: &StartedService) -> Result<(), StartedError> {
        self.started.retain(|other| !other.is_same(service));
        self.write()
    }

    /// Replaces the file in one step, which a loss of power does not undo.
    fn write(&self) -> Result<(), StartedError> {
        let failed = |source| StartedError::Io { path: self.path.clone(), doing: "written", source };
        let content = Content { version: VERSION, started: self.started.clone() };
        let text = serde_json::to_vec_pretty(&content).map_err(|e| failed(e.into()))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let new = beside(&self.path, ".new");
        let written = File::create(&new).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        let renamed = written.and_then(|()| fs::rename(&new, &self.path));
        renamed.and_then(|()| File::open(folder)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// The services of the file's content.
fn read(bytes: &[u8]) -> Result<Vec<StartedService>, String> {
    let content: Content = serde_json::from_slice(bytes).map_err(|e| e.to_string().escape_debug().to_string())?;
    if content.version != VERSION {
        return Err(format!("it has version {}", content.version));
    }
    match content.started.iter().find_map(StartedService::fault) {
        Some(fault) => Err(fault),
        None => Ok(content.started),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(service: &str) -> StartedService {
        StartedService::new(service, Path::new("/a/docker-compose.yml"), "helixstream")
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn what_was_started_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("started.json");
        let mut file = StartedFile::open(&path).unwrap();
        assert_eq!(file.services(), []);
        for name in ["kafka", "minio", "kafka"] {
            file.begin(&started(name)).unwrap();
        }
        assert!(matches!(StartedFile::open(&path), Err(StartedError::Busy(_))), "one at a time");
        drop(file);
        let mut file = StartedFile::open(&path).unwrap();
        assert_eq!(file.services(), [started("kafka"), started("minio")], "a kill leaves what was begun");
        file.end(&started("minio"), vec![id('a'), id('b')]).unwrap();
        file.remove(&started("kafka")).unwrap();
        drop(file);
        let mut file = StartedFile::open(&path).unwrap();
        let noted = StartedService { containers: vec![id('a'), id('b')], is_starting: false, ..started("minio") };
        assert_eq!(file.services(), [noted]);
        file.begin(&started("minio")).unwrap();
        assert_eq!(file.containers(&started("minio")), [id('a'), id('b')], "they are ours until the start has ended");
        file.end(&started("minio"), Vec::new()).unwrap();
        assert_eq!(file.services(), [], "nothing was started");
    }

    #[test]
    fn a_file_of_another_version_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("started.json");
        for text in ["{\"version\": 2, \"started\": []}", "[]", ""] {
            fs::write(&path, text).unwrap();
            let error = StartedFile::open(&path).unwrap_err();
            assert!(matches!(error, StartedError::Content { .. }), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_becomes_an_argument_of_docker_is_looked_at_before() {
        let with = |change: fn(&mut StartedService)| {
            let mut service = started("kafka");
            change(&mut service);
            read(&serde_json::to_vec(&Content { version: VERSION, started: vec![service] }).unwrap())
        };
        assert!(with(|service| service.containers = vec![id('a')]).is_ok());
        assert_eq!(with(|service| service.service = "-v".to_owned()).unwrap_err(), "\"-v\" is no service");
        let error = with(|service| service.service = "\u{1b}[2J".to_owned()).unwrap_err();
        assert!(!error.contains('\u{1b}'), "{error}");
        assert!(with(|service| service.project = "--help".to_owned()).is_err());
        assert!(with(|service| service.containers = vec!["--all".to_owned()]).is_err());
        assert!(with(|service| service.containers = vec!["a".to_owned()]).is_err(), "it may mean any container");
    }
}
