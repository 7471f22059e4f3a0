//! The library that is preloaded into each instance (`shim.c`): its wall clock, and I/O errors in
//! its state folder, as a file says that both have mapped or open.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use testkit::process::temp_dir;
use testkit::repo_path;

/// Fields of the file, each a number of 8 bytes: `struct control` of `shim.c`.
const CLOCK: u64 = 0;
const READS: u64 = 8;
const WRITES: u64 = 16;
const FAILED: u64 = 24;
const ASKED: u64 = 32;
const LENGTH: u64 = 40;

/// The switches of one instance.
pub struct Preload {
    path: PathBuf,
    file: File,
    folder: PathBuf,
}

impl Preload {
    /// For an instance whose state lies below this folder, as it sees it.
    pub fn new(folder: &Path) -> Preload {
        let path = temp_dir("preload").join("control");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(LENGTH).unwrap();
        Preload { path, file, folder: folder.to_owned() }
    }

    /// The environment of the instance.
    pub fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let pairs = [("LD_PRELOAD", library()), ("CHAOS_CONTROL", &self.path), ("CHAOS_FOLDER", &self.folder)];
        pairs.into_iter().map(|(name, path)| (name.to_owned(), text(path))).collect()
    }

    /// Sets the wall clock so many milliseconds ahead of the real one.
    pub fn set_clock(&self, ahead_ms: i64) {
        self.set(CLOCK, ahead_ms);
    }

    /// Lets reads fail, or no longer.
    pub fn fail_reads(&self, fails: bool) {
        self.set(READS, i64::from(fails));
    }

    /// Lets writes and syncs fail, or no longer.
    pub fn fail_writes(&self, fails: bool) {
        self.set(WRITES, i64::from(fails));
    }

    /// Calls that have failed so far.
    pub fn failed(&self) -> i64 {
        self.get(FAILED)
    }

    /// How often a clock was read that was wrong.
    pub fn asked(&self) -> i64 {
        self.get(ASKED)
    }

    fn set(&self, field: u64, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), field).unwrap();
    }

    fn get(&self, field: u64) -> i64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, field).unwrap();
        i64::from_ne_bytes(bytes)
    }
}

/// The library, compiled once.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = temp_dir("shim").join("shim.so");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&path);
        let output = command.arg(repo_path("tests/pipeline/chaos/shim.c")).output().expect("start cc");
        assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
        path
    })
}
