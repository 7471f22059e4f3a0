//! The database of a node: one SQLite file in WAL mode with `synchronous=FULL`.
//!
//! One thread with one connection makes every change. Requests queue for it, and all that wait are
//! made in one transaction, so that one fsync serves many (group commit); each has a savepoint, so
//! that one which fails undoes itself alone. A request is answered after the commit. Readers have
//! connections of their own, to which SQLite shows the last commit. A question is one statement, or
//! several of which the code says why they may see different commits.
//!
//! | module | holds |
//! |---|---|
//! | `schema` | migrations, options of connections, classes of SQLite's errors |
//! | `writer` | the thread: groups, savepoints, answers |
//! | `connection` | the connection of the thread: statements that wait for the next call |
//! | `signals` | what other threads wait for |
//! | `state` | identity, openings and former incarnations, as the writer holds them |
//! | `accept` | a write becomes an event |
//! | `merge` | a merge becomes several events |
//! | `branches` | the actor of a stale write, and how branches go on under a new incarnation |
//! | `seen` | what the caller of a write has seen: tokens, sessions, what is shown |
//! | `expiry` | memories that expire |
//! | `publication` | the outbox: published, failed, written again under a new incarnation |
//! | `published_elsewhere` | events of the outbox that a copy of the folder has published |
//! | `dead_letters` | events that the stream could not process |
//! | `failed_events` | the reasons of failures, and their lines in the log |
//! | `follow` | resolved memories of the snapshots topic |
//! | `restore` | user snapshots that are brought back |
//! | `subscription` | which memories the node keeps, and what it fetches where that has changed |
//! | `sync_requests` | requests for resolved memories that the node has missed |
//! | `view` | what is shown of a memory |
//! | `changes` | the last changes of that, for streams of events |
//! | `kept_changes` | which of these are kept where there are too many: a share for each user |
//! | `history` | the last resolved states of each memory |
//! | `search_keys` | what a search filters by and compares |
//! | `queries`, `search`, `user_snapshots` | questions of readers |

mod accept;
mod branches;
#[cfg(test)]
mod calls;
mod changes;
mod connection;
mod dead_letters;
mod expiry;
mod failed_events;
mod follow;
mod history;
mod kept_changes;
mod merge;
mod publication;
mod published_elsewhere;
mod queries;
mod restore;
mod schema;
mod search;
mod search_keys;
mod seen;
mod signals;
mod state;
mod subscription;
mod sync_requests;
mod user_snapshots;
mod view;
mod writer;

pub(crate) use queries::Readers;
pub(crate) use signals::Signals;
pub(crate) use writer::{Batch, Request, Writer};

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::settings::NodeError;

/// The database's file in the node's folder.
pub(crate) const FILE: &str = "node.db";

/// The file beside it that its process locks.
const LOCK: &str = "node.lock";

/// Creates the folder and the database's file, and locks the folder for this process: as long as
/// the returned file is open. Memories are for this user alone (0700, files 0600; the write-ahead
/// log gets the mode of the database). A folder that is there already keeps its mode.
pub(crate) fn lock_folder(folder: &Path) -> Result<File, NodeError> {
    let failed = |source| NodeError::Folder { folder: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut options = File::options();
    options.create(true).write(true).truncate(false).mode(0o600);
    let file = options.open(folder.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(NodeError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    options.open(folder.join(FILE)).map_err(failed)?;
    Ok(file)
}
