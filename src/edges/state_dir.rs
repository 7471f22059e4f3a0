//! The state directory and its lock: each instance locks one of the slots in it (an
//! [`InstanceDir`]) by a file lock, so that two instances never share state and a restarted one
//! finds its own again (docs/exactly-once.md, "Slots").
//!
//! A slot is `<state directory>/<number>/` with `lock` (held by flock, the holder's pid inside),
//! `instance` (a random id, written once), `application` (whose state it is), texts that the
//! application keeps there, and the tasks' databases under `tasks/`.
//!
//! State holds the contents of records, so folders that are made here are for this user alone
//! (0700, files 0600) unless a setting says otherwise. That is done by the process's umask, since
//! RocksDB makes its files by it and by nothing else. Folders that are there already keep their
//! modes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use uuid::Uuid;

/// Why a slot of the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process holds it.
    #[error("slot {slot} of {} is held by process {holder}: stop that one, name another --slot, or leave --slot away for the lowest free [HS3013]", dir.display())]
    Locked {
        /// The slot's number.
        slot: u32,
        /// The state directory.
        dir: PathBuf,
        /// The holder's pid, or `unknown`.
        holder: String,
    },
    /// A running instance holds it, and its state can't be read meanwhile.
    #[error("slot {slot} of {} is held by process {holder}, which writes to it: stop that one first [HS3013]", dir.display())]
    Running {
        /// The slot's number.
        slot: u32,
        /// The state directory.
        dir: PathBuf,
        /// The holder's pid, or `unknown`.
        holder: String,
    },
    /// It holds the state of another application.
    #[error("slot {slot} of {} holds the state of application `{found}`, not of `{wanted}`: give each application a --state-dir of its own [HS3014]", dir.display())]
    Foreign {
        /// The slot's number.
        slot: u32,
        /// The state directory.
        dir: PathBuf,
        /// Its owner.
        found: String,
        /// The expected owner.
        wanted: String,
    },
    /// A file of it cannot be made, read or written.
    #[error("{verb} {}: {why}{}", path.display(), advice(why))]
    Io {
        /// The action that failed.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed. Not called `source`: it would be shown twice.
        why: io::Error,
    },
}

/// The remedy, where it is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space on the disk of the state directory [HS3007]"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; let this user write to the state directory, or name another --state-dir [HS3004]"
        }
        _ => " [HS3004]",
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |why| StateDirError::Io { verb, path, why }
}

/// Access to the folders and files of the state that this process creates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateAccess {
    /// This user alone: 0700 and 0600.
    #[default]
    Owner,
    /// The group may read: 0750 and 0640. Enough to read the state of a stopped instance.
    GroupRead,
    /// The group may write as well: 0770 and 0660, for volumes that instances of different users
    /// share.
    GroupWrite,
}

impl StateAccess {
    /// Sets the umask of this process, before it makes any file of the state.
    pub fn apply(self) {
        let kept_away = match self {
            StateAccess::Owner => Mode::RWXG | Mode::RWXO,
            StateAccess::GroupRead => Mode::WGRP | Mode::RWXO,
            StateAccess::GroupWrite => Mode::RWXO,
        };
        rustix::process::umask(kept_away);
    }

    /// Warns where somebody else could change the state: by the mode of a folder, or because it is
    /// another user's.
    fn warn_of_others(self, dir: &Path) -> Result<(), StateDirError> {
        let data = fs::metadata(dir).map_err(failed("look at the folder", dir))?;
        let mode = data.mode() & 0o7777;
        let owner = data.uid();
        let ours = rustix::process::geteuid().as_raw();
        let who = if mode & 0o002 != 0 {
            "every user".to_owned()
        } else if mode & 0o020 != 0 && self != StateAccess::GroupWrite {
            format!("group {}", data.gid())
        } else if owner != ours && owner != 0 && self != StateAccess::GroupWrite {
            format!("its owner, user {owner},")
        } else {
            return Ok(());
        };
        tracing::warn!(
            code = "HS3016",
            "{who} can write to the state directory {} (mode {mode:04o}) and so change the state: take that right away (chmod go-w), or say that it is meant (--state-access group_write, for a group)",
            dir.display()
        );
        Ok(())
    }
}

/// A slot of the state directory, which this process has locked until it is dropped.
#[derive(Debug)]
pub struct InstanceDir {
    /// Its number.
    pub number: u32,
    /// A random id that names this slot among all machines' and never changes.
    pub instance_id: String,
    /// The folder for the tasks' databases.
    pub tasks: PathBuf,
    dir: PathBuf,
    /// Keeps the lock.
    _lock: File,
}

impl InstanceDir {
    /// Locks slot `insist`, or the lowest free one, for `application_id`. Folders are made where
    /// missing; those that are there keep their modes, and a warning tells where `access` does not
    /// let others write to them and their modes do.
    ///
    /// # Errors
    /// The slot insisted on is held, a slot holds another application's state, or files fail.
    pub fn lock(
        state_dir: &Path,
        insist: Option<u32>,
        application_id: &str,
        access: StateAccess,
    ) -> Result<InstanceDir, StateDirError> {
        let mut number = insist.unwrap_or(0);
        loop {
            let dir = state_dir.join(number.to_string());
            fs::create_dir_all(&dir).map_err(failed("create the slot's directory", &dir))?;
            match try_lock(&dir)? {
                Some(lock) => {
                    let slot = InstanceDir::open(state_dir, number, application_id, lock)?;
                    [state_dir, &dir, &slot.tasks].into_iter().try_for_each(|dir| access.warn_of_others(dir))?;
                    return Ok(slot);
                }
                None if insist.is_some() => {
                    return Err(StateDirError::Locked {
                        slot: number,
                        dir: state_dir.to_owned(),
                        holder: holder(&dir),
                    });
                }
                None => number += 1,
            }
        }
    }

    fn open(state_dir: &Path, number: u32, application_id: &str, mut lock: File) -> Result<InstanceDir, StateDirError> {
        let dir = state_dir.join(number.to_string());
        let path = dir.join("lock");
        let pid = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(pid.as_bytes()))
            .map_err(failed("write the pid into", &path))?;
        let found = once(&dir, "application", || application_id.to_owned())?;
        if found != application_id {
            return Err(StateDirError::Foreign {
                slot: number,
                dir: state_dir.to_owned(),
                found,
                wanted: application_id.to_owned(),
            });
        }
        let instance_id = instance_id(&dir)?;
        let tasks = dir.join("tasks");
        fs::create_dir_all(&tasks).map_err(failed("make the tasks' folder", &tasks))?;
        Ok(InstanceDir { number, instance_id, tasks, dir, _lock: lock })
    }

    /// Writes a text beside the state, in place of an older one of that name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), StateDirError> {
        write_whole(&self.dir, name, text)
    }

    /// A text that [`InstanceDir::write_text`] wrote, if it is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_text(&self, name: &str) -> Result<Option<String>, StateDirError> {
        read(&self.dir.join(name))
    }

    /// The slots of a state directory, to be read: each held by this process meanwhile, without a
    /// change to it.
    ///
    /// # Errors
    /// A slot is held by a running instance, or files fail.
    pub fn read_all(state_dir: &Path) -> Result<Vec<InstanceDir>, StateDirError> {
        let entries = fs::read_dir(state_dir).map_err(failed("read the state directory", state_dir))?;
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed("read the state directory", state_dir))?.file_name();
            numbers.extend(name.to_str().and_then(|n| n.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        let mut slots = Vec::new();
        for number in numbers {
            let dir = state_dir.join(number.to_string());
            let Some(lock) = try_lock(&dir)? else {
                return Err(StateDirError::Running { slot: number, dir: state_dir.to_owned(), holder: holder(&dir) });
            };
            let instance_id = read(&dir.join("instance"))?.unwrap_or_default();
            slots.push(InstanceDir { number, instance_id, tasks: dir.join("tasks"), dir, _lock: lock });
        }
        Ok(slots)
    }
}

/// The lock of a slot's directory; `None` when another process holds it. Whoever may only read the
/// folder may hold the lock all the same, to read the state meanwhile.
fn try_lock(dir: &Path) -> Result<Option<File>, StateDirError> {
    let path = dir.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let open = match open {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => File::open(&path).map_err(|_| e),
        open => open,
    };
    let file = open.map_err(failed("open the lock", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(StateDirError::Io { verb: "lock", path, why: e.into() }),
    }
}

/// The pid that the holder wrote; it may not have got there yet.
fn holder(dir: &Path) -> String {
    let pid = fs::read_to_string(dir.join("lock")).unwrap_or_default();
    let pid = pid.trim();
    if pid.is_empty() { "unknown".to_owned() } else { pid.to_owned() }
}

fn read(path: &Path) -> Result<Option<String>, StateDirError> {
    let mut text = String::new();
    match File::open(path).and_then(|mut f| f.read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path)(e)),
    }
}

/// The random id of a slot. One that is damaged is replaced: an empty one, say, would be that of
/// every slot with such damage, and their producers would fence each other.
fn instance_id(dir: &Path) -> Result<String, StateDirError> {
    let path = dir.join("instance");
    let found = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        found => Some(found.map_err(failed("read", &path))?),
    };
    if let Some(found) = found {
        let text = String::from_utf8_lossy(&found);
        if Uuid::try_parse(text.trim()).is_ok() {
            return Ok(text.trim().to_owned());
        }
        tracing::warn!(
            code = "HS3024",
            "the id of this instance in {} is damaged: the instance takes a new one. A transaction that it left open under the former id ends at its \
             timeout, and nothing is lost; check the disk",
            path.display()
        );
    }
    let id = Uuid::new_v4().simple().to_string();
    write_whole(dir, "instance", &id)?;
    Ok(id)
}

/// The text of a file that is written once and for all.
fn once(dir: &Path, name: &str, make: impl FnOnce() -> String) -> Result<String, StateDirError> {
    if let Some(text) = read(&dir.join(name))? {
        return Ok(text);
    }
    let text = make();
    write_whole(dir, name, &text)?;
    Ok(text)
}

/// Writes by rename, so that a kill leaves the file as it was or whole.
fn write_whole(dir: &Path, name: &str, text: &str) -> Result<(), StateDirError> {
    let path = dir.join(name);
    let draft = dir.join(format!("{name}.new"));
    let mut file = File::create(&draft).map_err(failed("make", &draft))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write", &draft))?;
    fs::rename(&draft, &path).map_err(failed("rename to", &path))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(failed("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_taken_and_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let a = InstanceDir::lock(dir.path(), None, "app", StateAccess::Owner).unwrap();
        let b = InstanceDir::lock(dir.path(), None, "app", StateAccess::Owner).unwrap();
        assert_eq!((a.number, b.number), (0, 1));
        assert_ne!(a.instance_id, b.instance_id);
        let id = a.instance_id.clone();
        drop(a);
        let again = InstanceDir::lock(dir.path(), None, "app", StateAccess::Owner).unwrap();
        assert_eq!((again.number, again.instance_id), (0, id));
    }

    #[test]
    fn a_damaged_id_is_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let lock = || InstanceDir::lock(dir.path(), None, "app", StateAccess::Owner).unwrap().instance_id;
        let first = lock();
        let mut ids = vec![first.clone()];
        for damaged in [&b""[..], b"\xff\xfe", &first.as_bytes()[..31]] {
            fs::write(dir.path().join("0/instance"), damaged).unwrap();
            let id = lock();
            assert!(Uuid::try_parse(&id).is_ok() && id == lock(), "{id}");
            assert!(!ids.contains(&id));
            ids.push(id);
        }
    }

    #[test]
    fn a_taken_slot_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let _held = InstanceDir::lock(dir.path(), Some(3), "app", StateAccess::Owner).unwrap();
        let e = InstanceDir::lock(dir.path(), Some(3), "app", StateAccess::Owner).unwrap_err().to_string();
        assert!(e.contains(&format!("held by process {}", std::process::id())), "{e}");
        assert!(InstanceDir::read_all(dir.path()).is_err());
    }

    #[test]
    fn another_applications_slot_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(InstanceDir::lock(dir.path(), None, "one", StateAccess::Owner).unwrap());
        let e = InstanceDir::lock(dir.path(), None, "two", StateAccess::Owner).unwrap_err().to_string();
        assert!(e.contains("application `one`"), "{e}");
    }

    #[test]
    fn slots_of_a_stopped_instance_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        InstanceDir::lock(dir.path(), Some(2), "app", StateAccess::Owner).unwrap().write_text("note", "kept").unwrap();
        drop(InstanceDir::lock(dir.path(), None, "app", StateAccess::Owner).unwrap());
        let slots = InstanceDir::read_all(dir.path()).unwrap();
        let kept: Vec<_> = slots.iter().map(|s| (s.number, s.read_text("note").unwrap())).collect();
        assert_eq!(kept, [(0, None), (2, Some("kept".to_owned()))]);
    }
}
