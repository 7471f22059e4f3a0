//! Files that are read again when they change, so that a token or a certificate is replaced without
//! a restart.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Identity of a version of a file: device, inode, change time in seconds and nanoseconds, size.
/// The change time also moves by a rename over it, which is how Kubernetes and careful programs
/// replace files.
type Mark = Option<(u64, u64, i64, i64, u64)>;

type Read<T> = dyn Fn() -> Result<T, String> + Send + Sync;

/// Value read from files, as of the last successful read.
pub(super) struct Watched<T> {
    /// Its name in log lines.
    what: &'static str,
    files: Vec<PathBuf>,
    read: Box<Read<T>>,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    /// The files when they were last read.
    marks: Vec<Mark>,
    value: Arc<T>,
    /// The files when it was last warned that they cannot be used.
    warned: Option<Vec<Mark>>,
}

impl<T> Watched<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As `read` has it.
    pub fn new<E: ToString>(
        what: &'static str,
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Watched<T>, E> {
        // Marked before they are read: a change in between is then seen at the next look.
        let marks = marks(&files);
        let first = read()?;
        let read = Box::new(move || read().map_err(|e| e.to_string()));
        Ok(Watched { what, files, read, kept: Mutex::new(Kept { marks, value: Arc::new(first), warned: None }) })
    }

    /// The value when the files could last be read.
    pub fn current(&self) -> Arc<T> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).value.clone()
    }

    /// Reads the files again if one of them has changed. What cannot be used is warned about once,
    /// and what was read before stays.
    pub fn refresh(&self) {
        let marks = marks(&self.files);
        if self.kept.lock().unwrap_or_else(PoisonError::into_inner).marks == marks {
            return;
        }
        let read = (self.read)();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(new) => {
                *kept = Kept { marks, value: Arc::new(new), warned: None };
                tracing::info!("HTTP: the {} changed on disk and was read again", self.what);
            }
            // It is tried again at the next look: the file may be right, and only the process out
            // of descriptors for a moment.
            Err(why) if kept.warned.as_ref() == Some(&marks) => {
                tracing::debug!(
                    "HTTP: the changed {} cannot be used yet, so the former one stays in use: {why}",
                    self.what
                );
            }
            Err(why) => {
                kept.warned = Some(marks);
                tracing::warn!(
                    code = "HS6054",
                    "HTTP: the {} changed but cannot be used, so the former one stays in use: {why}",
                    self.what
                );
            }
        }
    }
}

fn marks(files: &[PathBuf]) -> Vec<Mark> {
    let mark = |file: &PathBuf| {
        let data = fs::metadata(file).ok()?;
        Some((data.dev(), data.ino(), data.ctime(), data.ctime_nsec(), data.size()))
    };
    files.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_and_a_bad_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("number");
        let next = dir.path().join("next");
        fs::write(&file, "1").unwrap();
        let read = {
            let file = file.clone();
            move || fs::read_to_string(&file).map_err(|e| e.to_string())?.parse::<u32>().map_err(|e| e.to_string())
        };
        assert!(Watched::new("number", vec![next.clone()], || Err::<u32, _>("no".to_owned())).is_err());
        let watched = Watched::new("number", vec![file.clone()], read).unwrap();
        let now = || {
            watched.refresh();
            *watched.current()
        };
        assert_eq!(now(), 1);
        fs::write(&file, "many").unwrap();
        assert_eq!(now(), 1);
        // As Kubernetes does it: another file in its place.
        fs::write(&next, "2").unwrap();
        fs::rename(&next, &file).unwrap();
        assert_eq!(now(), 2);
        fs::remove_file(&file).unwrap();
        assert_eq!(now(), 2);
        fs::write(&file, "3").unwrap();
        assert_eq!(now(), 3);
    }
}
