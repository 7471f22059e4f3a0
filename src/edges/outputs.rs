//! A folder that one run at a time fills with files. Its files are written under hidden names and
//! get their own all together at the end, so that a run that fails leaves what was there, and never
//! some of its files beside those of another run.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Lists the files of the last run, so that the next one takes them away.
const LIST: &str = ".replay";
/// Suffix of an unfinished file.
const PART: &str = ".part";

/// Why a folder cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Another run fills it.
    #[error("another replay is writing into {}: wait until it has ended, or name another folder with --output [HS5092]", .0.display())]
    Busy(PathBuf),
    /// The system refuses something.
    #[error("cannot {verb} {}: {why} [HS5091]", path.display())]
    Io {
        /// The action that failed.
        verb: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed. Not called `source`: it would be shown twice.
        why: io::Error,
    },
}

fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    let path = path.to_owned();
    move |why| OutputError::Io { verb, path, why }
}

/// A folder that this run fills; no other run can until it is dropped.
#[derive(Debug)]
pub struct OutputFolder {
    dir: PathBuf,
    /// Holds the lock.
    _lock: File,
    names: BTreeSet<String>,
}

impl OutputFolder {
    /// Makes the folder where it is missing, and locks it.
    ///
    /// # Errors
    /// Another run fills it, or it cannot be made or opened.
    pub fn open(dir: &Path) -> Result<OutputFolder, OutputError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("make the folder", dir))?;
        let lock = File::open(dir).map_err(io("open the folder", dir))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OutputError::Busy(dir.to_owned())),
            Err(e) => return Err(io("lock the folder", dir)(e.into())),
        }
        let folder = OutputFolder { dir: dir.to_owned(), _lock: lock, names: BTreeSet::new() };
        folder.remove_parts()?;
        Ok(folder)
    }

    /// Where the file of this name is to be written meanwhile.
    pub fn part(&mut self, name: &str) -> PathBuf {
        self.names.insert(name.to_owned());
        self.part_of(name)
    }

    fn part_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".{name}{PART}"))
    }

    /// Gives all files their names, in place of those of the run before.
    ///
    /// # Errors
    /// A file cannot be named or removed.
    pub fn publish(self) -> Result<(), OutputError> {
        let before = self.listed();
        // Listed before they are there: where this run is killed in between, the next one takes all
        // of them away.
        self.list(&before.union(&self.names).cloned().collect())?;
        for name in before.union(&self.names) {
            let path = self.dir.join(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("remove", &path)(e)),
                _ => {}
            }
        }
        for name in &self.names {
            let path = self.dir.join(name);
            fs::rename(self.part_of(name), &path).map_err(io("rename a file to", &path))?;
        }
        self.list(&self.names)
    }

    /// The files of the run before; names that lead out of the folder are none of ours.
    fn listed(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.dir.join(LIST)).unwrap_or_default();
        text.lines().filter(|name| name.ends_with(".jsonl") && !name.contains('/')).map(str::to_owned).collect()
    }

    fn list(&self, names: &BTreeSet<String>) -> Result<(), OutputError> {
        let path = self.dir.join(LIST);
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        fs::write(&path, text).map_err(io("write", &path))
    }

    /// Removes what a run has left unfinished.
    fn remove_parts(&self) -> Result<(), OutputError> {
        for entry in fs::read_dir(&self.dir).map_err(io("read the folder", &self.dir))?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(&format!(".jsonl{PART}")) {
                fs::remove_file(entry.path()).map_err(io("remove", &entry.path()))?;
            }
        }
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // What is published has no such files any more; the next run removes what cannot be removed
        // here.
        for name in &self.names {
            let _ = fs::remove_file(self.part_of(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(folder: &mut OutputFolder, name: &str, text: &str) {
        fs::write(folder.part(name), text).unwrap();
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_run_at_a_time_fills_a_folder_and_its_files_appear_together() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let mut first = OutputFolder::open(&dir).unwrap();
        assert!(matches!(OutputFolder::open(&dir), Err(OutputError::Busy(_))));
        fill(&mut first, "x.jsonl", "1");
        fill(&mut first, "y.jsonl", "1");
        assert!(!dir.join("x.jsonl").exists());
        first.publish().unwrap();
        assert_eq!(files(&dir), [".replay", "x.jsonl", "y.jsonl"]);
    }

    #[test]
    fn a_run_that_fails_leaves_what_was_there_and_the_next_leaves_nothing_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("mine.jsonl"), "0").unwrap();
        let mut first = OutputFolder::open(dir).unwrap();
        ["x.jsonl", "y.jsonl"].iter().for_each(|name| fill(&mut first, name, "1"));
        first.publish().unwrap();
        let mut failing = OutputFolder::open(dir).unwrap();
        fill(&mut failing, "x.jsonl", "2");
        drop(failing);
        assert_eq!(fs::read_to_string(dir.join("x.jsonl")).unwrap(), "1");
        // A run that was killed leaves its unfinished files.
        fs::write(dir.join(".z.jsonl.part"), "9").unwrap();
        let mut other = OutputFolder::open(dir).unwrap();
        ["x.jsonl", "z.jsonl"].iter().for_each(|name| fill(&mut other, name, "3"));
        other.publish().unwrap();
        assert_eq!(files(dir), [".replay", "mine.jsonl", "x.jsonl", "z.jsonl"]);
        assert_eq!(fs::read_to_string(dir.join("x.jsonl")).unwrap(), "3");
    }
}
