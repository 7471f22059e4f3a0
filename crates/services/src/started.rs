//! The file of the services that `up` has started, by which `down` stops these and no others. A
//! service is written down before it is started, so that a kill in between leaves none behind. A
//! lock beside the file keeps a second `up` or `down` away.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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

/// A service that `up` has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its name in the compose file.
    pub service: String,
    /// The compose file.
    pub compose_file: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    started: Vec<Started>,
}

/// The file, locked until it is dropped.
#[derive(Debug)]
pub struct StartedFile {
    path: PathBuf,
    started: Vec<Started>,
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
            Ok(bytes) => {
                let wrong = |why: String| StartedError::Content { path: path.to_owned(), why };
                let content: Content = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
                if content.version != VERSION {
                    return Err(wrong(format!("it has version {}", content.version)));
                }
                content.started
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed("read")(e)),
        };
        Ok(StartedFile { path: path.to_owned(), started, _lock: lock })
    }

    /// The services in it, in the order in which they were started.
    pub fn services(&self) -> &[Started] {
        &self.started
    }

    /// Writes a service down, unless it stands there already.
    ///
    /// # Errors
    /// [`StartedError::Io`].
    pub fn add(&mut self, service: Started) -> Result<(), StartedError> {
        if self.started.contains(&service) {
            return Ok(());
        }
        self.started.push(service);
        self.write()
    }

    /// Takes a service out.
    ///
    /// # Errors
    /// [`StartedError::Io`].
    pub fn remove(&mut self, service: &Started) -> Result<(), StartedError> {
        self.started.retain(|other| other != service);
        self.write()
    }

    /// Replaces the file in one step.
    fn write(&self) -> Result<(), StartedError> {
        let failed = |source| StartedError::Io { path: self.path.clone(), doing: "written", source };
        let content = Content { version: VERSION, started: self.started.clone() };
        let text = serde_json::to_vec_pretty(&content).map_err(|e| failed(e.into()))?;
        let new = beside(&self.path, ".new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path)).map_err(failed)
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

    fn started(service: &str) -> Started {
        Started { service: service.to_owned(), compose_file: "/a/docker-compose.yml".into() }
    }

    #[test]
    fn what_was_started_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("started.json");
        let mut file = StartedFile::open(&path).unwrap();
        assert_eq!(file.services(), []);
        for name in ["kafka", "minio", "kafka"] {
            file.add(started(name)).unwrap();
        }
        assert!(matches!(StartedFile::open(&path), Err(StartedError::Busy(_))), "one at a time");
        drop(file);
        let mut file = StartedFile::open(&path).unwrap();
        assert_eq!(file.services(), [started("kafka"), started("minio")]);
        file.remove(&started("kafka")).unwrap();
        drop(file);
        assert_eq!(StartedFile::open(&path).unwrap().services(), [started("minio")]);
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
}
