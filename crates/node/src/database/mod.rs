//! The database of a node: one SQLite file in WAL mode with `synchronous=FULL`.
//!
//! One thread with one connection makes every change. Requests queue for it, and all that wait are
//! made in one transaction, so that one fsync serves many (group commit); each has a savepoint, so
//! that one which fails undoes itself alone. A request is answered after the commit. Readers have
//! connections of their own, each question is one statement, and SQLite shows them the last commit.
//!
//! | module | holds |
//! |---|---|
//! | `schema` | migrations, options of connections, classes of SQLite's errors |
//! | `writer` | the thread: groups, savepoints, answers |
//! | `state` | identity, openings and former incarnations, as the writer holds them |
//! | `accept` | a write becomes an event |
//! | `seen` | what the caller of a write has seen: tokens, sessions, what is shown |
//! | `publication` | the outbox: published, failed, written again under a new incarnation |
//! | `follow` | resolved memories of the snapshots topic |
//! | `view` | what is shown of a memory |
//! | `queries` | questions of readers |

mod accept;
mod follow;
mod publication;
mod queries;
mod schema;
mod seen;
mod state;
mod view;
mod writer;

pub(crate) use queries::Readers;
pub(crate) use writer::{Batch, Request, Signals, Writer};

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::settings::NodeError;

/// The database's file in the node's folder.
pub(crate) const FILE: &str = "node.db";

/// The file beside it that its process locks.
const LOCK: &str = "node.lock";

/// Creates the folder and locks it for this process: as long as the file is open.
pub(crate) fn lock_folder(folder: &Path) -> Result<File, NodeError> {
    let failed = |source| NodeError::Folder { folder: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::options().create(true).write(true).truncate(false).open(folder.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
