//! Certificates, keys, authorities and passwords of Kafka's clients that are replaced on disk while
//! a command runs.
//!
//! A thread looks at the files every [`EVERY`]. A change counts once two checks have found the same
//! content: certificate and key are replaced one after the other, and a file may be half written.
//! Then a client that is made with the new files tries to connect. Only if the brokers let it in do
//! the others follow; until then they keep what they have, and a warning says what is wrong.
//!
//! A changed password is given to the live clients, which use it from their next connection on.
//! Everything else librdkafka reads only when a client is made, so it takes new clients: see
//! [`streams_kafka::renewal`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use xxhash_rust::xxh3::Xxh3;

use super::CommandError;
use super::signals::{LOOK, wait_for};
use secret::SecretSource;
use streams::error::{Error, Result};
use streams_kafka::renewal::CurrentSettings;
use streams_kafka::{KafkaSettings, replace_password, wait_for_brokers};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long the brokers may take to let the client in that tries the new files.
const CONTACT: Duration = Duration::from_secs(10);
/// A warning about what lasts is logged again after this long.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long a client that could not be made waits for the next try.
const MAKE_WAIT: Duration = Duration::from_secs(1);
/// How long the end of a command waits for this thread, which may be waiting for a broker.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Reads the settings of Kafka's clients anew.
pub type ReadSettings = Box<dyn Fn() -> std::result::Result<KafkaSettings, CommandError> + Send>;
/// Makes the clients anew that all threads share, and asks the threads to follow.
pub type Renew = Box<dyn Fn(&KafkaSettings) -> anyhow::Result<()> + Send>;

/// The files that clients are made of, as they are before any client is made.
pub struct Watched(WatchedFiles);

impl Watched {
    /// Those that these settings name, and the file of `HELIXSTREAM_X_FILE`.
    ///
    /// # Errors
    /// A variable is of no use.
    pub fn of(settings: &KafkaSettings) -> std::result::Result<Watched, CommandError> {
        let mut paths = settings.pass_through.files();
        let of_variable =
            SecretSource::from_variables("HELIXSTREAM_X").map_err(|e| CommandError::Usage(e.to_string()))?;
        if let Some(SecretSource::File { path, .. }) = of_variable {
            paths.push(path);
        }
        Ok(Watched(WatchedFiles::new(paths)))
    }
}

/// The thread that watches the files, until it is ended.
pub struct Rotation(Option<(Arc<AtomicBool>, JoinHandle<()>)>);

impl Rotation {
    /// Starts the thread; there is none where no setting names a file.
    ///
    /// # Errors
    /// The system provides no thread.
    pub fn start(
        watched: Watched,
        current: &CurrentSettings,
        read: ReadSettings,
        renew: Renew,
    ) -> anyhow::Result<Rotation> {
        if watched.0.paths.is_empty() {
            return Ok(Rotation(None));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut watch = FileWatch { files: watched.0, current: current.clone(), read, renew, told: None };
        let asked = stop.clone();
        let body = move || {
            let mut next = Instant::now() + EVERY;
            while !asked.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                if Instant::now() >= next {
                    watch.check();
                    next = Instant::now() + EVERY;
                }
            }
        };
        let thread = thread::Builder::new().name("kafka-files".to_owned()).spawn(body);
        Ok(Rotation(Some((
            stop,
            thread.map_err(|e| {
                anyhow!("the operating system did not start the thread that watches Kafka's files: {e} [HS0008]")
            })?,
        ))))
    }

    /// Ends the thread. One that waits for a broker ends with the process.
    pub fn end(self) {
        if let Some((stop, thread)) = self.0 {
            stop.store(true, Ordering::Relaxed);
            wait_for(&thread, Instant::now() + END_LIMIT);
        }
    }
}

struct FileWatch {
    files: WatchedFiles,
    current: CurrentSettings,
    read: ReadSettings,
    renew: Renew,
    told: Option<Instant>,
}

impl FileWatch {
    fn check(&mut self) {
        match self.files.check() {
            FileChange::Same => self.told = None,
            FileChange::Settling => {}
            FileChange::Unreadable(why) => self.warn(&why),
            FileChange::Changed(changed) => match self.take_over(&changed.paths) {
                Ok(()) => {
                    self.files.in_use = changed.digests;
                    self.told = None;
                }
                Err(why) => self.warn(&format!(
                    "changed on disk: {}; Kafka cannot be reached with what is there now: {why}",
                    list(&changed.paths)
                )),
            },
        }
    }

    /// Tries what the files hold now; then all clients go on with it.
    fn take_over(&self, paths: &[PathBuf]) -> std::result::Result<(), CommandError> {
        let settings = (self.read)()?;
        wait_for_brokers(&settings, CONTACT)?;
        let given = replace_password(&settings)?;
        let password = settings.pass_through.password_file();
        self.current.set(settings.clone());
        if given > 0 && paths.iter().all(|path| password.as_ref() == Some(path)) {
            tracing::info!(
                "changed on disk: {}; the brokers accept the new password, and all {given} Kafka clients of this process use it from their next connection on, \
                 without a restart",
                list(paths)
            );
            return Ok(());
        }
        tracing::info!(
            "changed on disk: {}; the brokers accept what is there now, and all Kafka clients are made anew, without a restart",
            list(paths)
        );
        (self.renew)(&settings)?;
        self.current.renew();
        Ok(())
    }

    /// Tells once a minute at most.
    fn warn(&mut self, what: &str) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(
                code = "HS2061",
                "{what}. The Kafka clients keep what they were made with, and the files are tried again every {} s; correct them, or the brokers",
                EVERY.as_secs()
            );
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Makes a client of `owner`; where a file that it is made of cannot be used just now, again every
/// second, until it can or `is_stopping` says so (`None`). Logged at first and once a minute.
///
/// # Errors
/// As the making has it, but for [`Error::Retry`].
pub fn once_made<T>(
    owner: &str,
    is_stopping: impl Fn() -> bool,
    mut make: impl FnMut() -> Result<T>,
) -> Result<Option<T>> {
    let mut told: Option<Instant> = None;
    while !is_stopping() {
        match make() {
            Err(Error::Retry(why)) => {
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    tracing::warn!(
                        code = "HS2062",
                        "{owner} cannot create its Kafka client, waits, and retries every second; nothing is lost: {why}"
                    );
                }
                thread::sleep(MAKE_WAIT);
            }
            made => return made.map(Some),
        }
    }
    Ok(None)
}

/// Result of a check of the files.
#[derive(Debug, PartialEq, Eq)]
enum FileChange {
    /// All is as the clients in use were made with.
    Same,
    /// Something has changed, and may go on changing.
    Settling,
    /// Something has changed, and was the same for two looks.
    Changed(Changed),
    /// A file cannot be read, and why.
    Unreadable(String),
}

#[derive(Debug, PartialEq, Eq)]
struct Changed {
    /// The files that have changed.
    paths: Vec<PathBuf>,
    /// Reads the content of all files.
    digests: Vec<u128>,
}

/// Files and digests of their content. No content is kept.
struct WatchedFiles {
    paths: Vec<PathBuf>,
    /// Content with which the clients in use were created.
    in_use: Vec<u128>,
    /// Content that the last check found, where it differs.
    seen: Option<Vec<u128>>,
}

impl WatchedFiles {
    /// Of those that can be read: of another one no client was made (`ssl.ca.location=probe` names
    /// no file).
    fn new(paths: Vec<PathBuf>) -> WatchedFiles {
        let readable = paths.into_iter().filter_map(|path| digest(&path).ok().map(|found| (path, found)));
        let (paths, in_use) = readable.unzip();
        WatchedFiles { paths, in_use, seen: None }
    }

    fn check(&mut self) -> FileChange {
        let mut found = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            match digest(path) {
                Ok(digest) => found.push(digest),
                Err(why) => {
                    // A file that is replaced may be away for a moment.
                    let is_news = self.seen.as_ref().is_none_or(|seen| !seen.is_empty());
                    self.seen = Some(Vec::new());
                    let why = format!("the file {} cannot be read: {why}", path.display());
                    return if is_news { FileChange::Settling } else { FileChange::Unreadable(why) };
                }
            }
        }
        if found == self.in_use {
            self.seen = None;
            return FileChange::Same;
        }
        if self.seen.as_ref() != Some(&found) {
            self.seen = Some(found);
            return FileChange::Settling;
        }
        let both = self.in_use.iter().zip(&found);
        let changed = self.paths.iter().zip(both).filter(|(_, (before, now))| before != now);
        FileChange::Changed(Changed { paths: changed.map(|(path, _)| path.clone()).collect(), digests: found })
    }
}

/// The digest of a file's content, or of all files in a folder, by their names.
fn digest(path: &Path) -> io::Result<u128> {
    let mut hash = Xxh3::new();
    let found = fs::metadata(path)?;
    if found.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        entries.retain(|entry| entry.is_file());
        entries.sort();
        for entry in entries {
            hash.update(entry.as_os_str().as_encoded_bytes());
            hash.update(&fs::read(&entry)?);
        }
    } else if found.is_file() {
        hash.update(&fs::read(path)?);
    } else {
        // To read from a pipe would wait for its writer.
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(look: FileChange) -> Vec<PathBuf> {
        match look {
            FileChange::Changed(changed) => changed.paths,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_counts_once_it_has_been_the_same_for_two_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        write("certificate", "old");
        write("key", "old");
        let mut files = WatchedFiles::new(vec![path("certificate"), path("key"), path("none")]);
        assert_eq!(files.check(), FileChange::Same);
        write("certificate", "new");
        assert_eq!(files.check(), FileChange::Settling);
        write("key", "new");
        assert_eq!(files.check(), FileChange::Settling);
        let both = vec![path("certificate"), path("key")];
        assert_eq!(changed(files.check()), both);
        assert_eq!(changed(files.check()), both);
        write("certificate", "old");
        assert_eq!(files.check(), FileChange::Settling);
        assert_eq!(changed(files.check()), [path("key")]);
        write("key", "old");
        assert_eq!(files.check(), FileChange::Same);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_at_the_second_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "old").unwrap();
        let mut files = WatchedFiles::new(vec![path.clone()]);
        fs::remove_file(&path).unwrap();
        assert_eq!(files.check(), FileChange::Settling);
        assert!(matches!(files.check(), FileChange::Unreadable(why) if why.contains("/password cannot be read")));
        fs::write(&path, "new").unwrap();
        assert_eq!(files.check(), FileChange::Settling);
        fs::remove_file(&path).unwrap();
        assert_eq!(files.check(), FileChange::Settling);
        fs::write(&path, "new").unwrap();
        assert_eq!(files.check(), FileChange::Settling);
        assert_eq!(changed(files.check()), [path]);
    }

    #[test]
    fn a_folder_of_authorities_changes_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.pem"), "a").unwrap();
        let mut files = WatchedFiles::new(vec![dir.path().to_owned()]);
        assert_eq!(files.check(), FileChange::Same);
        fs::write(dir.path().join("b.pem"), "b").unwrap();
        assert_eq!(files.check(), FileChange::Settling);
        assert_eq!(changed(files.check()), [dir.path()]);
    }

    #[test]
    fn a_client_whose_file_cannot_be_used_is_made_once_it_can_be_or_not_at_all() {
        let mut tries = 0;
        let made = once_made(
            "the test",
            || false,
            || {
                tries += 1;
                if tries < 2 { Err(Error::Retry("the file is away".to_owned())) } else { Ok(tries) }
            },
        );
        assert_eq!(made.unwrap(), Some(2));
        let never = || -> Result<()> { Err(Error::Retry("the file is away".to_owned())) };
        let asked = std::cell::Cell::new(0);
        let is_stopping = || asked.replace(asked.get() + 1) > 0;
        assert_eq!(once_made("the test", is_stopping, never).unwrap(), None);
        let refused = once_made("the test", || false, || -> Result<()> { Err(Error::Fatal("no".to_owned())) });
        assert!(matches!(refused, Err(Error::Fatal(_))));
    }
}
