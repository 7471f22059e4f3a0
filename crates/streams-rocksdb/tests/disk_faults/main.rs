//! Damage to the files of a task's database, while no instance runs and while one does: one bit
//! flipped, a file cut off, a file removed. It is found, that task alone is rebuilt, and nothing
//! wrong is read; or it has no effect.
//!
//! `DISK_FAULTS=n` damages the files of n databases several times in each way, and prints the
//! tables of `docs/disk-faults.md`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[expect(dead_code, reason = "the engine's own tests use all of it")]
mod memory;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

// The ports in memory name these as parts of their crate.
use streams::{error, offset, ports, record, store};
use testkit::Random;
use world::{Done, Running, World};

/// How a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    /// The bit of this number is another one.
    Flipped(u64),
    /// It ends after so many bytes.
    Truncated(u64),
    Removed,
}

impl Damage {
    fn name(self) -> &'static str {
        match self {
            Damage::Flipped(_) => "one bit flipped",
            Damage::Truncated(_) => "cut off",
            Damage::Removed => "removed",
        }
    }

    fn apply(self, path: &Path) -> io::Result<()> {
        match self {
            Damage::Flipped(bit) => {
                // In place: an instance may have the file open, and go on writing it.
                let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
                let mut byte = [0];
                file.read_exact_at(&mut byte, bit / 8)?;
                file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8)
            }
            Damage::Truncated(len) => fs::OpenOptions::new().write(true).open(path)?.set_len(len),
            Damage::Removed => fs::remove_file(path),
        }
    }
}

/// How damage showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// They were rebuilt while the instance ran in which the damage happened.
    WhileRunning,
    /// The task's stores were rebuilt from their changelogs before the first record.
    AtOpen,
    /// Their last writes were lost, and came from the changelogs again.
    AsLostTail,
    /// They were rebuilt when a damaged place was read, after a start.
    WhenRead,
    Never,
}

/// A database with several tables, and what lies in its files.
struct Base {
    world: World,
    files: Vec<String>,
}

/// The task whose files are damaged, and the other one.
const DAMAGED: &str = "0_0";
const OTHER: &str = "0_1";
/// A file that goes with the directory when a task's database is destroyed.
const MARKER: &str = "kept";

fn base(folder: &Path, random: &mut Random) -> Base {
    let world = World::new(folder.to_owned());
    let mut running = world.start();
    for _ in 0..60 {
        world.publish_random(random, 50);
        running.finish().unwrap();
    }
    // RocksDB writes tables in the background.
    let count = |end: &str| files_of(folder).iter().filter(|name| name.ends_with(end)).count();
    testkit::wait_until("the database to have tables", || count(".sst") >= 2);
    // As after a kill: nothing is left by the group, and nothing written out.
    drop(running);
    world.check().unwrap();
    let files = files_of(folder);
    assert!(count(".sst") >= 2 && count(".log") >= 1, "the database is not the one that is to be damaged: {files:?}");
    fs::write(folder.join(OTHER).join(MARKER), b"").unwrap();
    Base { world, files }
}

/// The files of the damaged task's database.
fn files_of(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder.join(DAMAGED)).unwrap();
    let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    files
}

/// A folder in memory, where there is such a file system: RocksDB syncs files many times at each
/// start, and none of that is under test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy_of(folder_of_base: &Path) -> tempfile::TempDir {
    let copy = folder();
    for task in [DAMAGED, OTHER] {
        fs::create_dir(copy.path().join(task)).unwrap();
        for file in fs::read_dir(folder_of_base.join(task)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(task).join(file.file_name())).unwrap();
        }
    }
    copy
}

/// Damages a file, starts again, and reads everything.
fn case(base: &Base, file: &str, damage: Damage, random: &mut Random) -> Result<Shown, String> {
    let folder = copy_of(&base.world.folder);
    damage.apply(&folder.path().join(DAMAGED).join(file)).unwrap();
    let world = base.world.fork(folder.path().to_owned());
    let mut running = world.start();
    let text = |error: error::Error| error.to_string();
    let opened = running.finish().map_err(text)?;
    world.publish_all_keys(random);
    let read = running.finish().map_err(text)?;
    running.stop().map_err(text)?;
    world.check()?;
    check_alone(folder.path(), read)?;
    Ok(shown(opened, read))
}

/// Damages the file of this place in the list while an instance runs, reads everything, starts
/// again and reads everything once more. `None` where there are not so many files.
fn running_case(base: &Base, at: usize, kind: DamageKind, random: &mut Random) -> Option<Result<Case, String>> {
    let folder = copy_of(&base.world.folder);
    let world = base.world.fork(folder.path().to_owned());
    let mut running = world.start();
    // The start itself has changed files.
    running.finish().unwrap();
    let (file, damage) = loop {
        let file = files_of(folder.path()).into_iter().nth(at)?;
        let path = folder.path().join(DAMAGED).join(&file);
        // RocksDB removes files in the background.
        let Ok(found) = fs::metadata(&path) else { continue };
        let bits = found.len() * 8;
        let damage = match kind {
            DamageKind::Removed => Damage::Removed,
            // There is no bit to flip.
            DamageKind::Flipped if bits == 0 => Damage::Removed,
            DamageKind::Flipped => Damage::Flipped(random.number() % bits),
        };
        if damage.apply(&path).is_ok() {
            break (file, damage);
        }
    };
    let how = read_twice(&world, running, random);
    Some(how.map(|how| (file.clone(), damage, how)).map_err(|what| format!("{file}, {damage:?}, running: {what}")))
}

/// A file, its damage, and how that showed.
type Case = (String, Damage, Shown);

/// The ways in which a file is damaged while an instance runs.
#[derive(Clone, Copy)]
enum DamageKind {
    Flipped,
    Removed,
}

fn read_twice(world: &World, mut running: Running, random: &mut Random) -> Result<Shown, String> {
    let text = |error: error::Error| error.to_string();
    world.publish_all_keys(random);
    let meanwhile = running.finish().map_err(text)?;
    running.stop().map_err(text)?;
    check_alone(&world.folder, meanwhile)?;
    let mut running = world.start();
    let opened = running.finish().map_err(text)?;
    world.publish_all_keys(random);
    let read = running.finish().map_err(text)?;
    running.stop().map_err(text)?;
    world.check()?;
    check_alone(&world.folder, read)?;
    match (meanwhile.rebuilt, shown(opened, read)) {
        (0, how) => Ok(how),
        (_, Shown::Never) => Ok(Shown::WhileRunning),
        (_, how) => Err(format!("it was rebuilt while it ran, and then {how:?}")),
    }
}

/// That no other task was rebuilt, and none twice.
fn check_alone(folder: &Path, done: Done) -> Result<(), String> {
    match folder.join(OTHER).join(MARKER).exists() && done.rebuilt <= world::STORES.len() as u64 {
        true => Ok(()),
        false => Err(format!("another task was rebuilt, or one twice: {done:?}")),
    }
}

fn shown(opened: Done, read: Done) -> Shown {
    match (opened, read) {
        (Done { rebuilt: 1.., .. }, _) => Shown::AtOpen,
        (_, Done { rebuilt: 1.., .. }) => Shown::WhenRead,
        (Done { restored: 1.., .. }, _) => Shown::AsLostTail,
        _ => Shown::Never,
    }
}

/// The kind of a file, by its name.
fn kind(file: &str) -> &'static str {
    match file {
        "CURRENT" => "CURRENT",
        "IDENTITY" => "IDENTITY",
        "LOCK" => "LOCK",
        _ if file.ends_with(".sst") => "*.sst",
        _ if file.ends_with(".log") => "*.log",
        _ if file.starts_with("MANIFEST-") => "MANIFEST-*",
        _ if file.starts_with("OPTIONS-") => "OPTIONS-*",
        _ if file.starts_with("LOG") => "LOG*",
        _ => panic!("what is {file}?"),
    }
}

/// Damage to a file with these bytes: `each` times in each way, and removed once. In a log file (of
/// which a manifest is one) the headers of records count for more than the rest, since they decide
/// what is read at all.
fn damages(bytes: &[u8], is_log: bool, each: u64, random: &mut Random) -> Vec<Damage> {
    let mut damages = vec![Damage::Removed];
    let size = bytes.len() as u64;
    if size == 0 {
        return damages;
    }
    if is_log {
        let headers = headers(bytes);
        for at in 0..each {
            let header = if at == 1 { headers[headers.len() - 1] } else { random.pick(&headers) } as u64;
            // One of the 24 bits of length and type.
            damages.push(Damage::Flipped((header + 4) * 8 + random.number() % 24));
            damages.push(Damage::Truncated(if at == 1 { header + 5 } else { header + random.number() % 8 }));
        }
    }
    for at in if is_log { 1 } else { 0 }..each {
        // The first byte, the last, one in the middle and one of a footer come before any other.
        let byte = match at {
            1 => 0,
            2 => size - 1,
            3 => size / 2,
            4 => size - 1 - random.number() % size.min(64),
            _ => random.number() % size,
        };
        damages.push(Damage::Flipped(byte * 8 + random.number() % 8));
        damages.push(Damage::Truncated(if at == 1 { 0 } else { random.number() % size }));
    }
    damages
}

/// Where the records of a log file begin.
fn headers(bytes: &[u8]) -> Vec<usize> {
    const BLOCK: usize = 32 << 10;
    let (mut headers, mut at) = (Vec::new(), 0);
    while at + 7 <= bytes.len() {
        headers.push(at);
        at += 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        // No header begins in the last six bytes of a block.
        if at % BLOCK > BLOCK - 7 {
            at = at.next_multiple_of(BLOCK);
        }
    }
    headers
}

#[test]
fn damage_is_found_and_that_task_alone_rebuilt() {
    let mut table = Table::default();
    let mut random = Random::new(testkit::seed());
    for _ in 0..long().unwrap_or(1) {
        let folder = folder();
        let base = base(folder.path(), &mut random);
        for file in &base.files {
            let path: PathBuf = folder.path().join(DAMAGED).join(file);
            let bytes = fs::read(&path).unwrap();
            let is_log = ["*.log", "MANIFEST-*"].contains(&kind(file));
            for damage in damages(&bytes, is_log, if long().is_some() { 8 } else { 1 }, &mut random) {
                let how = case(&base, file, damage, &mut random);
                let how = how.map_err(|what| format!("{file} of {} bytes, {damage:?}: {what}", bytes.len()));
                table.add(how.map(|how| (file.clone(), damage, how)));
            }
        }
    }
    table.finish();
}

#[test]
fn damage_under_a_running_instance_is_found_and_that_task_alone_rebuilt() {
    let mut table = Table::default();
    let mut random = Random::new(testkit::seed());
    for _ in 0..long().unwrap_or(1) {
        let folder = folder();
        let base = base(folder.path(), &mut random);
        for at in 0.. {
            let Some(removed) = running_case(&base, at, DamageKind::Removed, &mut random) else { break };
            table.add(removed);
            for _ in 0..if long().is_some() { 8 } else { 1 } {
                // A start may leave a file less than the one before.
                running_case(&base, at, DamageKind::Flipped, &mut random).into_iter().for_each(|case| table.add(case));
            }
        }
    }
    table.finish();
}

/// So many databases are to be damaged.
fn long() -> Option<u64> {
    std::env::var("DISK_FAULTS").ok().map(|count| count.parse().unwrap())
}

/// The cases, counted, and those that failed.
#[derive(Default)]
struct Table {
    shown: BTreeMap<(&'static str, &'static str, Shown), u64>,
    failures: Vec<String>,
}

impl Table {
    fn add(&mut self, case: Result<Case, String>) {
        match case {
            Ok((file, damage, how)) => *self.shown.entry((kind(&file), damage.name(), how)).or_default() += 1,
            Err(what) => {
                eprintln!("{what}");
                self.failures.push(what);
            }
        }
    }

    /// Prints the table, and panics where a case failed.
    fn finish(self) {
        for ((kind, damage, how), count) in &self.shown {
            println!("| {kind} | {damage} | {how:?} | {count} |");
        }
        let count = self.shown.values().sum::<u64>() + self.failures.len() as u64;
        assert!(self.failures.is_empty(), "{} of {count} cases:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}
